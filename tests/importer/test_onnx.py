"""ONNX files: single nodes with their figures by hand, and networks that torch exports."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import archprof
from archprof import UsageError
from archprof.cli import main
from archprof.importer.modules import import_module
from archprof.importer.onnx import import_onnx
from tests.importer.test_modules import Calls

Dims = tuple[int, ...]


class Case(NamedTuple):
    """One node: its attributes, the shapes of its inputs without the batch, its weights or numbers, what comes of it."""

    op: str
    attributes: Mapping[str, Any]
    inputs: Sequence[Dims]
    constants: Sequence[Any]  # after the inputs: shapes of weights, or arrays; None is left out
    params: int
    multiply_adds: int
    operator: str | None = None
    outputs: int = 1


def ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, dtype=np.int64)


CASES: Mapping[str, Case] = {
    "conv": Case("Conv", {"pads": [1, 1, 1, 1]}, [(3, 8, 8)], [(4, 3, 3, 3), (4,)], 112, 64 * 108, "conv2d"),
    "conv, strides": Case("Conv", {"strides": [2, 2], "dilations": [2, 1]}, [(3, 9, 9)], [(4, 3, 3, 3)], 108, 3 * 4 * 108, "conv2d"),
    "conv, groups": Case("Conv", {"group": 4}, [(4, 8, 8)], [(4, 1, 3, 3)], 36, 36 * 36, "conv2d"),
    "conv, uneven": Case("Conv", {"pads": [0, 0, 1, 1]}, [(3, 8, 8)], [(4, 3, 2, 2)], 48, 64 * 48, "conv2d"),
    "conv, same": Case("Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, [(3, 7, 7)], [(4, 3, 3, 3)], 108, 16 * 108, "conv2d"),
    "conv1d": Case("Conv", {}, [(3, 8)], [(4, 3, 3)], 36, 6 * 36, "conv1d"),
    "conv3d": Case("Conv", {}, [(2, 4, 4, 4)], [(3, 2, 2, 2, 2)], 48, 27 * 48, "conv3d"),
    "transposed": Case("ConvTranspose", {"strides": [2, 2]}, [(3, 4, 4)], [(3, 5, 2, 2)], 60, 960, "conv_transpose2d"),
    "gemm": Case("Gemm", {"transB": 1}, [(6,)], [(4, 6), (4,)], 28, 24, "linear"),
    "gemm, turned": Case("Gemm", {}, [(6,)], [(6, 4), (4,)], 28, 24, "linear"),
    "matmul": Case("MatMul", {}, [(5, 6)], [(6, 4)], 24, 120, "linear"),
    "two inputs": Case("MatMul", {}, [(5, 6), (6, 4)], [], 0, 120, "matmul"),
    "einsum": Case("Einsum", {"equation": "bij,bkj->bik"}, [(5, 6), (4, 6)], [], 0, 120, "einsum"),
    "max pool": Case("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, [(3, 8, 8)], [], 0, 0, "max_pool2d"),
    "average pool": Case("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}, [(3, 8, 8)], [], 0, 0, "avg_pool2d"),
    "global pool": Case("GlobalAveragePool", {}, [(3, 8, 8)], [], 0, 0, "adaptive_avg_pool2d"),
    "batch norm": Case("BatchNormalization", {}, [(3, 4, 4)], [(3,), (3,), (3,), (3,)], 6, 0, "batch_norm2d"),
    "layer norm": Case("LayerNormalization", {"axis": -1}, [(4, 6)], [(6,), (6,)], 12, 0, "layer_norm"),
    "instance norm": Case("InstanceNormalization", {}, [(3, 4, 4)], [(3,), (3,)], 6, 0, "instance_norm"),
    "lrn": Case("LRN", {"size": 3}, [(4, 5, 5)], [], 0, 0),
    "prelu": Case("PRelu", {}, [(3, 4, 4)], [(3, 1, 1)], 3, 0),
    "gelu": Case("Gelu", {}, [(4,)], [], 0, 0, "gelu"),
    "clip": Case("Clip", {}, [(4,)], [np.float32(0), np.float32(6)], 0, 0, "relu6"),
    "softmax": Case("Softmax", {"axis": -1}, [(4, 6)], [], 0, 0, "softmax"),
    "a number": Case("Mul", {}, [(4,)], [np.float32([0.5])], 0, 0, "mul"),
    "a vector": Case("Mul", {}, [(3, 4)], [(4,)], 4, 0, "parameter"),
    "reshape": Case("Reshape", {}, [(3, 4)], [ints(0, 2, -1)], 0, 0, "reshape"),
    "flatten": Case("Flatten", {}, [(3, 4, 4)], [], 0, 0, "flatten"),
    "transpose": Case("Transpose", {"perm": [0, 2, 1]}, [(3, 4)], [], 0, 0, "transpose"),
    "squeeze": Case("Squeeze", {}, [(3, 1)], [ints(2)], 0, 0, "reshape"),
    "unsqueeze": Case("Unsqueeze", {}, [(3,)], [ints(1)], 0, 0, "reshape"),
    "slice": Case("Slice", {}, [(3, 8, 8)], [ints(1), ints(7), ints(2), ints(2)], 0, 0, "slice"),
    "split": Case("Split", {"axis": 1, "num_outputs": 2}, [(6, 4)], [], 0, 0, "split", 2),
    "concat": Case("Concat", {"axis": 1}, [(3, 4), (2, 4)], [], 0, 0, "concat"),
    "pad": Case("Pad", {}, [(3, 4, 4)], [ints(0, 0, 1, 1, 0, 0, 2, 2)], 0, 0, "pad"),
    "gather, a row": Case("Gather", {"axis": 1}, [(5, 4)], [np.int64(0)], 0, 0, "select"),
    "resize": Case("Resize", {"mode": "nearest"}, [(3, 4, 4)], [None, np.float32([1, 1, 2, 2])], 0, 0, "upsample"),
    "mean": Case("ReduceMean", {"keepdims": 0}, [(3, 4, 4)], [ints(2, 3)], 0, 0, "mean"),
    "depth to space": Case("DepthToSpace", {"blocksize": 2}, [(8, 3, 3)], [], 0, 0),
    "lstm": Case(
        "LSTM", {"hidden_size": 5, "layout": 1}, [(7, 6)], [(1, 20, 6), (1, 20, 5), (1, 40)], 260, 7 * 220, None, 3
    ),
    "gru, both ways": Case(
        "GRU", {"hidden_size": 5, "direction": "bidirectional", "layout": 1}, [(7, 6)], [(2, 15, 6), (2, 15, 5)], 330, 7 * 330, None, 2
    ),
}  # fmt: skip


def model_of(nodes: Sequence[Any], inputs: Mapping[str, Any], weights: Sequence[Any], outputs: Sequence[str]) -> Any:
    graph = helper.make_graph(
        list(nodes),
        "net",
        [
            each if not isinstance(each, tuple) else helper.make_tensor_value_info(name, TensorProto.FLOAT, each)
            for name, each in inputs.items()
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        list(weights),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("own", 1)])


def saved(model: Any, folder: Path) -> str:
    path = folder / "net.onnx"
    onnx.save(model, path)
    return str(path)


def single(case: Case) -> Any:
    names, weights = [], []
    for place, constant in enumerate(case.constants):
        array = np.ones(constant, dtype=np.float32) if isinstance(constant, tuple) else constant
        names.append("" if array is None else f"w{place}")
        if array is not None:
            weights.append(numpy_helper.from_array(np.asarray(array), f"w{place}"))
    inputs = {f"x{place}": ("N", *dims) for place, dims in enumerate(case.inputs)}
    outputs = [f"y{place}" for place in range(case.outputs)]
    node = helper.make_node(case.op, [*inputs, *names], outputs, name="node", **case.attributes)
    return model_of([node], inputs, weights, outputs)


@pytest.mark.parametrize("name", CASES)
def test_single_nodes(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    model = single(case)
    graph = import_onnx(saved(model, tmp_path))
    analysis = archprof.analyse(graph, counting="multiply_adds")
    assert (analysis.params, analysis.flops) == (case.params, case.multiply_adds)
    assert not analysis.lower_bound
    if case.operator is not None:
        assert case.operator in [node.operator.op for node in graph.nodes]
    for each in onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output:
        inferred = [size.dim_value for size in each.type.tensor_type.shape.dim]
        value = graph.outputs["output" if case.outputs == 1 else each.name]
        shape = graph.nodes[value.node].output_shapes[value.output]
        assert shape.numel == int(np.prod([size for size in inferred if size])), each.name


def test_an_embedding_is_looked_up(tmp_path: Path) -> None:
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ("N", 5))
    table = numpy_helper.from_array(np.ones((9, 4), dtype=np.float32), "table")
    model = model_of([helper.make_node("Gather", ["table", "ids"], ["y"])], {"ids": ids}, [table], ["y"])
    graph = import_onnx(saved(model, tmp_path))
    assert [node.operator.op for node in graph.nodes] == ["input", "embedding"]
    assert archprof.analyse(graph).params == 36


def test_an_unknown_node_is_not_counted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("TopK", ["x", "k"], ["best", "at"], name="topk"),
        helper.make_node("Relu", ["best"], ["y"], name="relu"),
    ]
    k = numpy_helper.from_array(ints(3), "k")
    graph = import_onnx(saved(model_of(nodes, {"x": ("N", 8)}, [k], ["y"]), tmp_path))
    analysis = archprof.analyse(graph)
    assert analysis.lower_bound
    assert [(each.node.path, each.node.operator.op) for each in analysis.figures if each.cost is None] == [
        ("topk", "onnx.TopK")
    ]
    assert [shape.dims for shape in graph.nodes[-1].output_shapes] == [(3,)]


def test_sizes_that_depend_on_shapes_are_worked_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Concat", ["batch", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(ints(0), "zero"),
        numpy_helper.from_array(ints(-1), "rest"),
        numpy_helper.from_array(np.ones((12, 5), dtype=np.float32), "w"),
    ]
    graph = import_onnx(saved(model_of(nodes, {"x": ("N", 3, 4)}, weights, ["y"]), tmp_path))
    assert [node.operator.op for node in graph.nodes] == ["input", "reshape", "linear"]
    assert archprof.analyse(graph).flops == 60


# --- what torch exports


def exported(module: nn.Module, inputs: tuple[Tensor, ...], folder: Path, **options: Any) -> str:
    path = str(folder / "model.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), inputs, path, verbose=False, **options)
    return path


def distinct(module: nn.Module) -> nn.Module:
    """Random parameters: an exporter keeps equal ones once."""
    torch.manual_seed(0)
    for each in (*module.parameters(), *module.buffers()):
        if each.is_floating_point():
            nn.init.uniform_(each.data, 0.5, 1.5)
    return module


NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], Dims]] = {
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU6(), nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.ConvTranspose2d(8, 4, 2, 2),
            nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3), nn.Softmax(1),
        ),
        (3, 16, 16),
    ),
    "a transformer": (lambda: nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), (5, 8)),
    "a recurrent network": (
        lambda: Calls(lambda m, x: m.out(m.l(x)[0]), l=nn.LSTM(6, 5, 2, batch_first=True), out=nn.Linear(5, 2)), (7, 6)
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "is_open"),
    [("convolutions", True), ("convolutions", False), ("a transformer", False), ("a recurrent network", False)],
)
def test_an_exported_network_has_the_modules_figures(name: str, is_open: bool, tmp_path: Path) -> None:
    make, shape = NETWORKS[name]
    module = distinct(make())
    x = torch.randn(2 if is_open else 1, *shape)
    shapes = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if is_open else {}
    graph = import_onnx(exported(module, (x,), tmp_path, **shapes))
    ours = archprof.analyse(graph, counting="multiply_adds")
    theirs = archprof.analyse(import_module(module, x), counting="multiply_adds")
    assert (ours.params, ours.flops, ours.depth) == (theirs.params, theirs.flops, theirs.depth)


# --- the command line, and mistakes


def test_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(single(CASES["conv"]), tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["archprof", "table", "net.onnx"])
    with pytest.raises(SystemExit, match="0"):
        main()
    out = capsys.readouterr().out
    assert "source: ONNX file net.onnx" in out
    assert "112 parameters, 6,912 FLOPs" in out
    monkeypatch.setattr(sys, "argv", ["archprof", "import", "net.onnx"])
    with pytest.raises(SystemExit, match="0"):
        main()
    line = "  - {name: node, op: conv2d, out_channels: 4, kernel_size: 3, padding: 1}"
    assert line in capsys.readouterr().out.splitlines()


def test_open_dimensions_are_given(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    weight = numpy_helper.from_array(np.ones((6, 4), dtype=np.float32), "w")
    path = saved(model_of([node], {"x": ("N", "length", 6)}, [weight], ["y"]), tmp_path)
    message = f"{path}: input x is Nxlengthx6: give what is open, as --input x=8x6"
    with pytest.raises(UsageError) as caught:
        import_onnx(path)
    assert str(caught.value) == message
    for shapes in ({"x": (5, 6)}, {"": (5, 6)}):
        assert archprof.analyse(import_onnx(path, shapes)).flops == 5 * 24
    with pytest.raises(UsageError, match="no input is called y; there is x"):
        import_onnx(path, {"y": (5, 6)})


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file or directory"):
        import_onnx(str(tmp_path / "none.onnx"))
    for content in (b"", b"\xff\xfe nonsense"):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(UsageError, match=r"bad\.onnx is no ONNX model"):
            import_onnx(str(tmp_path / "bad.onnx"))


def test_a_model_that_does_not_fit_its_input(tmp_path: Path) -> None:
    path = saved(single(CASES["gemm"]), tmp_path)
    with pytest.raises(UsageError, match=r"net\.onnx: cannot be traced: "):
        import_onnx(path, {"x0": (7,)})
