"""A diff of two networks as a sheet for the terminal and Markdown, and as JSON."""

from __future__ import annotations

import json
from typing import Any

from archprof.analysis.diff import ADDED, CHANGED, REMOVED, SAME, Change, Diff, Quantity, Side
from archprof.analysis.numbers import exact
from archprof.analysis.table import AtLeast, Count
from archprof.report import markdown, terminal
from archprof.report.layout import NOT_COUNTED
from archprof.report.output import Surface
from archprof.report.sheet import Line, Sheet

SCHEMA = "archprof.diff/1"
FORMATS = ("terminal", "markdown", "json")
_MARKS = {SAME: "", CHANGED: "~", ADDED: "+", REMOVED: "-"}


def render(diff: Diff, format: str, *, all_rows: bool = False, surface: Surface) -> str:  # noqa: A002
    """A diff as text; rows without a change only with `all_rows`."""
    if format == "json":
        return json.dumps(_document(diff), indent=2, ensure_ascii=False) + "\n"
    sheet = _sheet(diff, all_rows)
    return markdown.render(sheet, surface) if format == "markdown" else terminal.render(sheet, surface)


def _sheet(diff: Diff, all_rows: bool) -> Sheet:
    shown = [change for change in diff.changes if all_rows or change.status != SAME]
    hidden = len(diff.changes) - len(shown)
    params, flops = (_moved(*_shown(quantity)) for quantity in diff.totals[:2])
    before, after = diff.before.graph, diff.after.graph
    caption = [_told(quantity) for quantity in diff.totals]
    caption.append(f"counting: {diff.after.counting}: {diff.after.convention.caption}")
    if hidden:
        caption.append(f"{hidden} {'layer is' if hidden == 1 else 'layers are'} the same in both")
    if not any(change.status != SAME for change in diff.changes):
        caption.append("no layer differs")
    return Sheet(
        title=f"{_settled(before.name, before.parameters)} -> {_settled(after.name, after.parameters)}",
        headers=("", "layer", "size-out", "kernel", "param", "FLOPs"),
        right=(False, False, False, False, True, True),
        lines=tuple(map(_line, shown)),
        total=Line(cells=("", "total", "", "", params, flops), kind="total"),
        caption=tuple(caption),
    )


def _settled(name: str, parameters: Any) -> str:
    given = ", ".join(f"{key}={value}" for key, value in parameters.items())
    return f"{name} ({given})" if given else name


def _line(change: Change) -> Line:
    before, after = change.before, change.after
    if before is None or after is None:
        side = after or before
        assert side is not None
        cells = (change.path, _shapes(side), side.kernel, exact(side.params), _count(side.flops))
    else:
        cells = (
            _moved(before.path, after.path),
            _moved(_shapes(before), _shapes(after)),
            _moved(before.kernel, after.kernel),
            _moved(exact(before.params), exact(after.params)),
            _moved(_count(before.flops), _count(after.flops)),
        )
    return Line(cells=(_MARKS[change.status], *cells))


def _told(quantity: Quantity) -> str:
    ratio = "" if quantity.ratio is None or quantity.ratio == 1 else f": x {quantity.ratio:.3g}"
    return f"{quantity.name} {_moved(*_shown(quantity))}{ratio}"


def _shown(quantity: Quantity) -> tuple[str, str]:
    before, after = (NOT_COUNTED if value is None else exact(value) for value in (quantity.before, quantity.after))
    return before, after


def _moved(before: str, after: str) -> str:
    return after if before == after else f"{before or '-'} -> {after or '-'}"


def _shapes(side: Side) -> str:
    return ", ".join(map(str, side.shapes))


def _count(count: Count) -> str:
    if count is None:
        return NOT_COUNTED
    if isinstance(count, AtLeast):
        return f">= {exact(count.value)}"
    return exact(count) if count else ""


def _document(diff: Diff) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "before": {"network": diff.before.graph.name, "settings": dict(diff.before.graph.parameters)},
        "after": {"network": diff.after.graph.name, "settings": dict(diff.after.graph.parameters)},
        "counting": diff.after.counting,
        "fold": diff.fold,
        "rows": [
            {"status": change.status, "before": _side(change.before), "after": _side(change.after)}
            for change in diff.changes
        ],
        "totals": [
            {"name": each.name, "before": each.before, "after": each.after, "ratio": each.ratio} for each in diff.totals
        ],
    }


def _side(side: Side | None) -> dict[str, Any] | None:
    if side is None:
        return None
    return {
        "path": side.path,
        "size_out": [list(shape.dims) for shape in side.shapes],
        "kernel": side.kernel,
        "params": side.params,
        "flops": side.flops if isinstance(side.flops, int) else None,
    }
