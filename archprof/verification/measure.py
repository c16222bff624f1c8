"""What torch and fvcore say of a network, node by node. Imports both, so it is imported lazily."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import msgspec
import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from archprof.analysis.analysis import DTYPES, elements
from archprof.analysis.memory import memory
from archprof.building import build
from archprof.building.device import reason, require_memory
from archprof.graph import Graph, Node
from archprof.importer import Runnable
from archprof.importer.calls import dtype_name, tensors_of
from archprof.importer.execution import on_meta
from archprof.importer.modules import untouched
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
    return _Walk(module).all(tuple(_tensor(node.output_shapes[0], batch, device) for node in graph.inputs))


def measure_imported(network: Runnable, *, device: str) -> tuple[Mapping[str, Measured], Failure | None]:
    """The same for an imported network, whose calls of one path are measured together, on meta or where it is."""
    module, inputs = network.module, network.inputs
    if device == "meta":
        module, inputs = on_meta(module), tuple(each.to(device) for each in inputs)
    return _ImportedWalk(module, network).all(inputs)


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

    def all(self, inputs: tuple[Tensor, ...]) -> tuple[Mapping[str, Measured], Failure | None]:
        """Both passes."""
        try:
            with self.counter:
                _backward(self.run(*inputs))
                self.enter("")
        except Exception as error:  # whatever torch raises is a finding, at the node where it did
            return self.measured, Failure(self.path, _raised(error))
        replace = msgspec.structs.replace
        return {path: replace(each, backward=self.backward.get(path, 0)) for path, each in self.measured.items()}, None

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
        self.watch(path, outputs, inputs)
        return result

    def watch(self, path: str, outputs: Iterable[Tensor], inputs: Iterable[Any]) -> None:
        """See the backward pass come to what a node put out."""
        handed_on = {id(tensor) for tensor in inputs}  # an output that is an input is another node's in autograd
        for output in outputs:
            if output.grad_fn is not None and id(output) not in handed_on:
                output.grad_fn.register_prehook(lambda _gradients, path=path: self.enter(path))

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
        new = {id(tensor): tensor.numel() for tensor in tensors if id(tensor) not in self.seen}
        self.seen.update(new)
        return sum(new.values())


class _ImportedWalk(_Walk):
    """Runs an imported network, whose calls are torch's own."""

    def __init__(self, module: fx.GraphModule, network: Runnable) -> None:
        super().__init__(module)
        of_own = fx.Interpreter(network.module)  # in a copy of the module no tensors are tied
        self.ends = {
            node
            for node in module.graph.nodes
            if any(user.meta.get("path") != node.meta.get("path") for user in node.users)
        }
        tensors = [node for node in module.graph.nodes if node.op == "get_attr"]
        homes = {str(node.target).rpartition(".")[0]: node.meta["path"] for node in tensors if "path" in node.meta}
        owned: dict[str, dict[str, Tensor]] = {}
        for node in tensors:  # what counts the batches of a batch norm is in no call
            path = node.meta.get("path", homes.get(str(node.target).rpartition(".")[0]))
            if path is not None:
                owned.setdefault(path, {})[str(node.target)] = of_own.fetch_attr(str(node.target))
        for each in network.graph.nodes:
            if not each.is_input:
                self.measured[each.path] = self.tensors(owned.get(each.path, {}))

    def tensors(self, owned: Mapping[str, Tensor]) -> Measured:
        """A node whose calls are still to come."""
        parameters = {name: tensor for name, tensor in owned.items() if isinstance(tensor, nn.Parameter)}
        buffers = {name: tensor for name, tensor in owned.items() if name not in parameters}
        return Measured(
            outputs=(),
            parameters={name: tuple(tensor.shape) for name, tensor in parameters.items()},
            buffers={name: tuple(tensor.shape) for name, tensor in buffers.items()},
            params=self.new_elements(parameters.values()),
            buffer_elements=self.new_elements(buffers.values()),
            forward=0,
        )

    def run_node(self, n: fx.Node) -> Any:
        path = n.meta.get("path")
        if n.op != "call_function" or path is None:
            return super().run_node(n)
        self.path = path
        inputs, named = self.fetch_args_kwargs_from_env(n)
        result = super().run_node(n)
        outputs = tensors_of(result)
        known = self.measured[path]
        shapes = tuple((tuple(each.shape), dtype_name(each.dtype)) for each in outputs)
        self.measured[path] = msgspec.structs.replace(
            known, forward=known.forward + self.taken(), outputs=shapes if n in self.ends else known.outputs
        )
        self.watch(path, outputs, pytree.tree_leaves((inputs, named)))
        return result


