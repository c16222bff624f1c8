"""A torch module as a Graph, by torch.export: what the module computes, however it is written."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses import FakeTensorMode
from torch.utils import _pytree as pytree

from archprof.errors import UsageError
from archprof.graph import Graph, Input
from archprof.importer import layers, views  # noqa: F401  (which register their converters)
from archprof.importer.conversion import BatchTaken, Conversion, Held, Weight

# a batch that no dimension of a network is a multiple of, so that it can be told from all of them
PRIMES = (1009, 10007, 2003, 3001, 4001, 5003, 6007, 7001, 8009, 9001)


def import_module(
    module: nn.Module,
    example_inputs: Tensor | Sequence[Any],
    named_inputs: Mapping[str, Any] = {},
    *,
    train: bool = False,
    name: str | None = None,
) -> Graph:
    """The Graph of what a module computes, for one sample of its inputs.

    `example_inputs` and `named_inputs` are the arguments of `forward`; tensors of one dimension or more have the
    batch first, of any size: the module is traced with tensors without elements. It is traced in evaluation
    mode, with `train` in training mode, and left as it was: mode, hooks, parameters, buffers, random state.

    A node is a call, at the dotted path of the module that makes it. Where an operator of the language computes
    the same it is that operator; otherwise its cost is None, "not counted", unless archprof knows it. Parameters
    count once, at the first call that uses them; those that no call uses have a row of their own.

    Raises UsageError for a module that cannot be traced, with the reason.
    """
    module = unwrapped(module)
    args = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    kwargs = dict(named_inputs)
    with _untouched(module, train):
        try:
            return _converted(module, args, kwargs, _prime(module, (args, kwargs)), name)
        except (_Untraceable, BatchTaken):
            pass
        try:
            return _converted(module, args, kwargs, 1, name)  # what holds for one sample only
        except _Untraceable as error:
            first = error
        try:
            return _converted(module, args, kwargs, 1, name, draft=True)
        except _Untraceable:
            raise UsageError(f"{type(module).__name__} cannot be traced: {first}") from None


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


def _prime(module: nn.Module, inputs: Any) -> int:
    sizes = {size for tensor in (*module.parameters(), *module.buffers()) for size in tensor.shape}
    sizes.update(size for each in pytree.tree_leaves(inputs) if isinstance(each, Tensor) for size in each.shape[1:])
    return next((prime for prime in PRIMES if not any(size and size % prime == 0 for size in sizes)), 1)


def _converted(module: nn.Module, args: Any, kwargs: Any, batch: int, name: str | None, draft: bool = False) -> Graph:
    program = _exported(module, args, kwargs, batch, draft)
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
    names = dict(zip(signature.user_outputs, _output_names(program), strict=True))
    ends = {names[each.name]: each for each in results if isinstance(each, fx.Node) and each.name in names}
    return conversion.finish(name or type(module).__name__, ends)


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


def _exported(module: nn.Module, args: Any, kwargs: Any, batch: int, draft: bool) -> Any:
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    device = next((tensor.device for tensor in (*module.parameters(), *module.buffers())), torch.device("cpu"))

    def hollow(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        shape = (batch, *value.shape[1:]) if value.dim() else ()
        if draft:  # which computes
            return torch.zeros(shape, dtype=value.dtype, device=device)
        with fake:
            return torch.empty(shape, dtype=value.dtype, device=device)

    args, kwargs = pytree.tree_map(hollow, (args, kwargs))
    try:
        if draft:
            return torch.export.draft_export(module, args, kwargs, strict=False)
        return torch.export.export(module, args, kwargs, strict=False)
    except Exception as error:  # a module's code may raise anything
        text = str(error).strip() or type(error).__name__
        raise _Untraceable(text.splitlines()[0]) from error


@contextlib.contextmanager
def _untouched(module: nn.Module, train: bool) -> Iterator[None]:
    """A module in a mode, and as it was behind it; torch's and Python's random states too."""
    modes = [(each, each.training) for each in module.modules()]
    attributes = [(each, dict(each.__dict__)) for each in module.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers() if buffer.device.type != "meta"]
    fast = torch.backends.mha.get_fastpath_enabled()
    state = random.getstate()
    try:
        for each, _ in modes:
            each.training = train  # not by train(), which a module may have made do more
        torch.backends.mha.set_fastpath_enabled(False)  # whose fused kernels show nothing of what they compute
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(state)
        torch.backends.mha.set_fastpath_enabled(fast)
        for each, own in attributes:
            each.__dict__.clear()
            each.__dict__.update(own)
        with torch.no_grad():
            for buffer, before in buffers:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)
        for each, mode in modes:
            each.training = mode
