"""An ONNX file as a Graph: a torch module that computes the same is imported. Imports torch and onnx."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import external_data_helper, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from archprof.errors import UsageError
from archprof.graph import Graph
from archprof.importer.modules import import_module
from archprof.importer.onnx_rules import RULES, TAKES_NUMBERS, TAKES_SCALARS, dtype_of

_SMALL = 64  # elements of a constant that may be a number beside a tensor (a scale, a bound)
_RECURRENT = ("LSTM", "GRU", "RNN")


def import_onnx(file: str, shapes: Mapping[str, tuple[int, ...]] = {}) -> Graph:
    """The Graph of an ONNX model, for one sample of its inputs.

    A first dimension that the model leaves open is the batch. `shapes` gives inputs whose other dimensions are open
    their shapes without the batch, by name ("": the only input). Floating-point initializers of one dimension or
    more are parameters, but for statistics of batch norms and states of recurrent layers. A node whose operator
    archprof does not know has the shape that ONNX infers, and its cost is not counted.

    Raises UsageError for what is no ONNX model, and for one that cannot be traced.
    """
    module, args, _, batch_dims = open_model(file, shapes)
    name = re.sub(r"\.onnx\Z", "", os.path.basename(file))
    try:
        return import_module(module, args, batch_dims=batch_dims, name=name)
    except UsageError as error:
        raise UsageError(f"{file}: {str(error).removeprefix('_Model ')}") from None


def open_model(
    file: str, shapes: Mapping[str, tuple[int, ...]] = {}, *, values: bool = False
) -> tuple[nn.Module, tuple[Tensor, ...], dict[str, Tensor], dict[int | str, int | None]]:
    """A module that runs what an ONNX model says, its inputs by place and by name, and where each has its batch.

    `shapes` as for `import_onnx`. The inputs have no elements, nor have the weights unless `values` is given: then
    they have those of the file. Raises UsageError for what is no ONNX model.
    """
    try:
        model = onnx.load(file, load_external_data=False)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    except Exception as error:  # of protobuf, which has no class for it in common
        raise UsageError(f"{file} is no ONNX model: {error}") from None
    if not model.graph.node or not model.opset_import:
        raise UsageError(f"{file} is no ONNX model: it has no nodes")
    inputs, batch_dims = _inputs(model, file, shapes)
    try:
        module = _Model(model, list(inputs), os.path.dirname(os.path.abspath(file)), values)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from None
    return module, tuple(inputs.values()), {}, batch_dims


def _inputs(
    model: Any, file: str, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, Tensor], dict[int | str, int | None]]:
    """Tensors without elements for the inputs, and where each has its batch, or None."""
    weights = {each.name for each in model.graph.initializer}
    given = [each for each in model.graph.input if each.name not in weights]
    names = [each.name for each in given]
    for name in shapes:
        if name not in names and not (name == "" and len(names) == 1):
            raise UsageError(f"{file}: no input is called {name or 'nothing'}; there is {', '.join(names)}")
    found: dict[str, Tensor] = {}
    batch_dims: dict[int | str, int | None] = {}
    for place, each in enumerate(given):
        kind = each.type.tensor_type
        dims: list[int | str] = [size.dim_value or size.dim_param or "?" for size in kind.shape.dim]
        asked = shapes.get(each.name, shapes.get(""))
        if asked is not None:
            dims = ["batch", *asked]
        has_batch = bool(dims) and isinstance(dims[0], str)
        rest = dims[1:] if has_batch else dims
        if any(isinstance(size, str) for size in rest):
            example = "x".join(str(size) if isinstance(size, int) else "8" for size in rest)
            raise UsageError(
                f"{file}: input {each.name} is {'x'.join(map(str, dims))}: give what is open, as "
                f"--input {each.name}={example}"
            )
        sizes = [1, *map(int, rest)] if has_batch else list(map(int, rest))
        found[each.name] = torch.empty(sizes, dtype=dtype_of(kind.elem_type), device="meta")
        batch_dims[place] = 0 if has_batch else None
    return found, batch_dims


class _Call(nn.Module):
    """One node of a model, at its path; or nothing but a place for others."""

    run: Callable[..., Any] | None = None

    def forward(self, *inputs: Any) -> Any:
        assert self.run is not None
        return self.run(*inputs)


class _Model(nn.Module):
    """An ONNX graph that runs in torch: what depends on shapes alone is numbers; weights have elements if `values`."""

    def __init__(self, model: Any, inputs: Sequence[str], folder: str, values: bool) -> None:
        super().__init__()
        self.model = model
        self.inputs = inputs
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self.places: dict[str, tuple[nn.Module, str]] = {}  # of each initializer that is a weight
        self.inferred: dict[str, list[int]] | None = None
        self.kept = {
            name
            for node in model.graph.node
            for name in (*node.input[3:5], *node.input[5:7])
            if (node.op_type == "BatchNormalization" and name in node.input[3:5])
            or (node.op_type in _RECURRENT and name in node.input[5:7])
        }
        self.numbers = _numbers(model)
        self.steps = [(node, self.at(path)) for node, path in zip(model.graph.node, _paths(model), strict=True)]
        for tensor in model.graph.initializer:
            self.keep(tensor, folder, values)

    def at(self, path: str) -> _Call:
        """The module at a path, made where there is none."""
        module: nn.Module = self
        for part in filter(None, path.split(".")):
            if part not in module._modules:
                module._modules[part] = _Call()
            inner = module._modules[part]
            assert inner is not None
            module = inner
        return module  # type: ignore[return-value]

    def keep(self, tensor: Any, folder: str, values: bool) -> None:
        """An initializer as a parameter, a buffer, or a number."""
        dims = tuple(tensor.dims)
        kind = dtype_of(tensor.data_type)
        is_weight = kind.is_floating_point and len(dims) > 0 and tensor.name not in self.numbers
        is_number = not is_weight or math.prod(dims) <= _SMALL
        if (is_number or values) and tensor.data_location == onnx.TensorProto.EXTERNAL:
            external_data_helper.load_external_data_for_tensor(tensor, folder)
        if is_number:
            self.constants[tensor.name] = numpy_helper.to_array(tensor)
        if is_weight:
            path, _, leaf = _legal(tensor.name).rpartition(".")
            owner = self.at(path) if path else self
            while hasattr(owner, leaf):
                leaf += "_"
            if values:
                made = torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
            else:
                made = torch.empty(dims, dtype=kind, device="meta")
            if tensor.name in self.kept:
                owner.register_buffer(leaf, made)
            else:
                owner.register_parameter(leaf, nn.Parameter(made))
            self.places[tensor.name] = (owner, leaf)

    def forward(self, *inputs: Tensor) -> Any:
        values: dict[str, Any] = dict(zip(self.inputs, inputs, strict=True))
        values |= {name: getattr(owner, leaf) for name, (owner, leaf) in self.places.items()}
        for node, call in self.steps:
            results = self.step(node, call, values)
            values.update(zip(node.output, results, strict=False))
        outputs = {each.name: _tensor(self.value(each.name, values)) for each in self.model.graph.output}
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def value(self, name: str, values: Mapping[str, Any]) -> Any:
        return values[name] if name in values else self.constants.get(name)

    def step(self, node: Any, call: _Call, values: Mapping[str, Any]) -> Sequence[Any]:
        """Run one node: in numbers where it takes nothing else, else in torch."""
        attributes = {each.name: _attribute(each) for each in node.attribute}
        given: list[Any] = [self.value(name, values) if name else None for name in node.input]
        if node.op_type == "Shape":
            shape = np.array(list(map(int, given[0].shape)), dtype=np.int64)
            return [shape[attributes.get("start", 0) : attributes.get("end")]]
        if node.op_type == "Size":
            return [np.array(math.prod(map(int, given[0].shape)), dtype=np.int64)]
        if all(each is None or isinstance(each, np.ndarray) for each in given):
            named = {name: each for name, each in zip(node.input, given, strict=True) if each is not None}
            results: Any = ReferenceEvaluator(node).run(None, named)
            return [np.asarray(each) for each in results]
        rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if rule is None:
            return self.unknown(node, call, [_tensor(each) for each in given if each is not None])
        operands = [self.operand(node, place, each) for place, each in enumerate(given)]
        call.run = lambda *operands: rule(operands, attributes | {"outputs": len(node.output)})
        made = call(*operands)
        return made if isinstance(made, (tuple, list)) else [made]

    def operand(self, node: Any, place: int, value: Any) -> Any:
        """An input as the rule of an operator takes it: a tensor, or numbers where it takes numbers."""
        if place and node.op_type in TAKES_NUMBERS:
            return self.constants.get(node.input[place], value)
        if node.op_type in TAKES_SCALARS and isinstance(value, np.ndarray) and value.size == 1 and value.ndim < 2:
            return value.item()
        return _tensor(value)

    def unknown(self, node: Any, call: _Call, given: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of a node that archprof does not know, in the shapes that ONNX infers."""
        if self.inferred is None:
            self.inferred = _inferred(self.model)
        batch = int(given[0].shape[0]) if given[0].dim() else 1
        shapes = []
        for name in node.output:
            if name not in self.inferred:
                raise ValueError(f"ONNX infers no shape for the output of {node.name or name} ({node.op_type})")
            shapes.append([batch if size < 0 else size for size in self.inferred[name]])
        operator = _opaque(node.op_type)
        sizes = [size for shape in shapes for size in shape]
        call.run = lambda *given: operator(list(given), sizes, list(map(len, shapes)))
        return list(call(*given))


