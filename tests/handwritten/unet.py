"""Ronneberger, Fischer & Brox, U-Net, MICCAI 2015, figure 1; with padding 1 the maps keep their size."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def two_convs(in_channels: int, width: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=padding), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=padding), nn.ReLU(),
    )  # fmt: skip


def cropped(x: Tensor, like: Tensor) -> Tensor:
    """The centre of a map, as large as another map."""
    height, width = like.shape[2:]
    top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    return x[:, :, top : top + height, left : left + width]


class UNet(nn.Module):
    def __init__(self, padding: int, classes: int = 2) -> None:
        super().__init__()
        widths = [64, 128, 256, 512, 1024]
        pairs = zip([1, *widths], widths, strict=False)
        self.down = nn.ModuleList(two_convs(channels, width, padding) for channels, width in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, 2) for width in reversed(widths[:-1]))
        self.join = nn.ModuleList(two_convs(2 * width, width, padding) for width in reversed(widths[:-1]))
        self.dropout = nn.Dropout()
        self.classes = nn.Conv2d(64, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        beside = []
        for level, convs in enumerate(self.down):
            x = convs(functional.max_pool2d(x, 2) if level > 0 else x)
            if level >= 3:
                x = self.dropout(x)
            beside.append(x)
        beside.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = up(x)
            x = join(torch.cat([cropped(beside.pop(), x), x], dim=1))
        return self.classes(x)
