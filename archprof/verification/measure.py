"""What torch and fvcore say of a network, node by node. Imports both, so it is imported lazily."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from archprof.analysis.analysis import DTYPES, elements
from archprof.analysis.memory import memory
from archprof.building import build
from archprof.building.device import reason, require_memory
from archprof.graph import Graph, Node
from archprof.shape import Shape

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # importing fvcore compiles with torch's deprecated compiler
    import fvcore
    from fvcore.nn import FlopCountAnalysis

VERSIONS: Mapping[str, str] = {"torch": torch.__version__, "fvcore": fvcore.__version__}

TensorShapes = Mapping[str, tuple[int, ...]]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One node of the built network in torch."""

    outputs: tuple[tuple[tuple[int, ...], str], ...]  # the shape with its batch, and "float" or the torch dtype
    parameters: TensorShapes
    buffers: TensorShapes
    params: int  # elements that no earlier node has
    buffer_elements: int
    forward: int  # multiply-adds by FlopCounterMode
    backward: int = 0


class Failure(msgspec.Struct, frozen=True):
    """Where torch raised, and what."""

    node: str
    message: str


def measure(graph: Graph, *, train: bool, batch: int, device: str) -> tuple[Mapping[str, Measured], Failure | None]:
    """Run the built network forward and backward, by node path what came of it.

    With a failure it holds the nodes that ran before; backward counts are then all 0.
    """
    if device != "meta":
        peak = memory(graph, batch=batch, train=train).training_peak
        require_memory(peak, torch.device(device), f"weights, activations and gradients of {graph.name}")
    module = build(graph, device=device, init="empty", train=train)
    walk = _Walk(module)
    given = tuple(_tensor(node.output_shapes[0], batch, device) for node in graph.inputs)
    try:
        with walk.counter:
            results = walk.run(*given)
            ends = [end for end in (results.values() if isinstance(results, dict) else (results,)) if end.requires_grad]
            if ends:
                torch.autograd.backward(ends, [torch.empty_like(end) for end in ends])
            walk.enter("")
    except Exception as error:  # whatever torch raises is a finding, at the node where it did
        return walk.measured, Failure(walk.path, _raised(error))
    replace = msgspec.structs.replace
    return {path: replace(each, backward=walk.backward.get(path, 0)) for path, each in walk.measured.items()}, None


class _Walk(fx.Interpreter):
    """Runs a built network, with counts by node.

    Autograd runs nodes in the reverse of their order in the forward pass, so that all that is counted between the
    first autograd node of one call and that of the next belongs to the first.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False  # what torch raises, without words of the interpreter's
        self.counter = FlopCounterMode(display=False)
        self.path = ""  # of the node that runs
        self.measured: dict[str, Measured] = {}
        self.backward: dict[str, int] = {}
        self.seen: set[int] = set()  # tensors that an earlier node has, by id

    def run_node(self, n: fx.Node) -> Any:
        if n.op != "call_module":
            return super().run_node(n)
        path: str = n.meta["path"]
        self.path = path
        result = super().run_node(n)
        outputs: tuple[Tensor, ...] = result if isinstance(result, tuple) else (result,)
        part = self.module.get_submodule(str(n.target))
        parameters, buffers = dict(part.named_parameters()), dict(part.named_buffers())
        self.measured[path] = Measured(
            outputs=tuple((tuple(output.shape), _dtype_name(output.dtype)) for output in outputs),
            parameters={name: tuple(tensor.shape) for name, tensor in parameters.items()},
            buffers={name: tuple(tensor.shape) for name, tensor in buffers.items()},
            params=self.new_elements(parameters.values()),
            buffer_elements=self.new_elements(buffers.values()),
            forward=self.taken(),
        )
        inputs, _ = self.fetch_args_kwargs_from_env(n)
        handed_on = {id(tensor) for tensor in inputs}  # an output that is an input is another node's in autograd
        for output in outputs:
            if output.grad_fn is not None and id(output) not in handed_on:
                output.grad_fn.register_prehook(lambda _gradients, path=path: self.enter(path))
        return result

    def enter(self, path: str) -> None:
        """The backward pass comes to a node: what was counted up to here is that of the one before."""
        counted = self.taken()
        if counted:
            self.backward[self.path] = self.backward.get(self.path, 0) + counted
        self.path = path

    def taken(self) -> int:
        """The multiply-adds counted since the last call: FlopCounterMode counts each as two."""
        counts = self.counter.flop_counts.pop("Global", {})
        return sum(counts.values()) // 2

    def new_elements(self, tensors: Iterable[Tensor]) -> int:
        new = [tensor for tensor in tensors if id(tensor) not in self.seen]
        self.seen.update(map(id, new))
        return sum(tensor.numel() for tensor in new)


def fvcore_counts(graph: Graph, *, train: bool, batch: int) -> Mapping[str, int | str]:
    """fvcore's FLOPs of each node by its path, or what fvcore raised.

    It runs what it counts, on a CPU with whatever the memory holds. Equal calls run once, and of nodes that only
    handle many samples a network input (regions), one: fvcore's counts are proportional to the batch.
    """
    known: dict[tuple[object, ...], int | str] = {}
    found: dict[str, int | str] = {}
    for node in graph.nodes:
        if node.is_input or (node.training_only and not train):
            continue
        counts = {shape.samples for shape in (*node.input_shapes, *node.output_shapes)}
        samples = counts.pop() if len(counts) == 1 else 1
        inputs = tuple(msgspec.structs.replace(shape, samples=shape.samples // samples) for shape in node.input_shapes)
        key = (node.operator, inputs)
        if key not in known:
            known[key] = _fvcore_count(node, inputs, train, batch)
        count = known[key]
        found[node.path] = count if isinstance(count, str) else count * samples
    return found


def _fvcore_count(node: Node, inputs: tuple[Shape, ...], train: bool, batch: int) -> int | str:
    operator = node.operator
    tensors = elements(operator.parameters(inputs)) + elements(operator.buffers(inputs))
    maps = sum(shape.numel for shape in (*inputs, *operator.infer(inputs)))
    require_memory((tensors + maps * batch) * DTYPES["float32"], torch.device("cpu"), f"the tensors of {node.path}")
    with torch.device("meta"):
        module: nn.Module = operator.module(inputs)
    module.to_empty(device="cpu").train(train)
    given = tuple(_tensor(shape, batch, "cpu") for shape in inputs)
    analysis = FlopCountAnalysis(module, given).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's, of Python values that it holds constant
            return int(analysis.total())
    except Exception as error:  # an assertion of fvcore's, mostly
        return _raised(error)


def _tensor(shape: Shape, batch: int, device: str) -> Tensor:
    size = (batch * shape.samples, *shape.dims)
    if shape.dtype == "float":
        return torch.empty(size, device=device)
    return torch.zeros(size, dtype=getattr(torch, shape.dtype), device=device)


def _dtype_name(dtype: torch.dtype) -> str:
    return "float" if dtype == torch.float32 else str(dtype).removeprefix("torch.")


def _raised(error: Exception) -> str:
    return f"{type(error).__name__}: {reason(error)}"
