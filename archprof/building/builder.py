"""The builder: one module and one call a node, parameters named by the node paths."""

from __future__ import annotations

import contextlib
import keyword
import operator
import re
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import fx, nn
from torch.overrides import TorchFunctionMode

from archprof.building.initialise import Layers
from archprof.errors import UsageError
from archprof.graph import Graph, Node, Value

# names that a submodule would hide, and words that fx's generated code cannot hold
_OWNED = frozenset(dir(fx.GraphModule(nn.Module(), fx.Graph()))) | frozenset(keyword.kwlist)


class Modules:
    """The torch modules of a graph's nodes, made but not yet put together.

    `of` has each node's module by its path, nodes that share one having the same, and `homes` the path that
    this module lies at. `sources` has, for a module that uses another's tensors, the path of the node that
    owns them.
    """

    def __init__(self) -> None:
        self.of: dict[str, nn.Module] = {}
        self.homes: dict[str, str] = {}
        self.sources: dict[str, str] = {}

    def owners(self) -> Layers:
        """The modules that use no other's tensors, in the order of execution, those of training heads last."""
        return [self.of[path] for path, home in self.homes.items() if home == path and path not in self.sources]

    def tie(self) -> None:
        """Give modules that use another's tensors these very tensors."""
        for path, source in self.sources.items():
            mine, theirs = self.of[path], self.of[source]
            for name, tensor in [*theirs.named_parameters(), *theirs.named_buffers()]:
                folder, _, leaf = name.rpartition(".")
                setattr(mine.get_submodule(folder), leaf, tensor)


def make_modules(graph: Graph, train: bool, device: str, bare: bool) -> Modules:
    """The modules of all nodes, those of training heads last, so that these do not change what the others draw.

    With `bare` their parameters are what the memory holds.
    """
    made = Modules()
    by_path = {node.path: node for node in graph.nodes}
    with torch.device(device), _NoInitialValues() if bare else contextlib.nullcontext():
        for node in sorted(called(graph, train), key=lambda node: node.training_only):
            owner = by_path.get(node.shares or "")
            if owner is not None and owner.path not in made.of:  # a training head's, that what is no head uses
                made.of[owner.path] = _module(owner)
                made.homes[owner.path] = owner.path
            if node.path in made.of:
                continue
            if owner is not None and _same_module(owner, node):
                made.of[node.path] = made.of[owner.path]
                made.homes[node.path] = made.homes[owner.path]
                continue
            made.of[node.path] = _module(node)
            made.homes[node.path] = node.path
            if owner is not None:
                made.sources[node.path] = owner.path
    return made


def called(graph: Graph, train: bool) -> list[Node]:
    """The nodes that compute something, in the order of execution."""
    return [node for node in graph.nodes if not node.is_input and (train or not node.training_only)]


def _module(node: Node) -> nn.Module:
    try:
        return node.operator.module(node.input_shapes)
    except NotImplementedError:
        raise UsageError(f"{node.path} cannot be built: archprof has no module for {node.operator.op}") from None


def _same_module(owner: Node, node: Node) -> bool:
    """Whether one module serves both nodes. What an operator makes of a dimension can depend on the rank."""
    return owner.operator == node.operator and [len(shape.dims) for shape in owner.input_shapes] == [
        len(shape.dims) for shape in node.input_shapes
    ]


class _NoInitialValues(TorchFunctionMode):
    """Makes the functions of torch.nn.init do nothing."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        return function(*args, **(kwargs or {}))


def assemble(graph: Graph, modules: Modules, train: bool) -> fx.GraphModule:
    """The GraphModule that calls the modules as the graph says."""
    root = nn.Module()
    calls = fx.Graph()
    values: dict[Value, fx.Node] = {}
    made: list[fx.Node | None] = []

    def value(wanted: Value) -> fx.Node:
        if wanted not in values:
            call = made[wanted.node]
            assert call is not None
            several = graph.nodes[wanted.node].operator.output_names()
            values[wanted] = calls.call_function(operator.getitem, (call, wanted.output)) if several else call
        return values[wanted]

    arguments: list[str] = []
    for node in graph.nodes:
        if node.is_input:
            arguments.append(argument_name(node.path, arguments))
            call = calls.placeholder(arguments[-1])
        elif train or not node.training_only:
            target = module_name(modules.homes[node.path])
            _put(root, target, modules.of[node.path])
            call = calls.call_module(target, tuple(map(value, node.inputs)))
        else:
            made.append(None)
            continue
        call.meta["path"] = node.path
        made.append(call)
    ends = outputs_of(graph, train)
    results = {name: value(end) for name, end in ends.items()}
    calls.output(next(iter(results.values())) if len(results) == 1 else results)
    return fx.GraphModule(root, calls, class_name=class_name(graph.name))


def _put(root: nn.Module, target: str, module: nn.Module) -> None:
    """Place a module, under others and over others, whichever came first."""
    *folders, name = target.split(".")
    for folder in folders:
        if folder not in root._modules:
            root.add_module(folder, nn.Module())
        root = root.get_submodule(folder)
    there = root._modules.get(name)
    if there is not module:
        for child, below in there.named_children() if there is not None else ():
            module.add_module(child, below)
        root.add_module(name, module)


def place(module: fx.GraphModule, modules: Modules, device: torch.device, dtype: torch.dtype) -> fx.GraphModule:
    """Bring a module to its device and dtype, and tie what shares tensors without sharing a module."""
    modules.tie()  # before: nothing that is given up is moved
    module.to(device=device, dtype=dtype)
    modules.tie()  # after: moving may have made new tensors
    return module


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """torch's generator of the CPU started from a seed, and put back afterwards. Raises UsageError."""
    if seed is None:
        yield
        return
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed must be at least 0 and less than 2^63, not {seed}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def outputs_of(graph: Graph, train: bool) -> dict[str, Value]:
    """The outputs by name, with those of the training heads if `train`."""
    return {**graph.outputs, **graph.training_outputs} if train else dict(graph.outputs)


# --- names


def module_name(path: str) -> str:
    """A node path as the path of its module."""
    return ".".join(part + "_" if part.rstrip("_") in _OWNED else part for part in path.split("."))


def identifier(text: str) -> str:
    """A text as a Python name: other characters as underscores."""
    name = re.sub(r"\W", "_", text)
    if not name.isidentifier():
        name = f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


def argument_name(path: str, taken: Collection[str]) -> str:
    """An input's path as the name of an argument that is none of those taken."""
    name = identifier(path)
    while name in taken or name == "self":
        name += "_"
    return name


def class_name(name: str) -> str:
    """A network's name as that of a class: resnet-50 as Resnet50."""
    words = "".join(part[:1].upper() + part[1:] for part in re.split(r"[\W_]+", name))
    return words if words.isidentifier() and not keyword.iskeyword(words) else f"Network{words}"
