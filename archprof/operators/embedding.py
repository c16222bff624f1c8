"""Tables that indices look up."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from archprof.cost import Cost
from archprof.operators.base import WHOLE, Inputs, Integer, Needed, Operator, ParameterShapes, Saved, register
from archprof.shape import Shape

if TYPE_CHECKING:
    from torch import nn


@register("embedding", num_embeddings=Integer(1), embedding_dim=Integer(1))
class Embedding(Operator, frozen=True, kw_only=True):
    """A row of a table for each index: (...) of int64 to (..., embedding_dim). Looking up computes nothing."""

    takes: ClassVar[str] = "int64"

    num_embeddings: int
    embedding_dim: int

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return (Shape((*inputs[0].dims, self.embedding_dim), inputs[0].samples),)

    def parameters(self, inputs: Inputs) -> ParameterShapes:
        return {"weight": (self.num_embeddings, self.embedding_dim)}

    def backward_cost(self, inputs: Inputs, outputs: Inputs, needed: Needed, weight_gradient: bool) -> Cost:
        return Cost(additions=outputs[0].numel if weight_gradient else 0)  # gradients added to their rows

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(inputs=(0,))

    def window(self, inputs: Inputs, outputs: Inputs) -> str:
        return WHOLE

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.Embedding(self.num_embeddings, self.embedding_dim)
