"""What the page's script is given: a network's tree, figures and edges, compact enough for thousands of nodes.

Rows that are alike (copies of a repeat) share one `kind`, the tuple of their cells, so ResNet-1202's 6,015 rows
come to 100 kB. Counts stay exact: one above 2^53 - 1, which a script's numbers cannot hold, is a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from archprof.analysis import COLUMNS, Analysis, AtLeast, Cell, Column
from archprof.analysis.numbers import BYTE_UNITS, column_style
from archprof.analysis.table import Group, cell_text
from archprof.graph import Node
from archprof.operators.base import Operator
from archprof.report.page.results import LayerTimes
from archprof.report.page.tree import TreeRow

SHOWN = ("size-in", "size-out", "kernel", "param", "FLOPs", "activations", "memory")
_SAFE = 2**53 - 1
_BY_ROW = ("receptive-field",)  # differs between copies of a repeat, so no part of a kind


def network_data(
    analysis: Analysis,
    rows: Sequence[TreeRow],
    times: Sequence[LayerTimes] = (),
    marks: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A network for the script, as plain values for JSON.

    `times` are measured ones, each set with its own label. `marks` say of a node's path what a diff says of it.
    """
    columns = [column for column in COLUMNS.values() if column.name != "layer"]
    stored = [column for column in columns if column.form == "plain" and column.name not in _BY_ROW]
    kinds: dict[tuple[Any, ...], int] = {}
    kind_of = [kinds.setdefault(_kind(row, stored), len(kinds)) for row in rows]
    fields = texts(COLUMNS["receptive-field"].value, rows)
    leaf_of = {row.group.figures[0].node.path: place for place, row in enumerate(rows) if row.is_leaf}
    graph = analysis.graph
    inputs = {node.path: place for place, node in enumerate(graph.inputs)}
    return {
        "name": graph.name,
        "columns": [_column(column, stored, rows, analysis) for column in columns],
        "total": [_plain(_total(column, rows)) for column in stored],
        "kinds": [list(kind) for kind in kinds],
        "parent": [-1 if row.parent is None else row.parent for row in rows],
        "kind": kind_of,
        **_interned("label", [row.name for row in rows]),
        **_interned("field", fields),
        "copies": {place: row.group.copies for place, row in enumerate(rows) if row.group.copies > 1},
        "heads": [place for place, row in enumerate(rows) if row.group.training_only],
        "fold": graph.fold,
        "inputs": [[node.path, str(node.output_shapes[0])] for node in graph.inputs],
        "outputs": [
            [name, leaf_of[path]]
            for outputs in (graph.outputs, graph.training_outputs)
            for name, value in outputs.items()
            if (path := graph.nodes[value.node].path) in leaf_of
        ],
        "edges": list(_edges(analysis, leaf_of, inputs)),
        "times": [_times(each, rows) for each in times],
        "marks": _marks(rows, marks or {}),
    }


def _kind(row: TreeRow, stored: Iterable[Column]) -> tuple[Any, ...]:
    cells = (_plain(_cell(column, row.group)) for column in stored)
    return (*((tuple(cell) if isinstance(cell, list) else cell) for cell in cells), _settings(row))


def _cell(column: Column, group: Group) -> Cell:
    if column.count is not None:
        return column.count(group)
    assert column.value is not None
    return column.value(group)


def _plain(cell: Cell) -> Any:
    """A cell for JSON: a text, a number, null for what is not counted, [least] where only that much is known."""
    if isinstance(cell, AtLeast):
        return [_number(cell.value)]
    if isinstance(cell, int):
        return _number(cell)
    return None if cell is None else cell_text(cell)


def _number(value: int) -> int | str:
    return value if value <= _SAFE else str(value)


def texts(value: Any, rows: Iterable[TreeRow]) -> list[str]:
    """The text of a column that does not add up, a row each."""
    return [cell_text(value(row.group)) for row in rows]


