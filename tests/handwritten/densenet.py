"""Huang et al., Densely connected convolutional networks, CVPR 2017, table 1: DenseNet-BC, compression 0.5."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Layer(nn.Sequential):
    """BN-ReLU-Conv(1x1)-BN-ReLU-Conv(3x3), its output behind its input."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth), nn.ReLU(), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, super().forward(x)], dim=1)


def transition(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)
    )


class DenseNet(nn.Module):
    def __init__(self, counts: Sequence[int], growth: int) -> None:
        super().__init__()
        channels = 2 * growth
        layers: list[nn.Module] = [
            nn.Conv2d(3, channels, 7, 2, 3, bias=False), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        ]  # fmt: skip
        for block, count in enumerate(counts):
            if block > 0:
                layers.append(transition(channels))
                channels //= 2
            for _ in range(count):
                layers.append(Layer(channels, growth))
                channels += growth
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean(dim=(2, 3)))
