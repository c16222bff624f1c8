"""A torch module as a Graph, by torch.export: what the module computes, however it is written."""

from __future__ import annotations

import contextlib
import io
import logging
import operator
import random
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch._functorch import config as functorch_config
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from archprof.errors import UsageError
from archprof.graph import Graph, Input
from archprof.importer import layers, views  # noqa: F401  (which register their converters)
from archprof.importer.calls import is_inlined, stretch_of
from archprof.importer.conversion import BatchTaken, Conversion, Held, Weight

# a batch that no dimension of a network is a multiple of, so that it can be told from all of them
PRIMES = (1009, 10007, 2003, 3001, 4001, 5003, 6007, 7001, 8009, 9001)
MAX_CALLS = 50_000  # that make a tensor; ResNet-152 makes 2,400
MAX_DRAFT_CALLS = 4_000  # with values, where each comparison of data makes all later ones slower

Given = tuple[int | None, Any]  # an argument, and the dimension that holds its batch


def import_module(
    module: nn.Module,
    example_inputs: Tensor | Sequence[Any],
    named_inputs: Mapping[str, Any] = {},
    *,
    batch_dims: Mapping[int | str, int | None] = {},
    train: bool = False,
    name: str | None = None,
) -> Graph:
    """The Graph of what a module computes, for one sample of its inputs.

    `example_inputs` and `named_inputs` are the arguments of `forward`; tensors of one dimension or more have the
    batch first, of any size, or in the dimension that `batch_dims` gives for their place or name (None: they have
    none). The module is traced with tensors without elements, traced in evaluation
    mode, with `train` in training mode, and left as it was: mode, hooks, parameters, buffers, random state.

    A node is a call, at the dotted path of the module that makes it. Where an operator of the language computes
    the same it is that operator; otherwise its cost is None, "not counted", unless archprof knows it. Parameters
    count once, at the first call that uses them; those that no call uses have a row of their own.

    Raises UsageError for a module that cannot be traced, with the reason.
    """
    args = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    return trace(module, args, named_inputs, batch_dims=batch_dims, train=train, name=name).graph


class BatchError(UsageError):
    """A network does not run a batch of this size, or not in the same way."""


class Traced(NamedTuple):
    """A module's Graph, and the trace that it was made of."""

    graph: Graph
    program: Any  # torch.export.ExportedProgram; a call has the path of its node in meta["path"], if it is in one
    batch: int
    draft: bool  # traced with values


def trace(
    module: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] = {},
    *,
    batch_dims: Mapping[int | str, int | None] = {},
    train: bool = False,
    name: str | None = None,
) -> Traced:
    """As `import_module`, with the trace."""
    module = unwrapped(module)
    given = [(batch_dims.get(place, 0), each) for place, each in enumerate(args)]
    named = {key: (batch_dims.get(key, 0), each) for key, each in kwargs.items()}
    name = name or type(module).__name__
    prime = _prime(module, (*given, *named.values()))
    with untouched(module, train):
        with contextlib.suppress(_Untraceable, BatchTaken):
            return _converted(module, _exported(module, given, named, prime), prime, name)
        try:
            return _converted(module, _exported(module, given, named, 1), 1, name)  # what holds for one sample only
        except _Untraceable as error:
            first = error
        try:
            return _converted(module, _exported(module, given, named, 1, draft=True), 1, name, draft=True)
        except _Untraceable:
            raise UsageError(f"{type(module).__name__} cannot be traced: {first}") from None


def trace_again(
    traced: Traced, module: nn.Module, args: Sequence[Tensor], kwargs: Mapping[str, Tensor], *, train: bool = False
) -> Any:
    """The ExportedProgram of a module for these very arguments, its calls with the paths of an earlier trace.

    Raises BatchError where it cannot be traced so, or then makes other calls.
    """
    module = unwrapped(module)
    with untouched(module, train):
        try:
            program = _export(module, tuple(args), dict(kwargs), traced.draft)
        except _Untraceable as error:
            raise BatchError(f"{type(module).__name__} cannot be traced for this batch: {error}") from None
    one, other = ([*_calls(each.graph)] for each in (traced.program, program))
    if [call.target for call in one if call.op != "placeholder"] != [
        call.target for call in other if call.op != "placeholder"
    ]:
        raise BatchError(
            f"{type(module).__name__} makes other calls for this batch than for one of {traced.batch}: "
            "its layers cannot be told apart"
        )
    for before, call in zip(one, other, strict=True):
        if "path" in before.meta:
            call.meta["path"] = before.meta["path"]
    return program


def _calls(graph: fx.Graph) -> Iterator[fx.Node]:
    """The nodes of a trace, with those of its stretches behind the calls that run them."""
    for node in graph.nodes:
        if node.op in ("placeholder", "call_function"):
            yield node
        if is_inlined(node):
            yield from _calls(stretch_of(node)[0])


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside one that only runs it: DataParallel, torch.compile."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        module = inner


class _Untraceable(Exception):
    """The first line of why torch.export could not trace a module."""


def _batched(tensor: Tensor, at: int | None, batch: int) -> list[int]:
    """The shape of an input with so many samples."""
    shape = list(tensor.shape)
    if shape and at is not None:
        shape[at] = batch
    return shape


def _prime(module: nn.Module, given: Iterable[Given]) -> int:
    sizes = {size for tensor in (*module.parameters(), *module.buffers()) for size in tensor.shape}
    for at, value in given:
        tensors = (each for each in pytree.tree_leaves(value) if isinstance(each, Tensor))
        sizes.update(size for each in tensors for size in _batched(each, at, 1))
    return next((prime for prime in PRIMES if not any(size and size % prime == 0 for size in sizes)), 1)


