"""Initial values of parameters, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

Layers = Sequence["nn.Module"]  # those that own parameters, in the order of execution


def torch_defaults(layers: Layers) -> None:
    """What torch's modules draw when they are made."""


def kaiming_normal(layers: Layers) -> None:
    """N(0, 2 / fan_out) for weights of convolutions and linear layers, zero biases (He et al. 2015, as in ResNets).

    The rest keeps torch's defaults, here and below.
    """
    from torch import nn

    for module in _weighted(layers):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        _fill_bias(module, 0.0)


def resnet(layers: Layers) -> None:
    """N(0, 2 / fan_out) for weights of convolutions, torch's defaults for linear layers (torchvision's ResNets).

    With N(0, 2 / fan_out) there too, gradients of a last layer of few classes are several times larger at the start.
    """
    from torch import nn

    kaiming_normal([module for module in layers if isinstance(module, nn.modules.conv._ConvNd)])


def xavier_uniform(layers: Layers) -> None:
    """U(-a, a), a = sqrt(6 / (fan_in + fan_out)), for weights, zero biases (Glorot & Bengio 2010)."""
    from torch import nn

    for module in _weighted(layers):
        nn.init.xavier_uniform_(module.weight)
        _fill_bias(module, 0.0)


def alexnet(layers: Layers) -> None:
    """N(0, 0.01^2) for weights; biases 1 in the second, fourth and fifth convolution and the hidden linear layers,
    else 0 (Krizhevsky et al. 2012, section 5)."""
    from torch import nn

    convolutions = hidden = 0
    linear = [module for module in _weighted(layers) if isinstance(module, nn.Linear)]
    for module in _weighted(layers):
        nn.init.normal_(module.weight, std=0.01)
        if isinstance(module, nn.Linear):
            hidden += 1
            _fill_bias(module, 1.0 if hidden < len(linear) else 0.0)
        else:
            convolutions += 1
            _fill_bias(module, 1.0 if convolutions in (2, 4, 5) else 0.0)


def empty(layers: Layers) -> None:
    """Nothing: what the memory holds. For shapes and counts alone."""


INITIALISATIONS: Mapping[str, Callable[[Layers], None]] = {
    "torch": torch_defaults,
    "kaiming_normal": kaiming_normal,
    "resnet": resnet,
    "alexnet": alexnet,
    "xavier_uniform": xavier_uniform,
    "empty": empty,
}


def _weighted(layers: Layers) -> list[nn.Linear | nn.modules.conv._ConvNd]:
    """The modules of convolutions and linear layers."""
    from torch import nn

    return [module for module in layers if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd))]


def _fill_bias(module: nn.Linear | nn.modules.conv._ConvNd, value: float) -> None:
    from torch import nn

    if module.bias is not None:
        nn.init.constant_(module.bias, value)