def _numbers(model: Any) -> set[str]:
    """Initializers that are no weights: shapes, bounds, and what elements are multiplied by."""
    sizes = {each.name: math.prod(each.dims) for each in model.graph.initializer}
    weights = set()
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            is_operand = node.op_type in TAKES_SCALARS and sizes.get(name) == 1
            if not is_operand and not (place and node.op_type in TAKES_NUMBERS):
                weights.add(name)
    return set(sizes) - weights


def _tensor(value: Any) -> Any:
    return torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value


def _legal(name: str) -> str:
    """A name as a dotted path of attributes."""
    return ".".join(re.sub(r"\W+", "_", part) for part in re.split(r"[./]", name) if part)


def _paths(model: Any) -> list[str]:
    """A path for every node: where it was called, with the operator behind where several are; unique."""
    wanted = [_path(node) for node in model.graph.node]
    parents = {".".join(path.split(".")[:depth]) for path in wanted for depth in range(path.count(".") + 1)}
    counts: dict[str, int] = {}
    for path in wanted:
        counts[path] = counts.get(path, 0) + 1
    taken: set[str] = set()
    found = []
    for node, path in zip(model.graph.node, wanted, strict=True):
        if not path or counts[path] > 1 or path in parents:
            path = f"{path}.{node.op_type}" if path else node.op_type
        unique, number = path, 2
        while unique in taken:
            unique, number = f"{path}_{number}", number + 1
        taken.add(unique)
        found.append(unique)
    return found


