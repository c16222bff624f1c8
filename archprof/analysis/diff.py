"""Two networks layer by layer: what is only in one, what changed, and the totals with their ratios."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from archprof.analysis.analysis import Analysis
from archprof.analysis.table import AtLeast, Count, Row, make_table
from archprof.graph import Graph
from archprof.shape import Shape

SAME, CHANGED, ADDED, REMOVED = "same", "changed", "added", "removed"
COLUMNS = ("size-out", "kernel", "param", "FLOPs")


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What one network has at a row."""

    path: str
    shapes: tuple[Shape, ...]
    kernel: str
    params: int
    flops: Count


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One aligned row; `before` is None where it was added, `after` where it was removed."""

    status: str
    before: Side | None
    after: Side | None

    @property
    def path(self) -> str:
        """The row's path, the newer one's where there is one."""
        side = self.after or self.before
        assert side is not None
        return side.path


class Quantity(msgspec.Struct, frozen=True, kw_only=True):
    """A total of both networks. None where it is not known."""

    name: str
    before: int | None
    after: int | None

    @property
    def ratio(self) -> float | None:
        """After over before."""
        return self.after / self.before if self.before and self.after is not None else None


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """Two analyses aligned: rows in the order of the newer network, removed ones where they stood."""

    before: Analysis
    after: Analysis
    fold: int | None
    changes: tuple[Change, ...]
    totals: tuple[Quantity, ...]

    @property
    def same_rows(self) -> bool:
        """Whether no row differs in what a diff shows."""
        return all(change.status == SAME for change in self.changes)

    @property
    def equal(self) -> bool:
        """Whether the networks compute the same, operator by operator, each by the same fields."""
        return _computed(self.before.graph) == _computed(self.after.graph)


def diff(before: Analysis, after: Analysis, fold: int | None) -> Diff:
    """Align the rows of two networks at a depth of their paths, and compare them.

    Rows of one path are one layer; where paths differ, runs of as many rows are paired in order if their
    shapes or kernels agree. Both analyses must have one counting convention and batch.
    """
    rows = tuple(_pairs(_sides(before, fold), _sides(after, fold)))
    known = not (before.lower_bound or after.lower_bound)
    totals = (
        Quantity(name="parameters", before=before.params, after=after.params),
        Quantity(name="FLOPs", before=before.flops if known else None, after=after.flops if known else None),
        Quantity(
            name="activations",
            before=before.total.activations if known else None,
            after=after.total.activations if known else None,
        ),
        Quantity(name="weight layers deep", before=before.depth, after=after.depth),
        Quantity(name="receptive field", before=_extent(before), after=_extent(after)),
    )
    return Diff(before=before, after=after, fold=fold, changes=rows, totals=totals)


def _computed(graph: Graph) -> object:
    nodes = [(node.path, node.operator, node.inputs, node.output_shapes, node.shares) for node in graph.nodes]
    return nodes, dict(graph.outputs), dict(graph.training_outputs)


def _extent(analysis: Analysis) -> int | None:
    """The receptive field of the output, where it is a whole number of pixels alike in all dimensions."""
    sizes = set(analysis.receptive_field or ())
    size = sizes.pop() if len(sizes) == 1 else None
    return size if isinstance(size, int) else None


def _sides(analysis: Analysis, fold: int | None) -> list[Side]:
    return [_side(row) for row in make_table(analysis, fold=fold, columns=COLUMNS).rows if row.kind == "row"]


def _side(row: Row) -> Side:
    shapes, kernel, params, flops = row.cells
    assert isinstance(shapes, tuple)
    assert isinstance(kernel, str)
    assert isinstance(params, int)
    assert flops is None or isinstance(flops, (int, AtLeast))
    return Side(
        path=row.path,
        shapes=tuple(shape for shape in shapes if isinstance(shape, Shape)),
        kernel=kernel,
        params=params,
        flops=flops,
    )


def _pairs(before: Sequence[Side], after: Sequence[Side]) -> Iterator[Change]:
    from difflib import SequenceMatcher

    matcher = SequenceMatcher(None, [side.path for side in before], [side.path for side in after], autojunk=False)
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        old, new = before[start:end], after[new_start:new_end]
        renamed = tag == "replace" and len(old) == len(new) and all(map(_alike, old, new))
        if tag == "equal" or renamed:
            for one, other in zip(old, new, strict=True):
                same = not renamed and one == other
                yield Change(status=SAME if same else CHANGED, before=one, after=other)
            continue
        for side in old:
            yield Change(status=REMOVED, before=side, after=None)
        for side in new:
            yield Change(status=ADDED, before=None, after=side)


def _alike(one: Side, other: Side) -> bool:
    return one.shapes == other.shapes or (one.kernel != "" and one.kernel == other.kernel)
