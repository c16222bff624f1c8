"""archprof against networks written by hand from the papers: parameters, multiply-adds, outputs, gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import archprof
from archprof.graph import Graph
from archprof.shape import Shape
from archprof.spec import expand, find_spec
from tests.handwritten import NETWORKS, alexnet, deeplab, vit
from tests.handwritten.weights import fill, order_of_use
from tests.interpret import Interpreted

VERY_DEEP = ("resnet-1202", "preact-resnet-1001")
LONG = (  # to compute; of each family one or more are left
    *("zf", "vgg-a", "vgg-d", "vgg-e", "vit-b-16", "unet-same", "deeplab-7x7"),
    *("resnet-34", "resnet-152", "resnet-56", "resnet-110", "plain-56"),
)


def names(slow: Sequence[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in NETWORKS]


def on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return make().eval()


def count(module: nn.Module, shape: Sequence[int]) -> tuple[int, int]:
    """The parameters that a call uses, and the multiply-adds that torch counts: two FLOPs each."""
    x = torch.empty(1, *shape, device="meta")
    sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
    params = sum(sizes.get(name, 0) for name in order_of_use(module, x))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(x)
    multiply_adds, odd = divmod(counter.get_total_flops(), 2)
    assert not odd
    return params, multiply_adds


@pytest.mark.parametrize("name", names(slow=VERY_DEEP))
def test_counts_equal_those_of_the_module_written_by_hand(name: str) -> None:
    # Attention is written as two matrix products there: FlopCounterMode sees none in torch's fused one on a CPU.
    analysis = archprof.analyse(archprof.load(name), counting="multiply_adds")
    assert (analysis.params, analysis.flops) == count(on_meta(NETWORKS[name]), NETWORKS[name].input_shape)


def test_training_counts_of_googlenet_have_its_auxiliary_classifiers() -> None:
    analysis = archprof.analyse(archprof.load("googlenet"), counting="multiply_adds", train=True)
    module = on_meta(NETWORKS["googlenet"]).train()
    assert (analysis.params, analysis.flops) == count(module, NETWORKS["googlenet"].input_shape)
    assert analysis.params == sum(parameter.numel() for parameter in module.parameters())


# --- outputs and gradients

# a smaller input where the network takes one; with a spec's own parameter where it has one for the size
REDUCED = {
    "nin-cifar-10": (3, 16, 16),
    "nin-imagenet": (3, 99, 99),
    "resnet-18": (3, 96, 96),
    "resnet-34": (3, 96, 96),
    "resnet-50": (3, 96, 96),
    "resnet-152": (3, 64, 64),
    "resnet-110": (3, 16, 16),
    "preact-resnet-164": (3, 8, 8),
    "resnet-1202": (3, 8, 8),
    "preact-resnet-1001": (3, 8, 8),
    "densenet-121": (3, 64, 64),
    "mobilenet-v2-1.0": (3, 96, 96),
    "squeezenet-1.0": (3, 99, 99),
    "efficientnet-b0": (3, 96, 96),
    "convnext-t": (3, 96, 96),
    "unet-valid": (1, 188, 188),
    "unet-same": (1, 64, 64),
}
BY_PARAMETER = {
    "deeplab-largefov": ({"size": 65}, lambda: deeplab.DeepLab(3, 12, 1024)),
    "deeplab-7x7": ({"size": 65}, lambda: deeplab.DeepLab(7, 4, 4096)),
    "vit-b-16": ({"image": 64}, lambda: vit.VisionTransformer(16, 12, 768, 3072, 12, image=64)),
}


def reduced(name: str) -> tuple[Graph, nn.Module]:
    """A network on an input that is quick to compute: archprof's graph, and the hand-written module on meta."""
    if name in BY_PARAMETER:
        settings, make = BY_PARAMETER[name]
        return archprof.load(name, **settings), on_meta(make)
    document, variant = find_spec(name)
    shape = REDUCED.get(name, NETWORKS[name].input_shape)
    return expand(document, variant, inputs={"input": Shape(shape)}), on_meta(NETWORKS[name])


def without_chance(module: nn.Module) -> nn.Module:
    """In training mode, but for dropout."""
    module.train()
    for child in module.modules():
        if isinstance(child, nn.Dropout):
            child.eval()
    return module


def adopt(built: nn.Module, by_hand: nn.Module, shape: Sequence[int], name: str) -> list[tuple[str, str]]:
    """Fill the hand-written module with random numbers and give those to the built one, matched by order of use.

    Both come on the meta device and leave it. Returns the pairs of names, AlexNet's left out: its towers are joined.
    """
    x = torch.empty(2, *shape, device="meta")
    theirs, ours = order_of_use(by_hand, x), order_of_use(built, x)
    fill(by_hand)
    tensors = by_hand.state_dict()
    values = [tensors[each] for each in theirs]
    if name == "alexnet":
        values = list(alexnet.joined(values))
    expected = built.state_dict()
    state = {key: torch.zeros_like(tensor, device="cpu") for key, tensor in expected.items() if key not in ours}
    for key, value in zip(ours, values, strict=True):
        assert squeezed(value) == squeezed(expected[key]), key
        state[key] = value.clone().reshape(expected[key].shape)
    built.load_state_dict(state, assign=True)
    return list(zip(theirs, ours, strict=True)) if name != "alexnet" else []


def squeezed(tensor: Tensor) -> list[int]:
    """The sizes without those that are 1: a 1x1 convolution is a linear layer at every position."""
    return [size for size in tensor.shape if size != 1]


def assert_same(actual: Any, expected: Any) -> None:
    """Equal but for rounding, which grows with the largest element."""
    if isinstance(expected, tuple):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)
        return
    actual, expected = actual.detach(), expected.detach()
    assert expected.isfinite().all()
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", names(slow=VERY_DEEP + LONG))
def test_outputs_equal_those_of_the_module_written_by_hand(name: str) -> None:
    graph, by_hand = reduced(name)
    (entering,) = graph.inputs
    shape = entering.output_shapes[0].dims
    built = on_meta(lambda: Interpreted(graph))
    adopt(built, by_hand, shape, name)
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = by_hand(x)
        assert float(expected.std()) > 0
        assert_same(built(x), expected)


@pytest.mark.parametrize("name", ["resnet-50", "googlenet", "convnext-t", "alexnet"])
def test_gradients_equal_those_of_the_module_written_by_hand(name: str) -> None:
    graph, by_hand = reduced(name)
    (entering,) = graph.inputs
    shape = entering.output_shapes[0].dims
    by_hand = without_chance(by_hand)
    built = without_chance(on_meta(lambda: Interpreted(graph, train=True)))
    pairs = adopt(built, by_hand, shape, name)
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    inputs, outputs = [], []
    for module in (built, by_hand):
        entered = x.clone().requires_grad_()
        result = module(entered)
        outputs.append(result)
        results = result if isinstance(result, tuple) else (result,)
        sum((each.square() * each.numel()).sum() for each in results).backward()
        inputs.append(entered.grad)
    assert_same(*outputs)
    assert_same(*inputs)
    ours, theirs = dict(built.named_parameters()), dict(by_hand.named_parameters())
    if name == "alexnet":
        in_order = [theirs[each].grad for each in order_of_use(by_hand, x)]
        for one, other in zip(order_of_use(built, x), alexnet.joined(in_order), strict=True):
            assert_same(ours[one].grad, other)
    for other, one in pairs:
        if other in theirs:
            assert_same(ours[one].grad.reshape(theirs[other].shape), theirs[other].grad)
