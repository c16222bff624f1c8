"""Holds one case of an operator against torch: shapes, parameters, the forward result, fvcore's count."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from archprof.cost import Cost
from archprof.operators import create
from archprof.operators.base import Operator
from archprof.shape import Shape

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # importing fvcore compiles with torch's deprecated compiler
    from fvcore.nn import FlopCountAnalysis

BATCH = 2
Dims = tuple[int, ...]


class Case(NamedTuple):
    """One configuration of an operator and what must come of it, for one network input.

    `forward` says the same in torch's functions: it gets the module's parameters and buffers by name, and the inputs.
    """

    op: str
    fields: Mapping[str, Any]
    inputs: Sequence[Dims | Shape]
    outputs: Sequence[Dims | Shape]
    params: int
    cost: Cost
    forward: Callable[..., Tensor | tuple[Tensor, ...]]

    def __str__(self) -> str:
        fields = ", ".join(f"{name}={value}" for name, value in self.fields.items())
        return f"{self.op}({fields}) of {' and '.join(str(list(shape.dims)) for shape in shapes(self.inputs))}"

    @property
    def operator(self) -> Operator:
        return create(self.op, **self.fields)


def shapes(given: Sequence[Dims | Shape]) -> tuple[Shape, ...]:
    return tuple(each if isinstance(each, Shape) else Shape(each) for each in given)


def tensors(inputs: tuple[Shape, ...], batch: int = BATCH) -> list[Tensor]:
    """Random inputs, a network input's samples folded into the batch; indices are below 5."""
    made = []
    for shape in inputs:
        size = (batch * shape.samples, *shape.dims)
        made.append(torch.randint(0, 5, size) if shape.dtype == "int64" else torch.randn(size))
    return made


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    """The module with random parameters and buffers, so that none of them can be left out unnoticed."""
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.25)
    return module


def as_tuple(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else tuple(result)


def fvcore_count(module: torch.nn.Module, inputs: Sequence[Tensor]) -> int:
    analysis = FlopCountAnalysis(module, tuple(inputs)).unsupported_ops_warnings(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's
        logging.getLogger("fvcore").setLevel(logging.ERROR)
        return int(analysis.total())


# fvcore knows no attention, no recurrent cells, and takes the first factor of a broadcast product for the whole
UNKNOWN_TO_FVCORE = {"scaled_dot_product_attention", "multi_head_attention", "lstm", "gru", "matmul"}


def check(case: Case) -> None:
    torch.manual_seed(0)
    operator, inputs = case.operator, shapes(case.inputs)
    outputs = operator.shapes(inputs)
    assert outputs == shapes(case.outputs)
    parameters = operator.parameters(inputs)
    assert sum(math.prod(dims) for dims in parameters.values()) == case.params
    assert operator.cost(inputs, outputs) == case.cost

    module = randomised(operator.module(inputs)).eval()
    assert {name: tuple(value.shape) for name, value in module.named_parameters()} == parameters
    assert {name: tuple(value.shape) for name, value in module.named_buffers()} == operator.buffers(inputs)

    given = tensors(inputs)
    result = as_tuple(module(*given))
    assert [tuple(each.shape) for each in result] == [(BATCH * shape.samples, *shape.dims) for shape in outputs]
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    expected = as_tuple(case.forward(named, *given))
    for mine, theirs in zip(result, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)

    if case.op not in UNKNOWN_TO_FVCORE:
        assert fvcore_count(module, given) == BATCH * (case.cost.multiply_adds + case.cost.fvcore)

    with torch.device("meta"):
        hollow = operator.module(inputs).eval()
    hollow_result = as_tuple(hollow(*(tensor.to("meta") for tensor in given)))
    assert [each.shape for each in hollow_result] == [each.shape for each in result]
