"""A trace as a plain fx.GraphModule that runs, and a batch for it. Imports torch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.amp.autocast_mode import _enter_autocast, _exit_autocast

from archprof.errors import UsageError
from archprof.importer.calls import call_name, is_inlined, stretch_of


def graph_module(program: Any) -> fx.GraphModule:
    """The module that an ExportedProgram's calls make up, with the parameters of the module that was traced.

    It takes the inputs one by one, those by name behind the others, and gives a tuple. Its parameters have the names
    of the module's. Stretches under another mode of autograd or autocast are among the other calls, between two that
    change it.
    """
    lifted: fx.GraphModule = program.module()
    calls = fx.Graph()
    calls.output(_copied(lifted.graph, calls, {}))
    return fx.GraphModule(lifted, calls)


def _copied(source: fx.Graph, calls: fx.Graph, made: dict[fx.Node, Any]) -> Any:
    """Append the calls of a graph whose placeholders stand for what is made already. Returns its results."""
    for node in source.nodes:
        if node.op == "output":
            return fx.map_arg(node.args[0], made.__getitem__)
        if node in made or node.op == "call_module" or (node.op == "get_attr" and _is_stretch(node)):
            continue  # what calls a module checks the shapes of the inputs
        if is_inlined(node):
            made[node] = _inlined(node, calls, made)
        elif call_name(node) == "getitem" and isinstance(made[node.args[0]], tuple):
            made[node] = made[node.args[0]][node.args[1]]  # one of the results of a stretch
        else:
            made[node] = calls.node_copy(node, made.__getitem__)
    return ()


def _is_stretch(node: fx.Node) -> bool:
    """Whether a node is the graph of a stretch."""
    owner: Any = node.graph.owning_module
    held = getattr(owner, str(node.target), None)
    return isinstance(held, fx.GraphModule) and all(is_inlined(user) for user in node.users)


def _inlined(node: fx.Node, calls: fx.Graph, made: dict[fx.Node, Any]) -> tuple[Any, ...]:
    graph, at = stretch_of(node)
    mode = node.args[:at]
    enter, leave = (_enter_autocast, _exit_autocast) if len(mode) > 1 else (_set_grad, torch._C._set_grad_enabled)
    before = calls.call_function(enter, mode)
    arguments = fx.map_arg(node.args[at + 1 :], made.__getitem__)
    inner = (each for each in graph.nodes if each.op == "placeholder")
    results = _copied(graph, calls, dict(zip(inner, arguments, strict=True)))
    calls.call_function(leave, (before,))
    return tuple(results)


def _set_grad(enabled: bool) -> bool:
    """Turn autograd on or off. Returns what it was."""
    before = torch.is_grad_enabled()
    torch._C._set_grad_enabled(enabled)
    return before


def moved(module: fx.GraphModule, device: torch.device) -> fx.GraphModule:
    """The module with its tensors, and those that its calls make, on another device. It is changed."""

    def elsewhere(value: Any) -> Any:
        return device if isinstance(value, torch.device) else value

    for node in module.graph.nodes:
        if node.op == "call_function":
            node.args = fx.node.map_aggregate(node.args, elsewhere)
            node.kwargs = fx.node.map_aggregate(node.kwargs, elsewhere)
    module.recompile()
    return module.to(device)


def on_meta(module: fx.GraphModule) -> fx.GraphModule:
    """A copy of the module whose tensors have no elements."""
    return moved(fx.GraphModule(module, copy.deepcopy(module.graph)), torch.device("meta"))


def require_kernels(module: fx.GraphModule) -> None:
    """Refuse calls that stand for operators of ONNX without a rule. Raises UsageError, which names them."""
    unknown: dict[str, list[str]] = {}
    for node in module.graph.nodes:
        name = call_name(node)
        if node.op == "call_function" and name.startswith("onnx."):
            unknown.setdefault(name.removeprefix("onnx."), []).append(node.meta["path"])
    if unknown:
        said = ", ".join(f"{name} ({', '.join(paths)})" for name, paths in unknown.items())
        raise UsageError(f"archprof cannot run its operators {said}")


def batch_of(
    args: Sequence[Tensor],
    kwargs: Mapping[str, Tensor],
    batch_dims: Mapping[int | str, int | None],
    *,
    batch: int,
    device: torch.device,
    dtype: torch.dtype | None,
    seed: int,
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Tensors like those given, with so many samples: normal numbers, and zeros for what is no number."""
    generator = torch.Generator().manual_seed(seed)

    def made(tensor: Tensor, at: int | None) -> Tensor:
        shape = list(tensor.shape)
        if shape and at is not None:
            shape[at] = batch
        if not tensor.is_floating_point():
            return torch.zeros(shape, dtype=tensor.dtype, device=device)
        kind = dtype or tensor.dtype
        if device.type == "meta":
            return torch.empty(shape, dtype=kind, device=device)
        return torch.randn(shape, generator=generator).to(device, kind)

    return (
        tuple(made(each, batch_dims.get(place, 0)) for place, each in enumerate(args)),
        {name: made(each, batch_dims.get(name, 0)) for name, each in kwargs.items()},
    )
