"""He et al., Deep residual learning, CVPR 2016, section 4.2: 6n+2 layers for CIFAR-10, shortcuts without parameters."""

from torch import Tensor, nn
from torch.nn import functional


class Unit(nn.Module):
    def __init__(self, in_channels: int, width: int, residual: bool) -> None:
        super().__init__()
        self.stride = 1 if in_channels == width else 2
        self.more = width - in_channels
        self.residual = residual
        self.conv1 = nn.Conv2d(in_channels, width, 3, self.stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        if self.residual:  # option A: every other position, and zeros for the new channels
            y = y + functional.pad(x[:, :, :: self.stride, :: self.stride], [0, 0, 0, 0, 0, self.more])
        return y.relu()


class CifarResNet(nn.Module):
    """With `residual` false the plain network of the same layers."""

    def __init__(self, depth: int, residual: bool = True) -> None:
        super().__init__()
        units = (depth - 2) // 6
        widths = [16] * units + [32] * units + [64] * units
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        pairs = zip([16, *widths], widths, strict=False)
        self.units = nn.Sequential(*(Unit(channels, width, residual) for channels, width in pairs))
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)).relu()
        return self.fc(self.units(x).mean(dim=(2, 3)))
