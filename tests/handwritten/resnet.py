"""He et al., Deep residual learning, CVPR 2016, table 1, with projection shortcuts (option B).

A bottleneck strides in its first 1x1 convolution, as the authors' release does.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def conv_norm(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class Residual(nn.Module):
    """relu(F(x) + x), x projected where its shape changes."""

    def __init__(self, residual: nn.Module, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.residual = residual
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else conv_norm(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return (self.residual(x) + self.shortcut(x)).relu()


class BasicBlock(Residual):
    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        residual = nn.Sequential(conv_norm(in_channels, width, 3, stride), nn.ReLU(), conv_norm(width, width, 3))
        super().__init__(residual, in_channels, width, stride)


class Bottleneck(Residual):
    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        residual = nn.Sequential(
            conv_norm(in_channels, width, 1, stride), nn.ReLU(),
            conv_norm(width, width, 3), nn.ReLU(),
            conv_norm(width, 4 * width, 1),
        )  # fmt: skip
        super().__init__(residual, in_channels, 4 * width, stride)


class ResNet(nn.Module):
    def __init__(self, block: type[BasicBlock] | type[Bottleneck], counts: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        blocks = []
        channels = 64
        for stage, count in enumerate(counts):
            width = 64 * 2**stage
            for number in range(count):
                blocks.append(block(channels, width, stride=2 if stage > 0 and number == 0 else 1))
                channels = block.expansion * width
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(channels, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.blocks(self.stem(x)).mean(dim=(2, 3)))
