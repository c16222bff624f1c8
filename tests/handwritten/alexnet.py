"""Krizhevsky, Sutskever & Hinton, NIPS 2012, figure 2: two towers, which meet in conv3 and the linear layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Towers(nn.Module):
    """The same layer in both towers, each seeing its own half of what comes, or all of it where they meet."""

    def __init__(self, left: nn.Module, right: nn.Module, meet: bool) -> None:
        super().__init__()
        self.left = left
        self.right = right
        self.meet = meet

    def forward(self, x: Tensor) -> Tensor:
        to_left, to_right = (x, x) if self.meet else x.chunk(2, dim=1)
        return torch.cat([self.left(to_left), self.right(to_right)], dim=1).relu()


def conv(in_channels: int, out_channels: int, kernel_size: int, *, meet: bool = False, **options: int) -> Towers:
    """A convolution, its sizes those of one tower."""
    towers = [nn.Conv2d(in_channels, out_channels, kernel_size, **options) for _ in range(2)]
    return Towers(*towers, meet=meet)


def linear(in_features: int, out_features: int) -> Towers:
    return Towers(nn.Linear(in_features, out_features), nn.Linear(in_features, out_features), meet=True)


class AlexNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv(3, 48, 11, meet=True, stride=4)
        self.conv2 = conv(48, 128, 5, padding=2)
        self.conv3 = conv(256, 192, 3, padding=1, meet=True)
        self.conv4 = conv(192, 192, 3, padding=1)
        self.conv5 = conv(192, 128, 3, padding=1)
        self.fc6 = linear(256 * 6 * 6, 2048)
        self.fc7 = linear(4096, 2048)
        self.fc8 = nn.Linear(4096, 1000)
        self.pool = nn.MaxPool2d(3, 2)
        self.dropout = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(response_norm(self.conv1(x)))
        x = self.pool(response_norm(self.conv2(x)))
        x = self.pool(self.conv5(self.conv4(self.conv3(x)))).flatten(1)
        x = self.dropout(self.fc6(x))
        x = self.dropout(self.fc7(x))
        return self.fc8(x)


def response_norm(x: Tensor) -> Tensor:
    """Section 3.3, b = a / (2 + 1e-4 sum of 5 squares)^0.75, over the maps of both towers as in Caffe's release."""
    squares = functional.pad(x.square(), [0, 0, 0, 0, 2, 2])
    total = sum(squares[:, start : start + x.shape[1]] for start in range(5))
    return x / (2 + 1e-4 * total) ** 0.75


def joined(tensors: Sequence[Tensor]) -> Iterator[Tensor]:
    """Weights and biases in order of use as a network in groups has them: those of both towers in one tensor."""
    for start in range(0, len(tensors) - 2, 4):
        left_weight, left_bias, right_weight, right_bias = tensors[start : start + 4]
        yield torch.cat([left_weight, right_weight])
        yield torch.cat([left_bias, right_bias])
    yield from tensors[-2:]  # fc8 is one layer
