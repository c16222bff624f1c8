"""Sums and products of tensors, and what hands its input on."""

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
NUMEL = [7, 12, 24, 120, 48]
# two shapes, what they are broadcast to, and its elements
PAIRS = [
    ((6,), (6,), (6,), 6),
    ((3, 4, 5), (3, 4, 5), (3, 4, 5), 60),
    ((3, 4, 5), (3, 1, 1), (3, 4, 5), 60),
    ((3, 1, 5), (1, 4, 1), (3, 4, 5), 60),
    (Shape((1, 2), samples=3), Shape((2, 1), samples=3), Shape((2, 2), samples=3), 12),
]


def pairs(op: str, kind: str, forward: Any) -> list[Case]:
    return [
        Case(op, {}, [a, b], [out], 0, Cost(**{kind: numel}), lambda p, x, y: forward(x, y))
        for a, b, out, numel in PAIRS
    ]


def handed_on(op: str, **fields: Any) -> list[Case]:
    return [Case(op, fields, [shape], [shape], 0, Cost(), lambda p, x: x) for shape in SHAPES]


CASES = [
    *pairs("add", "additions", lambda x, y: x.sub(-y)),
    Case("add", {}, [(3, 4), (3, 4), (1, 4)], [(3, 4)], 0, Cost(additions=2 * 12), lambda p, x, y, z: y + z + x),
    *pairs("subtract", "additions", lambda x, y: x.add(-y)),
    *pairs("multiply", "multiplications", lambda x, y: x / (1 / y)),
    Case("multiply", {}, [(3, 4), (3, 4), (1, 4)], [(3, 4)], 0, Cost(multiplications=2 * 12),
         lambda p, x, y, z: y * z * x),
    *(Case("abs", {}, [shape], [shape], 0, Cost(comparisons=numel), lambda p, x: (x * x).sqrt())
      for shape, numel in zip(SHAPES, NUMEL, strict=True)),
    *handed_on("identity"),
    Case("identity", {}, [Shape((7,), dtype="int64")], [Shape((7,), dtype="int64")], 0, Cost(), lambda p, x: x),
    *handed_on("dropout"),
    *handed_on("dropout", p=0.1),
    *handed_on("drop_path", p=0.2),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_torch(case: Case) -> None:
    check(case)


def test_what_drops_in_training() -> None:
    inputs = shapes([Shape((8, 4), samples=3)])
    dropout, drop_path = create("dropout", p=0.25), create("drop_path", p=0.25)
    assert dropout.cost(inputs, inputs, train=True) == Cost(comparisons=3 * 32, multiplications=3 * 32)
    assert drop_path.cost(inputs, inputs, train=True) == Cost(comparisons=3, multiplications=3 * 32)
    torch.manual_seed(0)
    ones = torch.ones(2000, 8, 4)
    for operator in (dropout, drop_path):
        out = operator.module(inputs).train()(ones)
        assert set(out.unique().tolist()) == {0.0, out.max().item()}
        assert out.max().item() == pytest.approx(1 / (1 - 0.25))
        assert out.mean().item() == pytest.approx(1, abs=0.03)
    whole = drop_path.module(inputs).train()(ones).flatten(1)
    assert (whole == whole[:, :1]).all()  # a sample as a whole
    assert create("drop_path", p=1).module(inputs).train()(ones).eq(0).all()


@pytest.mark.parametrize(
    ("op", "inputs", "expected"),
    [
        ("add", [(3, 4), (3, 4)], Cost()),
        ("subtract", [(3, 4), (3, 4)], Cost(additions=12)),
        ("multiply", [(3, 4), (3, 1)], Cost(multiplications=24)),
        ("identity", [(3, 4)], Cost()),
        ("abs", [(3, 4)], Cost(multiplications=12)),
        ("dropout", [(3, 4)], Cost(multiplications=12)),
    ],
)
def test_backward(op: str, inputs: list[tuple[int, ...]], expected: Cost) -> None:
    operator, given = create(op), shapes(inputs)
    assert operator.backward_cost(given, operator.shapes(given), (True,) * len(given), False) == expected
    assert operator.backward_cost(given, operator.shapes(given), (False,) * len(given), False) == Cost()


@pytest.mark.parametrize(
    ("op", "fields", "inputs", "code", "message"),
    [
        ("add", {}, [(3,)], "wrong-arity", "add takes at least 2 inputs, not 1"),
        ("subtract", {}, [(3,)] * 3, "wrong-arity", "subtract takes 2 inputs, not 3"),
        ("add", {}, [(8, 32, 32), (16, 32, 32)], "shape-mismatch",
         "the shapes [8, 32, 32] and [16, 32, 32] do not fit: dimensions must be equal, or 1"),
        ("multiply", {}, [(8, 32, 32), (8,)], "shape-mismatch",
         "the shapes [8, 32, 32] and [8] do not fit: dimensions must be equal, or 1"),
        ("add", {}, [(2, 3), (2, 3), (3, 3)], "shape-mismatch",
         "the shapes [2, 3], [2, 3] and [3, 3] do not fit: dimensions must be equal, or 1"),
        ("add", {}, [Shape((3,)), Shape((3,), samples=64)], "mixed-samples",
         "its inputs stand for 1 and 64 samples a network input: they must be equal"),
        ("add", {}, [Shape((3,)), Shape((3,), dtype="int64")], "wrong-dtype",
         "add takes numbers (float), not int64"),
        ("dropout", {"p": 1.5}, [(3,)], "out-of-range", "p must be at most 1, not 1.5"),
        ("dropout", {"p": True}, [(3,)], "wrong-type", "p must be a number, not true"),
        ("drop_path", {"p": -1}, [(3,)], "out-of-range", "p must be at least 0, not -1"),
    ],
)  # fmt: skip
def test_refusals(op: str, fields: dict[str, Any], inputs: list[Any], code: str, message: str) -> None:
    with pytest.raises(Refusal) as raised:
        create(op, **fields).shapes(shapes(inputs))
    assert (raised.value.code, str(raised.value)) == (code, message)
