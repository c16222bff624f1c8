"""Specs of imported modules build back to the same parameters and outputs, or name what the language lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archprof
from archprof import UsageError
from archprof.building import build
from archprof.graph import Graph
from archprof.importer.modules import import_module
from archprof.importer.spec import spec_text
from archprof.spec import expand
from archprof.spec.library import parse_text
from tests.handwritten import NETWORKS
from tests.handwritten.weights import _FirstUses, fill
from tests.importer.test_modules import Calls, parameter, x
from tests.operators.harness import as_tuple


def graph_of(text: str) -> Graph:
    return expand(parse_text(text.encode(), "imported.yaml"))


def order_of_use(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[str]:
    """The names of parameters and buffers by the first use of what owns them, in the owner's own order."""
    with _FirstUses(module) as uses, torch.no_grad():
        module(*inputs)
    owners = dict.fromkeys(name.rpartition(".")[0] for name in uses.order)
    return [
        name
        for owner in owners
        for name in module.state_dict()
        if name in uses.order and name.rpartition(".")[0] == owner
    ]


def squeezed(shape: tuple[int, ...]) -> list[int]:
    return [size for size in shape if size != 1]


def assert_builds_back(module: nn.Module, inputs: tuple[Tensor, ...]) -> str:
    """Its spec, after holding the built network against the module: weights go over in the order of their use."""
    text = spec_text(import_module(module, inputs), "tests:module")
    built = build(graph_of(text), init="empty")
    fill(module)
    module.eval(), built.eval()
    theirs, ours = order_of_use(module, inputs), order_of_use(built, inputs)
    source, target = module.state_dict(), built.state_dict()
    assert [squeezed(source[name].shape) for name in theirs] == [squeezed(target[name].shape) for name in ours]
    assert sum(each.numel() for each in built.parameters()) == sum(each.numel() for each in module.parameters())
    built.load_state_dict(
        target | {name: source[other].reshape(target[name].shape) for name, other in zip(ours, theirs, strict=True)}
    )
    with torch.no_grad():
        expected, actual = module(*inputs), built(*inputs)
    actual = tuple(actual.values()) if isinstance(actual, dict) else actual
    for one, other in zip(as_tuple(actual), as_tuple(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))
    return text


def shared() -> nn.Module:
    part = nn.Linear(6, 6)
    return nn.Sequential(part, nn.Tanh(), part)


def transformer() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, activation="gelu"), 2)


def tokens(m: nn.Module, image: Tensor) -> Tensor:
    sequence = m.patches(image).flatten(2).transpose(1, 2)
    sequence = torch.cat([m.token.expand(len(image), -1, -1), sequence], 1) + m.positions
    return m.head(m.norm(m.encoder(sequence))[:, 0])


