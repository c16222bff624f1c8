"""Pools over images. Costs count only elements inside the input: windows at the border are smaller."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators.base import (
    WHOLE,
    Flag,
    Inputs,
    Integer,
    Integers,
    Kind,
    Needed,
    Number,
    Operator,
    Optional,
    Saved,
    Window,
    register,
    shown,
)
from archprof.operators.convolution import extents_text, kernel_too_large, require_map, sizes_text
from archprof.shape import Shape

if TYPE_CHECKING:
    from typing import Any

    from torch import nn


def floor_sum(count: int, slope: int, offset: int, divisor: int) -> int:
    """The sum of (slope i + offset) // divisor for i from 0 to count - 1, by the Euclidean algorithm."""
    total = 0
    while True:
        total += slope // divisor * (count * (count - 1) // 2) + offset // divisor * count
        slope, offset = slope % divisor, offset % divisor
        count, offset = divmod(slope * count + offset, divisor)
        if count == 0:
            return total
        slope, divisor = divisor, slope


def taps_below(limit: int, windows: int, step: int, taps: int, dilation: int) -> int:
    """How many taps of all windows lie before `limit`, window w having its tap t at w step + t dilation."""
    full = min(max(-(-(limit - (taps - 1) * dilation) // step), 0), windows)  # windows with all taps before it
    some = min(max(-(-limit // step), 0), windows)  # windows with any
    cut = floor_sum(some - full, step, limit - (some - 1) * step + dilation - 1, dilation)
    return full * taps + cut


class _Pool(Operator, frozen=True, kw_only=True):
    kernel_size: tuple[int, int]
    stride: tuple[int, int] | None = None  # None: the kernel's size
    ceil_mode: bool = False

    def steps(self) -> tuple[int, int]:
        return self.stride or self.kernel_size

    def pads(self) -> tuple[int, int]:
        return (0, 0)

    def dilations(self) -> tuple[int, int]:
        return (1, 1)

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        shape = require_map(self.op, inputs, 2)
        padded = [size + 2 * pad for size, pad in zip(shape.dims[1:], self.pads(), strict=True)]
        extents = [d * (k - 1) + 1 for d, k in zip(self.dilations(), self.kernel_size, strict=True)]
        sizes = []
        for size, pad, whole, extent, step in zip(
            shape.dims[1:], self.pads(), padded, extents, self.steps(), strict=True
        ):
            out = (whole - extent + (step - 1 if self.ceil_mode else 0)) // step + 1
            if self.ceil_mode and (out - 1) * step >= size + pad:
                out -= 1  # torch: the last window must start inside the input or its left padding
            if out < 1:
                raise kernel_too_large(self.kernel_size, tuple(extents), tuple(padded))
            sizes.append(out)
        return (shape.with_dims(shape.dims[0], *sizes),)

    def counted(self, inputs: Inputs, outputs: Inputs) -> tuple[int, int]:
        """The elements inside the input of all windows together, and the windows that have any."""
        elements = windows = inputs[0].dims[0] * inputs[0].samples
        for size, out, kernel, step, pad, dilation in zip(
            inputs[0].dims[1:],
            outputs[0].dims[1:],
            self.kernel_size,
            self.steps(),
            self.pads(),
            self.dilations(),
            strict=True,
        ):
            inside = taps_below(size + pad, out, step, kernel, dilation) - taps_below(pad, out, step, kernel, dilation)
            elements *= inside
            windows *= inside if size < dilation else out  # taps further apart than the input is long: one or none
        return elements, windows

    def window(self, inputs: Inputs, outputs: Inputs) -> Window:
        extents = tuple(d * (k - 1) + 1 for d, k in zip(self.dilations(), self.kernel_size, strict=True))
        return Window(extents, self.steps(), self.pads())

    def kernel(self, inputs: Inputs) -> str:
        return f"{extents_text(self.kernel_size)}x{inputs[0].dims[0]}, {sizes_text(self.steps())}"


class _PaddedPool(_Pool, frozen=True, kw_only=True):
    padding: tuple[int, int] = (0, 0)

    def pads(self) -> tuple[int, int]:
        return self.padding

    def validate(self) -> None:
        # torch's rule
        for pad, kernel in zip(self.padding, self.kernel_size, strict=True):
            if pad > kernel // 2:
                raise Refusal(
                    "padding-too-large", f"padding (={pad}) must be at most half of kernel_size (={kernel})", "padding"
                )


_WINDOW: dict[str, Kind] = {
    "kernel_size": Integers(2, 1),
    "stride": Optional(Integers(2, 1)),
    "ceil_mode": Flag(),
}


@register("max_pool2d", **_WINDOW, padding=Integers(2, 0), dilation=Integers(2, 1))
class MaxPool2d(_PaddedPool, frozen=True, kw_only=True):
    """The greatest of each window: k - 1 comparisons for k elements. ceil_mode follows torch's clip rule."""

    dilation: tuple[int, int] = (1, 1)

    def dilations(self) -> tuple[int, int]:
        return self.dilation

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        elements, windows = self.counted(inputs, outputs)
        return Cost(comparisons=elements - windows)

    def backward_cost(self, inputs: Inputs, outputs: Inputs, needed: Needed, weight_gradient: bool) -> Cost:
        return Cost(additions=outputs[0].numel if needed[0] else 0)  # each gradient to its greatest element

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(inputs=(0,), index_bytes=8 * outputs[0].numel)

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.MaxPool2d(self.kernel_size, self.stride, self.padding, self.dilation, ceil_mode=self.ceil_mode)


@register(
    "avg_pool2d", **_WINDOW, padding=Integers(2, 0), count_include_pad=Flag(), divisor_override=Optional(Integer(1))
)
class AvgPool2d(_PaddedPool, frozen=True, kw_only=True):
    """The mean of each window: k - 1 additions and a division for k elements.

    `count_include_pad` divides by the padded window's size, `divisor_override` by a number of one's own.
    """

    count_include_pad: bool = True
    divisor_override: int | None = None

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        elements, windows = self.counted(inputs, outputs)
        return Cost(additions=elements - windows, divisions=windows)

    def backward_cost(self, inputs: Inputs, outputs: Inputs, needed: Needed, weight_gradient: bool) -> Cost:
        elements, windows = self.counted(inputs, outputs)
        return Cost(additions=elements, divisions=windows) if needed[0] else Cost()

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(inputs=(0,))

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.AvgPool2d(
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


@register("lp_pool2d", norm_type=Number(1), **_WINDOW)
class LPPool2d(_Pool, frozen=True, kw_only=True):
    """(sum x^p)^(1/p) of each window, p being `norm_type`: a power an element and one an output, k - 1 additions.

    In torch a window that ceil_mode cuts off at the border is scaled up to the whole kernel.
    """

    norm_type: float

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        elements, windows = self.counted(inputs, outputs)
        return Cost(special=elements + windows, additions=elements - windows)

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(inputs=(0,), elements=inputs[0].numel + 4 * outputs[0].numel)

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.LPPool2d(self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class OutputSize(Kind):
    """One integer, or two, either null for the input's own size; kept as a pair."""

    def check(self, value: Any) -> tuple[int | None, ...]:
        items = value if isinstance(value, (list, tuple)) else (value, value)
        if len(items) != 2:
            raise Refusal("wrong-length", f"must be one integer or 2, not {len(items)}: {shown(value)}")
        return tuple(None if item is None else Integer(1).check(item) for item in items)

    def json_schema(self) -> dict[str, Any]:
        item = {"type": ["integer", "null"], "minimum": 1}
        return {"anyOf": [item, {"type": "array", "items": item, "minItems": 2, "maxItems": 2}]}


class _AdaptivePool(Operator, frozen=True, kw_only=True):
    output_size: tuple[int | None, ...]

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        shape = require_map(self.op, inputs, 2)
        sizes = [size if out is None else out for size, out in zip(shape.dims[1:], self.output_size, strict=True)]
        return (shape.with_dims(shape.dims[0], *sizes),)

    def counted(self, inputs: Inputs, outputs: Inputs) -> int:
        """The elements of all windows together: window i of m over n is [floor(i n / m), ceil((i + 1) n / m))."""
        elements = inputs[0].dims[0] * inputs[0].samples
        for size, out in zip(inputs[0].dims[1:], outputs[0].dims[1:], strict=True):
            # neighbours share the element in which their border falls, unless it falls between two
            elements *= size + out - math.gcd(size, out)
        return elements

    def window(self, inputs: Inputs, outputs: Inputs) -> Window | str:
        if outputs[0].dims[1:] == (1, 1):
            return WHOLE
        from fractions import Fraction

        strides = tuple(Fraction(size, out) for size, out in zip(inputs[0].dims[1:], outputs[0].dims[1:], strict=True))
        # the widest window starts as far as can be inside an element
        widest = tuple(-(-(stride.numerator + stride.denominator - 1) // stride.denominator) for stride in strides)
        return Window(widest, strides, (0, 0))


@register("adaptive_avg_pool2d", output_size=OutputSize())
class AdaptiveAvgPool2d(_AdaptivePool, frozen=True, kw_only=True):
    """Mean pool to an output of a given size: k - 1 additions and a division for k elements."""

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        out = outputs[0].numel
        return Cost(additions=self.counted(inputs, outputs) - out, divisions=out, fvcore=inputs[0].numel)

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved() if outputs[0].dims[1:] == (1, 1) else Saved(inputs=(0,))  # a mean keeps sizes only

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.AdaptiveAvgPool2d(self.output_size)


@register("adaptive_max_pool2d", output_size=OutputSize())
class AdaptiveMaxPool2d(_AdaptivePool, frozen=True, kw_only=True):
    """Max pool to an output of a given size: k - 1 comparisons for k elements."""

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        return Cost(comparisons=self.counted(inputs, outputs) - outputs[0].numel)

    def backward_cost(self, inputs: Inputs, outputs: Inputs, needed: Needed, weight_gradient: bool) -> Cost:
        return Cost(additions=outputs[0].numel if needed[0] else 0)

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(inputs=(0,), index_bytes=8 * outputs[0].numel)

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.AdaptiveMaxPool2d(self.output_size)


@register("roi_pool", output_size=Integers(2, 1), regions=Integer(1))
class RoiPool(Operator, frozen=True, kw_only=True):
    """Max pool of `regions` regions of one map to one size (Girshick 2015): each becomes a sample of its own.

    What a region costs hangs on its size; the whole map is counted for each, an upper bound (of comparisons, which
    no convention counts). The built module pools a fixed grid of overlapping regions, so that it needs no second
    input.
    """

    output_size: tuple[int, ...]
    regions: int

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        shape = require_map(self.op, inputs, 2)
        return (Shape((shape.dims[0], *self.output_size), shape.samples * self.regions, shape.dtype),)

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        one = AdaptiveMaxPool2d(output_size=self.output_size)
        return one.cost(inputs, one.infer(inputs)) * self.regions

    def window(self, inputs: Inputs, outputs: Inputs) -> str:
        return WHOLE

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(inputs=(0,), index_bytes=8 * outputs[0].numel)

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.RoiPool(self.output_size, self.regions, inputs[0].dims[1:])
