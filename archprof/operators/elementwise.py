"""Operators on elements of equal place: sums and products of tensors, absolute value, dropout, identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators.base import Inputs, Needed, Number, Operator, Saved, listed_and, register, shown
from archprof.shape import Shape

if TYPE_CHECKING:
    from torch import nn


def broadcast(shapes: tuple[tuple[int, ...], ...], trailing: int = 0) -> tuple[int, ...]:
    """The dimensions that PyTorch broadcasts samples of these shapes to, the last `trailing` left out.

    Ranks must be equal: with a batch before them, shorter shapes would not line up in PyTorch either.
    Raises Refusal.
    """
    leading = [dims[: len(dims) - trailing] for dims in shapes]
    sizes = [{dim for dim in dims if dim != 1} for dims in zip(*leading, strict=False)]
    if len(set(map(len, shapes))) > 1 or any(len(found) > 1 for found in sizes):
        these = "leading dimensions" if trailing else "dimensions"
        raise Refusal(
            "shape-mismatch", f"the shapes {listed_and(map(shown, shapes))} do not fit: {these} must be equal, or 1"
        )
    return tuple(found.pop() if found else 1 for found in sizes)


class _Combination(Operator, frozen=True, kw_only=True):
    arity: ClassVar[tuple[int, int | None]] = (2, None)

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return (inputs[0].with_dims(*broadcast(tuple(shape.dims for shape in inputs))),)

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.Combination(self.op)


@register("add")
class Add(_Combination, frozen=True, kw_only=True):
    """Sum of two or more inputs, broadcast: an addition an output element and further input."""

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        return Cost(additions=outputs[0].numel * (len(inputs) - 1))

    def backward_cost(self, inputs: Inputs, outputs: Inputs, needed: Needed, weight_gradient: bool) -> Cost:
        return Cost()  # the gradient is handed on


@register("subtract")
class Subtract(_Combination, frozen=True, kw_only=True):
    """The first input less the second, broadcast."""

    arity: ClassVar[tuple[int, int | None]] = (2, 2)

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        return Cost(additions=outputs[0].numel)

    def backward_cost(self, inputs: Inputs, outputs: Inputs, needed: Needed, weight_gradient: bool) -> Cost:
        return Cost(additions=outputs[0].numel if needed[1] else 0)  # a sign changed


@register("multiply")
class Multiply(_Combination, frozen=True, kw_only=True):
    """Product of two or more inputs, broadcast (a gate, a channel's scale)."""

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        return Cost(multiplications=outputs[0].numel * (len(inputs) - 1))

    def backward_cost(self, inputs: Inputs, outputs: Inputs, needed: Needed, weight_gradient: bool) -> Cost:
        return Cost(multiplications=outputs[0].numel * sum(needed))

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        products = outputs[0].numel * (len(inputs) - 2)  # of three and more, those before the last
        return Saved(inputs=tuple(range(len(inputs))), elements=products)


@register("abs")
class Abs(Operator, frozen=True, kw_only=True):
    """Absolute value: a comparison an element."""

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return inputs

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        return Cost(comparisons=inputs[0].numel)

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(inputs=(0,))

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.Abs()


@register("identity")
class Identity(Operator, frozen=True, kw_only=True):
    """Its input."""

    takes: ClassVar[str] = "any"
    view: ClassVar[bool] = True

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return inputs

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.Identity()


class _Dropping(Operator, frozen=True, kw_only=True):
    view: ClassVar[bool] = True  # in inference it hands its input on

    p: float = 0.5

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return inputs

    def is_view(self, train: bool) -> bool:
        return not (train and self.p)

    def backward_cost(self, inputs: Inputs, outputs: Inputs, needed: Needed, weight_gradient: bool) -> Cost:
        return Cost(multiplications=inputs[0].numel if needed[0] else 0)


@register("dropout", p=Number(0, 1))
class Dropout(_Dropping, frozen=True, kw_only=True):
    """Dropout with probability p (Srivastava et al. 2014): nothing in inference.

    In training an element is compared with p and multiplied by 0 or 1 / (1 - p).
    """

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        count = inputs[0].numel if train else 0
        return Cost(comparisons=count, multiplications=count)

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(elements=inputs[0].numel if self.p else 0)

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.Dropout(self.p)


@register("drop_path", p=Number(0, 1))
class DropPath(_Dropping, frozen=True, kw_only=True):
    """Stochastic depth (Huang et al. 2016): whole samples of a branch are dropped with probability p.

    Nothing in inference; in training a sample is compared with p and multiplied by 0 or 1 / (1 - p).
    """

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        shape = inputs[0]
        return Cost(comparisons=shape.samples, multiplications=shape.numel) if train else Cost()

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(index_bytes=inputs[0].samples if self.p else 0)  # which samples are kept

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.DropPath(self.p)