def _backward(results: Any) -> None:
    """From all results that have a gradient."""
    ends = [each for each in pytree.tree_leaves(results) if isinstance(each, Tensor) and each.requires_grad]
    if ends:
        torch.autograd.backward(ends, [torch.empty_like(end) for end in ends])


def own_counts(network: Runnable, *, train: bool, device: str) -> tuple[int, int] | str:
    """Multiply-adds that FlopCounterMode counts in the user's own module on meta or a CPU, forward and backward.

    What the module raises there as text: code that needs values, or tensors that are no parameter, refuses meta.
    """
    own, to = network.own, partial(pytree.tree_map, lambda each: each.to(device))
    tensors = {**dict(own.named_parameters()), **dict(own.named_buffers())}
    given = {name: each.detach().to(device).requires_grad_(each.requires_grad) for name, each in tensors.items()}
    try:
        with untouched(own, train), torch.device(device), FlopCounterMode(display=False) as counter:
            results = torch.func.functional_call(own, given, to(network.args), to(dict(network.kwargs)))
            forward = counter.get_total_flops()
            _backward(results)
            return forward // 2, (counter.get_total_flops() - forward) // 2
    except Exception as error:  # a module's code may raise anything
        return _raised(error)


def fvcore_by_module(network: Runnable, *, train: bool) -> tuple[int, Mapping[str, int]] | str:
    """fvcore's FLOPs in the user's own module, of all and by the path of the module whose own code computes.

    None by path where a module stands at several places. What fvcore raises as text. It runs what it counts.
    """
    own = network.own
    flat = (*network.args, *network.kwargs.values())
    names = list(network.kwargs)

    class Flat(nn.Module):
        """Takes and gives tensors alone, as the tracer behind fvcore needs it."""

        def __init__(self) -> None:
            super().__init__()
            self.own = own

        def forward(self, *given: Tensor) -> list[Tensor]:
            args, named = given[: len(network.args)], given[len(network.args) :]
            results = self.own(*args, **dict(zip(names, named, strict=True)))
            return [each for each in pytree.tree_leaves(results) if isinstance(each, Tensor)]

    analysis = FlopCountAnalysis(Flat(), flat).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    try:
        with untouched(own, train), torch.no_grad():
            counts = analysis.by_module()
    except Exception as error:  # of fvcore, of the tracer, of the module's code
        return _raised(error)
    total = int(counts["own"])
    places = list(own.named_modules(remove_duplicate=False))
    if len(places) > len(list(own.modules())):
        return total, {}
    inside = {name: f"own.{name}" if name else "own" for name, _ in places}
    return total, {
        name: int(counts[inside[name]])
        - sum(int(counts[f"{inside[name]}.{child}"]) for child, _ in module.named_children())
        for name, module in places
    }


def homes_of(network: Runnable) -> Mapping[str, str]:
    """By node path, the path of the module whose code makes the call; of several calls that around all of them."""
    found: dict[str, str] = {}
    for node in network.module.graph.nodes:
        path = node.meta.get("path")
        if path is not None and node.op == "call_function":
            stack = list((node.meta.get("nn_module_stack") or {}).values())
            home = str(stack[-1][0]).partition("@")[0] if stack else ""
            found[path] = min(home, found.get(path, home), key=len)
    return found


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