BUILT: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, (3, 5), (2, 1), (1, 2), bias=False), nn.BatchNorm2d(8, eps=1e-3), nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 3, padding="same", groups=4), nn.LeakyReLU(0.2), nn.MaxPool2d(3, 2, 1, ceil_mode=True),
            nn.ConvTranspose2d(8, 4, 3, 2, 1, 1), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.AdaptiveAvgPool2d((None, 2)), nn.Flatten(), nn.Dropout(), nn.LazyLinear(5), nn.Softmax(1),
        ),
        (3, 9, 9),
    ),
    "a residual block": (
        lambda: Calls(lambda m, x: (m.b(m.a(x).relu_()) + x).relu_(), a=nn.Conv2d(4, 4, 3, 1, 1), b=nn.Conv2d(4, 4, 1)),
        (4, 6, 6),
    ),
    "strides and means": (
        lambda: Calls(lambda m, x: m.fc(m.c(x[:, :, ::2, ::2])[:, :, 1:-1].mean((2, 3))), c=nn.Conv2d(3, 4, 1), fc=nn.Linear(4, 2)),
        (3, 9, 9),
    ),
    "norms": (lambda: nn.Sequential(nn.GroupNorm(2, 4), nn.LayerNorm([4, 5, 5]), nn.LocalResponseNorm(3)), (4, 5, 5)),
    "shared": (shared, (6,)),
    "called twice": (lambda: Calls(lambda m, x: m.c(m.c(x)), c=nn.Conv1d(3, 3, 3, padding=1)), (3, 7)),
    "a scale": (lambda: Calls(lambda m, x: m.c(x) * m.scale, c=nn.Linear(6, 6), scale=parameter(6)), (4, 6)),
    "several outputs": (lambda: Calls(lambda m, x: (m.a(x), m.b(x), x), a=nn.Linear(6, 3), b=nn.Linear(6, 2)), (6,)),
    "pieces": (lambda: Calls(lambda m, x: torch.cat([m.a(each) for each in x.chunk(2, 1)][::-1], 1), a=nn.Linear(3, 3)), (6,)),
    "lstm": (lambda: Calls(lambda m, x: m.out(m.l(x)[0]), l=nn.LSTM(6, 5, 2, batch_first=True), out=nn.Linear(5, 2)), (7, 6)),
    "gru, its state": (
        lambda: Calls(lambda m, x: m.g(x)[1].transpose(0, 1), g=nn.GRU(6, 5, batch_first=True, bidirectional=True)), (7, 6)
    ),
    "attention": (
        lambda: Calls(lambda m, x: m.a(x, x, x, need_weights=False)[0], a=nn.MultiheadAttention(8, 2, batch_first=True)), (5, 8)
    ),
    "a transformer": (transformer, (5, 8)),
    "a vision transformer": (
        lambda: Calls(
            tokens, patches=nn.Conv2d(3, 8, 4, 4), token=parameter(1, 1, 8), positions=parameter(1, 5, 8),
            encoder=transformer(), norm=nn.LayerNorm(8), head=nn.Linear(8, 3),
        ),
        (3, 8, 8),
    ),
    "frozen": (lambda: nn.Sequential(nn.Linear(6, 4).requires_grad_(False), nn.ReLU(), nn.Linear(4, 2)), (6,)),
}  # fmt: skip


@pytest.mark.parametrize("name", BUILT)
def test_a_spec_builds_back(name: str) -> None:
    torch.manual_seed(0)
    make, shape = BUILT[name]
    module = make()
    inputs = (torch.randn(2, *shape),)
    if any(isinstance(each, nn.LazyLinear) for each in module.modules()):
        module(*inputs)
    assert_builds_back(module, inputs)


def test_indices_keep_their_dtype() -> None:
    module = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2))
    text = assert_builds_back(module, (torch.zeros(2, 3, dtype=torch.int64),))
    assert text.splitlines()[2] == "input: {input: {shape: [3], dtype: int64}}"


def test_several_inputs() -> None:
    module = Calls(lambda m, a, b: m.a(a) + m.b(b), a=nn.Linear(6, 3), b=nn.Linear(4, 3))
    assert_builds_back(module, (torch.randn(2, 6), torch.randn(2, 4)))


SMALL = {  # a smaller input, where the network takes one
    "vgg-a": (3, 224, 224), "resnet-18": (3, 64, 64), "resnet-50": (3, 64, 64), "resnet-20": (3, 32, 32),
    "preact-resnet-164": (3, 8, 8), "densenet-121": (3, 64, 64), "mobilenet-v2-1.0": (3, 64, 64),
    "squeezenet-1.0": (3, 67, 67), "efficientnet-b0": (3, 64, 64), "convnext-t": (3, 64, 64), "unet-same": (1, 32, 32),
    "nin-cifar-10": (3, 16, 16),
}  # fmt: skip
LONG = ("vgg-a", "preact-resnet-164", "unet-same", "convnext-t", "densenet-121", "resnet-50", "efficientnet-b0")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in SMALL]
)
def test_a_network_written_by_hand_builds_back(name: str) -> None:
    assert_builds_back(NETWORKS[name](), (torch.randn(1, *SMALL[name]),))


