"""The printed source stands alone: executed where archprof cannot be imported, it is the built module."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

import archprof
from archprof.building import code
from archprof.building.code import source
from archprof.graph import Graph, Input, Node, Value
from archprof.operators.base import Inputs, Operator
from archprof.shape import Shape
from tests.building.networks import ALL, SPECS, batch_of, graph
from tests.graphs import Builder
from tests.operators.harness import Case, shapes
from tests.operators.test_registry import CASES

PROJECT = Path(__file__).parents[2]

# Run with -I: neither this folder nor PYTHONPATH is searched. For every NAME.py there is NAME.pt with the state_dict,
# a batch and the outputs of the built module.
RUNNER = """
import sys
sys.modules["archprof"] = None
from pathlib import Path
import torch
for file in sorted(Path(sys.argv[1]).glob("*.py"), key=lambda path: path.stem):
    namespace = {"__name__": "printed"}
    exec(compile(file.read_text(), file.name, "exec"), namespace)
    kept = torch.load(file.with_suffix(".pt"), weights_only=True)
    module = list(namespace.values())[-1]()
    module.load_state_dict(kept["state"], strict=True)
    assert list(module.state_dict()) == list(kept["state"]), file
    with torch.no_grad():
        outputs = module.eval()(*kept["inputs"])
    outputs = outputs if isinstance(outputs, dict) else {"": outputs}
    assert list(outputs) == list(kept["outputs"]), file
    for name, tensor in outputs.items():
        assert torch.equal(tensor, kept["outputs"][name]), (file, name)
    del module
    print(file.stem)
"""
QUICK = [  # families of each kind
    *("densenet", "fast-rcnn", "googlenet", "lstm-language-model", "mobilenet-v3", "resnet-cifar", "vit", "zf"),
    *SPECS,
]
REST = [name for name in ALL if name not in QUICK]


def keep(made: Graph, name: str, folder: Path, train: bool) -> None:
    """The printed source of a network, and what its built module computes, as the runner expects them."""
    module = archprof.build(made, train=train).eval()
    inputs = batch_of(made, batch=1)
    with torch.no_grad():
        outputs = module(*inputs)
    outputs = outputs if isinstance(outputs, dict) else {"": outputs}
    torch.save({"state": module.state_dict(), "inputs": inputs, "outputs": outputs}, folder / f"{name}.pt")
    (folder / f"{name}.py").write_text(source(made, train=train), encoding="utf-8")


def run_alone(folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", RUNNER, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def ruff(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "ruff", *arguments, "--config", str(PROJECT / "pyproject.toml"), "--no-cache"]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def lint(folder: Path) -> None:
    """Clean by this project's own rules: lint and format."""
    ruff(folder, "check")
    ruff(folder, "format", "--check")


@pytest.mark.parametrize(
    "names",
    [QUICK, pytest.param([name for name in ALL if name not in QUICK], marks=pytest.mark.slow)],
    ids=["quick", "rest"],
)
def test_the_source_alone_is_the_built_module(names: list[str], tmp_path: Path) -> None:
    for name in names:
        keep(graph(name), name, tmp_path, train=name in ("googlenet", "headed"))
    assert run_alone(tmp_path) == sorted(names)
    lint(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("return self.abs(x)", "return -self.abs(x)", "AssertionError"),
        ("nn.Conv2d(3, 4, 3)", "nn.Conv2d(3, 4, 3, bias=False)", "Unexpected key"),
        (
            "from torch import",
            "import archprof\nfrom torch import",
            "No module named 'archprof'|import of archprof halted",
        ),
    ],
)
def test_the_runner_sees_what_is_wrong(old: str, new: str, message: str, tmp_path: Path) -> None:
    keep(graph("siamese"), "siamese", tmp_path, train=False)
    file = tmp_path / "siamese.py"
    right = file.read_text()
    assert old in right
    file.write_text(right.replace(old, new))
    with pytest.raises(AssertionError, match=message):
        run_alone(tmp_path)


def one_node(case: Case) -> Graph:
    """A graph that calls one operator once, all its outputs being the network's."""
    inputs = shapes(case.inputs)
    nodes = [Node(path=f"in{i}", operator=Input(shape=shape), output_shapes=(shape,)) for i, shape in enumerate(inputs)]
    operator = case.operator
    nodes.append(
        Node(
            path=f"layer.{case.op}",
            operator=operator,
            inputs=tuple(Value(i) for i in range(len(inputs))),
            input_shapes=inputs,
            output_shapes=operator.shapes(inputs),
        )
    )
    ends = operator.output_names() or ("out",)
    return Graph(name=case.op, nodes=tuple(nodes), outputs={name: Value(len(inputs), i) for i, name in enumerate(ends)})


def test_every_configuration_of_every_operator(tmp_path: Path) -> None:
    for number, case in enumerate(CASES):
        keep(one_node(case), f"{number:03}-{case.op}", tmp_path, train=False)
    assert len(run_alone(tmp_path)) == len(CASES)
    lint(tmp_path)


def printed(made: Graph, **options: Any) -> str:
    text = source(made, **options)
    ast.parse(text)
    return text


