"""The torch side of operators that torch has no module of its own for. Imports torch, so it is imported lazily.

Every class stands alone and keeps what it is made with under the same names: `archprof build --code` prints both.
Tensors come with their batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from archprof.operators.convolution import _Convolution


def convolution(dimensions: int, in_channels: int, fields: _Convolution) -> nn.Module:
    """torch's own convolution, or the one with asymmetric padding, which torch lacks."""
    options: dict[str, Any] = {
        "kernel_size": fields.kernel_size,
        "stride": fields.stride,
        "dilation": fields.dilation,
        "groups": fields.groups,
        "bias": fields.bias,
    }
    sides = fields.sides()
    if all(before == after for before, after in sides):
        plain: type[nn.Module] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
        return plain(in_channels, fields.out_channels, padding=tuple(before for before, _ in sides), **options)
    cls = {1: AsymmetricConv1d, 2: AsymmetricConv2d, 3: AsymmetricConv3d}[dimensions]
    flat = [size for before, after in reversed(sides) for size in (before, after)]  # F.pad: last dimension first
    return cls(flat, in_channels, fields.out_channels, **options)


class AsymmetricConv1d(nn.Conv1d):
    """A convolution that pads more on one side than on the other."""

    def __init__(self, sides: list[int], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sides = sides

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, self.sides))


class AsymmetricConv2d(nn.Conv2d):
    """A convolution that pads more on one side than on the other."""

    def __init__(self, sides: list[int], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sides = sides

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, self.sides))


class AsymmetricConv3d(nn.Conv3d):
    """A convolution that pads more on one side than on the other."""

    def __init__(self, sides: list[int], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sides = sides

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, self.sides))


class Maxout(nn.Linear):
    """A linear layer whose outputs compete in groups of pool_size."""

    def __init__(self, in_features: int, out_features: int, pool_size: int, bias: bool) -> None:
        super().__init__(in_features, out_features * pool_size, bias)
        self.out_features = out_features
        self.pool_size = pool_size

    def forward(self, x: Tensor) -> Tensor:
        return torch.unflatten(super().forward(x), -1, (-1, self.pool_size)).amax(-1)


class Matmul(nn.Module):
    """The matrix product of two tensors."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.matmul(left, right)


class Combination(nn.Module):
    """The sum, difference or product of tensors."""

    def __init__(self, operation: str) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, *tensors: Tensor) -> Tensor:
        result = tensors[0]
        for tensor in tensors[1:]:
            if self.operation == "add":
                result = result + tensor
            elif self.operation == "subtract":
                result = result - tensor
            else:
                result = result * tensor
        return result


class Abs(nn.Module):
    """The absolute value."""

    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


class DropPath(nn.Module):
    """Stochastic depth: in training whole samples are dropped, the others scaled up for it."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        kept = torch.rand([x.shape[0]] + [1] * (x.dim() - 1), device=x.device) >= self.p
        return x * kept / (1.0 - self.p) if self.p < 1.0 else x * kept


class L2Normalize(nn.Module):
    """Vectors along a dimension, divided by their length."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(x, dim=self.dim, eps=self.eps)


class LayerNormAlong(nn.LayerNorm):
    """Layer normalisation over a dimension that is not the last."""

    def __init__(self, dim: int, normalized_shape: int, eps: float, elementwise_affine: bool, bias: bool) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine, bias)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(self.dim, -1)).movedim(-1, self.dim)


class Reshape(nn.Module):
    """Each sample in another shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(-1, *self.shape)


class Transpose(nn.Module):
    """Two dimensions exchanged."""

    def __init__(self, dim0: int, dim1: int) -> None:
        super().__init__()
        self.dim0 = dim0
        self.dim1 = dim1

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(self.dim0, self.dim1)


class Permute(nn.Module):
    """The dimensions in another order."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.dims)


class Select(nn.Module):
    """One index of a dimension."""

    def __init__(self, dim: int, index: int) -> None:
        super().__init__()
        self.dim = dim
        self.index = index

    def forward(self, x: Tensor) -> Tensor:
        return x.select(self.dim, self.index)


class Concat(nn.Module):
    """Tensors one after another."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *tensors: Tensor) -> Tensor:
        return torch.cat(tensors, self.dim)


