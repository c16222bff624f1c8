"""Shapes: the vocabulary every other module speaks."""

import math

import msgspec


class Shape(msgspec.Struct, frozen=True):
    """The shape of one tensor, written without its batch dimension.

    `dims` are PyTorch's: (C, H, W) for an image, (L, C) for a sequence, (C,) for a vector.
    `samples` says how many samples stand for one network input (Fast R-CNN's regions); every
    cost of the tensor's operator multiplies by it. `dtype` is "float" for the network's own
    floating-point type, or an integer type by torch's name ("int64") for indices.
    """

    dims: tuple[int, ...]
    samples: int = 1
    dtype: str = "float"

    @property
    def numel(self) -> int:
        """Elements for one network input: the product of dims times samples."""
        return math.prod(self.dims) * self.samples

    @property
    def channels(self) -> int:
        """The channels: the first dimension of a map, the last of a vector or a sequence."""
        return self.dims[0] if len(self.dims) >= 3 else self.dims[-1]

    def with_dims(self, *dims: int) -> "Shape":
        """The same tensor kind (samples, dtype) with other dimensions."""
        return Shape(dims, self.samples, self.dtype)

    def __str__(self) -> str:
        """As papers print it: channels last, fewer than three dimensions padded with 1 on the left."""
        is_map = len(self.dims) >= 3
        ordered = (*self.dims[1:], self.dims[0]) if is_map else (1,) * (3 - len(self.dims)) + self.dims
        text = "x".join(map(str, ordered))
        return text if self.samples == 1 else f"{self.samples} x {text}"