def _column(column: Column, stored: Sequence[Column], rows: Sequence[TreeRow], analysis: Analysis) -> dict[str, Any]:
    """How the script fills and prints a column; `of` is the place of its counts, or of its texts, in a kind."""
    found: dict[str, Any] = {
        "name": column.name,
        "title": column.title,
        "help": column.help,
        "numeric": column.numeric,
        "shown": column.name in SHOWN,
    }
    if column.count is None:
        return {**found, "form": "text", "of": -1 if column.name in _BY_ROW else stored.index(column)}
    source = next(place for place, each in enumerate(stored) if each.count is column.count)
    counts = [_known(stored[source].count(row.group)) for row in rows]  # type: ignore[misc]
    total = _known(_total(stored[source], rows))
    style = column_style(counts, total, BYTE_UNITS if column.unit == "bytes" else None)
    return {
        **found,
        "form": "count" if column.form == "plain" else column.form,
        "of": source,
        "unit": "%" if column.form == "share" else style.unit,
        "size": style.size,
        "decimals": style.decimals,
        "bytes": column.unit == "bytes",
        "zero": column.zero,
    }


def _total(column: Column, rows: Iterable[TreeRow]) -> Cell:
    """Of the whole network: the sum of the rows at depth 1."""
    if column.count is None:
        return ""
    known, unknown = 0, False
    for row in rows:
        if row.parent is None:
            count = column.count(row.group)
            known += _known(count)
            unknown = unknown or not isinstance(count, int)
    return AtLeast(known) if unknown and known else None if unknown else known


def _known(count: Cell) -> int:
    return count.value if isinstance(count, AtLeast) else count if isinstance(count, int) else 0


def _settings(row: TreeRow) -> str:
    """The fields of a node's operator that differ from their defaults, as a spec writes them."""
    if not row.is_leaf:
        return ""
    operator = row.group.figures[0].node.operator
    names, defaults = operator.__struct_fields__, operator.__struct_defaults__
    usual = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    return ", ".join(
        f"{name}={_setting(value)}"
        for name in names
        if (value := getattr(operator, name)) is not None and not (name in usual and usual[name] == value)
    )


def _setting(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(map(_setting, value)) if len(value) > 1 else ", ".join(map(_setting, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Operator):
        return value.op
    return str(value)


def _interned(name: str, values: Sequence[str]) -> dict[str, Any]:
    """Texts of which many are the same: each once, and by place."""
    places: dict[str, int] = {}
    chosen = [places.setdefault(value, len(places)) for value in values]
    return {f"{name}s": list(places), name: chosen}


def _edges(analysis: Analysis, leaf_of: Mapping[str, int], inputs: Mapping[str, int]) -> Iterable[int]:
    """From and to, by place of the row; an input of the network is -1 - its place among the inputs."""

    def place(node: Node) -> int | None:
        return -1 - inputs[node.path] if node.is_input else leaf_of.get(node.path)

    nodes = analysis.graph.nodes
    for node in nodes:
        target = leaf_of.get(node.path)
        if target is None:
            continue
        for value in dict.fromkeys(value.node for value in node.inputs):
            source = place(nodes[value])
            if source is not None:
                yield source
                yield target


def _times(times: LayerTimes, rows: Sequence[TreeRow]) -> dict[str, Any]:
    """Seconds of every row, the sum over its nodes; null where none of them was timed."""
    return {
        "label": times.label,
        "forward": [_seconds(times.forward, row.group) for row in rows],
        "backward": [_seconds(times.backward, row.group) for row in rows],
        "bound": [_bound(times, row.group) for row in rows],
    }


def _seconds(times: Mapping[str, float], group: Group) -> float | None:
    found = [times[each.node.path] for each in group.figures if each.node.path in times]
    return float(f"{sum(found):.6g}") if found else None


def _bound(times: LayerTimes, group: Group) -> str:
    """What bounds the longer part of the least time of a row's nodes; nothing where there is none."""
    found = [times.least[each.node.path] for each in group.figures if each.node.path in times.least]
    compute, memory = sum(each.compute for each in found), sum(each.memory for each in found)
    return "" if compute == memory == 0 else "compute" if compute >= memory else "memory"


def _marks(rows: Sequence[TreeRow], marks: Mapping[str, str]) -> dict[int, str]:
    """By place of the row: what all its nodes are marked as, "changed" where they differ in that."""
    found = {}
    for place, row in enumerate(rows):
        seen = {marks.get(each.node.path) for each in row.group.figures}
        if seen != {None}:
            only = seen.pop() if len(seen) == 1 else None
            found[place] = only or "changed"
    return found


def as_json(value: Any) -> str:
    """JSON that may stand inside a script element: no text of it can end the element, nor begin a comment."""
    text = msgspec.json.encode(value).decode()
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
