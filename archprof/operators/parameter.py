"""A trainable tensor of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from archprof.cost import Cost
from archprof.operators.base import (
    NOTHING,
    Choice,
    Inputs,
    Integers,
    Kind,
    Needed,
    Number,
    Operator,
    ParameterShapes,
    register,
)
from archprof.shape import Shape

if TYPE_CHECKING:
    from typing import Any

    from torch import nn


class Initial(Kind):
    """What a tensor starts as: a word, or the number that all its elements are."""

    def __init__(self, *words: str) -> None:
        self.word = Choice(*words)
        self.number = Number()

    def check(self, value: Any) -> str | float:
        return self.word.check(value) if isinstance(value, str) else self.number.check(value)

    def json_schema(self) -> dict[str, Any]:
        return {"anyOf": [self.word.json_schema(), self.number.json_schema()]}


@register("parameter", shape=Integers(None, 1), init=Initial("zeros", "ones", "normal"))
class Parameter(Operator, frozen=True, kw_only=True):
    """A trainable tensor, the same for every sample (a class token, positions, a channel's scale).

    It takes one input for its batch alone. `init` is what it starts as: zeros, ones, normal (0.02), or a number.
    """

    takes: ClassVar[str] = "any"
    view: ClassVar[bool] = True

    shape: tuple[int, ...]
    init: str | float = "zeros"

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return (Shape(self.shape, inputs[0].samples),)

    def parameters(self, inputs: Inputs) -> ParameterShapes:
        return {"value": self.shape}

    def backward_cost(self, inputs: Inputs, outputs: Inputs, needed: Needed, weight_gradient: bool) -> Cost:
        return Cost(additions=outputs[0].numel if weight_gradient else 0)  # gradients of all samples are added up

    def window(self, inputs: Inputs, outputs: Inputs) -> str:
        return NOTHING

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.Parameter(self.shape, self.init)
