"""What products of tensors compute, and calls that torch itself puts together from known ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode

from archprof.cost import Cost
from archprof.importer import costs

Dims = tuple[int, ...]


def product_cost(call: fx.Node, batch: int) -> Cost | None:
    """The cost of a call for one sample of the batch; None where archprof does not know it."""
    arguments = fx.map_arg((call.args, dict(call.kwargs)), lambda node: node.meta.get("val"))
    args, kwargs = arguments
    target = call.target
    if not isinstance(target, torch._ops.OpOverload):
        return None
    cost = call_cost(target, args, call.meta["val"], batch)
    return decomposed_cost(target, args, kwargs, batch) if cost is None else cost


def call_cost(target: torch._ops.OpOverload, args: Sequence[Any], result: Any, batch: int) -> Cost | None:
    """The cost of a call that torch does not take apart."""
    name = target._schema.name.partition("::")[2].rstrip("_")
    shapes = [_own(each, batch) for each in _flat(args)]
    outputs = [_own(each, batch) for each in _flat([result])]
    if not outputs:
        return Cost()
    out = math.prod(outputs[0])
    if name == "einsum":
        return costs.einsum(args[0], shapes)
    if name in ("mm", "bmm", "matmul", "mv", "dot", "vdot", "inner") and len(shapes) == 2:
        return Cost(multiply_adds=out * shapes[0][-1])
    if name in ("addmm", "baddbmm", "addmv"):
        return Cost(multiply_adds=out * shapes[1][-1], additions=out)
    if name == "addbmm":
        return Cost(multiply_adds=out * shapes[1][-1] * shapes[1][0], additions=out)
    if name == "linear":
        bias = out if len(shapes) > 2 else 0
        return Cost(multiply_adds=out * shapes[0][-1], bias_additions=bias, activations=out)
    if name in ("outer", "ger", "kron"):
        return Cost(multiplications=out)
    if name == "bilinear":  # each output: x1 A, then times x2
        left, right = shapes[0][-1], shapes[1][-1]
        return Cost(multiply_adds=out * (left * right + right), bias_additions=out if len(shapes) > 3 else 0)
    if name == "embedding_bag":  # rows are added up; mode 1 is their mean
        rows, width = math.prod(shapes[1]), outputs[0][-1]
        mean = out if len(args) > 4 and args[4] == 1 else 0
        return Cost(additions=rows * width - out, divisions=mean)
    if name == "_weight_norm":
        vectors, lengths = math.prod(shapes[0]), math.prod(shapes[1])
        return Cost(multiplications=2 * vectors, additions=vectors - lengths, special=lengths, divisions=lengths)
    if name in ("cumsum", "logcumsumexp"):
        return Cost(additions=out)
    if name in ("softmax", "log_softmax"):
        return costs.softmax(name, out, out // max(outputs[0][args[1]], 1))
    if name in ("_softmax", "_log_softmax"):
        return costs.softmax(name[1:], out, out // max(outputs[0][args[1]], 1))
    if name in costs.VIEWS or name in costs.COPIES or name in costs.CREATORS:
        return Cost()
    if name in costs.ELEMENTWISE:
        return costs.ELEMENTWISE[name] * out
    if name in costs.REDUCTIONS:
        return costs.REDUCTIONS[name](math.prod(shapes[0]), out)
    return None


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the costs of all calls that come through; None once one is not known."""

    def __init__(self, batch: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.batch = batch
        self.cost: Cost | None = Cost()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        each = call_cost(func, args, result, self.batch)
        self.cost = None if each is None or self.cost is None else self.cost + each
        return result


def decomposed_cost(target: torch._ops.OpOverload, args: Any, kwargs: Any, batch: int) -> Cost | None:
    """The cost of the calls that one consists of, seen by running it on tensors without elements."""
    meta = torch.device("meta")

    def hollow(value: Any) -> Any:
        if isinstance(value, Tensor):
            return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=meta)
        return [hollow(each) for each in value] if isinstance(value, (list, tuple)) else value

    if target._schema.is_mutable or not target.has_kernel_for_dispatch_key(
        torch._C.DispatchKey.CompositeImplicitAutograd
    ):
        return None
    given, named = hollow(args), {key: hollow(each) for key, each in kwargs.items()}
    try:
        with _Recorder(batch) as recorder, torch.no_grad():
            target(*given, **named)
    except Exception:  # an operator may do anything with a tensor that has no elements
        return None
    cost: Cost | None = recorder.cost
    return cost


def _flat(values: Any) -> list[Tensor]:
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend(_flat(value))
    return found


def _own(tensor: Tensor, batch: int) -> Dims:
    """The dimensions for one sample."""
    return tuple(size // batch if size and size % batch == 0 else size for size in map(int, tensor.shape))