def test_it_reads_as_a_person_would_write_it() -> None:
    net = Builder((3, 8, 8), name="small-net", title="A small net", source="made up")
    net.add("stem.conv2d", "conv2d", out_channels=4, kernel_size=3, padding=1, bias=False)
    stem = net.add("stem.activation", "relu")
    net.add("block.0.1x1.conv2d", "conv2d", out_channels=4, kernel_size=[1, 1])
    net.add("block.0.add", "add", len(net.nodes) - 1, stem)
    again = net.add("block.1.1x1.conv2d", "conv2d", shares="block.0.1x1.conv2d", out_channels=4, kernel_size=1)
    net.add("pad", "pad", again, padding=[1, 1, 0, 0])
    net.add("pool", "max_pool2d", kernel_size=[2, 1], stride=2)
    net.add("flat", "flatten")
    net.add("classes", "linear", out_features=10)
    text = printed(net.graph()).replace(archprof.__version__, "VERSION")
    assert (
        text[text.index("class SmallNet") :]
        == '''\
class SmallNet(nn.Module):
    """A small net: made up.

    Takes (N, 3, 8, 8), gives (N, 10). Printed by archprof VERSION.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Module()
        self.stem.conv2d = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.stem.activation = nn.ReLU()
        self.block = nn.ModuleList()
        self.block.append(nn.ModuleDict())
        self.block[0]["1x1"] = nn.Module()
        self.block[0]["1x1"].conv2d = nn.Conv2d(4, 4, 1)
        self.block[0].add = Combination("add")
        self.pad = nn.ConstantPad2d((1, 1, 0, 0), 0.0)
        self.pool = nn.MaxPool2d((2, 1), stride=2)
        self.flat = nn.Flatten()
        self.classes = nn.Linear(80, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem.conv2d(x)
        stem = self.stem.activation(x)
        x = self.block[0]["1x1"].conv2d(stem)
        x = self.block[0].add(x, stem)
        x = self.block[0]["1x1"].conv2d(x)
        x = self.pad(x)
        x = self.pool(x)
        x = self.flat(x)
        return self.classes(x)
'''
    )
    assert text.startswith("from torch import Tensor, nn\n\n\nclass Combination(nn.Module):\n")


def test_a_name_is_taken_again_once_nothing_needs_what_it_stood_for() -> None:
    """So that a printed network holds no more maps than the built one, but for one of each name."""
    made = graph("resnet-cifar")
    text = printed(made)
    forward = text[text.rindex("def forward") :]
    assigned = [line.split(" = ")[0].strip() for line in forward.splitlines() if " = " in line]
    assert set(assigned) == {"x", "conv1", "relu", "conv2"}
    assert len(assigned) == sum(not node.is_input for node in made.nodes) - 1  # the last is returned


def test_titles_end_no_docstring() -> None:
    made = graph("siamese")
    evil = 'a""" + __import__("os").abort() + """\\'
    text = printed(msgspec.structs.replace(made, title=evil, source="line\nbreak\x00\x1b[31m"))
    (tree,) = (each for each in ast.parse(text).body if isinstance(each, ast.ClassDef) and each.name == "Siamese")
    assert ast.get_docstring(tree, clean=False).startswith(  # type: ignore[union-attr]
        "a''' + __import__('os').abort() + '''/: line break [31m."
    )
    assert [type(each) for each in tree.body] == [ast.Expr, ast.FunctionDef, ast.FunctionDef]


def test_a_class_of_the_same_name_is_not_hidden() -> None:
    net = Builder((3, 4, 4), name="concat")
    net.add("concat", "concat", 0, 0)
    text = printed(net.graph())
    assert "class Concat(nn.Module)" in text
    assert "class ConcatNetwork(nn.Module)" in text


class Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor


class Forgetful(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()


class OfAUser(Operator, frozen=True, kw_only=True):
    op = "of_a_user"
    keeps: bool = True

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return inputs

    def module(self, inputs: Inputs) -> nn.Module:
        return Scale(0.5) if self.keeps else Forgetful(0.5)


def test_an_operator_that_a_user_added() -> None:
    net = Builder((3, 4, 4))
    net.add("scale", OfAUser())
    text = printed(net.graph())
    assert text.startswith(f"from torch import Tensor, nn\n\nfrom {__name__} import Scale\n\n\nclass Net(nn.Module):")
    assert "        self.scale = Scale(0.5)\n" in text


def test_a_module_that_does_not_keep_what_it_is_made_with() -> None:
    net = Builder((3, 4, 4))
    net.add("scale", OfAUser(keeps=False))
    with pytest.raises(archprof.UsageError) as raised:
        source(net.graph())
    assert str(raised.value) == "scale: Forgetful does not keep its factor: its code cannot be printed"


def test_a_deep_network_is_printed_in_seconds() -> None:
    text = printed(archprof.load("resnet-1202"))
    assert text.count("nn.Conv2d(") == 1201
    assert text.count("\n        x = ") > 3000
    assert max(map(len, text.splitlines())) <= code.WIDTH