def _path(node: Any) -> str:
    """Where a node was called: what its exporter says, the owner of its weight, or its own name."""
    said = {each.key: re.findall(r"'([^']*)'", each.value) for each in node.metadata_props}
    scopes = said.get("pkg.torch.onnx.name_scopes")
    fused = node.op_type == "Conv" and any(
        "batch_norm" in each for each in said.get("pkg.torch.onnx.class_hierarchy", ())
    )
    if scopes and not fused:
        return _legal(scopes[-2]) if len(scopes) > 1 else ""
    for name in node.input[1:2]:
        owner, dot, leaf = name.rpartition(".")
        if dot and leaf == "weight":
            return _legal(owner)
    parts: list[str] = []
    for part in filter(None, node.name.split("/")):
        if parts and part.startswith(parts[-1] + "."):
            parts[-1] = part  # /layer1/layer1.0/conv1
        else:
            parts.append(part)
    if parts and parts[-1].partition("_")[0] == node.op_type:
        parts.pop()
    return _legal(".".join(parts))


def _attribute(attribute: Any) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return list(value) if isinstance(value, (list, tuple)) or "Repeated" in type(value).__name__ else value


def _inferred(model: Any) -> dict[str, list[int]]:
    """Shapes by name as ONNX infers them; -1 for a size that it does not know."""
    known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        each.name: [size.dim_value if size.dim_value else -1 for size in each.type.tensor_type.shape.dim]
        for each in (*known.value_info, *known.output)
        if each.type.tensor_type.HasField("shape")
    }


def _opaque(name: str) -> Any:
    """A torch operator that stands for one of ONNX: its outputs have shapes and nothing else."""
    if not hasattr(torch.ops.onnx, name):
        torch.library.define(f"onnx::{name}", "(Tensor[] inputs, int[] sizes, int[] ranks) -> Tensor[]")
        torch.library.register_fake(f"onnx::{name}", _hollow)
    return getattr(torch.ops.onnx, name)


def _hollow(inputs: list[Tensor], sizes: list[int], ranks: list[int]) -> list[Tensor]:
    like = next((each for each in inputs if each.is_floating_point()), inputs[0])
    made, start = [], 0
    for rank in ranks:
        made.append(like.new_empty(sizes[start : start + rank]))
        start += rank
    return made
