"""He et al., Identity mappings in deep residual networks, ECCV 2016: bottlenecks of 9n+2 layers for CIFAR-10.

The first unit's input is activated once for both branches, the others activate inside the residual branch; where the
width changes the shortcut projects the activated input (the authors' release, resnet-1k-layers).
"""

from torch import Tensor, nn


class Unit(nn.Module):
    def __init__(self, in_channels: int, width: int, stride: int, activated: bool) -> None:
        super().__init__()
        self.activate = nn.Identity() if activated else nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU())
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, width, 1, stride, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 4 * width, 1, bias=False),
        )  # fmt: skip
        self.project = None if in_channels == 4 * width else nn.Conv2d(in_channels, 4 * width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = self.activate(x)
        y = self.residual(activated)
        return y + (x if self.project is None else self.project(activated))


class PreActResNet(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        units = []
        channels = 16
        for stage, width in enumerate((16, 32, 64)):
            for number in range((depth - 2) // 9):
                stride = 2 if stage > 0 and number == 0 else 1
                units.append(Unit(channels, width, stride, activated=stage == 0 and number == 0))
                channels = 4 * width
        self.units = nn.Sequential(*units)
        self.end = nn.Sequential(nn.BatchNorm2d(256), nn.ReLU())
        self.fc = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.end(self.units(self.stem(x))).mean(dim=(2, 3)))
