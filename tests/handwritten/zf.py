"""Schroff, Kalenichenko & Philbin, FaceNet, CVPR 2015, table 1: the Zeiler & Fergus style network."""

from torch import Tensor, nn
from torch.nn import functional


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2), nn.ReLU())


def pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, 1)


class Maxout(nn.Module):
    """A fully connected layer that keeps the larger of two outputs (Goodfellow et al. 2013)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 2 * out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(1, (-1, 2)).max(dim=2).values


class ZF(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv(3, 64, 7, 2), pool(), nn.LocalResponseNorm(5),
            conv(64, 64, 1), conv(64, 192, 3), nn.LocalResponseNorm(5), pool(),
            conv(192, 192, 1), conv(192, 384, 3), pool(),
            conv(384, 384, 1), conv(384, 256, 3),
            conv(256, 256, 1), conv(256, 256, 3),
            conv(256, 256, 1), conv(256, 256, 3), pool(),
        )  # fmt: skip
        self.fc1 = Maxout(7 * 7 * 256, 32 * 128)
        self.fc2 = Maxout(32 * 128, 32 * 128)
        self.fc7128 = nn.Linear(32 * 128, 128)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x).flatten(1)
        return functional.normalize(self.fc7128(self.fc2(self.fc1(x))))
