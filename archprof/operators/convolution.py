"""Convolutions and transposed convolutions of one, two and three dimensions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators.base import (
    Choice,
    Flag,
    Inputs,
    Integer,
    Integers,
    Kind,
    Operator,
    ParameterShapes,
    Saved,
    Window,
    register,
    shown,
)
from archprof.shape import Shape

if TYPE_CHECKING:
    from typing import Any

    from torch import nn

Sides = tuple[tuple[int, int], ...]  # padding before and after, a spatial dimension each


class Padding(Kind):
    """`same`, `valid`, one integer, one a dimension, or [before, after] pairs; kept as pairs or a word."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.integers = Integers(length, 0)
        self.pair = Integers(2, 0)

    def check(self, value: Any) -> str | Sides:
        if isinstance(value, str):
            return Choice("same", "valid").check(value)
        if isinstance(value, (list, tuple)) and any(isinstance(item, (list, tuple)) for item in value):
            if len(value) != self.length:
                raise Refusal("wrong-length", f"must be {self.length} [before, after] pairs, not {shown(value)}")
            pairs = []
            for item in value:
                before, after = self.pair.check(item)
                pairs.append((before, after))
            return tuple(pairs)
        return tuple((side, side) for side in self.integers.check(value))

    def json_schema(self) -> dict[str, Any]:
        pair = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 2}
        pairs = {"type": "array", "items": pair, "minItems": self.length, "maxItems": self.length}
        return {"anyOf": [{"enum": ["same", "valid"]}, self.integers.json_schema(), pairs]}


def require_map(op: str, inputs: Inputs, dimensions: int) -> Shape:
    """The one input, which must be a map of channels and `dimensions` spatial dimensions."""
    (shape,) = inputs
    if len(shape.dims) != dimensions + 1:
        names = {1: "(C, L)", 2: "(C, H, W)", 3: "(C, D, H, W)"}[dimensions]
        raise Refusal("wrong-rank", f"takes {dimensions + 1} dimensions {names}, not {shown(shape.dims)}")
    return shape


def extents_text(extents: tuple[int, ...]) -> str:
    return "x".join(map(str, extents))


def kernel_too_large(kernel_size: tuple[int, ...], extents: tuple[int, ...], padded: tuple[int, ...]) -> Refusal:
    dilated = f" (dilated to {extents_text(extents)})" if extents != kernel_size else ""
    return Refusal(
        "kernel-too-large",
        f"kernel_size {sizes_text(kernel_size)}{dilated} is larger than its padded input {extents_text(padded)}",
        "kernel_size",
    )


