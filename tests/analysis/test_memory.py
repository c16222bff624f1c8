"""Memory by liveness: by hand on small graphs, against a plain count of live tensors, and against torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import archprof
from archprof.analysis.analysis import DTYPES
from archprof.analysis.memory import Memory, memory
from archprof.errors import UsageError
from archprof.graph import Graph, Value
from archprof.shape import Shape
from archprof.spec import expand, find_spec
from tests.graphs import Builder, graphs
from tests.interpret import random_tensor
from tests.operators.harness import Case, as_tuple, shapes, tensors
from tests.operators.test_registry import CASES

FLOAT = 4  # bytes


# --- by hand: a batch of 1, elements


def peaks(graph: Graph, **options: object) -> tuple[int, str, int, str]:
    """The activations at both peaks, in elements, with where they are: what is constant is taken off."""
    found = memory(graph, **options)  # type: ignore[arg-type]
    constant = found.weights + found.buffers
    step = found.training_peak - constant - found.gradients - found.optimiser
    return (
        (found.inference_peak - constant) // FLOAT,
        found.inference_peak_at,
        step // FLOAT,
        found.training_peak_at,
    )


def chain() -> Builder:
    """3x8x8 (192) -> conv a 4x8x8 (256) -> relu (256) -> conv b 2x8x8 (128)."""
    net = Builder((3, 8, 8))
    net.add("a", "conv2d", out_channels=4, kernel_size=3, padding=1, bias=False)
    net.add("relu", "relu")
    net.add("b", "conv2d", out_channels=2, kernel_size=1, bias=False)
    return net


def test_a_chain() -> None:
    found = memory(chain().graph(), optimiser="adam")
    weights = FLOAT * (4 * 3 * 9 + 2 * 4)
    assert found == Memory(
        weights=weights,
        buffers=0,
        activations=FLOAT * (256 + 256 + 128),
        gradients=weights,
        optimiser=2 * weights,
        saved=FLOAT * (192 + 256),  # a keeps its input, relu its output, which b keeps too
        inference_peak=weights + FLOAT * (256 + 256),  # a's output and relu's
        inference_peak_at="relu",
        # backwards at relu: the input, relu's output, the output, the gradients of relu's output and of a's
        training_peak=4 * weights + FLOAT * (192 + 256 + 128 + 256 + 256),
        training_peak_at="relu",
    )


def test_batch_dtype_and_optimiser() -> None:
    graph = chain().graph()
    one = memory(graph)
    three = memory(graph, batch=3)
    assert (three.weights, three.saved, three.activations) == (one.weights, 3 * one.saved, 3 * one.activations)
    assert three.inference_peak - one.inference_peak == 2 * FLOAT * 512
    half = memory(graph, dtype="bfloat16")
    assert 2 * half.inference_peak == one.inference_peak
    assert 2 * half.training_peak == one.training_peak
    states = {name: memory(graph, optimiser=name).optimiser for name in ("sgd", "momentum", "adam")}
    assert states == {"sgd": 0, "momentum": one.weights, "adam": 2 * one.weights}
    assert one.optimiser == one.weights  # momentum is the default


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float23"}, "unknown dtype float23: did you mean float32?"),
        ({"optimiser": "adm"}, "unknown optimiser adm: did you mean adam?"),
    ],
)
def test_what_is_unknown(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        memory(chain().graph(), **options)  # type: ignore[arg-type]
    assert str(raised.value) == message


def test_a_residual_keeps_what_it_adds() -> None:
    net = Builder((4, 8, 8))
    first = net.add("a", "conv2d", out_channels=4, kernel_size=1, bias=False)
    net.add("b", "conv2d", out_channels=8, kernel_size=1, bias=False)
    last = net.add("c", "conv2d", out_channels=4, kernel_size=1, bias=False)
    net.add("add", "add", last, first)
    # at c: a's output for the sum (256), b's (512), c's (256)
    inference = (256 + 512 + 256, "c")
    # what is saved: the input, a's output (for b), b's output (for c); add saves nothing
    assert memory(net.graph()).saved == FLOAT * (256 + 256 + 512)
    # backwards at c: those, the output, and the gradients of c's output, of a's (add's other input) and of b's
    assert peaks(net.graph()) == (*inference, 256 + 256 + 512 + 256 + 256 + 256 + 512, "c")


def test_a_concatenation_is_a_copy() -> None:
    net = Builder((2, 4, 4))
    left = net.add("left", "conv2d", 0, out_channels=2, kernel_size=1, bias=False)
    right = net.add("right", "conv2d", 0, out_channels=6, kernel_size=1, bias=False)
    net.add("both", "concat", left, right)
    found = memory(net.graph())
    assert found.activations == FLOAT * (32 + 96 + 128)
    assert found.inference_peak == found.weights + FLOAT * (32 + 96 + 128)
    assert found.inference_peak_at == "both"
    assert found.saved == FLOAT * 32  # the input, once for both


def test_views_take_nothing() -> None:
    net = Builder((4, 4, 4))
    net.add("a", "conv2d", out_channels=4, kernel_size=1, bias=False)
    net.add("flatten", "flatten")
    net.add("drop", "dropout", p=0.5)
    net.add("fc", "linear", out_features=10, bias=False)
    found = memory(net.graph())
    assert found.activations == FLOAT * (64 + 10)  # in inference dropout hands on what it got
    assert found.inference_peak == found.weights + FLOAT * (64 + 64)
    assert found.inference_peak_at == "a"
    # in training dropout makes a tensor and a mask: the input, the mask, dropout's output (for fc)
    assert found.saved == FLOAT * (64 + 64 + 64)


def test_a_view_keeps_its_storage_alive() -> None:
    net = Builder((4, 4, 4))
    net.add("a", "conv2d", out_channels=4, kernel_size=1, bias=False)
    flat = net.add("flatten", "flatten")
    net.add("fc", "linear", flat, out_features=100, bias=False)
    fc = net.add("fc2", "linear", out_features=64, bias=False)
    net.add("add", "add", fc, flat)
    # at fc: a's output, which is flatten's (64), and fc's (100); at fc2 also its own (64)
    assert peaks(net.graph())[:2] == (64 + 100 + 64, "fc2")


def test_a_split_is_views_of_one_storage() -> None:
    net = Builder((4, 4, 4))
    net.add("a", "conv2d", out_channels=4, kernel_size=1, bias=False)
    split = net.add("split", "split", split_size=2, sections=2, dim=1)
    net.add("add", "add", Value(split, 0), Value(split, 1))
    assert memory(net.graph()).activations == FLOAT * (64 + 32)
    # at add both halves live, which are a's output
    assert peaks(net.graph())[:2] == (64 + 64, "a")


def test_shared_parameters_are_kept_once() -> None:
    net = Builder((4, 4, 4))
    net.add("a", "conv2d", out_channels=4, kernel_size=1, bias=False)
    net.add("b", "conv2d", out_channels=4, kernel_size=1, bias=False, shares="a")
    found = memory(net.graph())
    assert found.weights == found.gradients == FLOAT * 4 * 4
    assert found.activations == FLOAT * 2 * 64
    assert found.saved == FLOAT * 2 * 64


def test_buffers() -> None:
    net = Builder((4, 4, 4))
    net.add("norm", "batch_norm2d")
    found = memory(net.graph(), dtype="float16")
    assert found.weights == 2 * (4 + 4)
    assert found.buffers == 4 * (4 + 4) + 8  # running mean and variance in float32, and a counter


def test_heads_for_training_count_when_asked_for() -> None:
    net = Builder((4, 4, 4))
    stem = net.add("a", "conv2d", out_channels=4, kernel_size=1, bias=False)
    end = net.add("b", "conv2d", out_channels=2, kernel_size=1, bias=False)
    head = net.add("head", "conv2d", stem, out_channels=8, kernel_size=1, bias=False, training_only=True)
    graph = net.graph(end, training=(head,))
    without, with_head = memory(graph), memory(graph, train=True)
    assert without.weights == FLOAT * (16 + 8)
    assert with_head.weights == FLOAT * (16 + 8 + 32)
    assert without.saved == with_head.saved == FLOAT * (64 + 64)  # head keeps a's output too
    # backwards at head: the input, a's output, both outputs with their gradients, and the gradient of a's output
    assert peaks(graph, train=True)[2:] == (64 + 64 + 2 * (32 + 128) + 64, "head")
    assert peaks(graph)[2:] == (64 + 64 + 2 * 32 + 64, "b")


def test_before_the_first_parameter_nothing_is_saved() -> None:
    net = Builder((3, 8, 8))
    net.add("scaled", "sigmoid")
    net.add("a", "conv2d", out_channels=4, kernel_size=1, bias=False)
    found = memory(net.graph())
    assert found.saved == FLOAT * 192  # what the convolution took; the sigmoid needs no gradient
    # backwards at a: its input, its output and that one's gradient
    assert found.training_peak_at in ("scaled", "a")
    assert peaks(net.graph())[2] == 192 + 256 + 256


def test_samples_and_indices() -> None:
    net = Builder((5,))
    regions = Shape((4, 2, 2), samples=10)
    net.nodes[0] = archprof.Node(
        path="input", operator=type(net.nodes[0].operator)(shape=regions), output_shapes=(regions,)
    )
    net.add("relu", "relu")
    assert memory(net.graph(), batch=2).activations == FLOAT * 2 * 10 * 16
    indices = Shape((5,), dtype="int64")
    net = Builder((5,))
    net.nodes[0] = archprof.Node(
        path="input", operator=type(net.nodes[0].operator)(shape=indices), output_shapes=(indices,)
    )
    net.add("embedding", "embedding", num_embeddings=10, embedding_dim=3)
    found = memory(net.graph(), dtype="float16")
    assert found.saved == 8 * 5
    assert found.inference_peak == 2 * 30 + 8 * 5 + 2 * 15


# --- against a plain count of what lives


@settings(max_examples=100, deadline=None)
@given(graphs(), st.integers(1, 3), st.sampled_from([*DTYPES]))
def test_the_peak_of_inference_is_the_most_that_lives_at_any_node(graph: Graph, batch: int, dtype: str) -> None:
    """Every tensor lives from the node that makes it to its last reader, outputs to the end (there are no views)."""
    nodes = [index for index, node in enumerate(graph.nodes) if not node.training_only]
    readers: dict[int, list[int]] = {index: [index] for index in nodes}
    for index in nodes:
        for value in graph.nodes[index].inputs:
            readers[value.node].append(index)
    for value in graph.outputs.values():
        readers[value.node].append(len(graph.nodes))
    size = {index: graph.nodes[index].output_shapes[0].numel * batch * DTYPES[dtype] for index in nodes}
    live = [sum(size[made] for made in nodes if made <= now <= max(readers[made])) for now in nodes]
    found = memory(graph, batch=batch, dtype=dtype)
    assert found.inference_peak - found.weights - found.buffers == max(live)
    assert graph.nodes[nodes[live.index(max(live))]].path == found.inference_peak_at


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_training_needs_more_than_inference(graph: Graph) -> None:
    found = memory(graph)
    assert found.training_peak >= found.inference_peak
    assert found.training_peak >= found.weights + found.gradients + found.optimiser + found.saved


# --- against torch


@contextmanager
def saved_storages(own: set[int]) -> Iterator[dict[int, Tensor]]:
    """The tensors that autograd saves meanwhile, one a storage; parameters and buffers (`own`) are not counted."""
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor  # kept alive, so that no other gets its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept


def constants(*modules: nn.Module) -> set[int]:
    return {
        tensor.untyped_storage().data_ptr()
        for module in modules
        for tensor in (*module.parameters(), *module.buffers())
    }


def size(kept: dict[int, Tensor]) -> int:
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def saved_by_torch(graph: Graph, batch: int) -> int:
    """Bytes that autograd saves in a training step's forward pass."""
    torch.manual_seed(0)
    modules: dict[str, nn.Module] = {}
    for node in graph.nodes:
        if not node.is_input:
            modules[node.path] = (
                modules[node.shares] if node.shares else node.operator.module(node.input_shapes).train()
            )
    values: list[tuple[Tensor, ...]] = []
    with saved_storages(constants(*modules.values())) as kept:
        for node in graph.nodes:
            if node.is_input:
                values.append((random_tensor(node.output_shapes[0], batch),))
            else:
                given_to = (values[value.node][value.output] for value in node.inputs)
                values.append(as_tuple(modules[node.path](*given_to)))
    return size(kept)


