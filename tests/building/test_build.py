"""What is built: names, calls, shared weights, values, and what torch does with the module."""

from __future__ import annotations

import copy
import io
import math
import pickle
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

import archprof
from archprof.building import builder, device
from archprof.building.initialise import INITIALISATIONS
from archprof.graph import Graph
from archprof.spec.library import shipped_names
from tests.building.networks import FAMILIES_WHEN_SLOW, SPECS, batch_of, by_hand, graph
from tests.graphs import Builder, Unknown, two_headed
from tests.graphs import graphs as random_graphs

SLOW = ("lstm-language-model", "resnet-cifar", "zf")
SOME = [*SPECS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def as_dict(result: Tensor | dict[str, Tensor], made: Graph) -> dict[str, Tensor]:
    return result if isinstance(result, dict) else {next(iter(made.outputs)): result}


def run(module: nn.Module, made: Graph, inputs: tuple[Tensor, ...] | None = None) -> dict[str, Tensor]:
    with torch.no_grad():
        return as_dict(module(*(batch_of(made) if inputs is None else inputs)), made)


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# --- what it is


@pytest.mark.parametrize("name", FAMILIES_WHEN_SLOW)
@pytest.mark.parametrize("train", [False, True], ids=["inference", "training"])
def test_parameters_have_the_nodes_paths_and_each_node_is_called_once(name: str, train: bool) -> None:
    made = graph(name)
    module = archprof.build(made, device="meta", train=train)
    assert module.training is train
    nodes = [node for node in made.nodes if not node.is_input and (train or not node.training_only)]
    owners = {node.shares or node.path for node in nodes}
    expected = {
        f"{builder.module_name(node.path)}.{parameter}": dims
        for node in made.nodes
        if node.path in owners
        for parameter, dims in node.operator.parameters(node.input_shapes).items()
    }
    assert {path: tuple(each.shape) for path, each in module.named_parameters()} == expected
    assert sum(each.numel() for each in module.parameters()) == archprof.analyse(made, train=train).params
    called = [call.meta["path"] for call in module.graph.nodes if call.op == "call_module"]
    assert called == [node.path for node in nodes]


def test_plain_paths_are_kept_letter_by_letter() -> None:
    module = archprof.build(graph("googlenet"), device="meta", train=True)
    names = [name for name, _ in module.named_parameters()]
    assert names[:4] == [
        "conv1.conv2d.weight",
        "conv1.conv2d.bias",
        "conv2.reduce.conv2d.weight",
        "conv2.reduce.conv2d.bias",
    ]
    assert "inception_3a.3x3_reduce.conv2d.weight" in names


def test_names_that_torch_or_python_own_have_an_underscore_behind() -> None:
    module = archprof.build(graph("named"))
    targets = [call.target for call in module.graph.nodes if call.op == "call_module"]
    assert targets == [
        "input-sum",
        *("forward_.0.1x1", "forward_.0.values", "forward_.0.train_", "forward_.0.train__"),
        *("forward_.1.1x1", "forward_.1.values", "forward_.1.train_", "forward_.1.train__"),
        *("class_.pre-act", "class_.max"),
        *("split", "left", "concat", "torch"),
    ]
    assert [call.target for call in module.graph.nodes if call.op == "placeholder"] == ["import_", "self_", "x_y"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("resnet-50", "Resnet50"), ("zf", "Zf"), ("3d-net", "Network3dNet"), ("--", "Network"), ("none", "NetworkNone")],
)
def test_class_names(name: str, expected: str) -> None:
    assert builder.class_name(name) == expected


def test_arguments_have_different_names() -> None:
    net = Builder((3, 4, 4), (3, 4, 4))
    net.nodes[0], net.nodes[1] = (
        msgspec.structs.replace(net.nodes[i], path=path) for i, path in enumerate(("a-b", "a_b"))
    )
    net.add("sum", "add", 0, 1)
    module = archprof.build(net.graph())
    assert [call.target for call in module.graph.nodes if call.op == "placeholder"] == ["a_b", "a_b_"]
    one = torch.ones(1, 3, 4, 4)
    assert torch.equal(module(one, 2 * one), 3 * one)


