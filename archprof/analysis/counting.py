"""Counting conventions: which operations of a cost breakdown one "FLOP" stands for."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from archprof.cost import Cost
from archprof.errors import UsageError
from archprof.operators.base import listed_and, nearest


class Convention(msgspec.Struct, frozen=True, kw_only=True):
    """A set of weights over `Cost`; what has weight 0 is not counted.

    Comparisons have no weight in any convention: they have a column of their own.
    """

    name: str
    caption: str  # what one FLOP is, as the caption of a table says it
    multiply_adds: int = 1
    bias_additions: int = 0
    additions: int = 0
    multiplications: int = 0
    divisions: int = 0
    special: int = 0
    fvcore: int = 0

    def count(self, cost: Cost) -> int:
        """The FLOPs of a cost in this convention."""
        return (
            self.multiply_adds * cost.multiply_adds
            + self.bias_additions * cost.bias_additions
            + self.additions * cost.additions
            + self.multiplications * cost.multiplications
            + self.divisions * cost.divisions
            + self.special * cost.special
            + self.fvcore * cost.fvcore
        )


_PRODUCTS = "one multiply-add of a convolution, linear layer or matrix product"

CONVENTIONS: Mapping[str, Convention] = {
    convention.name: convention
    for convention in (
        Convention(name="multiply_adds", caption=f"a FLOP is {_PRODUCTS}; biases are not counted"),
        Convention(
            name="multiply_adds_with_bias",
            caption=f"a FLOP is {_PRODUCTS}, or the addition of one bias",
            bias_additions=1,
        ),
        Convention(
            name="operations",
            caption="a FLOP is one arithmetic operation of any operator, a multiply-add being two; "
            "comparisons are not counted",
            multiply_adds=2,
            bias_additions=1,
            additions=1,
            multiplications=1,
            divisions=1,
            special=1,
        ),
        Convention(
            name="fvcore",
            caption=f"a FLOP is what fvcore counts: {_PRODUCTS}, and its terms for norms, pooling and upsampling",
            fvcore=1,
        ),
    )
}


def convention(name: str) -> Convention:
    """The convention of a name. Raises UsageError with the nearest name."""
    found = CONVENTIONS.get(name)
    if found is None:
        close = nearest(name, CONVENTIONS)
        hint = f"did you mean {close}?" if close else f"there are {listed_and(CONVENTIONS)}"
        raise UsageError(f"unknown counting convention {name}: {hint}")
    return found
