"""Chen et al., ICLR 2015, section 3 and table 2: VGG-16 made fully convolutional, its last maps dense by dilation."""

from torch import Tensor, nn
from torch.nn import functional


class DeepLab(nn.Module):
    """`kernel`, `rate` and `width` are those of fc6, a row of table 2 each."""

    def __init__(self, kernel: int, rate: int, width: int, classes: int = 21) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        groups = ((2, 64, 1, 2), (2, 128, 1, 2), (3, 256, 1, 2), (3, 512, 1, 1), (3, 512, 2, 1))
        for count, group_width, dilation, pool_stride in groups:
            for _ in range(count):
                layers += [nn.Conv2d(channels, group_width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
                channels = group_width
            layers.append(nn.MaxPool2d(3, pool_stride, 1))
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Conv2d(512, width, kernel, padding=rate * (kernel - 1) // 2, dilation=rate), nn.ReLU(), nn.Dropout(),
            nn.Conv2d(width, width, 1), nn.ReLU(), nn.Dropout(),
            nn.Conv2d(width, classes, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        scores = self.head(self.features(x))
        return functional.interpolate(scores, size=x.shape[2:], mode="bilinear", align_corners=True)