def _converted(module: nn.Module, program: Any, batch: int, name: str, draft: bool = False) -> Traced:
    conversion = Conversion(module, batch)
    signature = program.graph_signature
    given: dict[fx.Node, Held] = {}
    for spec, placeholder in zip(
        signature.input_specs, (node for node in program.graph.nodes if node.op == "placeholder"), strict=True
    ):
        target = spec.target
        value = placeholder.meta.get("val")
        if not isinstance(value, Tensor):
            given[placeholder] = None
        elif target is None:
            shape = conversion.shape_of(value)
            conversion.put(placeholder, Input(shape=shape), (), outputs=(shape,), label="", name=placeholder.name)
        else:
            is_parameter = target in conversion.canonical
            given[placeholder] = Weight(
                conversion.canonical.get(target, target), tuple(map(int, value.shape)), is_parameter
            )
    results = conversion.run(program.graph, given)
    ends = {each.name: each for each in results if isinstance(each, fx.Node)}
    names = zip(_output_names(program), signature.user_outputs, strict=True)
    graph = conversion.finish(name, {name: ends[end] for name, end in names if end in ends})
    return Traced(graph, program, batch, draft)


def _output_names(program: Any) -> list[str]:
    """The names of the outputs: keys and places, as `logits` or `1.0`; "output" where there is one."""
    outputs = program.graph_signature.user_outputs
    if len(outputs) == 1:
        return ["output"]
    tree = pytree.tree_unflatten(list(range(len(outputs))), program.call_spec.out_spec)
    paths = [path for path, _ in pytree.tree_flatten_with_path(tree)[0]]
    return [
        ".".join(str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path)
        for path in paths
    ]


def _exported(
    module: nn.Module, given: Sequence[Given], named: Mapping[str, Given], batch: int, draft: bool = False
) -> Any:
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    device = next((tensor.device for tensor in (*module.parameters(), *module.buffers())), torch.device("cpu"))

    def hollow(value: Any, at: int | None) -> Any:
        if not isinstance(value, Tensor):
            return value
        shape = _batched(value, at, batch)
        if draft:  # which computes
            return torch.zeros(shape, dtype=value.dtype, device=device)
        with fake:
            return torch.empty(shape, dtype=value.dtype, device=device)

    args = tuple(pytree.tree_map(partial(hollow, at=at), value) for at, value in given)
    kwargs = {key: pytree.tree_map(partial(hollow, at=at), value) for key, (at, value) in named.items()}
    return _export(module, args, kwargs, draft)


def _export(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], draft: bool) -> Any:
    # a draft carries values along, so that a module may branch on them (as torch.export.draft_export does)
    options: dict[str, Any] = {"fake_tensor_propagate_real_tensors": True} if draft else {}
    calls = _Calls(MAX_DRAFT_CALLS if draft else MAX_CALLS)
    try:  # torch prints the trace on stderr
        with functorch_config.patch(options), contextlib.redirect_stderr(io.StringIO()), calls:
            return torch.export.export(module, args, kwargs, strict=False)
    except Exception as error:  # a module's code may raise anything
        if calls.count > calls.most:
            raise UsageError(
                f"{type(module).__name__} cannot be traced: its forward makes more than {calls.most:,} calls of torch; "
                "a loop whose end depends on the data may not end here, where all inputs are zeros"
            ) from None
        text = str(error).strip() or type(error).__name__
        raise _Untraceable(text.splitlines()[0]) from error


class _Calls(TorchFunctionMode):
    """Counts the calls that make a tensor, and stops at too many. What export itself asks of tensors makes none."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.count = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and getattr(function, "__name__", "") != "__get__":
            self.count += 1
            if self.count > self.most:
                raise RecursionError(f"more than {self.most} calls")
        return result


@contextlib.contextmanager
def untouched(module: nn.Module, train: bool) -> Iterator[None]:
    """A module in a mode, and as it was behind it; torch's and Python's random states too."""
    modes = [(each, each.training) for each in module.modules()]
    attributes = [(each.__dict__, {key: _kept(value) for key, value in each.__dict__.items()}) for each, _ in modes]
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers() if buffer.device.type != "meta"]
    fast = torch.backends.mha.get_fastpath_enabled()
    logs = logging.root.manager.disable
    state = random.getstate()
    numbers = sys.modules.get("numpy")
    numpy_state = numbers.random.get_state() if numbers is not None else None
    try:
        for each, _ in modes:
            each.training = train  # not by train(), which a module may have made do more
        logging.disable(logging.CRITICAL)  # torch logs what it raises too
        torch.backends.mha.set_fastpath_enabled(False)  # whose fused kernels show nothing of what they compute
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logs)
        random.setstate(state)
        if numbers is not None:
            numbers.random.set_state(numpy_state)
        torch.backends.mha.set_fastpath_enabled(fast)
        for own, before in attributes:
            own.clear()
            own.update((key, _restored(*value)) for key, value in before.items())
        with torch.no_grad():
            for buffer, values in buffers:
                if not torch.equal(buffer, values):
                    buffer.copy_(values)
        for each, mode in modes:
            each.training = mode


def _kept(value: Any) -> tuple[Any, Any]:
    """An attribute, and a copy of what it contains."""
    return value, value.copy() if isinstance(value, (dict, list, set)) else None


def _restored(value: Any, content: Any) -> Any:
    """An attribute that contains what it did; what did not change is not touched."""
    if content is not None and not _same_content(value, content):
        value.clear()
        value.extend(content) if isinstance(value, list) else value.update(content)
    return value


def _same_content(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return list(one) == list(other) and all(one[key] is other[key] for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(operator.is_, one, other))
    return bool(one == other)
