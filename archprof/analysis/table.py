"""The table of an analysis: rows by folded path, columns by name, every cell a raw value (report/ prints them)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from archprof.analysis.analysis import Analysis, NodeFigures
from archprof.analysis.counting import CONVENTIONS, Convention
from archprof.errors import UsageError
from archprof.graph import Value
from archprof.operators.base import hint
from archprof.shape import Shape

if TYPE_CHECKING:
    from fractions import Fraction


class AtLeast(NamedTuple):
    """A count to which nodes belong whose own is not known."""

    value: int


class Share(NamedTuple):
    """An exact fraction of the column's total."""

    part: int
    whole: int


Name: TypeAlias = "tuple[str, int]"  # of a row: its path, and how many copies it stands for
Key: TypeAlias = "tuple[bool, Name]"  # of a group: whether for training only, and its name
Count: TypeAlias = "int | AtLeast | None"  # None: not counted
Cell: TypeAlias = "Count | Share | str | tuple[Shape, ...] | tuple[int | Fraction, ...]"
EMPTY = ""  # a cell that has nothing to say, in a column of any kind


class Group(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The nodes that one row stands for, and what enters and leaves them."""

    path: str
    copies: int = 1  # repeated copies that the row stands for
    training_only: bool
    figures: tuple[NodeFigures, ...]
    size_in: tuple[Shape, ...]  # distinct shapes that come from outside, in order
    size_out: tuple[Shape, ...]  # of the last node that something outside uses
    end: NodeFigures  # that node
    depth: int  # weight layers on the longest path inside

    @property
    def label(self) -> str:
        """The path as printed, with the number of copies that are folded into it."""
        return self.path if self.copies == 1 else f"{self.path} x {self.copies}"


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column that a table can have: `count` gives what adds up, `value` anything else."""

    name: str
    title: str
    help: str
    value: Callable[[Group], Cell] | None = None
    count: Callable[[Group], Count] | None = None
    form: str = "plain"  # of a count: itself, its "share" of the total, or the "cumulative" sum down to the row
    unit: str = ""  # "bytes", "pixels" or nothing
    zero: str = ""  # what a counted zero prints as

    @property
    def sums(self) -> bool:
        """Whether the rows of the column add up to its total."""
        return self.count is not None and self.form != "cumulative"

    @property
    def numeric(self) -> bool:
        """Whether its cells are numbers, to be aligned on the right."""
        return self.count is not None or self.name in ("depth", "receptive-field")


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row. `kind` is "row", "subtotal" or "total"; `path` of the last two is their label."""

    path: str
    copies: int = 1
    kind: str = "row"
    training_only: bool = False
    cells: tuple[Cell, ...]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows in order of execution: the network's, then those of heads for training; the total apart."""

    analysis: Analysis
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    total: Row
    fold: int | None


DEFAULT_COLUMNS = ("layer", "size-in", "size-out", "kernel", "param", "FLOPs")


def make_table(
    analysis: Analysis,
    *,
    fold: int | None,
    columns: Sequence[str] | None = None,
    repeats: bool = False,
) -> Table:
    """A table with a row for each dotted path cut off at depth `fold` (None: for each node).

    `columns` are names of COLUMNS, None takes the six of the lecture's tables. With `repeats` neighbouring
    copies of a repeated layer that have equal figures share one row. Raises UsageError for a fold
    below 1, an unknown column or no column at all.
    """
    chosen = tuple(map(column, DEFAULT_COLUMNS if columns is None else columns))
    if not chosen:
        raise UsageError("a table needs at least one column")
    groups = fold_groups(analysis, fold=fold, repeats=repeats)
    values = [_column_cells(each, groups, analysis) for each in chosen]

    def row(path: str, kind: str, place: int, training_only: bool = False) -> Row:
        return Row(path=path, kind=kind, training_only=training_only, cells=tuple(cells[place] for cells in values))

    rows = [
        Row(
            path=group.path,
            copies=group.copies,
            training_only=group.training_only,
            cells=tuple(cells[place] for cells in values),
        )
        for place, group in enumerate(groups)
    ]
    heads = sum(group.training_only for group in groups)
    if heads:
        rows.insert(len(rows) - heads, row("network", "subtotal", -3))
        rows.append(row("training heads", "subtotal", -2, training_only=True))
    return Table(analysis=analysis, columns=chosen, rows=tuple(rows), total=row("total", "total", -1), fold=fold)


# --- rows


def fold_groups(analysis: Analysis, *, fold: int | None, repeats: bool = False) -> list[Group]:
    """The groups that the rows of a table, or the boxes of a picture, stand for; those of training heads last.

    Folding is `make_table`'s. Raises UsageError for a fold below 1.
    """
    if fold is not None and fold < 1:
        raise UsageError(f"fold must be at least 1, not {fold}; all shows every node")
    groups = _groups(analysis, {each.node.path: (_folded(each.node.path, fold), 1) for each in analysis.figures})
    return _groups(analysis, _repeats(groups)) if repeats else groups


def _folded(path: str, fold: int | None) -> str:
    return path if fold is None else ".".join(path.split(".", fold)[:fold])


def _groups(analysis: Analysis, names: Mapping[str, Name]) -> list[Group]:
    """Nodes whose paths have one name together: the network's groups first, then those of training heads."""
    graph = analysis.graph
    figures_of = {figures.node.path: figures for figures in analysis.figures}
    members: dict[Key, list[NodeFigures]] = {}
    entering: dict[Key, list[Shape]] = {}
    ends: dict[Key, int] = {}  # the last node that something outside its group uses
    leaving: set[Value] = set()  # values that something outside their group uses
    depths: dict[Key, int] = {}
    keys: list[Key | None] = []  # by node; None for an input, or a node left out
    depth_inside: list[int] = []  # by node: weight layers up to it inside its group

    def leave(value: Value) -> None:
        key = keys[value.node]
        if key is not None:
            leaving.add(value)
            ends[key] = max(ends.get(key, 0), value.node)

    for node in graph.nodes:
        figures = figures_of.get(node.path)
        if figures is None and not node.is_input:  # left out: a head for training
            keys.append(None)
            depth_inside.append(0)
            continue
        key = None if figures is None else (node.training_only, names[node.path])
        depth = 0
        for value, shape in zip(node.inputs, node.input_shapes, strict=True):
            if key is not None and keys[value.node] == key:
                depth = max(depth, depth_inside[value.node])
                continue
            leave(value)
            if key is not None:
                entering.setdefault(key, []).append(shape)
        depth += node.operator.depth
        keys.append(key)
        depth_inside.append(depth)
        if key is not None and figures is not None:
            members.setdefault(key, []).append(figures)
            depths[key] = max(depths.get(key, 0), depth)
    for outputs in (graph.outputs, graph.training_outputs):
        for value in outputs.values():
            leave(value)

    groups = []
    for key in sorted(members, key=lambda key: key[0]):
        training_only, (path, copies) = key
        if key in ends:
            last = graph.nodes[ends[key]]
            end = figures_of[last.path]
            shapes = [shape for k, shape in enumerate(last.output_shapes) if Value(ends[key], k) in leaving]
        else:  # nothing uses it
            end = members[key][-1]
            shapes = list(end.node.output_shapes)
        groups.append(
            Group(
                path=path,
                copies=copies,
                training_only=training_only,
                figures=tuple(members[key]),
                size_in=tuple(dict.fromkeys(entering.get(key, ()))),
                size_out=tuple(dict.fromkeys(shapes)),
                end=end,
                depth=depths[key],
            )
        )
    return groups


def _repeats(groups: Sequence[Group]) -> dict[str, Name]:
    """Path of a node -> the name of its row, neighbouring copies of a repeated layer being one: c.1-3, 3 copies."""
    runs: list[list[Group]] = []
    for group in groups:
        if runs and _is_next_copy(runs[-1][-1], group):
            runs[-1].append(group)
        else:
            runs.append([group])
    names: dict[str, Name] = {}
    for run in runs:
        path = run[0].path
        if len(run) > 1:
            path += "-" + run[-1].path.rpartition(".")[2]
        name = (path, len(run))
        for group in run:
            names.update((each.node.path, name) for each in group.figures)
    return names


def _is_next_copy(one: Group, other: Group) -> bool:
    parent, _, index = one.path.rpartition(".")
    other_parent, _, other_index = other.path.rpartition(".")
    if not (parent and parent == other_parent and index.isdecimal() and other_index.isdecimal()):
        return False
    return int(other_index) == int(index) + 1 and _common(one) == _common(other)


def _common(group: Group) -> tuple[object, ...]:
    """What two copies must have in common to share a row."""
    leaves = tuple((each.node.operator, each.cost, each.params, each.node.output_shapes) for each in group.figures)
    return (group.training_only, group.size_in, group.size_out, leaves)


# --- columns


def _sum(counts: Iterable[Count]) -> Count:
    """Known counts added up; at least that much where some are not known, None where nothing is."""
    known = 0
    unknown = False
    for each in counts:
        if isinstance(each, int):
            known += each
        else:
            unknown = True
            known += 0 if each is None else each.value
    if unknown:
        return AtLeast(known) if known else None
    return known


def _known(count: Count) -> int:
    return count.value if isinstance(count, AtLeast) else count or 0


def _operator(group: Group) -> str:
    """The operator of the only node, or of the only one with a kernel, or with parameters."""
    leaves = [each.node for each in _one_copy(group)]
    with_kernel = [node for node in leaves if node.operator.kernel(node.input_shapes)]
    with_parameters = [node for node in leaves if node.operator.parameters(node.input_shapes)]
    for chosen in (leaves, with_kernel, with_parameters):
        if len(chosen) == 1:
            return chosen[0].operator.op
    return EMPTY


def _kernel(group: Group) -> str:
    """The kernel cell of the only node that has one."""
    cells = [cell for each in _one_copy(group) if (cell := each.node.operator.kernel(each.node.input_shapes))]
    return cells[0] if len(cells) == 1 else EMPTY


def _one_copy(group: Group) -> tuple[NodeFigures, ...]:
    return group.figures[: len(group.figures) // group.copies]


def _param(group: Group) -> Count:
    return sum(each.params for each in group.figures)


def _flops(group: Group) -> Count:
    return _sum(each.flops for each in group.figures)


def _activations(group: Group) -> Count:
    return _sum(each.activations for each in group.figures)


def _comparisons(group: Group) -> Count:
    return _sum(None if each.cost is None else each.cost.comparisons for each in group.figures)


def _counted_by(convention: Convention) -> Callable[[Group], Count]:
    return lambda group: _sum(None if each.cost is None else convention.count(each.cost) for each in group.figures)


COLUMNS: Mapping[str, Column] = {
    column.name: column
    for column in (
        Column(name="layer", title="layer", help="path of the layer", value=lambda group: group.label),
        Column(name="operator", title="operator", help="the operator, of a group the main one", value=_operator),
        Column(name="size-in", title="size-in", help="shapes that enter", value=lambda group: group.size_in),
        Column(name="size-out", title="size-out", help="shape that leaves", value=lambda group: group.size_out),
        Column(name="kernel", title="kernel", help="kernel x input channels a group, stride", value=_kernel),
        Column(name="param", title="param", help="trainable parameters", count=_param, zero="0"),
        Column(name="FLOPs", title="FLOPs", help="operations in the counting convention in force", count=_flops),
        Column(
            name="activations",
            title="activations",
            help="elements put out by convolutions and linear layers",
            count=_activations,
        ),
        Column(
            name="param-share", title="param", help="share of all parameters", count=_param, form="share", zero="0.0"
        ),
        Column(name="FLOPs-share", title="FLOPs", help="share of all FLOPs", count=_flops, form="share"),
        Column(
            name="memory",
            title="memory",
            help="bytes of the outputs; a view has none",
            count=lambda group: sum(each.output_bytes for each in group.figures),
            unit="bytes",
        ),
        Column(
            name="receptive-field",
            title="receptive field",
            help="pixels of the input that one output position sees",
            value=lambda group: group.end.receptive_field or EMPTY,
            unit="pixels",
        ),
        Column(
            name="depth",
            title="depth",
            help="weight layers on the longest path",
            value=lambda group: group.depth,
        ),
        Column(
            name="buffers",
            title="buffers",
            help="elements kept beside the parameters",
            count=lambda group: sum(each.buffers for each in group.figures),
        ),
        Column(
            name="comparisons",
            title="comparisons",
            help="comparisons, which no counting convention counts",
            count=_comparisons,
        ),
        Column(
            name="bytes",
            title="bytes",
            help="bytes read and written",
            count=lambda group: sum(each.moved_bytes for each in group.figures),
            unit="bytes",
        ),
        Column(
            name="cumulative-param",
            title="param so far",
            help="parameters down to here",
            count=_param,
            form="cumulative",
            zero="0",
        ),
        Column(
            name="cumulative-FLOPs",
            title="FLOPs so far",
            help="FLOPs down to here",
            count=_flops,
            form="cumulative",
            zero="0",
        ),
        Column(
            name="cumulative-activations",
            title="activations so far",
            help="activations down to here",
            count=_activations,
            form="cumulative",
            zero="0",
        ),
        *(
            Column(name=each.name, title=each.name, help=each.caption, count=_counted_by(each))
            for each in CONVENTIONS.values()
        ),
    )
}


def column(name: str) -> Column:
    """The column of a name, in any case. Raises UsageError with the nearest name."""
    found = COLUMNS.get(name) or next((each for each in COLUMNS.values() if each.name.lower() == name.lower()), None)
    if found is None:
        raise UsageError(f"unknown column {name}: {hint(name, COLUMNS)}")
    return found


def _column_cells(column: Column, groups: Sequence[Group], analysis: Analysis) -> list[Cell]:
    """The cell of every group, and after them those of the network's subtotal, the heads' and the total."""
    if column.value is not None:
        values = map(column.value, groups)
        if column.name == "layer":
            return [*values, "network", "training heads", "total"]
        if column.name == "depth":
            return [*values, analysis.depth, EMPTY, analysis.depth]
        return [*values, EMPTY, EMPTY, EMPTY]
    assert column.count is not None
    counts = list(map(column.count, groups))
    network, heads, total = (
        _sum(count for count, group in zip(counts, groups, strict=True) if group.training_only in chosen)
        for chosen in ((False,), (True,), (False, True))
    )
    if column.form == "share":
        whole = _known(total)
        return [None if count is None else Share(_known(count), whole) for count in (*counts, network, heads, total)]
    if column.form == "cumulative":
        running: list[Count] = []
        for count in counts:
            running.append(_sum((running[-1], count)) if running else count)
        return [*running, network, EMPTY, total]
    return [*counts, network, heads, total]


def cell_text(cell: Cell) -> str:
    """A cell that is no count, as text: shapes as papers print them, a square receptive field as one number."""
    if isinstance(cell, tuple):
        if all(isinstance(each, Shape) for each in cell):
            return ", ".join(map(str, cell))
        return str(cell[0]) if len(set(cell)) == 1 else "x".join(map(str, cell))
    return str(cell)
