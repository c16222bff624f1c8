"""Linear layers, maxout and matrix products."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators.base import (
    WHOLE,
    Flag,
    Inputs,
    Integer,
    Needed,
    Operator,
    ParameterShapes,
    Saved,
    register,
    shown,
)
from archprof.operators.elementwise import broadcast
from archprof.shape import Shape

if TYPE_CHECKING:
    from torch import nn


@register("linear", out_features=Integer(1), bias=Flag())
class Linear(Operator, frozen=True, kw_only=True):
    """Linear layer on the last dimension: (..., in) to (..., out_features)."""

    depth: ClassVar[int] = 1

    out_features: int
    bias: bool = True

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return (inputs[0].with_dims(*inputs[0].dims[:-1], self.out_features),)

    def parameters(self, inputs: Inputs) -> ParameterShapes:
        weight = (self.out_features, inputs[0].dims[-1])
        return {"weight": weight, "bias": (self.out_features,)} if self.bias else {"weight": weight}

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        out = outputs[0].numel
        return Cost(multiply_adds=out * inputs[0].dims[-1], bias_additions=out if self.bias else 0, activations=out)

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(inputs=(0,))

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.Linear(inputs[0].dims[-1], self.out_features, self.bias)


@register("maxout", out_features=Integer(1), pool_size=Integer(2), bias=Flag())
class Maxout(Operator, frozen=True, kw_only=True):
    """Maxout (Goodfellow et al. 2013): a linear layer of out_features x pool_size, the greatest of each pool_size."""

    depth: ClassVar[int] = 1

    out_features: int
    pool_size: int = 2
    bias: bool = True

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return (inputs[0].with_dims(*inputs[0].dims[:-1], self.out_features),)

    def parameters(self, inputs: Inputs) -> ParameterShapes:
        pieces = self.out_features * self.pool_size
        weight = (pieces, inputs[0].dims[-1])
        return {"weight": weight, "bias": (pieces,)} if self.bias else {"weight": weight}

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        pieces = outputs[0].numel * self.pool_size
        return Cost(
            multiply_adds=pieces * inputs[0].dims[-1],
            bias_additions=pieces if self.bias else 0,
            comparisons=outputs[0].numel * (self.pool_size - 1),
            activations=pieces,
        )

    def kernel(self, inputs: Inputs) -> str:
        return f"maxout p={self.pool_size}"

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(inputs=(0,), outputs=True, elements=outputs[0].numel * self.pool_size)

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.Maxout(inputs[0].dims[-1], self.out_features, self.pool_size, self.bias)


@register("matmul")
class Matmul(Operator, frozen=True, kw_only=True):
    """Matrix product of two inputs (..., L, K) and (..., K, M), leading dimensions broadcast as torch.matmul does."""

    arity: ClassVar[tuple[int, int | None]] = (2, 2)

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        left, right = inputs
        if len(left.dims) < 2 or len(right.dims) < 2:
            raise Refusal("wrong-rank", f"takes two matrices, not {shown(left.dims)} and {shown(right.dims)}")
        if left.dims[-1] != right.dims[-2]:
            raise Refusal(
                "shape-mismatch",
                f"{shown(left.dims)} times {shown(right.dims)}: the last dimension of the first ({left.dims[-1]}) "
                f"must equal the last but one of the second ({right.dims[-2]})",
            )
        leading = broadcast((left.dims, right.dims), trailing=2)
        return (left.with_dims(*leading, left.dims[-2], right.dims[-1]),)

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        return Cost(multiply_adds=outputs[0].numel * inputs[0].dims[-1])

    def backward_cost(self, inputs: Inputs, outputs: Inputs, needed: Needed, weight_gradient: bool) -> Cost:
        return Cost(multiply_adds=sum(needed) * outputs[0].numel * inputs[0].dims[-1])  # a product for each gradient

    def window(self, inputs: Inputs, outputs: Inputs) -> str:
        return WHOLE

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        leading = outputs[0].dims[:-2]
        copied = [each for each in inputs if each.dims[:-2] != leading]  # a factor that is broadcast is written out
        return Saved(
            inputs=tuple(number for number, each in enumerate(inputs) if each.dims[:-2] == leading),
            elements=sum(math.prod((*leading, *each.dims[-2:])) * each.samples for each in copied),
        )

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.Matmul()
