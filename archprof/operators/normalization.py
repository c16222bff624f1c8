"""Normalisations. For the receptive field they are pointwise, as the literature has it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators.base import (
    Flag,
    Inputs,
    Integer,
    Integers,
    Number,
    Operator,
    Optional,
    ParameterShapes,
    Saved,
    axis,
    register,
    shown,
)
from archprof.shape import Shape

if TYPE_CHECKING:
    from torch import nn

# mean and variance of a group, then each element: n - 1 additions for the sum, n subtractions, n squares,
# n - 1 additions, n multiplications by 1 / sqrt(variance + eps); a division for each of both, the addition
# of eps, a root and its inverse a group
_STATISTICS_OF_ELEMENT = Cost(additions=3, multiplications=2)
_STATISTICS_OF_GROUP = Cost(additions=-1, divisions=3, special=1)


def _normalising(count: int, groups: int, scale: bool, shift: bool) -> Cost:
    affine = Cost(additions=int(shift), multiplications=int(scale))
    return (_STATISTICS_OF_ELEMENT + affine) * count + _STATISTICS_OF_GROUP * groups


@register("local_response_norm", size=Integer(1), alpha=Number(), beta=Number(), k=Number())
class LocalResponseNorm(Operator, frozen=True, kw_only=True):
    """Local response normalisation across channels (Krizhevsky et al. 2012): x / (k + alpha / size sum x^2)^beta.

    The sum runs over `size` neighbouring channels; those outside are not counted.
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        if len(inputs[0].dims) < 2:
            raise Refusal("wrong-rank", f"takes a map of channels, not {shown(inputs[0].dims)}")
        return inputs

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        channels = inputs[0].dims[0]
        before, after = self.size // 2, (self.size - 1) // 2
        inside = channels * self.size - _overhang(before, channels) - _overhang(after, channels)
        count = inputs[0].numel
        sums = (inside - channels) * (count // channels)
        return Cost(multiplications=2 * count, additions=sums + count, special=count, divisions=count)

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        shape = inputs[0]
        squares = shape.numel // shape.dims[0] * (shape.dims[0] + self.size - 1)  # padded across channels
        return Saved(inputs=(0,), elements=squares + 2 * shape.numel)

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.LocalResponseNorm(self.size, self.alpha, self.beta, self.k)


def _overhang(reach: int, channels: int) -> int:
    """What windows that reach so far to one side have outside, all channels together: reach + (reach - 1) + ..."""
    cut = min(reach, channels)
    return cut * reach - cut * (cut - 1) // 2


@register("batch_norm2d", eps=Number(0), momentum=Optional(Number(0, 1)), affine=Flag(), track_running_stats=Flag())
class BatchNorm2d(Operator, frozen=True, kw_only=True):
    """Batch normalisation of (C, H, W) (Ioffe & Szegedy 2015).

    In inference a multiplication and an addition an element; in training its statistics too, counted as if each
    sample were a group of H x W elements a channel.
    """

    eps: float = 1e-5
    momentum: float | None = 0.1
    affine: bool = True
    track_running_stats: bool = True

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        if len(inputs[0].dims) != 3:
            raise Refusal("wrong-rank", f"takes 3 dimensions (C, H, W), not {shown(inputs[0].dims)}")
        return inputs

    def parameters(self, inputs: Inputs) -> ParameterShapes:
        channels = inputs[0].dims[0]
        return {"weight": (channels,), "bias": (channels,)} if self.affine else {}

    def buffers(self, inputs: Inputs) -> ParameterShapes:
        channels = inputs[0].dims[0]
        if not self.track_running_stats:
            return {}
        return {"running_mean": (channels,), "running_var": (channels,), "num_batches_tracked": ()}

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        count = inputs[0].numel
        if train or not self.track_running_stats:
            groups = inputs[0].dims[0] * inputs[0].samples
            cost = _normalising(count, groups, self.affine, self.affine)
            return cost + Cost(fvcore=count * (5 if self.affine else 4))
        return Cost(multiplications=count, additions=count, fvcore=count * (2 if self.affine else 1))

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(inputs=(0,), fixed=2 * inputs[0].dims[0])

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.BatchNorm2d(inputs[0].dims[0], self.eps, self.momentum, self.affine, self.track_running_stats)


@register(
    "layer_norm",
    normalized_shape=Optional(Integers(None, 1)),
    dim=Optional(Integer()),
    eps=Number(0),
    elementwise_affine=Flag(),
    bias=Flag(),
)
class LayerNorm(Operator, frozen=True, kw_only=True):
    """Layer normalisation (Ba et al. 2016) over the last dimension, the last dimensions of `normalized_shape`,
    or over one dimension `dim` (1: the channels of a map, as in ConvNeXt)."""

    normalized_shape: tuple[int, ...] | None = None
    dim: int | None = None
    eps: float = 1e-5
    elementwise_affine: bool = True
    bias: bool = True

    def validate(self) -> None:
        if self.normalized_shape is not None and self.dim is not None:
            raise Refusal("conflicting-fields", "takes normalized_shape or dim, not both", "dim")

    def extent(self, inputs: Inputs) -> tuple[int, ...]:
        """The dimensions that are normalised together."""
        dims = inputs[0].dims
        if self.dim is not None:
            return (dims[axis(self.dim, len(dims))],)
        return dims[-1:] if self.normalized_shape is None else self.normalized_shape

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        dims, extent = inputs[0].dims, self.extent(inputs)
        if self.dim is None and dims[-len(extent) :] != extent:
            raise Refusal(
                "shape-mismatch",
                f"normalized_shape {shown(extent)} must be the last dimensions of the input {shown(dims)}",
                "normalized_shape",
            )
        return inputs

    def parameters(self, inputs: Inputs) -> ParameterShapes:
        if not self.elementwise_affine:
            return {}
        extent = self.extent(inputs)
        return {"weight": extent, "bias": extent} if self.bias else {"weight": extent}

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        count = inputs[0].numel
        groups = count // math.prod(self.extent(inputs))
        affine = self.elementwise_affine
        return _normalising(count, groups, affine, affine and self.bias) + Cost(fvcore=count * (5 if affine else 4))

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(inputs=(0,), elements=2 * inputs[0].numel // math.prod(self.extent(inputs)))

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        from archprof.operators import modules

        rank = len(inputs[0].dims)
        if self.dim is None or axis(self.dim, rank) == rank - 1:
            return nn.LayerNorm(list(self.extent(inputs)), self.eps, self.elementwise_affine, self.bias)
        size = self.extent(inputs)[0]
        return modules.LayerNormAlong(axis(self.dim, rank) + 1, size, self.eps, self.elementwise_affine, self.bias)


@register("group_norm", num_groups=Integer(1), eps=Number(0), affine=Flag())
class GroupNorm(Operator, frozen=True, kw_only=True):
    """Group normalisation (Wu & He 2018) over num_groups groups of channels and all positions."""

    num_groups: int
    eps: float = 1e-5
    affine: bool = True

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        channels = inputs[0].dims[0]
        if channels % self.num_groups:
            raise Refusal(
                "groups-do-not-divide",
                f"in_channels (={channels}) must be divisible by num_groups (={self.num_groups})",
                "num_groups",
            )
        return inputs

    def parameters(self, inputs: Inputs) -> ParameterShapes:
        channels = inputs[0].dims[0]
        return {"weight": (channels,), "bias": (channels,)} if self.affine else {}

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        count = inputs[0].numel
        groups = self.num_groups * inputs[0].samples
        cost = _normalising(count, groups, self.affine, self.affine)
        return cost + Cost(fvcore=count * (5 if self.affine else 4))

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        return Saved(inputs=(0,), elements=2 * self.num_groups * inputs[0].samples)

    def module(self, inputs: Inputs) -> nn.Module:
        from torch import nn

        return nn.GroupNorm(self.num_groups, inputs[0].dims[0], self.eps, self.affine)


@register("l2_normalize", dim=Integer(), eps=Number(0))
class L2Normalize(Operator, frozen=True, kw_only=True):
    """x / max(||x||, eps), the norm taken over `dim`.

    Of k elements: k squares, k - 1 additions, a root, a comparison, k divisions.
    """

    dim: int = 1
    eps: float = 1e-12

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        axis(self.dim, len(inputs[0].dims))
        return inputs

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost:
        dims, count = inputs[0].dims, inputs[0].numel
        groups = count // dims[axis(self.dim, len(dims))]
        return Cost(
            multiplications=count, additions=count - groups, special=groups, comparisons=groups, divisions=count
        )

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        groups = inputs[0].numel // inputs[0].dims[axis(self.dim, len(inputs[0].dims))]
        return Saved(inputs=(0,), elements=2 * groups)  # norms, and norms of at least eps

    def module(self, inputs: Inputs) -> nn.Module:
        from archprof.operators import modules

        return modules.L2Normalize(axis(self.dim, len(inputs[0].dims)) + 1, self.eps)
