"""A diff of two networks as a sheet for the terminal and Markdown, and as JSON.

JSON is in the schema archprof.diff/1, which `diff-1.schema.json` beside this file describes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archprof.analysis.diff import ADDED, CHANGED, REMOVED, SAME, Change, Diff, Quantity, Side
from archprof.analysis.numbers import exact
from archprof.analysis.table import AtLeast, Count
from archprof.report import markdown, terminal
from archprof.report.json import exact_value, finite
from archprof.report.layout import NOT_COUNTED
from archprof.report.output import Surface
from archprof.report.sheet import Line, Sheet

SCHEMA = "archprof.diff/1"
SCHEMA_FILE = Path(__file__).with_name("diff-1.schema.json")
FORMATS = ("terminal", "markdown", "json")
_MARKS = {SAME: "", CHANGED: "~", ADDED: "+", REMOVED: "-"}


def render(
    diff: Diff,
    format: str,  # noqa: A002
    *,
    specs: tuple[str, str],
    all_rows: bool = False,
    surface: Surface,
) -> str:
    """A diff as text; rows without a change only with `all_rows`. `specs` are the two as the user named them."""
    if format == "json":
        return json.dumps(_document(diff, specs), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    sheet = _sheet(diff, specs, all_rows)
    return markdown.render(sheet, surface) if format == "markdown" else terminal.render(sheet, surface)


def _sheet(diff: Diff, specs: tuple[str, str], all_rows: bool) -> Sheet:
    shown = [change for change in diff.changes if all_rows or change.status != SAME]
    hidden = len(diff.changes) - len(shown)
    params, flops = (_moved(*_shown(quantity)) for quantity in diff.totals[:2])
    caption = [_told(quantity) for quantity in diff.totals]
    if diff.equal:
        caption.insert(0, "the networks are equal")
    elif diff.same_rows:
        caption.insert(
            0, f"{_rows(diff)} no row differs, but the networks do: see --fold all, or their operators' fields"
        )
    elif hidden:
        rows = "row has" if hidden == 1 else "rows have"
        caption.append(f"{_rows(diff)} {hidden} more {rows} the same shape, kernel, parameters and FLOPs in both")
    caption.append(f"counting: {diff.after.counting}: {diff.after.convention.caption}")
    return Sheet(
        title=" -> ".join(_titles(diff, specs)),
        headers=("", "layer", "size-out", "kernel", "param", "FLOPs"),
        right=(False, False, False, False, True, True),
        lines=tuple(map(_line, shown)),
        total=Line(cells=("", "total", "", "", params, flops), kind="total"),
        caption=tuple(caption),
    )


def _rows(diff: Diff) -> str:
    return "of all nodes" if diff.fold is None else f"at depth {diff.fold} of the paths"


def _titles(diff: Diff, specs: tuple[str, str]) -> tuple[str, str]:
    """The networks' names with the settings in which they differ; where that says nothing, the specs as given."""
    before, after = diff.before.graph, diff.after.graph
    titles = (
        _settled(before.name, before.parameters, after.parameters),
        _settled(after.name, after.parameters, before.parameters),
    )
    return specs if titles[0] == titles[1] else titles


def _settled(name: str, parameters: Mapping[str, Any], others: Mapping[str, Any]) -> str:
    given = ", ".join(
        f"{key}={value}" for key, value in parameters.items() if key not in others or others[key] != value
    )
    return f"{name} ({given})" if given else name


def _line(change: Change) -> Line:
    before, after = change.before, change.after
    if before is None or after is None:
        side = after or before
        assert side is not None
        cells = (change.path, _shapes(side), side.kernel, exact(side.params), count_text(side.flops))
    else:
        cells = (
            _moved(before.path, after.path),
            _moved(_shapes(before), _shapes(after)),
            _moved(before.kernel, after.kernel),
            _moved(exact(before.params), exact(after.params)),
            _moved(count_text(before.flops), count_text(after.flops)),
        )
    return Line(cells=(_MARKS[change.status], *cells))


def _told(quantity: Quantity) -> str:
    ratio = "" if quantity.ratio is None or quantity.ratio == 1 else f": x {quantity.ratio:.3g}"
    both = " in both" if quantity.before == quantity.after else ""
    return f"{quantity.name} {_moved(*_shown(quantity))}{ratio or both}"


def _shown(quantity: Quantity) -> tuple[str, str]:
    before, after = (NOT_COUNTED if value is None else exact(value) for value in (quantity.before, quantity.after))
    return before, after


def _moved(before: str, after: str) -> str:
    return after if before == after else f"{before or '-'} -> {after or '-'}"


def _shapes(side: Side) -> str:
    return ", ".join(map(str, side.shapes))


def count_text(count: Count) -> str:
    """A count as a diff prints it: exact, a counted zero as an empty cell."""
    if count is None:
        return NOT_COUNTED
    if isinstance(count, AtLeast):
        return f">= {exact(count.value)}"
    return exact(count) if count else ""


def _document(diff: Diff, specs: tuple[str, str]) -> dict[str, Any]:
    before, after = (
        {"spec": spec, "network": graph.name, "settings": finite(graph.parameters)}
        for spec, graph in zip(specs, (diff.before.graph, diff.after.graph), strict=True)
    )
    return {
        "schema": SCHEMA,
        "before": before,
        "after": after,
        "equal": diff.equal,
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
        "size_out": exact_value(side.shapes),
        "kernel": side.kernel,
        "params": side.params,
        "flops": exact_value(side.flops),
    }