def test_a_node_may_lie_under_another() -> None:
    for paths in (("a", "a.b"), ("a.b", "a")):
        net = Builder((3, 4, 4))
        for path in paths:
            net.add(path, "conv2d", out_channels=3, kernel_size=1)
        module = archprof.build(net.graph())
        assert {name for name, _ in module.named_parameters()} == {*("a.weight", "a.bias", "a.b.weight", "a.b.bias")}
        assert module(torch.ones(1, 3, 4, 4)).shape == (1, 3, 4, 4)


# --- what it computes


@pytest.mark.parametrize("name", FAMILIES_WHEN_SLOW)
def test_outputs_are_those_of_the_operators_called_by_hand(name: str) -> None:
    made = graph(name)
    module = archprof.build(made, train=True).eval()
    outputs = run(module, made)
    state = {_unnamed(key): tensor for key, tensor in module.state_dict().items()}
    assert same(outputs, by_hand(made, state, batch_of(made)))
    inference = archprof.build(made)
    assert inference.training is False
    assert same(run(inference, made), {end: outputs[end] for end in made.outputs})


def _unnamed(key: str) -> str:
    """A key of a state_dict with the node's path as it was."""
    return ".".join(re.sub(r"^(forward|class|train|train_)_$", r"\1", part) for part in key.split("."))


