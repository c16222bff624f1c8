"""Every operator and every shipped family against torch, FlopCounterMode and fvcore; what is wrong is found."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from archprof.analysis.check import networks
from archprof.cost import Cost
from archprof.errors import UsageError
from archprof.graph import Graph
from archprof.operators import REGISTRY
from archprof.operators.base import Inputs
from archprof.operators.convolution import Conv2d
from archprof.operators.linear import Linear
from archprof.operators.normalization import BatchNorm2d
from archprof.operators.pooling import MaxPool2d
from archprof.shape import Shape
from archprof.spec import expand, find_spec
from archprof.spec.library import SHIPPED, parse_text
from archprof.verification import AGREES, UNEXPLAINED, Finding, tools, verify
from tests.graphs import Builder, Unknown


def graph_of(text: str) -> Graph:
    return expand(parse_text(f"name: net\n{text}".encode(), "net.yaml"), None)


def differences(findings: tuple[Finding, ...]) -> list[tuple[str, str, object, object, str | None]]:
    return [
        (each.node, each.quantity, each.ours, each.theirs, None if each.reason is None else each.reason.name)
        for each in findings
        if each.status != AGREES
    ]


def unexplained(findings: tuple[Finding, ...]) -> list[Finding]:
    return [each for each in findings if each.status == UNEXPLAINED]


# --- every family, every operator

# a variant a family, in training where it has heads; a smaller input where the network takes one
SMALL = (3, 64, 64)
FAMILIES: Mapping[str, tuple[tuple[int, ...] | None, Mapping[str, Any]]] = {
    "alexnet": (None, {}),
    "convnext-t": (SMALL, {}),
    "deeplab-largefov": (None, {"size": 65}),
    "densenet-121": (SMALL, {}),
    "efficientnet-b0": (SMALL, {}),
    "fast-rcnn-alexnet": ((3, 160, 160), {"regions": 3}),
    "googlenet": (None, {}),
    "lstm-language-model-small": (None, {}),
    "mobilenet-v2-0.5": (SMALL, {}),
    "mobilenet-v3-small": (SMALL, {}),
    "nin-cifar-10": (None, {}),
    "overfeat-fast": (None, {}),
    "preact-resnet-110": (None, {}),
    "rcnn": (None, {"regions": 2}),
    "resnet-50": (SMALL, {}),
    "resnet-20": (None, {}),
    "resnext-50-32x4d": (SMALL, {}),
    "squeezenet-1.1": (SMALL, {}),
    "unet-same": (SMALL, {}),
    "two-3x3": (None, {}),
    "vgg-a-lrn": (None, {}),
    "vit-b-32": (None, {}),
    "zeiler-fergus": (None, {}),
    "zf": (None, {}),
}


def test_every_family_is_verified() -> None:
    assert {find_spec(name)[0].name for name in FAMILIES} == {path.stem for path in SHIPPED.glob("*.yaml")}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_variant_of_each_family(name: str) -> None:
    dims, settings = FAMILIES[name]
    graph = expand(*find_spec(name), settings, inputs={"input": Shape(dims)} if dims else None)
    findings = verify(graph, train=name == "googlenet")
    assert unexplained(findings) == []
    assert len(findings) > 3 * (len(graph.nodes) - 1)


ALL = [
    pytest.param(document, variant, id=variant.name if variant else document.name)
    for document, variant in networks([str(SHIPPED)])
]


@pytest.mark.slow
@pytest.mark.parametrize("train", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize(("document", "variant"), ALL)
def test_all_shipped(document: Any, variant: Any, train: bool) -> None:
    assert unexplained(verify(expand(document, variant), train=train)) == []


MAP, SEQUENCE, VECTOR = "[4, 9, 9]", "[5, 8]", "[8]"
# each operator on an input, its fields such that whatever it counts matters
OPERATORS: Mapping[str, list[tuple[str, str]]] = {
    "abs": [(MAP, "")],
    "adaptive_avg_pool2d": [(MAP, "output_size: 1"), (MAP, "output_size: [4, null]")],
    "adaptive_max_pool2d": [(MAP, "output_size: 4")],
    "add": [(MAP, "from: [a, a]")],
    "avg_pool2d": [(MAP, "kernel_size: 3, stride: 2, padding: 1, ceil_mode: true")],
    "batch_norm2d": [(MAP, ""), (MAP, "affine: false"), (MAP, "track_running_stats: false")],
    "concat": [(MAP, "from: [a, a]"), (MAP, "")],
    "conv1d": [
        (SEQUENCE, "out_channels: 5, kernel_size: 3, padding: same"),
        ("[4, 9]", "out_channels: 6, kernel_size: 3, groups: 2"),
    ],
    "conv2d": [
        (MAP, "out_channels: 6, kernel_size: [3, 2], stride: 2, padding: [[1, 0], [0, 1]]"),
        (MAP, "out_channels: 6, kernel_size: 3, dilation: 2, bias: false"),
        (MAP, "out_channels: 8, kernel_size: 3, padding: same, groups: 4"),
        (MAP, "out_channels: 8, kernel_size: 2, padding: same"),
    ],
    "conv3d": [
        ("[4, 5, 5, 5]", "out_channels: 6, kernel_size: 3, groups: 2"),
        ("[4, 5, 5, 5]", "out_channels: 6, kernel_size: 3"),
    ],
    "conv_transpose2d": [
        (MAP, "out_channels: 5, kernel_size: 2, stride: 2, bias: false"),
        (MAP, "out_channels: 6, kernel_size: 3, stride: 2, padding: 1, output_padding: 1, groups: 2"),
    ],
    "drop_path": [(MAP, "p: 0.1")],
    "dropout": [(MAP, "")],
    "embedding": [],  # takes indices: below
    "flatten": [(MAP, "")],
    "gelu": [(MAP, ""), (MAP, "approximate: tanh")],
    "group_norm": [(MAP, "num_groups: 2"), (MAP, "num_groups: 4, affine: false"), ("[4, 5, 5, 5]", "num_groups: 2")],
    "gru": [
        (SEQUENCE, "hidden_size: 3"),
        (SEQUENCE, "hidden_size: 3, num_layers: 2, bidirectional: true, bias: false"),
    ],
    "hardsigmoid": [(MAP, "")],
    "hardswish": [(MAP, "")],
    "identity": [(MAP, "")],
    "l2_normalize": [(MAP, "")],
    "layer_norm": [
        (SEQUENCE, ""),
        (MAP, "dim: 1"),
        (MAP, "normalized_shape: [9, 9], bias: false"),
        (SEQUENCE, "elementwise_affine: false"),
        ("[2, 2, 2, 2, 3]", ""),
        ("[2, 3, 2, 2, 2]", "dim: 2"),
    ],
    "leaky_relu": [(MAP, "")],
    "linear": [(VECTOR, "out_features: 3"), (MAP, "out_features: 3, bias: false")],
    "local_response_norm": [(MAP, "size: 3")],
    "lp_pool2d": [(MAP, "norm_type: 2, kernel_size: 2")],
    "lstm": [
        (SEQUENCE, "hidden_size: 3"),
        (SEQUENCE, "hidden_size: 3, num_layers: 2, bidirectional: true, bias: false"),
    ],
    "matmul": [("[6, 6]", "from: [a, a]")],
    "max_pool2d": [
        (MAP, "kernel_size: 3, stride: 2, padding: 1, ceil_mode: true"),
        (MAP, "kernel_size: 2, dilation: 2"),
    ],
    "maxout": [(VECTOR, "out_features: 3"), (SEQUENCE, "out_features: 3, pool_size: 4, bias: false")],
    "multi_head_attention": [
        (SEQUENCE, "num_heads: 2"),
        (SEQUENCE, "num_heads: 4, bias: false"),
        (SEQUENCE, "num_heads: 2, from: [a, a, a]"),
    ],
    "multiply": [(MAP, "from: [a, a]")],
    "pad": [(MAP, "padding: [1, 2, 0, 1]"), (SEQUENCE, "padding: [1, 2]")],
    "pad_channels": [(MAP, "out_channels: 7, stride: 2")],
    "parameter": [(MAP, "shape: [4, 1, 1]")],
    "permute": [(MAP, "dims: [0, 2, 3, 1]")],
    "relu": [(MAP, "")],
    "relu6": [(MAP, "")],
    "reshape": [(MAP, "shape: [12, 27]")],
    "roi_pool": [(MAP, "output_size: 2, regions: 3")],
    "scaled_dot_product_attention": [
        (SEQUENCE, "from: [a, a, a]"),
        ("[2, 5, 8]", "from: [a, a, a]"),
        ("[2, 3, 5, 8]", "from: [a, a, a]"),
    ],
    "select": [(SEQUENCE, "dim: 1, index: 0")],
    "sigmoid": [(MAP, "")],
    "silu": [(MAP, "")],
    "softmax": [(MAP, "")],
    "split": [(MAP, "split_size: [1, 3]")],
    "subtract": [(MAP, "from: [a, a]")],
    "tanh": [(MAP, "")],
    "transpose": [(MAP, "dim0: 1, dim1: 2")],
    "upsample": [(MAP, "scale_factor: 2"), (MAP, "size: [12, 10], mode: bilinear")],
}


def test_every_operator_is_verified() -> None:
    assert {*OPERATORS} == {*REGISTRY}


# what FlopCounterMode counts, and may count otherwise on a CPU; what computes otherwise in training
COUNTED = ("conv1d", "conv2d", "conv3d", "conv_transpose2d", "gru", "linear", "lstm", "matmul", "maxout",
           "multi_head_attention", "scaled_dot_product_attention")  # fmt: skip
TRAINED = ("batch_norm2d", "drop_path", "dropout")
RUNS = [
    *((op, False, "meta") for op, cases in OPERATORS.items() if cases),
    *((op, False, "cpu") for op in COUNTED),
    *((op, True, "meta") for op in TRAINED),
]


@pytest.mark.parametrize(("op", "train", "device"), RUNS)
def test_each_operator_as_the_first_and_as_an_inner_layer(op: str, train: bool, device: str) -> None:
    for dims, fields in OPERATORS[op]:
        for first in ("identity", "layer_norm"):  # without parameters, and with
            last = "{op: select, dim: 1, index: 0, from: last.0}" if op == "split" else "{op: identity}"
            layers = f"layers: [{{name: a, op: {first}}}, {{name: last, op: {op}{fields and ', '}{fields}}}, {last}]\n"
            if op in ("lstm", "gru"):
                layers = layers.replace("{op: identity}", "{op: identity, from: last.output}")
            findings = verify(graph_of(f"input: {dims}\n{layers}"), train=train, device=device)
            assert unexplained(findings) == [], (dims, fields, first)


def test_indices() -> None:
    spec = "input: {shape: [5], dtype: int64}\nlayers: [{op: embedding, num_embeddings: 7, embedding_dim: 3}]\n"
    findings = verify(graph_of(spec))
    assert differences(findings) == []
    assert next(each.ours for each in findings if each.quantity == "output shape") == "2x5x3"


def test_shared_parameters_count_once_and_cost_twice() -> None:
    spec = """
