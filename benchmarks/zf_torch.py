"""The ZF network written by hand in PyTorch, as a user of the peers would have it."""

import torch
from torch import nn
from torch.nn import functional


class Maxout(nn.Module):
    def __init__(self, in_features: int, out_features: int, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(in_features, out_features * pieces)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x).unflatten(1, (-1, self.pieces)).amax(2)


class Normalize(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.normalize(x)


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2), nn.ReLU())


def pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, 1)


def zf() -> nn.Sequential:
    """The network of FaceNet's table 1, for 3x220x220."""
    return nn.Sequential(
        conv(3, 64, 7, 2), pool(), nn.LocalResponseNorm(5),
        conv(64, 64, 1), conv(64, 192, 3), nn.LocalResponseNorm(5), pool(),
        conv(192, 192, 1), conv(192, 384, 3), pool(),
        conv(384, 384, 1), conv(384, 256, 3), conv(256, 256, 1), conv(256, 256, 3),
        conv(256, 256, 1), conv(256, 256, 3), pool(), nn.Flatten(),
        Maxout(12544, 4096, 2), Maxout(4096, 4096, 2), nn.Linear(4096, 128), Normalize(),
    )  # fmt: skip
