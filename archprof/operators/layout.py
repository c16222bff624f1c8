"""Operators that only lay elements out anew, join or cut tensors. `dim` counts the batch as 0, as in PyTorch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators.base import (
    POINTWISE,
    WHOLE,
    Choice,
    Flag,
    Inputs,
    Integer,
    Integers,
    Kind,
    Number,
    Operator,
    Optional,
    Window,
    axis,
    register,
    shown,
)
from archprof.operators.convolution import require_map
from archprof.shape import Shape

if TYPE_CHECKING:
    from typing import Any

    from torch import nn


class _View(Operator, frozen=True, kw_only=True):
    takes: ClassVar[str] = "any"
    view: ClassVar[bool] = True


def _mixes_positions(dims: tuple[int, ...], shape: tuple[int, ...]) -> str | None:
    """WHOLE where a map's channels and positions come to lie in one dimension: what follows sees them all.

    Channels that stay apart (C, H, W to C, HW), positions that do (C, H, W to G, C / G, H, W) or that are
    one alone leave positions what they are.
    """
    positions = dims[1:]
    if len(dims) < 3 or math.prod(positions) == 1 or shape[0] == dims[0] or shape[-len(positions) :] == positions:
        return POINTWISE
    return WHOLE


@register("flatten", start_dim=Integer(), end_dim=Integer())
class Flatten(_View, frozen=True, kw_only=True):
    """The dimensions from start_dim to end_dim as one."""

    start_dim: int = 1
    end_dim: int = -1

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        dims = inputs[0].dims
        start, end = axis(self.start_dim, len(dims), "start_dim"), axis(self.end_dim, len(dims), "end_dim")
        if start > end:
            raise Refusal(
                "no-such-dimension", f"start_dim {self.start_dim} comes after end_dim {self.end_dim}", "start_dim"
            )
        return (inputs[0].with_dims(*dims[:start], math.prod(dims[start : end + 1]), *dims[end + 1 :]),)

    def window(self, inputs: Inputs, outputs: Inputs) -> str | None:
        return _mixes_positions(inputs[0].dims, outputs[0].dims)

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.Flatten(self.start_dim, self.end_dim)


@register("reshape", shape=Integers(None))
class Reshape(_View, frozen=True, kw_only=True):
    """The same elements in another shape, written without the batch; one -1 stands for what remains."""

    shape: tuple[int, ...]

    def validate(self) -> None:
        if any(dim < 1 and dim != -1 for dim in self.shape) or self.shape.count(-1) > 1:
            raise Refusal(
                "out-of-range",
                f"shape must have dimensions of at least 1 and one -1 at most, not {shown(self.shape)}",
                "shape",
            )

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        have = math.prod(inputs[0].dims)
        known = math.prod(dim for dim in self.shape if dim != -1)
        if have % known or (-1 not in self.shape and have != known):
            raise Refusal(
                "shape-mismatch",
                f"shape {shown(self.shape)} does not take the {have} elements of {shown(inputs[0].dims)}",
                "shape",
            )
        return (inputs[0].with_dims(*(have // known if dim == -1 else dim for dim in self.shape)),)

    def window(self, inputs: Inputs, outputs: Inputs) -> str | None:
        return _mixes_positions(inputs[0].dims, outputs[0].dims)

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.Reshape(self.infer(inputs)[0].dims)


@register("transpose", dim0=Integer(), dim1=Integer())
class Transpose(_View, frozen=True, kw_only=True):
    """Two dimensions exchanged."""

    dim0: int
    dim1: int

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        dims = list(inputs[0].dims)
        one, other = axis(self.dim0, len(dims), "dim0"), axis(self.dim1, len(dims), "dim1")
        dims[one], dims[other] = dims[other], dims[one]
        return (inputs[0].with_dims(*dims),)

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        rank = len(inputs[0].dims)
        return modules.Transpose(axis(self.dim0, rank) + 1, axis(self.dim1, rank) + 1)


@register("permute", dims=Integers(None, 0))
class Permute(_View, frozen=True, kw_only=True):
    """The dimensions in another order; all of them are named, the batch (0) first: [0, 2, 3, 1]."""

    dims: tuple[int, ...]

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        dims = inputs[0].dims
        if sorted(self.dims) != list(range(len(dims) + 1)) or self.dims[0] != 0:
            raise Refusal(
                "no-such-dimension",
                f"dims must be 0 and then 1 to {len(dims)} in some order, not {shown(self.dims)}",
                "dims",
            )
        return (inputs[0].with_dims(*(dims[dim - 1] for dim in self.dims[1:])),)

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.Permute(self.dims)


@register("select", dim=Integer(), index=Integer())
class Select(_View, frozen=True, kw_only=True):
    """One index of a dimension, which goes: the class token of a sequence is dim 1, index 0."""

    dim: int
    index: int

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        dims = inputs[0].dims
        along = axis(self.dim, len(dims))
        if len(dims) == 1:
            raise Refusal("wrong-rank", f"takes at least 2 dimensions, not {shown(dims)}")
        if not -dims[along] <= self.index < dims[along]:
            raise Refusal("out-of-range", f"index {self.index} is not there: dim {self.dim} has {dims[along]}", "index")
        return (inputs[0].with_dims(*dims[:along], *dims[along + 1 :]),)

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.Select(axis(self.dim, len(inputs[0].dims)) + 1, self.index)


@register("concat", dim=Integer())
class Concat(Operator, frozen=True, kw_only=True):
    """Inputs one after another along `dim`; one input is allowed."""

    takes: ClassVar[str] = "any"
    arity: ClassVar[tuple[int, int | None]] = (1, None)

    dim: int = 1

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        first = inputs[0].dims
        along = axis(self.dim, len(first))
        for shape in inputs[1:]:
            same_rank = len(shape.dims) == len(first)
            if not same_rank or any(
                a != b for i, (a, b) in enumerate(zip(first, shape.dims, strict=True)) if i != along
            ):
                raise Refusal(
                    "shape-mismatch",
                    f"{shown(first)} and {shown(shape.dims)} do not fit: "
                    f"all dimensions but dim {self.dim} must be equal",
                )
        total = sum(shape.dims[along] for shape in inputs)
        return (inputs[0].with_dims(*first[:along], total, *first[along + 1 :]),)

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.Concat(axis(self.dim, len(inputs[0].dims)) + 1)


class SplitSize(Kind):
    """The size of each piece, or a list of sizes; kept as an integer or a tuple."""

    def check(self, value: Any) -> int | tuple[int, ...]:
        if isinstance(value, (list, tuple)):
            return Integers(None, 1).check(value)
        return Integer(1).check(value)

    def json_schema(self) -> dict[str, Any]:
        return {"anyOf": [Integer(1).json_schema(), Integers(None, 1).json_schema()]}


@register("split", split_size=SplitSize(), sections=Optional(Integer(1, 10_000)), dim=Integer())
class Split(Operator, frozen=True, kw_only=True):
    """`dim` cut into pieces of the sizes in split_size, named 0, 1, ... (`split.0`).

    With an integer for split_size, `sections` says how many such pieces there are.
    """

    takes: ClassVar[str] = "any"
    view: ClassVar[bool] = True

    split_size: int | tuple[int, ...]
    sections: int | None = None
    dim: int = 1

    def validate(self) -> None:
        if isinstance(self.split_size, int) == (self.sections is None):
            raise Refusal(
                "conflicting-fields",
                "takes a list of sizes, or one size and sections, how many there are",
                "split_size",
            )

    def sizes(self) -> tuple[int, ...]:
        if isinstance(self.split_size, tuple):
            return self.split_size
        assert self.sections is not None
        return (self.split_size,) * self.sections

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        dims = inputs[0].dims
        along = axis(self.dim, len(dims))
        if sum(self.sizes()) != dims[along]:
            raise Refusal(
                "shape-mismatch",
                f"the sizes {shown(self.sizes())} add up to {sum(self.sizes())}, but dim {self.dim} has {dims[along]}",
                "split_size",
            )
        return tuple(inputs[0].with_dims(*dims[:along], size, *dims[along + 1 :]) for size in self.sizes())

    def output_names(self) -> tuple[str, ...]:
        return tuple(map(str, range(len(self.sizes()))))

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.Split(self.sizes(), axis(self.dim, len(inputs[0].dims)) + 1)


@register("pad", padding=Integers(None), value=Number())
class Pad(Operator, frozen=True, kw_only=True):
    """Constant padding, sizes in the order of torch's F.pad: [left, right, top, bottom], the last dimension first."""

    padding: tuple[int, ...]
    value: float = 0.0

    def validate(self) -> None:
        if len(self.padding) % 2:
            raise Refusal(
                "wrong-length", f"padding must be pairs, the last dimension first, not {shown(self.padding)}", "padding"
            )

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        dims = list(inputs[0].dims)
        if len(self.padding) > 2 * len(dims):
            raise Refusal(
                "wrong-length",
                f"padding has {len(self.padding) // 2} pairs, more than {shown(inputs[0].dims)} has dimensions",
                "padding",
            )
        for pair in range(len(self.padding) // 2):
            dims[-1 - pair] += self.padding[2 * pair] + self.padding[2 * pair + 1]
        if min(dims) < 1:
            raise Refusal(
                "out-of-range", f"padding {shown(self.padding)} leaves nothing of {shown(inputs[0].dims)}", "padding"
            )
        return (inputs[0].with_dims(*dims),)

    def window(self, inputs: Inputs, outputs: Inputs) -> Window | None:
        spatial = len(inputs[0].dims) - 1
        if spatial not in (1, 2, 3):
            return None
        before = [0] * spatial
        for pair in range(min(len(self.padding) // 2, spatial)):
            before[-1 - pair] = self.padding[2 * pair]
        return Window((1,) * spatial, (1,) * spatial, tuple(before))

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        from archprof.operators import modules

        if len(self.padding) == 4:
            return nn.ConstantPad2d(self.padding, self.value)
        return modules.Pad(self.padding, self.value)


@register("pad_channels", out_channels=Integer(1), stride=Integer(1))
class PadChannels(Operator, frozen=True, kw_only=True):
    """The parameter-free shortcut of residual nets (He et al. 2016, option A): every stride-th position, the channels
    that are missing to out_channels being zero."""

    out_channels: int
    stride: int = 1

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        shape = require_map(self.op, inputs, 2)
        channels, *sizes = shape.dims
        if channels > self.out_channels:
            raise Refusal(
                "out-of-range",
                f"out_channels (={self.out_channels}) must be at least in_channels (={channels})",
                "out_channels",
            )
        return (shape.with_dims(self.out_channels, *(-(-size // self.stride) for size in sizes)),)

    def window(self, inputs: Inputs, outputs: Inputs) -> Window:
        return Window((1, 1), (self.stride, self.stride), (0, 0))

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.PadChannels(self.out_channels - inputs[0].dims[0], self.stride)


@register(
    "upsample",
    size=Optional(Integers(2, 1)),
    scale_factor=Optional(Integers(2, 1)),
    mode=Choice("nearest", "bilinear"),
    align_corners=Flag(),
)
class Upsample(Operator, frozen=True, kw_only=True):
    """An image enlarged to `size`, or `scale_factor` times.

    nearest copies; bilinear takes 4 multiplications and 3 additions an output element.
    """

    size: tuple[int, ...] | None = None
    scale_factor: tuple[int, ...] | None = None
    mode: str = "nearest"
    align_corners: bool = False

    def validate(self) -> None:
        if (self.size is None) == (self.scale_factor is None):
            raise Refusal("conflicting-fields", "takes size or scale_factor, one of both", "size")
        if self.align_corners and self.mode == "nearest":
            raise Refusal("conflicting-fields", "align_corners is for mode bilinear", "align_corners")

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        shape = require_map(self.op, inputs, 2)
        channels, *sizes = shape.dims
        if self.size is not None:
            return (shape.with_dims(channels, *self.size),)
        assert self.scale_factor is not None
        return (shape.with_dims(channels, *(size * by for size, by in zip(sizes, self.scale_factor, strict=True))),)

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        out = outputs[0].numel
        if self.mode == "nearest":
            return Cost(fvcore=out)
        return Cost(multiplications=4 * out, additions=3 * out, fvcore=4 * out)

    def window(self, inputs: Inputs, outputs: Inputs) -> Window:
        from fractions import Fraction

        ends = int(self.align_corners)  # with them, the distances between the corners are what corresponds
        taps = 1 if self.mode == "nearest" else 2
        sizes, strides = [], []
        for size, out in zip(inputs[0].dims[1:], outputs[0].dims[1:], strict=True):
            strides.append(Fraction(size - ends, max(out - ends, 1)))
            sizes.append(1 if size == out else min(taps, size))
        return Window(tuple(sizes), tuple(strides), (0, 0))

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        corners = self.align_corners if self.mode == "bilinear" else None
        return nn.Upsample(self.size, self.scale_factor, self.mode, corners)
