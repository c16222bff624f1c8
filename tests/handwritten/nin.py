"""Lin, Chen & Yan, Network in Network, ICLR 2014, with the widths of the released models."""

from torch import Tensor, nn


def mlpconv(in_channels: int, widths: tuple[int, int, int], kernel_size: int, **options: int) -> nn.Sequential:
    """A convolution and a perceptron of two layers at every position."""
    first, second, third = widths
    return nn.Sequential(
        nn.Conv2d(in_channels, first, kernel_size, **options), nn.ReLU(),
        nn.Conv2d(first, second, 1), nn.ReLU(),
        nn.Conv2d(second, third, 1), nn.ReLU(),
    )  # fmt: skip


def pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


class GlobalAverage(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class NinCifar10(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            mlpconv(3, (192, 160, 96), 5, padding=2), pool(), nn.Dropout(),
            mlpconv(96, (192, 192, 192), 5, padding=2), pool(), nn.Dropout(),
            mlpconv(192, (192, 192, 10), 3, padding=1), GlobalAverage(),
        )  # fmt: skip


class NinImageNet(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            mlpconv(3, (96, 96, 96), 11, stride=4), pool(),
            mlpconv(96, (256, 256, 256), 5, padding=2), pool(),
            mlpconv(256, (384, 384, 384), 3, padding=1), pool(), nn.Dropout(),
            mlpconv(384, (1024, 1024, 1000), 3, padding=1), GlobalAverage(),
        )  # fmt: skip
