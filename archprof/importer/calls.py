"""Reading the calls of a trace that torch.export made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx


def call_name(call: fx.Node) -> str:
    """The name of what a node calls, without the underscore of what works in place."""
    target = call.target
    if isinstance(target, torch._ops.OpOverload):
        namespace, _, name = target._schema.name.partition("::")
        if is_mutable(call) and name.endswith("_") and not name.endswith("__"):
            name = name[:-1]
        return name if namespace == "aten" else f"{namespace}.{name}"
    if isinstance(target, torch._ops.HigherOrderOperator):
        return str(target._name)
    return str(getattr(target, "__name__", target))


_INLINED = ("wrap_with_set_grad_enabled", "wrap_with_autocast")  # a stretch of calls under another mode


def is_inlined(call: fx.Node) -> bool:
    """Whether a node runs a stretch of calls, a graph of its own, under another mode of autograd or autocast."""
    return call.op == "call_function" and call_name(call) in _INLINED


def stretch_of(call: fx.Node) -> tuple[fx.Graph, int]:
    """The graph that such a node runs, and where that stands among its arguments: what it is given comes behind."""
    at = next(place for place, each in enumerate(call.args) if isinstance(each, fx.Node) and each.op == "get_attr")
    held: Any = call.args[at]
    owner: Any = call.graph.owning_module
    graph: fx.Graph = owner.get_submodule(held.target).graph
    return graph, at


def is_mutable(call: fx.Node) -> bool:
    target = call.target
    return isinstance(target, torch._ops.OpOverload) and bool(target._schema.is_mutable)


def arguments_of(call: fx.Node) -> dict[str, Any]:
    """The arguments of a call by name, defaults included."""
    target = call.target
    if not isinstance(target, torch._ops.OpOverload):
        return {str(place): each for place, each in enumerate(call.args)} | dict(call.kwargs)
    given: dict[str, Any] = {}
    for place, argument in enumerate(target._schema.arguments):
        if place < len(call.args):
            given[argument.name] = call.args[place]
        elif argument.name in call.kwargs:
            given[argument.name] = call.kwargs[argument.name]
        elif argument.has_default_value():
            given[argument.name] = argument.default_value
    return given


def nodes_of(call: fx.Node) -> list[fx.Node]:
    """The results that a call takes, in order."""
    found: list[fx.Node] = []

    def visit(each: Any) -> None:
        if isinstance(each, fx.Node):
            found.append(each)
        elif isinstance(each, (list, tuple)):
            for item in each:
                visit(item)

    visit(call.args)
    visit(list(call.kwargs.values()))
    return found


def tensors_of(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [each for each in value if isinstance(each, Tensor)] if isinstance(value, (list, tuple)) else []


def first_of(value: Any) -> Tensor:
    return tensors_of(value)[0]


def tensor_of(call: Any) -> Tensor:
    """The (first) tensor that a call gives, without its elements."""
    return first_of(call.meta["val"])


_INTEGERS = {torch.int64: "int64", torch.int32: "int32", torch.int16: "int16", torch.int8: "int8", torch.bool: "bool"}


def dtype_name(dtype: torch.dtype) -> str:
    if dtype.is_floating_point or dtype.is_complex:
        return "float"
    return _INTEGERS.get(dtype, "uint8")


def spread(given: Any, count: int) -> tuple[int, ...]:
    """One number for every spatial dimension."""
    values = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    return values * count if len(values) == 1 else values


def pair(given: Any) -> tuple[int, int]:
    first, second = spread(given, 2)
    return first, second


def pool_rank(kernel: Any, call: fx.Node) -> int:
    return int(call_name(call).replace("_with_indices", "")[-2])


def index_from_start(place: int, size: int) -> int:
    return place + size if place < 0 else place


def is_scaled(given: Mapping[str, Any]) -> bool:
    return bool(given.get("alpha", 1) != 1 or given.get("beta", 1) != 1)


def permutation(name: str, given: Mapping[str, Any], rank: int) -> list[int] | None:
    """The dimensions of a source in the order that a call puts them in."""
    order = list(range(rank))
    if name == "permute":
        return [dim % rank for dim in given["dims"]]
    if name in ("transpose", "swapaxes"):
        one, other = given.get("dim0", given.get("axis0")), given.get("dim1", given.get("axis1"))
        if one is None or other is None:
            return None
        order[one], order[other] = order[other], order[one]
        return order
    if name in ("t", "numpy_T"):
        return order[::-1]
    if name == "mT":
        return [*order[:-2], order[-1], order[-2]]
    if name == "movedim":
        source, target = given["source"], given["destination"]
        if isinstance(source, int):
            order.remove(source % rank)
            order.insert(target % rank, source % rank)
            return order
    return None
