"""The rows of a profile: layers folded as the table folds them, with what follows from their times and counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from archprof.analysis.table import fold_groups
from archprof.profiling.records import Layer
from archprof.profiling.roofline import Arithmetic, Roofline, arithmetic, layer_least

if TYPE_CHECKING:
    from archprof.profiling.runner import Profile


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Layers that one row stands for: sums of their times and counts over the passes measured, seconds and bytes.

    A count is None where that of some layer is not known, and so is what follows from it.
    """

    path: str
    copies: int = 1
    operator: str = ""
    forward: float
    backward: float | None = None  # None: no layer has a backward pass, or none was measured
    operations: int | None = None
    bytes: int | None = None
    least: float | None = None  # seconds on the roofline, layer by layer the longer of computing and moving
    bound: str | None = None  # "compute" or "memory": which of the two takes longer for the row

    @property
    def seconds(self) -> float:
        """Of the passes together."""
        return self.forward + (self.backward or 0.0)

    @property
    def rate(self) -> float | None:
        """Effective FLOP/s: counted operations over time."""
        return None if not self.operations or not self.seconds else self.operations / self.seconds

    @property
    def intensity(self) -> float | None:
        """Operations a byte."""
        return None if not self.operations or not self.bytes else self.operations / self.bytes

    @property
    def fraction(self) -> float | None:
        """Of the roofline: the least time over the time measured."""
        return None if not self.least or not self.seconds else self.least / self.seconds

    @property
    def ratio(self) -> float | None:
        """The time measured over the least time."""
        return None if not self.least or not self.seconds else self.seconds / self.least


def profile_rows(profile: Profile, *, fold: int | None, repeats: bool = False) -> list[Row]:
    """The rows in order of execution, those of training heads last; then stretches that are no layer's.

    Raises UsageError for a fold below 1.
    """
    ceiling = ceiling_of(profile)
    layers = {layer.path: layer for layer in profile.cell.layers}
    rows = []
    for group in fold_groups(profile.analysis, fold=fold, repeats=repeats):
        paths = [each.node.path for each in group.figures]
        inside = [layers.pop(path) for path in paths if path in layers]
        if inside:
            rows.append(_row(inside, group.path, group.copies, ceiling))
    return [*rows, *(_row([layer], layer.path, 1, None) for layer in layers.values())]


def total_row(profile: Profile) -> Row:
    """All layers together."""
    return _row(profile.cell.layers, "total", 1, ceiling_of(profile))


class Ceiling(NamedTuple):
    """A device's roofline, and the arithmetic that the network did under it."""

    roofline: Roofline
    arithmetic: Arithmetic

    @property
    def dtype(self) -> str:
        """Of the peak that nothing exceeds."""
        return self.arithmetic.highest(self.roofline)


def ceiling_of(profile: Profile) -> Ceiling | None:
    """None where nothing is known of the device, or nothing for this arithmetic."""
    roofline, kinds = profile.roofline, arithmetic(profile.cell)
    return None if roofline is None or not kinds.known(roofline) else Ceiling(roofline, kinds)


def _row(layers: Sequence[Layer], path: str, copies: int, ceiling: Ceiling | None) -> Row:
    backward = [layer.backward for layer in layers if layer.backward is not None]
    counts = [count for layer in layers for count in _counts(layer)]
    operations, moved = (_sum(each) for each in zip(*counts, strict=True))
    least, kind = None, None
    if ceiling is not None and operations is not None:
        least, kind = _on_roofline(layers, ceiling)
    return Row(
        path=path,
        copies=copies,
        operator=layers[0].operator if len(layers) == 1 else "",
        forward=sum(layer.forward for layer in layers),
        backward=sum(backward) if backward else None,
        operations=operations,
        bytes=moved,
        least=least,
        bound=kind,
    )


def _counts(layer: Layer) -> list[tuple[int | None, int | None]]:
    """Operations and bytes of the passes that a layer's time is of."""
    forward = (layer.operations, layer.bytes)
    return [forward] if layer.backward is None else [forward, (layer.operations_backward, layer.bytes_backward)]


def _on_roofline(layers: Sequence[Layer], ceiling: Ceiling) -> tuple[float | None, str | None]:
    compute, memory = (sum(each) for each in zip(*(layer_least(layer, *ceiling) for layer in layers), strict=True))
    if not compute + memory:  # views
        return None, None
    return compute + memory, "compute" if compute >= memory else "memory"


def _sum(counts: Iterable[int | None]) -> int | None:
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total
