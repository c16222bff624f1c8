"""Operators on elements of equal place: sums and products of tensors, absolute value, dropout, identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators.base import Inputs, Number, Operator, register, shown
from archprof.shape import Shape

if TYPE_CHECKING:
    from torch import nn


def broadcast(inputs: Inputs) -> tuple[int, ...]:
    """The dimensions that PyTorch broadcasts samples of these shapes to. Raises Refusal.

    Ranks must be equal: with a batch before them, shorter shapes would not line up in PyTorch either.
    """
    ranks = {len(shape.dims) for shape in inputs}
    sizes = [{dim for dim in dims if dim != 1} for dims in zip(*(shape.dims for shape in inputs), strict=False)]
    if len(ranks) > 1 or any(len(found) > 1 for found in sizes):
        shapes = " and ".join(shown(shape.dims) for shape in inputs)
        raise Refusal("shape-mismatch", f"the shapes {shapes} do not fit: dimensions must be equal, or 1")
    return tuple(found.pop() if found else 1 for found in sizes)


class _Combination(Operator, frozen=True, kw_only=True):
    arity: ClassVar[tuple[int, int | None]] = (2, None)

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return (inputs[0].with_dims(*broadcast(inputs)),)

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.Combination(self.op)


@register("add")
class Add(_Combination, frozen=True, kw_only=True):
    """Sum of two or more inputs, broadcast: an addition an output element and further input."""

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        return Cost(additions=outputs[0].numel * (len(inputs) - 1))

    def backward_cost(self, inputs: Inputs, outputs: Inputs, input_gradient: bool, weight_gradient: bool) -> Cost:
        return Cost()  # the gradient is handed on


@register("subtract")
class Subtract(_Combination, frozen=True, kw_only=True):
    """The first input less the second, broadcast."""

    arity: ClassVar[tuple[int, int | None]] = (2, 2)

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        return Cost(additions=outputs[0].numel)


@register("multiply")
class Multiply(_Combination, frozen=True, kw_only=True):
    """Product of two or more inputs, broadcast (a gate, a channel's scale)."""

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        return Cost(multiplications=outputs[0].numel * (len(inputs) - 1))

    def backward_cost(self, inputs: Inputs, outputs: Inputs, input_gradient: bool, weight_gradient: bool) -> Cost:
        return Cost(multiplications=outputs[0].numel * len(inputs) if input_gradient else 0)


@register("abs")
class Abs(Operator, frozen=True, kw_only=True):
    """Absolute value: a comparison an element."""

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return inputs

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        return Cost(comparisons=inputs[0].numel)

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.Abs()


class _Nothing(Operator, frozen=True, kw_only=True):
    view: ClassVar[bool] = True

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return inputs


@register("identity")
class Identity(_Nothing, frozen=True, kw_only=True):
    """Its input."""

    takes: ClassVar[str] = "any"

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.Identity()


@register("dropout", p=Number(0, 1))
class Dropout(_Nothing, frozen=True, kw_only=True):
    """Dropout with probability p: nothing in inference, a comparison and a multiplication an element in training."""

    p: float = 0.5

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        count = inputs[0].numel if train else 0
        return Cost(comparisons=count, multiplications=count)

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.Dropout(self.p)