# what the cells of recurrent layers keep is their kernel's matter: see docs/memory.md
OF_THE_KERNEL = {"lstm", "gru"}
# where a head has one key and one channel, torch's CPU takes another way than the kernel that others take
OF_ONE_KEY = "scaled_dot_product_attention() of [2, 5, 3] and [2, 1, 3] and [2, 1, 1]"
SAVING = [case for case in CASES if case.op not in OF_THE_KERNEL and str(case) != OF_ONE_KEY]


@pytest.mark.parametrize("case", SAVING, ids=str)
def test_what_an_operator_saves(case: Case) -> None:
    torch.manual_seed(0)
    operator, inputs = case.operator, shapes(case.inputs)
    net = Builder()
    net.nodes = [
        archprof.Node(path=f"input{k}", operator=archprof.graph.Input(shape=shape), output_shapes=(shape,))
        for k, shape in enumerate(inputs)
    ]
    module = operator.module(inputs).train()
    given_to = [each.requires_grad_() if each.is_floating_point() else each for each in tensors(inputs)]
    with saved_storages(constants(module)) as kept:
        module(*given_to)
    saved = operator.saved(inputs, operator.shapes(inputs))
    element = {"float": 4, "int64": 8}
    found = sum(2 * inputs[k].numel * element[inputs[k].dtype] for k in saved.inputs)
    if saved.outputs:
        found += sum(2 * shape.numel * 4 for shape in operator.shapes(inputs))
    found += 4 * (2 * saved.elements + saved.fixed) + 2 * saved.index_bytes
    assert found == pytest.approx(size(kept), rel=0.05)