@given(random_graphs(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_random_graphs(made: Graph, train: bool) -> None:
    if any(isinstance(node.operator, Unknown) for node in made.nodes):
        made = msgspec.structs.replace(
            made,
            nodes=tuple(
                msgspec.structs.replace(node, operator=archprof.operators.create("identity"))
                if isinstance(node.operator, Unknown)
                else node
                for node in made.nodes
            ),
        )
    module = archprof.build(made, train=train).eval()
    outputs = run(module, made)
    state = archprof.build(made, train=True).state_dict()
    expected = by_hand(made, state, batch_of(made))
    assert same(outputs, {name: expected[name] for name in outputs})
    assert outputs.keys() == {*made.outputs, *(made.training_outputs if train else ())}


def test_nodes_that_share_call_one_module() -> None:
    module = archprof.build(graph("siamese"))
    targets = [call.target for call in module.graph.nodes if call.op == "call_module"]
    assert targets == ["a.conv2d", "a.norm", "pool-a", "a.conv2d", "a.norm", "pool-b", "distance", "abs"]
    assert "b.conv2d.weight" not in module.state_dict()


@pytest.mark.parametrize("where", ["cpu", "meta"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nodes_that_share_with_other_fields_use_the_same_tensors(where: str, dtype: str) -> None:
    module = archprof.build(graph("tied"), device=where, dtype=dtype)
    near, far = module.get_submodule("near"), module.get_submodule("far")
    assert near.conv2d.weight is far.conv2d.weight
    assert near.norm.bias is far.norm.bias
    assert near.norm.running_mean is far.norm.running_mean
    assert (near.conv2d.dilation, far.conv2d.dilation) == ((1, 1), (2, 2))
    assert len(list(module.parameters())) == 4
    assert copy.deepcopy(module).near.conv2d.weight.shape == (3, 3, 3, 3)


def test_one_module_serves_inputs_of_one_rank_only() -> None:
    """The channels of a layer_norm are its last dimension in a vector, and its first in a map."""
    net = Builder((4, 4, 4))
    net.add("norm", "layer_norm", dim=1)
    net.add("flat", "adaptive_avg_pool2d", output_size=1)
    net.add("vector", "flatten")
    net.add("again", "layer_norm", dim=1, shares="norm")
    made = net.graph()
    module = archprof.build(made)
    assert module.again.weight is module.norm.weight
    assert same(run(module, made), by_hand(made, module.state_dict(), batch_of(made)))


def test_a_head_of_training_may_own_what_inference_uses() -> None:
    made = graph("headed")
    training, inference = archprof.build(made, train=True), archprof.build(made)
    keys = ["stem.weight", "stem.bias", "aux.conv2d.weight", "aux.conv2d.bias"]
    assert list(inference.state_dict()) == list(training.state_dict()) == keys
    assert same(run(inference, made), {"drop": run(training.eval(), made)["drop"]})


def test_several_outputs_come_by_name() -> None:
    made = two_headed()
    batch = batch_of(made)
    (end,), (head,) = made.outputs, made.training_outputs
    training = archprof.build(made, train=True)(*batch)
    assert list(training) == [end, head]
    assert isinstance(archprof.build(made)(*batch), Tensor)
    fast = graph("fast-rcnn")
    assert list(archprof.build(fast, device="meta")(torch.empty(2, 3, 64, 64, device="meta"))) == [
        "cls_prob",
        "bbox_pred",
    ]


@pytest.mark.parametrize("name", ["googlenet", *SPECS])
def test_the_graphs_of_training_and_inference_have_the_same_keys_and_values(name: str) -> None:
    made = graph(name)
    training, inference = archprof.build(made, train=True).state_dict(), archprof.build(made).state_dict()
    used = {node.shares for node in made.nodes if not node.training_only}
    heads = tuple(f"{node.path}." for node in made.nodes if node.training_only and node.path not in used)
    assert [key for key in training if not key.startswith(heads)] == list(inference)
    assert all(torch.equal(training[key], tensor) for key, tensor in inference.items())
    assert (set(training) - set(inference) != set()) is (name == "googlenet")


def test_a_head_before_other_layers_does_not_change_what_they_draw() -> None:
    net = Builder((3, 4, 4))
    stem = net.add("stem", "conv2d", out_channels=3, kernel_size=1)
    head = net.add("head", "conv2d", out_channels=3, kernel_size=1, training_only=True)
    net.add("body", "conv2d", stem, out_channels=3, kernel_size=1)
    made = net.graph(head + 1, training=(head,))
    training, inference = archprof.build(made, train=True).state_dict(), archprof.build(made).state_dict()
    assert list(training) == [f"{layer}.{name}" for layer in ("stem", "head", "body") for name in ("weight", "bias")]
    assert same(inference, {key: training[key] for key in training if not key.startswith("head")})


# --- initial values


def test_one_seed_gives_one_network() -> None:
    made = graph("resnet-cifar")
    first, second, other = (archprof.build(made, seed=seed).state_dict() for seed in (3, 3, 4))
    assert same(first, second)
    assert not same(first, other)


@pytest.mark.parametrize("init", INITIALISATIONS)
@pytest.mark.parametrize("name", ["resnet-cifar", "looped"])
@pytest.mark.parametrize("where", ["cpu", "meta"])
def test_torchs_random_state_is_left_as_it_was(init: str, name: str, where: str) -> None:
    before = torch.get_rng_state()
    archprof.build(graph(name), init=init, device=where)
    assert torch.equal(before, torch.get_rng_state())


def test_without_a_seed_values_come_from_torchs_state() -> None:
    made = graph("resnet-cifar")
    with torch.random.fork_rng():
        torch.manual_seed(7)
        first, second = (archprof.build(made, seed=None).state_dict() for _ in range(2))
    assert same(first, archprof.build(made, seed=7).state_dict())
    assert not same(first, second)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_one_seed_gives_one_network_in_every_dtype(dtype: str) -> None:
    made = graph("looped")
    wide, other = archprof.build(made), archprof.build(made, dtype=dtype)
    assert all(each.dtype == getattr(torch, dtype) for each in other.parameters())
    assert same(wide.to(getattr(torch, dtype)).state_dict(), other.state_dict())


def test_a_default_device_and_a_default_dtype_of_the_callers_are_his_own() -> None:
    made = graph("resnet-cifar")
    with torch.device("meta"):
        module = archprof.build(made)
    assert {each.device.type for each in module.parameters()} == {"cpu"}
    torch.set_default_dtype(torch.float64)
    try:
        assert {each.dtype for each in archprof.build(made).parameters()} == {torch.float32}
    finally:
        torch.set_default_dtype(torch.float32)


def test_torch_init_is_what_torchs_modules_draw() -> None:
    made = graph("resnet-cifar")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [node.operator.module(node.input_shapes) for node in made.nodes if not node.is_input]
    expected = [each for module in drawn for each in module.state_dict().values()]
    for mine, theirs in zip(archprof.build(made).state_dict().values(), expected, strict=True):
        assert torch.equal(mine, theirs)


def wide_graph() -> Graph:
    """Enough weights for statistics: convolutions of 64 channels in two groups, transposed, and linear layers."""
    net = Builder((64, 8, 8))
    net.add("conv", "conv2d", out_channels=64, kernel_size=3, groups=2)
    net.add("norm", "batch_norm2d")
    net.add("flat", "flatten")
    net.add("hidden", "linear", out_features=100)
    net.add("embed", "layer_norm")
    net.add("out", "linear", out_features=50)
    return net.graph()


@pytest.mark.parametrize(
    ("init", "deviations"),
    [
        # sqrt(2 / fan_out): 64 channels x 3x3 taps; 100 and 50 features
        ("kaiming_normal", {"conv": (2 / (64 * 9)) ** 0.5, "hidden": (2 / 100) ** 0.5, "out": (2 / 50) ** 0.5}),
        # as kaiming_normal, and as torch
        ("resnet", {"conv": (2 / (64 * 9)) ** 0.5, "hidden": (1 / (3 * 64 * 36)) ** 0.5, "out": (1 / 300) ** 0.5}),
        ("alexnet", {"conv": 0.01, "hidden": 0.01, "out": 0.01}),
        # a / sqrt(3) with a = sqrt(6 / (fan_in + fan_out)); torch's fan_in counts the 32 channels of a group
        (
            "xavier_uniform",
            {
                "conv": (2 / (32 * 9 + 64 * 9)) ** 0.5,
                "hidden": (2 / (64 * 36 + 100)) ** 0.5,
                "out": (2 / 150) ** 0.5,
            },
        ),
        # U(-1 / sqrt(fan_in), 1 / sqrt(fan_in))
        (
            "torch",
            {"conv": (1 / (3 * 32 * 9)) ** 0.5, "hidden": (1 / (3 * 64 * 36)) ** 0.5, "out": (1 / 300) ** 0.5},
        ),
    ],
)
def test_deviations_of_weights(init: str, deviations: dict[str, float]) -> None:
    module = archprof.build(wide_graph(), init=init)
    for name, deviation in deviations.items():
        weight = module.get_submodule(name).weight
        assert weight.mean().item() == pytest.approx(0, abs=4 * deviation / math.sqrt(weight.numel()))
        assert weight.std().item() == pytest.approx(deviation, rel=0.05)
        if init in ("kaiming_normal", "xavier_uniform"):
            assert module.get_submodule(name).bias.abs().max() == 0
    for name in ("norm", "embed"):
        norm = module.get_submodule(name)
        assert (norm.weight == 1).all()
        assert (norm.bias == 0).all()


def test_alexnets_biases_are_those_of_the_paper() -> None:
    module = archprof.build(graph("alexnet"), init="alexnet")
    biases = {
        name.removesuffix(".bias"): set(each.tolist()) for name, each in module.named_parameters() if "bias" in name
    }
    assert biases == {
        **{f"conv{number}.conv2d": {1.0 if number in (2, 4, 5) else 0.0} for number in range(1, 6)},
        "fc6.linear": {1.0},
        "fc7.linear": {1.0},
        "fc8": {0.0},
    }


def test_empty_draws_nothing_and_keeps_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("drawn")

    for name in ("uniform_", "normal_"):
        monkeypatch.setattr(Tensor, name, refuse)
    module = archprof.build(wide_graph(), init="empty")
    assert (module.norm.running_var == 1).all()
    with pytest.raises(AssertionError, match="drawn"):
        archprof.build(wide_graph(), init="torch")


# --- what torch does with it


@pytest.mark.parametrize("name", SOME)
def test_state_dicts_go_round(name: str) -> None:
    made = graph(name)
    module, other = archprof.build(made, seed=1), archprof.build(made, seed=2)
    stream = io.BytesIO()
    torch.save(module.state_dict(), stream)
    stream.seek(0)
    assert not same(run(module, made), run(other, made)) or not list(module.parameters())
    other.load_state_dict(torch.load(stream, weights_only=True))
    assert same(run(module, made), run(other, made))


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))], ids=["deepcopy", "pickle"]
)
def test_copies_compute_the_same_apart(name: str, copied: Callable[[fx.GraphModule], fx.GraphModule]) -> None:
    made = graph(name)
    module = archprof.build(made)
    other = copied(module)
    assert same(run(module, made), run(other, made))
    assert list(other.state_dict()) == list(module.state_dict())
    assert len(list(other.parameters())) == len(list(module.parameters()))
    with torch.no_grad():
        for each in other.parameters():
            each.zero_()
    assert not same(run(module, made), run(other, made)) or not list(module.parameters())


