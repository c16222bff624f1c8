"""What imported networks are made of beside the operators of the language. None of it is in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archprof.cost import Cost
from archprof.errors import UsageError
from archprof.operators.base import NOTHING, Inputs, Needed, Operator, ParameterShapes, Saved, Window
from archprof.shape import Shape

if TYPE_CHECKING:
    from torch import nn

Tensors = tuple[tuple[str, tuple[int, ...]], ...]  # parameters or buffers: names and shapes


class _Imported(Operator, frozen=True, kw_only=True):
    """An operator under the name that its source has for it."""

    name: str
    owned: Tensors = ()  # parameters that are counted here
    frozen: bool = False  # type: ignore[misc]  # of every other operator it is the class's
    detached: bool = False  # type: ignore[misc]  # likewise

    @property
    def op(self) -> str:  # type: ignore[override]  # of every other operator it is the class's
        return self.name

    def parameters(self, inputs: Inputs) -> ParameterShapes:
        return dict(self.owned)

    def module(self, inputs: Inputs) -> nn.Module:
        raise UsageError(f"{self.name} is no operator of the spec language: it cannot be built")


class Traced(_Imported, frozen=True, kw_only=True):
    """A call that the language has no operator for: its outputs as they were traced, its cost as the importer says.

    `computes` None says that archprof does not know the cost. `written` is a chain of operators of the language
    that gives the same output, where there is one; `writes` says that the call works in place on what other calls
    read under another name.

    `products` are the multiply-adds of the gradient of each input, `inside` of those of what is computed in between;
    without them each input's costs what the call does.
    """

    outputs: tuple[Shape, ...]
    computes: Cost | None = Cost()
    view: bool = False  # type: ignore[misc]  # of every other operator it is the class's
    sees: Window | str | None = None
    kept: Tensors = ()  # buffers
    weight_layers: int = 0
    products: tuple[int, ...] | None = None
    inside: int = 0
    weights_given: bool = False  # some weight is another node's, or an input, and needs a gradient
    written: tuple[Operator, ...] = ()
    writes: bool = False

    @property
    def depth(self) -> int:  # type: ignore[override]
        return self.weight_layers

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return self.outputs

    def buffers(self, inputs: Inputs) -> ParameterShapes:
        return dict(self.kept)

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost | None:
        return self.computes

    def backward_cost(self, inputs: Inputs, outputs: Inputs, needed: Needed, weight_gradient: bool) -> Cost | None:
        weights = weight_gradient or self.weights_given
        if self.computes is None or not self.computes.multiply_adds:
            return super().backward_cost(inputs, outputs, needed, weights)
        each = (self.computes.multiply_adds,) * len(inputs) if self.products is None else self.products
        passed = sum(product for product, wanted in zip(each, needed, strict=False) if wanted)
        inside = self.inside if weights or any(needed) else 0
        if not weights:
            return Cost(multiply_adds=passed + inside)
        own = self.computes
        return Cost(multiply_adds=passed + inside + own.multiply_adds, bias_additions=own.bias_additions)

    def window(self, inputs: Inputs, outputs: Inputs) -> Window | str | None:
        return self.sees

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        arithmetic = self.computes is None or self.computes != Cost()
        return Saved(inputs=tuple(range(len(inputs)))) if arithmetic and not self.view else Saved()


class Variant(_Imported, frozen=True, kw_only=True):
    """An operator of the language in a form that the language lacks.

    Its weights may be computed by other nodes, belong in part to other nodes, or be frozen; it may take inputs
    beside those of `inner`, the first `taken`; `further` is what it computes beside it. `inner_shape` stands for the
    first input where inner takes another rank.
    """

    inner: Operator
    taken: int = 1
    further: Cost = Cost()
    inner_shape: Shape | None = None
    kept: Tensors = ()
    weights_given: bool = False  # some weight is an input, and needs a gradient
    fixed: bool = False  # its matrices are frozen, whatever its biases are

    @property
    def depth(self) -> int:  # type: ignore[override]
        return self.inner.depth

    def only_frozen(self, inputs: Inputs) -> bool:
        """Whether it is `inner` but for parameters that get no gradient."""
        return self.frozen and len(inputs) == self.taken and dict(self.owned) == dict(self.inner.parameters(inputs))

    def inner_inputs(self, inputs: Inputs) -> Inputs:
        """What inner is said to take."""
        if self.inner_shape is not None:
            return (self.inner_shape, *inputs[1 : self.taken])
        return inputs[: self.taken]

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return self.inner.infer(self.inner_inputs(inputs))

    def buffers(self, inputs: Inputs) -> ParameterShapes:
        return dict(self.kept)

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost | None:
        cost = self.inner.cost(self.inner_inputs(inputs), outputs, train)
        return None if cost is None else cost + self.further

    def backward_cost(self, inputs: Inputs, outputs: Inputs, needed: Needed, weight_gradient: bool) -> Cost | None:
        weights = (weight_gradient and not self.fixed) or self.weights_given
        cost = self.inner.backward_cost(self.inner_inputs(inputs), outputs, needed[: self.taken], weights)
        if cost is not None and weight_gradient and self.fixed:
            forward = self.inner.cost(self.inner_inputs(inputs), outputs)
            return None if forward is None else cost + Cost(bias_additions=forward.bias_additions)
        return cost

    def window(self, inputs: Inputs, outputs: Inputs) -> Window | str | None:
        return self.inner.window(self.inner_inputs(inputs), outputs)

    def kernel(self, inputs: Inputs) -> str:
        return self.inner.kernel(self.inner_inputs(inputs))

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return self.inner.saved(self.inner_inputs(inputs), outputs)


def unknown(name: str, outputs: tuple[Shape, ...]) -> Traced:
    """A call whose cost archprof does not know: a row that says "not counted"."""
    return Traced(name=name, outputs=outputs, computes=None, sees=NOTHING)
