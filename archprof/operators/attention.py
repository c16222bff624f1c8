"""Attention (Vaswani et al. 2017). It costs the same however it is dispatched."""

from __future__ import annotations

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
    listed_and,
    register,
    shown,
)
from archprof.shape import Shape

if TYPE_CHECKING:
    from torch import nn


def _attention(heads: int, queries: int, keys: int, width: int, value_width: int) -> Cost:
    """softmax(q k^T / sqrt(width)) v: two products, a scaling, a softmax over the keys."""
    scores = heads * queries * keys
    rows = heads * queries
    return Cost(
        multiply_adds=scores * (width + value_width),
        multiplications=scores,
        comparisons=scores - rows,
        additions=2 * scores - rows,
        special=scores,
        divisions=scores,
    )


def _attention_backward(scores: int, width: int, value_width: int, needed: Needed) -> int:
    """Multiply-adds of the gradients of queries, keys and values; the first two need that of the scores."""
    query, key, value = needed
    return scores * (value_width * (int(value) + int(query or key)) + width * (int(query) + int(key)))


@register("scaled_dot_product_attention")
class ScaledDotProductAttention(Operator, frozen=True, kw_only=True):
    """softmax(q k^T / sqrt(E)) v of three inputs: queries (..., L, E), keys (..., S, E), values (..., S, V)."""

    arity: ClassVar[tuple[int, int | None]] = (3, 3)

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        query, key, value = (shape.dims for shape in inputs)
        shapes = f"queries {shown(query)}, keys {shown(key)}, values {shown(value)}"
        if min(map(len, (query, key, value))) < 2 or not len(query) == len(key) == len(value):
            raise Refusal("wrong-rank", f"takes three sequences of equal rank, not {shapes}")
        if query[:-2] != key[:-2] or key[:-1] != value[:-1] or query[-1] != key[-1]:
            raise Refusal("shape-mismatch", f"{shapes} do not fit: (..., L, E), (..., S, E), (..., S, V)")
        return (inputs[0].with_dims(*query[:-1], value[-1]),)

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        query, key, value = (shape.dims for shape in inputs)
        heads = inputs[0].numel // (query[-2] * query[-1])
        return _attention(heads, query[-2], key[-2], query[-1], value[-1])

    def backward_cost(self, inputs: Inputs, outputs: Inputs, needed: Needed, weight_gradient: bool) -> Cost:
        query, key, value = (shape.dims for shape in inputs)
        scores = inputs[0].numel // query[-1] * key[-2]
        return Cost(multiply_adds=_attention_backward(scores, query[-1], value[-1], needed))

    def window(self, inputs: Inputs, outputs: Inputs) -> str:
        return WHOLE

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        rows = inputs[0].numel // inputs[0].dims[-1]  # the logarithm of the sum of exponentials, a row each
        return Saved(inputs=(0, 1, 2), outputs=True, elements=rows)

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.ScaledDotProductAttention()


@register("multi_head_attention", num_heads=Integer(1), bias=Flag())
class MultiHeadAttention(Operator, frozen=True, kw_only=True):
    """Multi-head attention with its projections, of one sequence (L, E) to itself, or of queries, keys and values.

    The parameters are those of torch's nn.MultiheadAttention. As the literature has it, two weight layers deep:
    the projections in and out.
    """

    arity: ClassVar[tuple[int, int | None]] = (1, 3)
    depth: ClassVar[int] = 2

    num_heads: int
    bias: bool = True

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        if len(inputs) == 2:
            raise Refusal("wrong-arity", f"{self.op} takes 1 input or 3 (queries, keys, values), not 2")
        query = inputs[0].dims
        for shape in inputs:
            if len(shape.dims) != 2:
                raise Refusal("wrong-rank", f"takes a sequence (L, E), not {shown(shape.dims)}")
            if shape.dims[-1] != query[-1]:
                raise Refusal(
                    "shape-mismatch",
                    f"takes sequences (L, E) of one width, not {listed_and(shown(each.dims) for each in inputs)}",
                )
        if inputs[1:] and inputs[1] != inputs[2]:
            raise Refusal(
                "shape-mismatch", f"keys {shown(inputs[1].dims)} and values {shown(inputs[2].dims)} must be equal"
            )
        if query[-1] % self.num_heads:
            raise Refusal(
                "groups-do-not-divide",
                f"the width (={query[-1]}) must be divisible by num_heads (={self.num_heads})",
                "num_heads",
            )
        return (inputs[0],)

    def parameters(self, inputs: Inputs) -> ParameterShapes:
        width = inputs[0].dims[-1]
        weights = {"in_proj_weight": (3 * width, width), "out_proj.weight": (width, width)}
        return weights | {"in_proj_bias": (3 * width,), "out_proj.bias": (width,)} if self.bias else weights

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        queries, width = inputs[0].dims
        keys = inputs[-1].dims[0]
        put_out = 2 * queries * width + 2 * keys * width  # q, k, v and the result
        projections = Cost(
            multiply_adds=put_out * width,
            bias_additions=put_out if self.bias else 0,
            activations=put_out,
        )
        one_sample = projections + _attention(
            self.num_heads, queries, keys, width // self.num_heads, width // self.num_heads
        )
        return one_sample * inputs[0].samples

    def backward_cost(self, inputs: Inputs, outputs: Inputs, needed: Needed, weight_gradient: bool) -> Cost:
        if not (any(needed) or weight_gradient):
            return Cost()
        queries, keys = inputs[0], inputs[-1]
        width = queries.dims[-1]
        of_input = needed if len(inputs) == 3 else needed * 3  # of queries, keys and values
        products = [each.numel * width for each in (queries, keys, keys)]  # of their projections
        outward = queries.numel * width  # the projection out, whose input always needs a gradient
        inside = _attention_backward(
            queries.numel // width * keys.dims[0], width, width, (True,) * 3 if weight_gradient else of_input
        )
        inward = sum(product for product, each in zip(products, of_input, strict=True) if each)
        weights = outward + sum(products) if weight_gradient else 0
        bias = self.cost(inputs, outputs).bias_additions if weight_gradient else 0
        return Cost(multiply_adds=inside + outward + inward + weights, bias_additions=bias)

    def window(self, inputs: Inputs, outputs: Inputs) -> str:
        return WHOLE

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        queries, keys = inputs[0], inputs[-1]
        rows = queries.dims[0] * queries.samples * self.num_heads
        # queries, keys and values as projected, what attention gives, and a logarithm a row
        return Saved(inputs=tuple(range(len(inputs))), elements=2 * queries.numel + 2 * keys.numel + rows)

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.MultiHeadAttention(inputs[0].dims[-1], self.num_heads, self.bias)