def test_a_deepcopy_keeps_the_paths() -> None:
    module = archprof.build(graph("siamese"))
    paths = [call.meta.get("path") for call in module.graph.nodes]
    assert [call.meta.get("path") for call in copy.deepcopy(module).graph.nodes] == paths


def gradients(module: nn.Module, made: Graph) -> list[Tensor]:
    module.zero_grad(set_to_none=True)
    sum(end.float().square().mean() for end in as_dict(module(*batch_of(made)), made).values()).backward()
    found = [each.grad for each in module.parameters()]
    assert all(each is not None and each.isfinite().all() for each in found)
    return found


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.filterwarnings("ignore")  # of the compiler about itself
def test_compiled(name: str, backend: str) -> None:
    made = graph(name)
    module = archprof.build(made)
    torch._dynamo.reset()
    compiled = torch.compile(module, backend=backend)
    for mine, theirs in zip(run(module, made).values(), run(compiled, made).values(), strict=True):
        torch.testing.assert_close(mine, theirs)
    for mine, theirs in zip(gradients(module, made), gradients(compiled, made), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("options", [{}, {"strict": False}, {"strict": True}], ids=["default", "loose", "strict"])
@pytest.mark.filterwarnings("ignore")  # of the exporter about itself
def test_exported(name: str, options: dict[str, bool]) -> None:
    made = graph(name)
    module = archprof.build(made)
    program = torch.export.export(module, batch_of(made), **options)
    assert same(run(module, made), run(program.module(), made))


@pytest.mark.parametrize("name", SOME)
def test_data_parallel(name: str) -> None:
    made = graph(name)
    module = archprof.build(made)
    wrapped = nn.DataParallel(module)
    assert same(run(module, made), run(wrapped, made))
    assert len(gradients(wrapped, made)) == len(list(module.parameters()))


@pytest.fixture(scope="module")
def process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("name", SOME)
@pytest.mark.usefixtures("process_group")
def test_distributed_data_parallel(name: str) -> None:
    made = graph(name)
    module = archprof.build(made)
    if not list(module.parameters()):
        pytest.skip("nothing to train")
    expected = [each.clone() for each in gradients(module, made)]
    wrapped = nn.parallel.DistributedDataParallel(module)
    for mine, theirs in zip(gradients(wrapped, made), expected, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("name", FAMILIES_WHEN_SLOW)
def test_autocast(name: str) -> None:
    made = graph(name)
    module = archprof.build(made)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = run(module, made)
    for mine, theirs in zip(mixed.values(), run(module, made).values(), strict=True):
        torch.testing.assert_close(mine.float(), theirs, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("name", ["resnet-cifar", "squeezenet", "siamese", "tied", "named"])
def test_channels_last(name: str) -> None:
    made = graph(name)
    module = archprof.build(made)
    expected = run(module, made)
    module.to(memory_format=torch.channels_last)
    batch = tuple(each.contiguous(memory_format=torch.channels_last) for each in batch_of(made))
    for mine, theirs in zip(run(module, made, batch).values(), expected.values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
@pytest.mark.parametrize("name", FAMILIES_WHEN_SLOW)
def test_other_dtypes(name: str, dtype: str) -> None:
    made = graph(name)
    if dtype == "bfloat16" and any(node.operator.op == "local_response_norm" for node in made.nodes):
        pytest.skip("torch has no local_response_norm in bfloat16 on a CPU")
    kind = getattr(torch, dtype)
    module = archprof.build(made, dtype=kind)
    batch = tuple(each.to(kind) if each.is_floating_point() else each for each in batch_of(made))
    ends = run(module, made, batch)
    assert {end.dtype for end in ends.values()} == {kind}
    for mine, theirs in zip(ends.values(), run(archprof.build(made), made).values(), strict=True):
        torch.testing.assert_close(mine.float(), theirs, rtol=0.1, atol=0.05)


# --- on the meta device


def meta_shapes(made: Graph, train: bool) -> None:
    module = archprof.build(made, device="meta", train=train).eval()
    batch = tuple(each.to("meta") for each in batch_of(made))
    ends = {**made.outputs, **(made.training_outputs if train else {})}
    expected = {}
    for name, end in ends.items():
        shape = made.nodes[end.node].output_shapes[end.output]
        expected[name] = (2 * shape.samples, *shape.dims)
    assert {name: tuple(each.shape) for name, each in run(module, made, batch).items()} == expected
    assert {each.device.type for each in module.state_dict().values()} == {"meta"}


@pytest.mark.parametrize("name", FAMILIES_WHEN_SLOW)
def test_meta(name: str) -> None:
    meta_shapes(graph(name), train=True)


@pytest.mark.parametrize("name", shipped_names())
@pytest.mark.slow
def test_every_shipped_network_on_meta(name: str) -> None:
    meta_shapes(archprof.load(name), train=True)


def test_resnet_1202_is_built_on_meta_in_seconds() -> None:
    made = archprof.load("resnet-1202")
    start = time.process_time()
    module = archprof.build(made, device="meta")
    assert time.process_time() - start < 10  # about 2 on an idle machine
    assert sum(each.numel() for each in module.parameters()) == archprof.analyse(made).params


# --- mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "unknown device gpu: write cpu, cuda, cuda:0, mps, xpu or meta"),
        ({"device": "cuda:x"}, "unknown device cuda:x: write cpu, cuda, cuda:0, mps, xpu or meta"),
        ({"dtype": "float3"}, "unknown dtype float3: did you mean float32?"),
        ({"dtype": torch.int64}, "unknown dtype int64: take float64, float32, float16 or bfloat16"),
        ({"init": "kaiming"}, "unknown init kaiming: did you mean kaiming_normal?"),
        ({"init": "x"}, "unknown init x: take torch, kaiming_normal, resnet, alexnet, xavier_uniform or empty"),
        ({"seed": -1}, "seed must be at least 0 and less than 2^63, not -1"),
        ({"seed": 2**63}, f"seed must be at least 0 and less than 2^63, not {2**63}"),
    ],
    ids=str,
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(archprof.UsageError) as raised:
        archprof.build(graph("siamese"), **options)
    assert str(raised.value) == message


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(archprof.UsageError, match=r"^device mps cannot be used here: \S"):
        archprof.build(graph("siamese"), device="mps")


def test_an_operator_without_a_module() -> None:
    net = Builder((3, 4, 4))
    net.add("strange", Unknown())
    with pytest.raises(archprof.UsageError) as raised:
        archprof.build(net.graph())
    assert str(raised.value) == "strange cannot be built: archprof has no module for mystery"


def test_too_little_memory_is_said_before_any_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    # vgg-a at 32x32: 32,200,040 parameters of 4 bytes: 122.8 MiB
    made = graph("vgg")
    monkeypatch.setattr(device, "available_memory", lambda _: 100 * 2**20)
    monkeypatch.setattr(builder, "_module", lambda _: pytest.fail("memory was taken"))
    with pytest.raises(archprof.UsageError) as raised:
        archprof.build(made)
    assert str(raised.value) == "the parameters of vgg-a need 122.8 MiB, and cpu has 100.0 MiB left"
    monkeypatch.undo()
    monkeypatch.setattr(device, "available_memory", lambda _: 130 * 2**20)
    archprof.build(made)
    with pytest.raises(archprof.UsageError) as raised:
        archprof.build(made, dtype="float64")
    assert str(raised.value) == "the parameters of vgg-a in float64 need 245.7 MiB, and cpu has 130.0 MiB left"
    monkeypatch.setattr(device, "available_memory", lambda _: None)  # nobody says
    archprof.build(made, dtype="float64", init="empty")


def test_memory_that_a_container_may_take(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(device, "_CONTROL_GROUP", tmp_path)
    machine = device.available_memory(cpu)
    assert machine is not None
    assert machine > 2**20
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert device.available_memory(cpu) > 2**20
    (tmp_path / "memory.max").write_text("5000\n")
    assert device.available_memory(cpu) == 4000
    assert device.available_memory(torch.device("mps")) is None
