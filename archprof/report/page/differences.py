"""Two networks side by side: rows aligned at each depth of the paths, and what each node is marked as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from archprof.analysis import Analysis
from archprof.analysis.diff import ADDED, CHANGED, REMOVED, SAME, Change, Quantity, Side, diff
from archprof.analysis.numbers import exact
from archprof.report.diff import count_text
from archprof.report.layout import NOT_COUNTED

_SIGNS = {SAME: "", CHANGED: "~", ADDED: "+", REMOVED: "−"}  # noqa: RUF001  a minus as wide as the plus
_MOST_ROWS = 4000  # of all tables together, beyond the one that is shown at first


class DiffCell(msgspec.Struct, frozen=True):
    """A printed cell, and the classes that mark it."""

    text: str
    classes: str = ""


class DiffRow(msgspec.Struct, frozen=True, kw_only=True):
    """An aligned row; the paths are None where a network has nothing there."""

    status: str
    sign: str
    before: str | None
    after: str | None
    cells: tuple[DiffCell, ...]


class DiffTable(msgspec.Struct, frozen=True, kw_only=True):
    """The rows at a depth of the paths, a number or all."""

    depth: str
    shown: bool
    rows: tuple[DiffRow, ...]


class Differences(msgspec.Struct, frozen=True, kw_only=True):
    """What a page shows of two networks."""

    names: tuple[str, str]
    summary: tuple[str, ...]
    tables: tuple[DiffTable, ...]
    marks: tuple[Mapping[str, str], Mapping[str, str]]  # status by path of a node, without the nodes that are the same


def compare(before: Analysis, after: Analysis, names: tuple[str, str], fold: int | None) -> Differences:
    """Align two networks, which are analysed alike. `fold` is the depth of the table that is shown at first."""
    deepest = max((len(each.node.path.split(".")) for one in (before, after) for each in one.figures), default=1)
    nodes = diff(before, after, None)
    tables, room = [], _MOST_ROWS
    for depth in (*range(1, deepest), None):
        shown = depth == fold or (depth is None and fold is not None and fold >= deepest)
        rows = (nodes if depth is None else diff(before, after, depth)).changes
        if shown or len(rows) <= room:
            room -= 0 if shown else len(rows)
            tables.append(
                DiffTable(depth="all" if depth is None else str(depth), shown=shown, rows=tuple(map(_row, rows)))
            )
    return Differences(
        names=names,
        summary=(*_summary(nodes.equal, nodes.changes), *map(_told, nodes.totals)),
        tables=tuple(tables),
        marks=(
            {each.before.path: each.status for each in nodes.changes if each.before and each.status != SAME},
            {each.after.path: each.status for each in nodes.changes if each.after and each.status != SAME},
        ),
    )


def _summary(equal: bool, changes: Sequence[Change]) -> list[str]:
    if equal:
        return ["the networks are equal"]
    counts = {status: sum(each.status == status for each in changes) for status in (CHANGED, ADDED, REMOVED, SAME)}
    return ["of all nodes " + ", ".join(f"{count} {status}" for status, count in counts.items() if count)]


def _told(quantity: Quantity) -> str:
    before, after = (NOT_COUNTED if each is None else exact(each) for each in (quantity.before, quantity.after))
    if before == after:
        return f"{quantity.name} {before} in both"
    ratio = "" if quantity.ratio is None else f" (x {quantity.ratio:.3g})"
    return f"{quantity.name} {before} → {after}{ratio}"


def _row(change: Change) -> DiffRow:
    before, after = _cells(change.before), _cells(change.after)
    both = change.before is not None and change.after is not None
    cells = []
    for side, others in ((before, after), (after, before)):
        for place, text in enumerate(side):
            classes = ["side"] if place == 0 else ["number"] if place > 2 else []
            if both and text != others[place]:
                classes.append("differs")
            cells.append(DiffCell(text, " ".join(classes)))
    return DiffRow(
        status=change.status,
        sign=_SIGNS[change.status],
        before=None if change.before is None else change.before.path,
        after=None if change.after is None else change.after.path,
        cells=tuple(cells),
    )


def _cells(side: Side | None) -> tuple[str, ...]:
    if side is None:
        return ("",) * 5
    return (side.path, ", ".join(map(str, side.shapes)), side.kernel, exact(side.params), count_text(side.flops))