NETWORKS: dict[str, tuple[int, ...] | None] = {
    "zf": (3, 64, 64),
    "alexnet": (3, 127, 127),
    "nin-imagenet": (3, 127, 127),
    "googlenet": (3, 224, 224),  # with its heads for training
    "resnet-18": (3, 64, 64),
    "resnet-56": None,
    "densenet-121": (3, 32, 32),
    "mobilenet-v2-1.0": (3, 32, 32),
    "efficientnet-b0": (3, 32, 32),
    "convnext-t": (3, 64, 64),
    "unet-same": (1, 64, 64),
    "vit-b-32": None,
}


@cache
def reduced(name: str) -> Graph:
    document, variant = find_spec(name)
    dims = NETWORKS[name]
    return expand(document, variant, inputs=None if dims is None else {"input": Shape(dims)})


@pytest.mark.parametrize("name", NETWORKS)
def test_what_a_network_saves(name: str) -> None:
    """Within 1 %, where the issue asks for 5."""
    graph = reduced(name)
    found, measured = memory(graph, batch=2, train=True).saved, saved_by_torch(graph, batch=2)
    print(f"| {name} | {measured:,} | {found:,} | {100 * found / measured - 100:+.2f} % |")  # docs/memory.md
    assert found == pytest.approx(measured, rel=0.01)


def test_speed_on_a_deep_network() -> None:
    graph = archprof.load("resnet-1202")
    times = []
    for _ in range(3):
        start = time.perf_counter()
        memory(graph)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.3
