"""Activation functions. Costs are what the definition computes, an element each."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from archprof.cost import Cost
from archprof.operators.base import Choice, Inputs, Integer, Number, Operator, Optional, Saved, axis, register
from archprof.shape import Shape

if TYPE_CHECKING:
    from torch import nn


class _Activation(Operator, frozen=True, kw_only=True):
    each: ClassVar[Cost]  # of one element
    torch_name: ClassVar[str]
    keeps_output: ClassVar[bool] = False  # for the backward call; else its input

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return inputs

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        return self.each * inputs[0].numel

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(outputs=True) if self.keeps_output else Saved(inputs=(0,))

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        made: nn.Module = getattr(nn, self.torch_name)()
        return made


@register("relu")
class Relu(_Activation, frozen=True, kw_only=True):
    """max(x, 0): one comparison."""

    each: ClassVar[Cost] = Cost(comparisons=1)
    torch_name: ClassVar[str] = "ReLU"
    keeps_output: ClassVar[bool] = True


@register("relu6")
class Relu6(_Activation, frozen=True, kw_only=True):
    """min(max(x, 0), 6): two comparisons."""

    each: ClassVar[Cost] = Cost(comparisons=2)
    torch_name: ClassVar[str] = "ReLU6"


@register("leaky_relu", negative_slope=Number())
class LeakyRelu(_Activation, frozen=True, kw_only=True):
    """x, or negative_slope x below 0: a comparison and a multiplication."""

    each: ClassVar[Cost] = Cost(comparisons=1, multiplications=1)

    negative_slope: float = 0.01

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.LeakyReLU(self.negative_slope)


@register("sigmoid")
class Sigmoid(_Activation, frozen=True, kw_only=True):
    """1 / (1 + exp(-x)): an exponential, an addition, a division."""

    each: ClassVar[Cost] = Cost(special=1, additions=1, divisions=1)
    torch_name: ClassVar[str] = "Sigmoid"
    keeps_output: ClassVar[bool] = True


@register("tanh")
class Tanh(_Activation, frozen=True, kw_only=True):
    """tanh(x): one special function."""

    each: ClassVar[Cost] = Cost(special=1)
    torch_name: ClassVar[str] = "Tanh"
    keeps_output: ClassVar[bool] = True


@register("silu")
class Silu(_Activation, frozen=True, kw_only=True):
    """x sigmoid(x), also called swish."""

    each: ClassVar[Cost] = Cost(special=1, additions=1, divisions=1, multiplications=1)
    torch_name: ClassVar[str] = "SiLU"


@register("hardsigmoid")
class Hardsigmoid(_Activation, frozen=True, kw_only=True):
    """min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)."""

    each: ClassVar[Cost] = Cost(additions=1, comparisons=2, divisions=1)
    torch_name: ClassVar[str] = "Hardsigmoid"


@register("hardswish")
class Hardswish(_Activation, frozen=True, kw_only=True):
    """x hardsigmoid(x) (Howard et al. 2019)."""

    each: ClassVar[Cost] = Cost(additions=1, comparisons=2, divisions=1, multiplications=1)
    torch_name: ClassVar[str] = "Hardswish"


@register("gelu", approximate=Choice("none", "tanh"))
class Gelu(_Activation, frozen=True, kw_only=True):
    """x Phi(x) (Hendrycks & Gimpel 2016): x/2 (1 + erf(x / sqrt 2)), or its approximation by tanh."""

    approximate: str = "none"

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        exact = Cost(special=1, additions=1, multiplications=3)
        # x/2 (1 + tanh(c (x + d x x x)))
        by_tanh = Cost(special=1, additions=2, multiplications=6)
        return (exact if self.approximate == "none" else by_tanh) * inputs[0].numel

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.GELU(approximate=self.approximate)


@register("softmax", dim=Optional(Integer()))
class Softmax(Operator, frozen=True, kw_only=True):
    """Softmax over `dim`; null: the channels of a map, else the last dimension.

    Of k elements: k - 1 comparisons for the greatest, k subtractions, k exponentials, k - 1 additions, k divisions.
    """

    dim: int | None = None

    def along(self, inputs: Inputs) -> int:
        """The index into the dims that it runs over."""
        rank = len(inputs[0].dims)
        if self.dim is None:
            return 0 if rank >= 3 else rank - 1
        return axis(self.dim, rank)

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        self.along(inputs)
        return inputs

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        count = inputs[0].numel
        groups = count // inputs[0].dims[self.along(inputs)]
        return Cost(comparisons=count - groups, additions=2 * count - groups, special=count, divisions=count)

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(outputs=True)

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.Softmax(self.along(inputs) + 1)
