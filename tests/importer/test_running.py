"""What `runnable` gives: a module that computes what the user's does, whose calls say which node they are."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from archprof import UsageError
from archprof.cost import Cost
from archprof.importer import Runnable, runnable
from archprof.importer.modules import BatchError

MODULE = "tests.importer.running_nets"
CASES: dict[str, Sequence[str]] = {
    "Mixed": ["3x8x8"],
    "Tied": ["9:int64"],
    "Named": ["a=5x6", "b=7x6"],
    "Modes": ["8"],
    "SequenceFirst": ["7xNx16"],
}


@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", CASES)
def test_it_computes_what_the_users_module_does(name: str, train: bool) -> None:
    made = runnable(f"{MODULE}:{name}", CASES[name], batch=3, train=train)
    gradients = []
    for run in (lambda: made.module(*made.inputs), lambda: made.own(*made.args, **made.kwargs)):
        made.own.zero_grad()
        torch.manual_seed(0)
        outputs = torch.utils._pytree.tree_leaves(run())
        assert all(3 in output.shape for output in outputs)
        sum(output.float().square().sum() for output in outputs).backward()
        gradients.append([outputs, [each.grad for each in made.own.parameters()]])
    for mine, theirs in zip(*gradients, strict=True):
        assert all(one is other or torch.equal(one, other) for one, other in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_every_node_that_computes_has_calls(name: str) -> None:
    made = runnable(f"{MODULE}:{name}", CASES[name])
    paths = {node.meta["path"] for node in made.module.graph.nodes if "path" in node.meta and node.op != "get_attr"}
    known = {node.path for node in made.graph.nodes}
    computing = {
        node.path
        for node in made.graph.nodes
        if not node.is_input and node.operator.cost(node.input_shapes, node.output_shapes) != Cost()
    }
    assert computing <= paths <= known
    assert {name for name, _ in made.module.named_parameters()} == {name for name, _ in made.own.named_parameters()}


def test_attention_is_one_node_of_several_calls() -> None:
    made = runnable(f"{MODULE}:Mixed", CASES["Mixed"])
    assert (
        sum(node.meta.get("path") == "attention" for node in made.module.graph.nodes if node.op == "call_function") > 5
    )


def test_dtype_settings_and_seed() -> None:
    made = runnable(f"{MODULE}:Mixed", CASES["Mixed"], {"width": 4}, dtype="float64", seed=1)
    other = runnable(f"{MODULE}:Mixed", CASES["Mixed"], {"width": 4}, seed=2)
    assert {each.dtype for each in (*made.module.parameters(), *made.inputs)} == {torch.float64}
    assert made.own.conv.out_channels == 4
    assert not torch.equal(made.inputs[0].float(), other.inputs[0])
    assert made.graph.parameters == {"width": 4}


def test_no_grad_is_undone_behind_the_stretch() -> None:
    made = runnable(f"{MODULE}:Modes", CASES["Modes"])
    with torch.no_grad():
        assert not made.module(*made.inputs)[0].requires_grad
        assert not torch.is_grad_enabled()
    assert made.module(*made.inputs)[0].requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Hollow", {}, "its parameters have no values: they are on the device meta"),
        ("ByBatch", {"batch": 2}, "ByBatch makes other calls for this batch than for one of 1009: its layers cannot be "
         "told apart"),
    ],
)  # fmt: skip
def test_refusals(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        runnable(f"{MODULE}:{name}", ["8"], **options)  # type: ignore[arg-type]
    assert str(raised.value) == f"{MODULE}:{name}: {message}"
    assert isinstance(raised.value, BatchError) is (name == "ByBatch")


def test_on_the_device_meta() -> None:
    made = runnable(f"{MODULE}:Frozen", ["3x8x8"], device="meta", dtype="float16")
    assert {(each.device.type, each.dtype) for each in (*made.inputs, *made.module.parameters())} == {
        ("meta", torch.float16)
    }


# --- ONNX files


def exported(folder: Path, module: nn.Module, x: torch.Tensor, *, fixed: bool) -> str:
    path = folder / "net.onnx"
    torch.onnx.export(
        module.eval(), (x,), path, dynamo=False, input_names=["x"], dynamic_axes=None if fixed else {"x": {0: "n"}}
    )
    return str(path)


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU6(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 5)
    )


@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file_runs_with_its_own_values(tmp_path: Path) -> None:
    import onnxruntime

    file = exported(tmp_path, small(), torch.randn(2, 3, 8, 8), fixed=False)
    made = runnable(file, batch=4)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"x": made.inputs[0].numpy()})
    torch.testing.assert_close(made.module(*made.inputs)[0], torch.from_numpy(theirs), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.own(*made.args), torch.from_numpy(theirs), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file_of_one_batch(tmp_path: Path) -> None:
    file = exported(tmp_path, small(), torch.randn(1, 3, 8, 8), fixed=True)
    assert runnable(file).module(torch.zeros(1, 3, 8, 8))[0].shape == (1, 5)
    with pytest.raises(BatchError) as raised:
        runnable(file, batch=2)
    assert str(raised.value) == f"{file}: its inputs are of one size: it cannot run a batch of 2"


def test_operators_that_cannot_run_are_named(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Shrink", ["y"], ["z"], name="odd")]
    x, z = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8]) for name in "xz")
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [z]), opset_imports=[helper.make_opsetid("", 17)])
    file = str(tmp_path / "odd.onnx")
    onnx.save(model, file)
    with pytest.raises(UsageError) as raised:
        runnable(file)
    assert str(raised.value) == f"{file}: archprof cannot run its operators Shrink (odd)"


def test_importing_the_package_imports_no_torch() -> None:
    import subprocess

    code = "import sys, archprof.importer; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_type_is_public() -> None:
    assert isinstance(runnable(f"{MODULE}:Modes", CASES["Modes"]), Runnable)
