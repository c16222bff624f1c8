"""Recurrent layers over a sequence (L, in)."""

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
    register,
    shown,
)
from archprof.shape import Shape

if TYPE_CHECKING:
    from torch import nn


class _Recurrent(Operator, frozen=True, kw_only=True):
    gates: ClassVar[int]
    torch_name: ClassVar[str]
    each: ClassVar[Cost]  # of one hidden unit in one step, beside the products

    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    bias: bool = True

    @property
    def depth(self) -> int:  # type: ignore[override]  # of every other operator it is the class's
        return self.num_layers

    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        (shape,) = inputs
        if len(shape.dims) != 2:
            raise Refusal("wrong-rank", f"takes a sequence (L, C), not {shown(shape.dims)}")
        output = shape.with_dims(shape.dims[0], self.hidden_size * self.directions())
        state = shape.with_dims(self.num_layers * self.directions(), self.hidden_size)
        return (output, *(state for _ in self.output_names()[1:]))

    def output_names(self) -> tuple[str, ...]:
        return ("output", "hidden")

    def parameters(self, inputs: Inputs) -> ParameterShapes:
        rows = self.gates * self.hidden_size
        found: dict[str, tuple[int, ...]] = {}
        for layer in range(self.num_layers):
            width = inputs[0].dims[-1] if layer == 0 else self.hidden_size * self.directions()
            for suffix in ("", "_reverse")[: self.directions()]:
                found[f"weight_ih_l{layer}{suffix}"] = (rows, width)
                found[f"weight_hh_l{layer}{suffix}"] = (rows, self.hidden_size)
                if self.bias:
                    found[f"bias_ih_l{layer}{suffix}"] = (rows,)
                    found[f"bias_hh_l{layer}{suffix}"] = (rows,)
        return found

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        steps = inputs[0].dims[0] * inputs[0].samples
        shapes = self.parameters(inputs).values()
        products = sum(dims[0] * dims[1] for dims in shapes if len(dims) == 2)
        biases = sum(dims[0] for dims in shapes if len(dims) == 1)
        units = self.hidden_size * self.directions() * self.num_layers
        put_out = 2 * self.gates * units
        inner = Cost(multiply_adds=products, bias_additions=biases, activations=put_out)
        # the two products of a gate are added
        return (inner + Cost(additions=self.gates * units) + self.each * units) * steps

    def backward_cost(self, inputs: Inputs, outputs: Inputs, needed: Needed, weight_gradient: bool) -> Cost:
        if not (needed[0] or weight_gradient):
            return Cost()
        forward = self.cost(inputs, outputs)
        gradients = forward.multiply_adds  # of what enters a product: the states before, the layers below
        if not needed[0]:
            gradients -= self.gates * self.hidden_size * self.directions() * inputs[0].numel
        weights = forward.multiply_adds if weight_gradient else 0
        return Cost(multiply_adds=gradients + weights, bias_additions=forward.bias_additions if weight_gradient else 0)

    def window(self, inputs: Inputs, outputs: Inputs) -> str:
        return WHOLE

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        # a bound: each gate's value and the states, a step; cuDNN and oneDNN keep workspaces of their own
        steps = inputs[0].dims[0] * inputs[0].samples
        states = (self.gates + 2) * self.hidden_size * self.directions() * self.num_layers
        return Saved(inputs=(0,), outputs=True, elements=states * steps)

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.recurrent(
            self.torch_name,
            inputs[0].dims[-1],
            self.hidden_size,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            bias=self.bias,
        )


_KINDS = {"hidden_size": Integer(1), "num_layers": Integer(1, 1000), "bidirectional": Flag(), "bias": Flag()}


@register("lstm", **_KINDS)
class Lstm(_Recurrent, frozen=True, kw_only=True):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), its outputs named output, hidden and cell.

    A unit and step: three sigmoids, two tanh, three multiplications, an addition. As deep as it has layers.
    """

    gates: ClassVar[int] = 4
    torch_name: ClassVar[str] = "LSTM"
    each: ClassVar[Cost] = Cost(special=5, additions=4, divisions=3, multiplications=3)

    def output_names(self) -> tuple[str, ...]:
        return ("output", "hidden", "cell")


@register("gru", **_KINDS)
class Gru(_Recurrent, frozen=True, kw_only=True):
    """Gated recurrent unit (Cho et al. 2014), its outputs named output and hidden.

    A unit and step: two sigmoids, a tanh, three multiplications, two additions. As deep as it has layers.
    """

    gates: ClassVar[int] = 3
    torch_name: ClassVar[str] = "GRU"
    each: ClassVar[Cost] = Cost(special=3, additions=4, divisions=2, multiplications=3)
