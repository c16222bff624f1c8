"""The networks of after the lecture: their counts against what others published, and their modules in torch."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from archprof.analysis import analyse
from archprof.analysis.numbers import agrees
from archprof.graph import Graph
from archprof.shape import Shape
from archprof.spec import expand, find_spec
from tests.interpret import assert_builds


def network(name: str, input_size: int | None = None, **parameters: Any) -> Graph:
    """A shipped network, with a square input of another size if one is given."""
    document, variant = find_spec(name)
    if input_size is None:
        return expand(document, variant, parameters)
    (entry,) = expand(document, variant, parameters).inputs
    dims = (entry.output_shapes[0].dims[0], input_size, input_size)
    return expand(document, variant, parameters, inputs={entry.path: Shape(dims)})


class Published(NamedTuple):
    """What torchvision prints of its own implementation (multiply-adds), and timm of its (fvcore's count).

    The multiply-adds of both SqueezeNets, ResNeXt-50, Wide ResNet-50 and MobileNetV3-Large were not looked up:
    they are what independent modules written from the papers count.
    """

    params: int
    multiply_adds: str
    size: int = 224
    fvcore: str | None = None


PUBLISHED = {
    "mobilenet-v2-1.0": Published(3504872, "0.301G", fvcore="0.31G"),
    "mobilenet-v3-large": Published(5483032, "0.217G"),
    "mobilenet-v3-small": Published(2542856, "0.057G"),
    "squeezenet-1.0": Published(1248424, "0.819G"),
    "squeezenet-1.1": Published(1235496, "0.349G"),
    "densenet-121": Published(7978856, "2.834G", fvcore="2.87G"),
    "densenet-161": Published(28681000, "7.728G"),
    "densenet-169": Published(14149480, "3.36G"),
    "densenet-201": Published(20013928, "4.291G"),
    "efficientnet-b0": Published(5288548, "0.4G", fvcore="0.40G"),
    "efficientnet-b1": Published(7794184, "0.7G", 240),
    "efficientnet-b2": Published(9109994, "1.1G", 288),  # the paper's input is 260x260
    "efficientnet-b3": Published(12233232, "1.8G", 300),
    "efficientnet-b4": Published(19341616, "4.4G", 380),
    "efficientnet-b5": Published(30389784, "10.3G", 456),
    "efficientnet-b6": Published(43040704, "19.1G", 528),
    "efficientnet-b7": Published(66347960, "37.7G", 600),
    "convnext-t": Published(28589128, "4.5G", fvcore="4.47G"),
    "convnext-s": Published(50223688, "8.7G"),
    "convnext-b": Published(88591464, "15.4G"),
    "convnext-l": Published(197767336, "34.4G"),
    "resnext-50-32x4d": Published(25028904, "4.23G"),
    "resnext-101-32x8d": Published(88791336, "16.414G"),
    "wide-resnet-50-2": Published(68883240, "11.398G"),
    "wide-resnet-101-2": Published(126886696, "22.753G"),
    "vit-b-16": Published(86567656, "17.564G", fvcore="17.58G"),
    "vit-b-32": Published(88224232, "4.409G"),
    "vit-l-16": Published(304326632, "61.555G"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_agrees_with_other_implementations(name: str) -> None:
    published = PUBLISHED[name]
    graph = network(name, published.size)
    analysis = analyse(graph, counting="multiply_adds")
    assert analysis.params == published.params
    assert agrees(analysis.flops, published.multiply_adds), analysis.flops
    if published.fvcore is not None:
        by_fvcore = analyse(graph, counting="fvcore").flops
        assert agrees(by_fvcore, published.fvcore), by_fvcore


def vit(size: int, patch: int, layers: int, width: int, mlp: int) -> tuple[int, int, int]:
    """Params, multiply-adds and depth by arithmetic: patches, class token, positions, encoder, norm, head."""
    patches = (size // patch) ** 2
    tokens = patches + 1
    norm = 2 * width
    attention, feed_forward = 4 * (width**2 + width), 2 * width * mlp + mlp + width
    params = (3 * patch**2 + 1) * width + width + tokens * width + norm + (width + 1) * 1000
    params += layers * (2 * norm + attention + feed_forward)
    products = 3 * patch**2 * patches * width + width * 1000
    products += layers * (tokens * (4 * width**2 + 2 * width * mlp) + 2 * tokens**2 * width)
    return params, products, 1 + layers * (2 + 2) + 1


def language_model(units: int, steps: int, vocabulary: int = 10000) -> tuple[int, int, int]:
    """A table, two layers of four gates, each with weights for input and state and two biases, and a linear layer."""
    layer = 4 * units * 2 * units
    params = vocabulary * units + 2 * (layer + 2 * 4 * units) + (units + 1) * vocabulary
    return params, steps * (2 * layer + units * vocabulary), 2 + 1


def unet(size: int, pad: int) -> tuple[int, int, int]:
    """Ten convolutions down, four times a 2x2 and two 3x3 up, a 1x1: 23, as the paper counts them."""
    params = products = 0
    in_channels = 1
    for level in range(5):
        if level:
            size //= 2
        for channels in (64 << level, 64 << level):
            size += 2 * pad - 2
            params += (9 * in_channels + 1) * channels
            products += 9 * in_channels * channels * size**2
            in_channels = channels
    for level in reversed(range(4)):
        channels = 64 << level
        params += (4 * 2 * channels + 1) * channels
        products += 4 * 2 * channels * channels * size**2
        size *= 2
        for entering in (2 * channels, channels):
            size += 2 * pad - 2
            params += (9 * entering + 1) * channels
            products += 9 * entering * channels * size**2
    return params + (64 + 1) * 2, products + 64 * 2 * size**2, 5 * 2 + 4 * 3 + 1


# params, multiply-adds and weight layers
BY_ARITHMETIC = {
    "vit-l-32": vit(224, 32, 24, 1024, 4096),
    "vit-h-14": vit(224, 14, 32, 1280, 5120),
    "vit-b-16": vit(224, 16, 12, 768, 3072),
    "lstm-language-model-small": language_model(200, 20),
    "lstm-language-model-medium": language_model(650, 35),  # Kim et al. 2016, table 3: 20M
    "lstm-language-model-large": language_model(1500, 35),  # 66M
    "unet-valid": unet(572, 0),
    "unet-same": unet(512, 1),
    "two-3x3": (2 * 9 * 256**2, 2 * 9 * 256**2 * 56**2, 2),
    "one-5x5": (25 * 256**2, 25 * 256**2 * 56**2, 1),
}


@pytest.mark.parametrize("name", BY_ARITHMETIC)
def test_agrees_with_arithmetic(name: str) -> None:
    analysis = analyse(network(name), counting="multiply_adds")
    assert (analysis.params, analysis.flops, analysis.depth) == BY_ARITHMETIC[name]


def test_vgg_remark() -> None:
    """Two 3x3 convolutions see what one 5x5 sees, for 18/25 of its parameters and multiply-adds."""
    two, one = (analyse(network(name)) for name in ("two-3x3", "one-5x5"))
    assert two.receptive_field == one.receptive_field == (5, 5)
    assert two.params * 25 == one.params * 18
    assert two.flops * 25 == one.flops * 18


def test_crops_of_valid_unet_are_centred() -> None:
    """The maps beside are 64, 136, 280 and 568 wide, those that come up 56, 104, 200 and 392 (figure 1)."""
    graph = network("unet-valid")
    crops = {node.path: node for node in graph.nodes if node.operator.op == "pad"}
    widths = [(node.input_shapes[0].dims[-1], node.output_shapes[0].dims[-1]) for node in crops.values()]
    assert widths == [(64, 56), (136, 104), (280, 200), (568, 392)]
    assert all(len(set(node.operator.padding)) == 1 for node in crops.values())


def test_layer_scale_starts_as_the_paper_has_it() -> None:
    gamma = next(node for node in network("convnext-t").nodes if node.path == "stage1.0.gamma")
    (value,) = gamma.operator.module(gamma.input_shapes).parameters()
    assert (value == 1e-6).all()


# a small form of one network each family
SMALL = {
    "mobilenet-v2-0.5": {"input_size": 32},
    "mobilenet-v3-small": {"input_size": 32},
    "squeezenet-1.0": {"input_size": 35},
    "densenet-121": {"input_size": 32},
    "efficientnet-b0": {"input_size": 32},
    "convnext-t": {"input_size": 32},
    "vit-b-16": {"image": 32},
    "unet-valid": {"input_size": 188},
    "lstm-language-model-small": {"vocabulary": 50, "steps": 3},
    "two-3x3": {"channels": 4},
}


@pytest.mark.parametrize("name", SMALL)
def test_builds(name: str) -> None:
    assert_builds(network(name, **SMALL[name]), batch=1 if name == "unet-valid" else 2)