input: [8, 9, 9]
layers:
  - {name: one, op: conv2d, out_channels: 8, kernel_size: 3, padding: 1}
  - {name: two, op: conv2d, out_channels: 8, kernel_size: 3, padding: 1, weights: one}
"""
    findings = verify(graph_of(spec))
    assert differences(findings) == []
    figures = {(each.node, each.quantity): each.theirs for each in findings}
    products = 2 * 9 * 9 * 8 * 8 * 9
    assert (figures["one", "parameter elements"], figures["two", "parameter elements"]) == (8 * 8 * 9 + 8, 0)
    assert (figures["one", "forward multiply-adds"], figures["two", "forward multiply-adds"]) == (products, products)
    assert (figures["one", "backward multiply-adds"], figures["two", "backward multiply-adds"]) == (
        products,
        2 * products,
    )


def test_torch_is_left_as_it_was() -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    verify(graph_of("input: [4, 5, 5]\nlayers: [{op: conv2d, out_channels: 2, kernel_size: 3}, {op: dropout}]\n"))
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


# --- what is wrong is found

NET = """
input: [3, 9, 9]
layers:
  - {name: conv, op: conv2d, out_channels: 4, kernel_size: 3, padding: 1, groups: 1}
  - {name: norm, op: batch_norm2d}
  - {name: pool, op: max_pool2d, kernel_size: 2}
  - {name: flatten, op: flatten}
  - {name: fc, op: linear, out_features: 5}
