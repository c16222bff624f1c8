"""A trainable tensor of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from archprof.cost import Cost
from archprof.operators.base import NOTHING, Choice, Inputs, Integers, Operator, ParameterShapes, register
from archprof.shape import Shape

if TYPE_CHECKING:
    from torch import nn


@register("parameter", shape=Integers(None, 1), init=Choice("zeros", "ones", "normal"))
class Parameter(Operator, frozen=True, kw_only=True):
    """A trainable tensor, the same for every sample (a class token, positions, a channel's scale).

    It takes one input for its batch alone. `init` is what it starts as.
    """

    takes: ClassVar[str] = "any"
    view: ClassVar[bool] = True

    shape: tuple[int, ...]
    init: str = "zeros"

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return (Shape(self.shape, inputs[0].samples),)

    def parameters(self, inputs: Inputs) -> ParameterShapes:
        return {"value": self.shape}

    def backward_cost(self, inputs: Inputs, outputs: Inputs, input_gradient: bool, weight_gradient: bool) -> Cost:
        return Cost(additions=outputs[0].numel)  # gradients of all samples are added up

    def window(self, inputs: Inputs, outputs: Inputs) -> str:
        return NOTHING

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.Parameter(self.shape, self.init)