class _Convolution(Operator, frozen=True, kw_only=True):
    """What conv1d, conv2d and conv3d share. Formula: Dumoulin & Visin 2016, relationship 14."""

    dimensions: ClassVar[int]
    depth: ClassVar[int] = 1

    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str | Sides
    dilation: tuple[int, ...]
    groups: int = 1
    bias: bool = True

    def validate(self) -> None:
        if self.padding == "same" and any(step != 1 for step in self.stride):
            raise Refusal("same-with-stride", f"padding same needs stride 1, not {max(self.stride)}", "padding")
        _require_divisible("out_channels", self.out_channels, self.groups)

    def sides(self) -> Sides:
        """Padding before and after; `same` puts the odd one after, as torch does."""
        if self.padding == "valid":
            return ((0, 0),) * self.dimensions
        if self.padding == "same":
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            return tuple((total // 2, total - total // 2) for total in totals)
        assert not isinstance(self.padding, str)
        return self.padding

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        shape = require_map(self.op, inputs, self.dimensions)
        _require_divisible("in_channels", shape.dims[0], self.groups)
        padded = [size + before + after for size, (before, after) in zip(shape.dims[1:], self.sides(), strict=True)]
        extents = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        if any(extent > size for extent, size in zip(extents, padded, strict=True)):
            raise kernel_too_large(self.kernel_size, tuple(extents), tuple(padded))
        sizes = [(size - extent) // step + 1 for size, extent, step in zip(padded, extents, self.stride, strict=True)]
        return (shape.with_dims(self.out_channels, *sizes),)

    def parameters(self, inputs: Inputs) -> ParameterShapes:
        weight = (self.out_channels, inputs[0].dims[0] // self.groups, *self.kernel_size)
        return {"weight": weight, "bias": (self.out_channels,)} if self.bias else {"weight": weight}

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        out = outputs[0].numel
        taps = inputs[0].dims[0] // self.groups * math.prod(self.kernel_size)
        return Cost(multiply_adds=out * taps, bias_additions=out if self.bias else 0, activations=out)

    def window(self, inputs: Inputs, outputs: Inputs) -> Window:
        extents = tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True))
        return Window(extents, self.stride, tuple(before for before, _ in self.sides()))

    def kernel(self, inputs: Inputs) -> str:
        return f"{extents_text(self.kernel_size)}x{inputs[0].dims[0] // self.groups}, {sizes_text(self.stride)}"

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        sides = self.sides()
        if all(before == after for before, after in sides):
            return Saved(inputs=(0,))
        shape = inputs[0]  # torch pads first, and keeps what it padded
        padded = [size + before + after for size, (before, after) in zip(shape.dims[1:], sides, strict=True)]
        return Saved(elements=shape.with_dims(shape.dims[0], *padded).numel)

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.convolution(self.dimensions, inputs[0].dims[0], self)


def sizes_text(sizes: tuple[int, ...]) -> str:
    """One number where all are equal, as they are usually written."""
    return str(sizes[0]) if len(set(sizes)) == 1 else extents_text(sizes)


def _kinds(dimensions: int) -> dict[str, Kind]:
    return {
        "out_channels": Integer(1),
        "kernel_size": Integers(dimensions, 1),
        "stride": Integers(dimensions, 1),
        "padding": Padding(dimensions),
        "dilation": Integers(dimensions, 1),
        "groups": Integer(1),
        "bias": Flag(),
    }


@register("conv1d", **_kinds(1))
class Conv1d(_Convolution, frozen=True, kw_only=True):
    """Convolution over a sequence (C, L)."""

    dimensions: ClassVar[int] = 1
    stride: tuple[int, ...] = (1,)
    padding: str | Sides = ((0, 0),)
    dilation: tuple[int, ...] = (1,)


@register("conv2d", **_kinds(2))
class Conv2d(_Convolution, frozen=True, kw_only=True):
    """Convolution over an image (C, H, W)."""

    dimensions: ClassVar[int] = 2
    stride: tuple[int, ...] = (1, 1)
    padding: str | Sides = ((0, 0), (0, 0))
    dilation: tuple[int, ...] = (1, 1)


@register("conv3d", **_kinds(3))
class Conv3d(_Convolution, frozen=True, kw_only=True):
    """Convolution over a volume (C, D, H, W)."""

    dimensions: ClassVar[int] = 3
    stride: tuple[int, ...] = (1, 1, 1)
    padding: str | Sides = ((0, 0), (0, 0), (0, 0))
    dilation: tuple[int, ...] = (1, 1, 1)


@register(
    "conv_transpose2d",
    out_channels=Integer(1),
    kernel_size=Integers(2, 1),
    stride=Integers(2, 1),
    padding=Integers(2, 0),
    output_padding=Integers(2, 0),
    dilation=Integers(2, 1),
    groups=Integer(1),
    bias=Flag(),
)
class ConvTranspose2d(Operator, frozen=True, kw_only=True):
    """Transposed convolution over an image (C, H, W): size (n - 1) stride - 2 padding + dilation (k - 1) +
    output_padding + 1 (Dumoulin & Visin 2016, relationship 14). Every product counts, those cropped away too."""

    depth: ClassVar[int] = 1

    out_channels: int
    kernel_size: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    output_padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    bias: bool = True

    def validate(self) -> None:
        _require_divisible("out_channels", self.out_channels, self.groups)
        for pad, step, dilation in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if pad >= max(step, dilation):
                raise Refusal(
                    "padding-too-large",
                    f"output_padding (={pad}) must be smaller than stride (={step}) or dilation (={dilation})",
                    "output_padding",
                )

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        shape = require_map(self.op, inputs, 2)
        _require_divisible("in_channels", shape.dims[0], self.groups)
        sizes = tuple(
            (size - 1) * step - 2 * pad + dilation * (kernel - 1) + extra + 1
            for size, step, pad, dilation, kernel, extra in zip(
                shape.dims[1:],
                self.stride,
                self.padding,
                self.dilation,
                self.kernel_size,
                self.output_padding,
                strict=True,
            )
        )
        if min(sizes) < 1:
            raise Refusal(
                "padding-too-large",
                f"padding {shown(self.padding)} crops all of the output: it would be {extents_text(sizes)}",
                "padding",
            )
        return (shape.with_dims(self.out_channels, *sizes),)

    def parameters(self, inputs: Inputs) -> ParameterShapes:
        weight = (inputs[0].dims[0], self.out_channels // self.groups, *self.kernel_size)
        return {"weight": weight, "bias": (self.out_channels,)} if self.bias else {"weight": weight}

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        each = self.out_channels // self.groups * math.prod(self.kernel_size)
        out = outputs[0].numel
        return Cost(multiply_adds=inputs[0].numel * each, bias_additions=out if self.bias else 0, activations=out)

    def window(self, inputs: Inputs, outputs: Inputs) -> Window:
        from fractions import Fraction

        # an output position sees the inputs whose kernels, laid out from their own position on, cover it
        reaches = [dilation * (kernel - 1) for dilation, kernel in zip(self.dilation, self.kernel_size, strict=True)]
        return Window(
            tuple(reach // step + 1 for reach, step in zip(reaches, self.stride, strict=True)),
            tuple(Fraction(1, step) for step in self.stride),
            tuple((reach - pad) // step for reach, pad, step in zip(reaches, self.padding, self.stride, strict=True)),
        )

    def kernel(self, inputs: Inputs) -> str:
        return f"{extents_text(self.kernel_size)}x{inputs[0].dims[0] // self.groups}, {sizes_text(self.stride)}"

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(inputs=(0,))

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.ConvTranspose2d(
            inputs[0].dims[0],
            self.out_channels,
            self.kernel_size,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.bias,
            self.dilation,
        )


def _require_divisible(name: str, value: int, groups: int) -> None:
    if value % groups:
        raise Refusal("groups-do-not-divide", f"{name} (={value}) must be divisible by groups (={groups})", "groups")