"""
CONV = 2 * 9 * 9 * 4 * 3 * 9
FC = 2 * 64 * 5


def test_nothing_is_wrong_before() -> None:
    assert differences(verify(graph_of(NET))) == []


Wrong = Callable[..., Any]


def with_more(change: Callable[[Any], Any], method: Wrong) -> Wrong:
    return lambda self, *arguments, **named: change(method(self, *arguments, **named))


CORRUPTED: list[tuple[Any, str, Callable[[Any], Any], list[tuple[object, ...]]]] = [
    (
        Conv2d,
        "cost",
        lambda cost: cost + Cost(multiply_adds=1),
        [
            ("conv", "forward multiply-adds", CONV + 2, CONV, None),
            ("conv", "backward multiply-adds", CONV + 2, CONV, None),
            ("conv", "FLOPs in the fvcore convention", CONV + 2, CONV, None),
        ],
    ),
    (
        Linear,
        "backward_cost",
        lambda cost: cost + Cost(multiply_adds=-1),
        [("fc", "backward multiply-adds", 2 * FC - 2, 2 * FC, None)],
    ),
    (
        BatchNorm2d,
        "cost",
        lambda cost: cost + Cost(fvcore=1),
        [("norm", "FLOPs in the fvcore convention", 2 * (2 * 4 * 9 * 9) + 2, 2 * (2 * 4 * 9 * 9), None)],
    ),
    (
        Linear,
        "parameters",
        lambda shapes: {**shapes, "bias": (6,)},
        [
            ("fc", "parameter shapes", "bias 6, weight 5x64", "bias 5, weight 5x64", None),
            ("fc", "parameter elements", 5 * 64 + 6, 5 * 64 + 5, None),
        ],
    ),
    (
        BatchNorm2d,
        "buffers",
        lambda shapes: {},
        [
            ("norm", "buffer shapes", "none", "num_batches_tracked scalar, running_mean 4, running_var 4", None),
            ("norm", "buffer elements", 0, 4 + 4 + 1, None),
        ],
    ),
    (
        Linear,
        "infer",
        lambda shapes: (Shape((shapes[0].dims[0] + 1,)),),
        [
            ("fc", "output shape", "2x6", "2x5", None),
            ("fc", "forward multiply-adds", 2 * 64 * 6, FC, None),
            ("fc", "backward multiply-adds", 4 * 64 * 6, 2 * FC, None),
            ("fc", "FLOPs in the fvcore convention", 2 * 64 * 6, FC, None),
        ],
    ),
    (
        MaxPool2d,
        "infer",
        lambda shapes: (Shape((4, 3, 3)),),
        [
            ("pool", "output shape", "2x4x3x3", "2x4x4x4", None),
            ("flatten", "output shape", "2x36", "2x64", None),
            ("fc", "the call", "runs", "raises", None),
        ],
    ),
]


@pytest.mark.parametrize(
    ("operator", "method", "change", "expected"),
    CORRUPTED,
    ids=[f"{operator.op}-{method}" for operator, method, _, _ in CORRUPTED],
)
def test_a_corrupted_operator_is_found(
    monkeypatch: pytest.MonkeyPatch,
    operator: Any,
    method: str,
    change: Callable[[Any], Any],
    expected: list[tuple[object, ...]],
) -> None:
    monkeypatch.setattr(operator, method, with_more(change, getattr(operator, method)))
    found = differences(verify(graph_of(NET)))
    if expected[-1][1] == "the call":  # what follows is torch's own words
        assert str(found[-1][3]).startswith("RuntimeError: ")
        assert "[2, 64] X [36, 5]" in str(found[-1][3])
        assert (found[:-1], found[-1][:3]) == (expected[:-1], expected[-1][:3])
    else:
        assert found == expected


def test_a_module_that_gives_another_type_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def infer(self: Linear, inputs: Inputs) -> tuple[Shape, ...]:
        return (Shape((self.out_features,), 1, "int64"),)

    monkeypatch.setattr(Linear, "infer", infer)
    found = differences(verify(graph_of("input: [8]\nlayers: [{name: fc, op: linear, out_features: 5}]\n")))
    assert found == [("fc", "output shape", "2x5 int64", "2x5", None)]


def test_a_cost_that_is_not_known_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unknown, "module", lambda self, inputs: torch.nn.Identity(), raising=False)
    builder = Builder((3, 8, 8))
    builder.add("conv", "conv2d", out_channels=2, kernel_size=1)
    builder.add("mystery", Unknown())
    findings = verify(builder.graph())
    assert differences(findings) == []
    assert [each.quantity for each in findings if each.node == "mystery"] == ["output shape"]


def test_devices_are_those_whose_counts_are_known() -> None:
    with pytest.raises(UsageError, match=r"^verify runs on meta or cpu, not cuda: what FlopCounterMode counts of "):
        verify(graph_of(NET), device="cuda")


def test_a_node_that_does_not_fit_is_refused_before_it_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    from archprof.building import device

    monkeypatch.setattr(device, "available_memory", lambda where: 1000)
    floats = 4 * 3 * 9 + 4 + 2 * (3 + 4) * 9 * 9
    message = f"the tensors of conv need {4 * floats / 2**20:,.1f} MiB, and cpu has 0.0 MiB left"
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        verify(graph_of(NET))


@pytest.mark.parametrize("package", ["torch", "fvcore"])
def test_without_torch_or_fvcore_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    message = f"verify needs {package}: pip install 'archprof[torch]'"
    for call in (lambda: verify(graph_of(NET)), tools):
        with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
            call()


def test_importing_it_imports_no_torch() -> None:
    import subprocess

    code = "import sys, archprof.verification, archprof.cli; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