class Split(nn.Module):
    """A tensor cut into pieces."""

    def __init__(self, sizes: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.dim = dim

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        pieces: tuple[Tensor, ...] = torch.split(x, self.sizes, self.dim)
        return pieces


class Pad(nn.Module):
    """Constant padding."""

    def __init__(self, padding: tuple[int, ...], value: float) -> None:
        super().__init__()
        self.padding = list(padding)
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, self.padding, value=self.value)


class PadChannels(nn.Module):
    """Every stride-th position, with channels of zeros behind."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels = channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, :: self.stride, :: self.stride], [0, 0, 0, 0, 0, self.channels])


class Parameter(nn.Module):
    """A trainable tensor, the same for every sample of its input's batch."""

    def __init__(self, shape: tuple[int, ...], init: str | float) -> None:
        super().__init__()
        self.shape = shape
        self.init = init
        self.value = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.init == "normal":
            nn.init.normal_(self.value, std=0.02)
        else:
            words = {"zeros": 0.0, "ones": 1.0}
            nn.init.constant_(self.value, words[self.init] if isinstance(self.init, str) else self.init)

    def forward(self, x: Tensor) -> Tensor:
        return self.value.expand(x.shape[0], *self.shape)


class ScaledDotProductAttention(nn.Module):
    """softmax(q k^T / sqrt(E)) v."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, value)


class MultiHeadAttention(nn.Module):
    """Multi-head attention of one sequence to itself, or of queries, keys and values; the batch comes first.

    Parameters are named, laid out and initialised as those of nn.MultiheadAttention.
    """

    def __init__(self, width: int, num_heads: int, bias: bool) -> None:
        super().__init__()
        self.width = width
        self.num_heads = num_heads
        self.bias = bias
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width)) if bias else None
        self.out_proj = nn.Linear(width, width, bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.xavier_uniform_(self.in_proj_weight)
        if self.in_proj_bias is not None:
            nn.init.zeros_(self.in_proj_bias)
            nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None) -> Tensor:
        weights = self.in_proj_weight.chunk(3)
        biases = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        sources = (query, query if key is None else key, query if value is None else value)
        heads = []  # of queries, keys and values, each (batch, heads, length, width of a head)
        for index in range(3):
            projected = functional.linear(sources[index], weights[index], biases[index])
            heads.append(torch.unflatten(projected, -1, (self.num_heads, -1)).transpose(1, 2))
        mixed = functional.scaled_dot_product_attention(heads[0], heads[1], heads[2])
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


class RoiPool(nn.Module):
    """Max pool of a fixed grid of regions, each a quarter of the map or more, to one size."""

    def __init__(self, output_size: tuple[int, ...], regions: int, size: tuple[int, ...]) -> None:
        super().__init__()
        self.output_size = output_size
        self.regions = regions
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        height, width = self.size
        pooled = []
        for region in range(self.regions):
            top, left = region % (height // 2 + 1), region // 2 % (width // 2 + 1)
            pooled.append(functional.adaptive_max_pool2d(x[:, :, top:, left:], self.output_size))
        return torch.stack(pooled, 1).flatten(0, 1)


def recurrent(name: str, in_features: int, hidden_size: int, **options: Any) -> nn.Module:
    """torch's own recurrent layer, its outputs in a flat tuple of tensors with the batch first."""
    cls: type[nn.Module] = {"LSTM": Lstm, "GRU": Gru}[name]
    return cls(in_features, hidden_size, batch_first=True, **options)


class Lstm(nn.LSTM):
    """Output, hidden and cell states, the batch first in all three."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        output, (hidden, cell) = super().forward(x)
        return output, hidden.transpose(0, 1), cell.transpose(0, 1)


class Gru(nn.GRU):
    """Output and hidden state, the batch first in both."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        output, hidden = super().forward(x)
        return output, hidden.transpose(0, 1)