def test_the_text_reads_like_a_spec() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(128, 5)
    )
    assert spec_text(import_module(module, x(3, 4, 4), name="small.net"), "nets:small") == (
        "name: small_net\n"
        'source: "imported from nets:small"\n'
        "input: [3, 4, 4]\n"
        "layers:\n"
        "  - {name: layer_0, op: conv2d, out_channels: 8, kernel_size: 3, padding: 1, bias: false}\n"
        "  - {name: layer_1, op: batch_norm2d}\n"
        "  - {name: layer_2, op: flatten}\n"
        "  - {name: layer_3, op: linear, out_features: 5}\n"
        "expect: {params: 877, multiply_adds: 4096}\n"
    )
    assert (3 * 8 * 9 + 2 * 8 + 128 * 5 + 5, 16 * 3 * 8 * 9 + 128 * 5) == (877, 4096)


def test_names_are_legal_and_unique() -> None:
    parts = {"true": nn.ReLU(), "input": nn.Tanh(), "a_b": nn.ReLU(), "ä": nn.ReLU(), "1e5": nn.ReLU()}
    module = nn.Sequential()
    for name, part in parts.items():
        module.add_module(name, part)
    module.add_module("a", nn.Sequential())
    module.a.add_module("b", nn.Tanh())
    graph = graph_of(spec_text(import_module(module, x(3)), "nets:names"))
    assert [node.path for node in graph.nodes] == [
        "input", "true_2", "input_2", "a_b", "_", "layer_1e5", "a_b_2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "shape", "lacks"),
    [
        (lambda: Calls(lambda m, x: m.a(x * 0.5) / 2, a=nn.Linear(6, 4)), (6,), "mul (mul), div (div)"),
        (lambda: nn.Sequential(nn.Softplus(), nn.Softplus()), (6,), "softplus (0, 1)"),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)), (6,), "_weight_norm (parametrizations.weight.0), linear with computed weights (linear)",),
        (
            lambda: Calls(lambda m, x: m.a(x), a=nn.Linear(4, 4), b=nn.Linear(4, 1)), (4,),
            "a parameter that reaches no output (b.weight, b.bias)",
        ),
        (lambda: Calls(lambda m, x: m.a(x.reshape(-1, 2)), a=nn.Linear(2, 2)), (6,), "reshape (reshape)"),
        (
            lambda: nn.Sequential(*(nn.Softplus() for _ in range(6))), (6,), "softplus (0, 1, 2, 3 and 2 more)",
        ),
    ],
)  # fmt: skip
def test_what_the_language_lacks_is_named(make: Callable[[], nn.Module], shape: tuple[int, ...], lacks: str) -> None:
    with pytest.raises(UsageError) as caught:
        spec_text(import_module(make(), x(*shape)), "nets:odd")
    assert str(caught.value) == f"nets:odd cannot be written as a spec; the language does not have: {lacks}"


def test_writing_into_a_part_of_a_tensor_is_not_written_as_if_it_were_nothing() -> None:
    def run(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        y[:, 0].relu_()
        return m.b(y)

    lacks = (
        "nets:odd cannot be written as a spec; the language does not have: relu into a tensor that is read elsewhere"
    )
    with pytest.raises(UsageError, match=lacks):
        spec_text(import_module(Calls(run, a=nn.Linear(4, 4), b=nn.Linear(4, 4)), x(4)), "nets:odd")


def test_figures_are_those_of_the_import() -> None:
    graph = import_module(transformer(), x(5, 8))
    ours, theirs = archprof.analyse(graph_of(spec_text(graph, "nets:t"))), archprof.analyse(graph)
    assert (ours.params, ours.flops, ours.depth) == (theirs.params, theirs.flops, theirs.depth)
