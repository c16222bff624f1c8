"""Szegedy et al., Going deeper with convolutions, CVPR 2015, table 1 and figure 3."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2), nn.ReLU())


def pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


class Inception(nn.Module):
    """A row of table 1; the names of its columns."""

    def __init__(self, channels: int, n1: int, n3_reduce: int, n3: int, n5_reduce: int, n5: int, pool_proj: int):
        super().__init__()
        self.one = conv(channels, n1, 1)
        self.three = nn.Sequential(conv(channels, n3_reduce, 1), conv(n3_reduce, n3, 3))
        self.five = nn.Sequential(conv(channels, n5_reduce, 1), conv(n5_reduce, n5, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(channels, pool_proj, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)


class Auxiliary(nn.Module):
    """Section 5: a small network that classifies the output of 4a or 4d during training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(5, 3)
        self.conv = conv(channels, 128, 1)
        self.fc = nn.Linear(128 * 4 * 4, 1024)
        self.dropout = nn.Dropout(0.7)
        self.classifier = nn.Linear(1024, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.pool(x)).flatten(1)
        return self.classifier(self.dropout(self.fc(x).relu())).softmax(dim=1)


class GoogLeNet(nn.Module):
    """The class probabilities; in training those of both auxiliary classifiers too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv(3, 64, 7, 2), pool(), nn.LocalResponseNorm(5),
            conv(64, 64, 1), conv(64, 192, 3), nn.LocalResponseNorm(5), pool(),
        )  # fmt: skip
        self.inception_3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception_3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.inception_4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception_4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception_4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception_4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception_4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.inception_5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception_5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.pool = pool()
        self.average = nn.AvgPool2d(7, 1)
        self.dropout = nn.Dropout(0.4)
        self.classifier = nn.Linear(1024, 1000)
        self.auxiliary_4a = Auxiliary(512)
        self.auxiliary_4d = Auxiliary(528)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        x = self.inception_3b(self.inception_3a(self.stem(x)))
        after_4a = self.inception_4a(self.pool(x))
        after_4d = self.inception_4d(self.inception_4c(self.inception_4b(after_4a)))
        x = self.pool(self.inception_4e(after_4d))
        x = self.average(self.inception_5b(self.inception_5a(x))).flatten(1)
        x = self.classifier(self.dropout(x)).softmax(dim=1)
        if not self.training:
            return x
        return x, self.auxiliary_4a(after_4a), self.auxiliary_4d(after_4d)
