"""Networks written by hand in plain PyTorch, from the papers: what archprof's figures and modules are held against.

Nothing here knows of archprof. A module puts its branches in the order of its paper's picture, the residual one
before the shortcut, so that parameters are used in the order in which a spec writes its layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from .alexnet import AlexNet
from .convnext import ConvNeXt
from .deeplab import DeepLab
from .densenet import DenseNet
from .efficientnet import EfficientNetB0
from .googlenet import GoogLeNet
from .mobilenet_v2 import MobileNetV2
from .nin import NinCifar10, NinImageNet
from .preact_resnet import PreActResNet
from .resnet import BasicBlock, Bottleneck, ResNet
from .resnet_cifar import CifarResNet
from .squeezenet import SqueezeNet
from .unet import UNet
from .vgg import VGG
from .vit import VisionTransformer
from .zf import ZF


class Network(NamedTuple):
    """How to make a network, and the shape of its input without the batch."""

    make: Callable[[], nn.Module]
    input_shape: tuple[int, ...]

    def __call__(self) -> nn.Module:
        return self.make()


IMAGENET = (3, 224, 224)
CIFAR = (3, 32, 32)

NETWORKS: dict[str, Network] = {  # by the name that archprof's spec or variant has
    "zf": Network(ZF, (3, 220, 220)),
    "alexnet": Network(AlexNet, (3, 227, 227)),
    "vgg-a": Network(lambda: VGG("A"), IMAGENET),
    "vgg-d": Network(lambda: VGG("D"), IMAGENET),
    "vgg-e": Network(lambda: VGG("E"), IMAGENET),
    "nin-cifar-10": Network(NinCifar10, CIFAR),
    "nin-imagenet": Network(NinImageNet, IMAGENET),
    "googlenet": Network(GoogLeNet, IMAGENET),
    "resnet-18": Network(lambda: ResNet(BasicBlock, (2, 2, 2, 2)), IMAGENET),
    "resnet-34": Network(lambda: ResNet(BasicBlock, (3, 4, 6, 3)), IMAGENET),
    "resnet-50": Network(lambda: ResNet(Bottleneck, (3, 4, 6, 3)), IMAGENET),
    "resnet-152": Network(lambda: ResNet(Bottleneck, (3, 8, 36, 3)), IMAGENET),
    "resnet-20": Network(lambda: CifarResNet(20), CIFAR),
    "resnet-56": Network(lambda: CifarResNet(56), CIFAR),
    "resnet-110": Network(lambda: CifarResNet(110), CIFAR),
    "resnet-1202": Network(lambda: CifarResNet(1202), CIFAR),
    "plain-20": Network(lambda: CifarResNet(20, residual=False), CIFAR),
    "plain-56": Network(lambda: CifarResNet(56, residual=False), CIFAR),
    "preact-resnet-164": Network(lambda: PreActResNet(164), CIFAR),
    "preact-resnet-1001": Network(lambda: PreActResNet(1001), CIFAR),
    "densenet-121": Network(lambda: DenseNet((6, 12, 24, 16), growth=32), IMAGENET),
    "mobilenet-v2-1.0": Network(MobileNetV2, IMAGENET),
    "squeezenet-1.0": Network(SqueezeNet, (3, 227, 227)),
    "efficientnet-b0": Network(EfficientNetB0, IMAGENET),
    "convnext-t": Network(lambda: ConvNeXt((3, 3, 9, 3), (96, 192, 384, 768)), IMAGENET),
    "vit-b-16": Network(lambda: VisionTransformer(16, 12, 768, 3072, 12), IMAGENET),
    "unet-valid": Network(lambda: UNet(padding=0), (1, 572, 572)),
    "unet-same": Network(lambda: UNet(padding=1), (1, 512, 512)),
    "deeplab-largefov": Network(lambda: DeepLab(3, 12, 1024), (3, 321, 321)),
    "deeplab-7x7": Network(lambda: DeepLab(7, 4, 4096), (3, 321, 321)),
}
