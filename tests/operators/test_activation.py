"""Activation functions. Their costs are an element's times the elements."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators import create
from archprof.shape import Shape
from tests.operators.harness import Case, check, shapes

SHAPES = [(7,), (3, 4), (2, 3, 4), (2, 3, 4, 5), Shape((3, 2, 2), samples=4)]
NUMEL = [7, 3 * 4, 2 * 3 * 4, 2 * 3 * 4 * 5, 4 * 3 * 2 * 2]


def everywhere(op: str, each: Cost, forward: Any, **fields: Any) -> list[Case]:
    function = lambda p, x: forward(x)  # noqa: E731
    return [
        Case(op, fields, [shape], [shape], 0, each * numel, function)
        for shape, numel in zip(SHAPES, NUMEL, strict=True)
    ]


def softmax(x, dim):
    return x.exp() / x.exp().sum(dim, keepdim=True)


def rows(count: int, length: int) -> Cost:
    """Of so many softmaxes over so many elements."""
    return Cost(
        comparisons=count * (length - 1),
        additions=count * (length + length - 1),
        special=count * length,
        divisions=count * length,
    )


CASES = [
    *everywhere("relu", Cost(comparisons=1), lambda x: torch.where(x > 0, x, 0.0)),
    *everywhere("relu6", Cost(comparisons=2), lambda x: x.clamp(0, 6)),
    *everywhere("leaky_relu", Cost(comparisons=1, multiplications=1), lambda x: torch.where(x > 0, x, 0.01 * x)),
    *everywhere("leaky_relu", Cost(comparisons=1, multiplications=1), lambda x: torch.where(x > 0, x, 0.2 * x),
                negative_slope=0.2),
    *everywhere("sigmoid", Cost(special=1, additions=1, divisions=1), lambda x: 1 / (1 + (-x).exp())),
    *everywhere("tanh", Cost(special=1), lambda x: 1 - 2 / ((2 * x).exp() + 1)),
    *everywhere("silu", Cost(special=1, additions=1, divisions=1, multiplications=1), lambda x: x / (1 + (-x).exp())),
    *everywhere("hardsigmoid", Cost(additions=1, comparisons=2, divisions=1), lambda x: (x + 3).clamp(0, 6) / 6),
    *everywhere("hardswish", Cost(additions=1, comparisons=2, divisions=1, multiplications=1),
                lambda x: x * (x + 3).clamp(0, 6) / 6),
    *everywhere("gelu", Cost(special=1, additions=1, multiplications=3), lambda x: x / 2 * (1 + torch.erf(x / 2**0.5))),
    *everywhere("gelu", Cost(special=1, additions=2, multiplications=6),
                lambda x: x / 2 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))), approximate="tanh"),
    Case("softmax", {}, [(7,)], [(7,)], 0, rows(1, 7), lambda p, x: softmax(x, 1)),
    Case("softmax", {}, [(3, 4)], [(3, 4)], 0, rows(3, 4), lambda p, x: softmax(x, 2)),
    Case("softmax", {}, [(5, 3, 4)], [(5, 3, 4)], 0, rows(3 * 4, 5), lambda p, x: softmax(x, 1)),
    Case("softmax", {"dim": -1}, [(5, 3, 4)], [(5, 3, 4)], 0, rows(5 * 3, 4), lambda p, x: softmax(x, 3)),
    Case("softmax", {"dim": 2}, [(5, 3, 4)], [(5, 3, 4)], 0, rows(5 * 4, 3), lambda p, x: softmax(x, 2)),
    Case("softmax", {"dim": 1}, [Shape((6,), samples=3)], [Shape((6,), samples=3)], 0, rows(3, 6),
         lambda p, x: softmax(x, 1)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_torch(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    ("op", "fields", "inputs", "code", "message"),
    [
        ("relu", {}, [Shape((4,), dtype="int64")], "wrong-dtype", "relu takes numbers (float), not int64"),
        ("relu", {"inplace": True}, [(4,)], "unknown-field", "has no field inplace; it has none"),
        ("gelu", {"approximate": "erf"}, [(4,)], "not-a-choice",
         'approximate must be none or tanh, not the word "erf"'),
        ("leaky_relu", {"negative_slope": "0.1"}, [(4,)], "wrong-type",
         'negative_slope must be a number, not the word "0.1"'),
        ("leaky_relu", {"negative_slope": float("inf")}, [(4,)], "out-of-range",
         "negative_slope must be finite, not inf"),
        ("softmax", {"dim": 0}, [(4,)], "batch-dimension",
         "dim 0 is the batch: dimensions of a sample count from 1"),
        ("softmax", {"dim": -2}, [(4,)], "batch-dimension",
         "dim -2 is the batch: dimensions of a sample count from 1"),
        ("softmax", {"dim": 4}, [(4, 5)], "no-such-dimension",
         "dim 4 is not there: the input has dimensions 1 to 2"),
    ],
)  # fmt: skip
def test_refusals(op: str, fields: dict[str, Any], inputs: list[Any], code: str, message: str) -> None:
    with pytest.raises(Refusal) as raised:
        create(op, **fields).shapes(shapes(inputs))
    assert (raised.value.code, str(raised.value)) == (code, message)
