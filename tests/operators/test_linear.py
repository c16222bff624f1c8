"""Linear layers, maxout and matrix products: multiply-adds are outputs x the summed dimension."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators import create
from archprof.operators.base import WHOLE
from archprof.shape import Shape
from tests.operators.harness import Case, check, shapes, tensors


def linear(p, x):
    return functional.linear(x, p["weight"], p.get("bias"))


def products(out: int, width: int, bias: bool = True) -> Cost:
    return Cost(multiply_adds=out * width, bias_additions=out if bias else 0, activations=out)


def pieces(out: int, pool: int, width: int, bias: bool = True) -> Cost:
    each = out * pool
    return Cost(
        multiply_adds=each * width,
        bias_additions=each if bias else 0,
        comparisons=out * (pool - 1),
        activations=each,
    )


def maxout(pool):
    """Pieces of one output lie next to one another."""

    def forward(p, x):
        return torch.stack([linear(p, x)[..., piece::pool] for piece in range(pool)]).amax(0)

    return forward


CASES = [
    # peers.md: a Linear(10, 10) of 1 x 10: 100 multiply-adds, 110 parameters
    Case("linear", {"out_features": 10}, [(10,)], [(10,)], 110, products(10, 10), linear),
    Case("linear", {"out_features": 3, "bias": False}, [(5,)], [(3,)], 15, products(3, 5, bias=False), linear),
    Case("linear", {"out_features": 4}, [(7, 5)], [(7, 4)], 4 * 6, products(7 * 4, 5), linear),
    Case("linear", {"out_features": 4}, [(2, 3, 4, 5)], [(2, 3, 4, 4)], 4 * 6, products(2 * 3 * 4 * 4, 5), linear),
    Case("linear", {"out_features": 2}, [Shape((5,), samples=9)], [Shape((2,), samples=9)], 2 * 6,
         products(9 * 2, 5), linear),
    Case("maxout", {"out_features": 4}, [(6,)], [(4,)], 8 * 7, pieces(4, 2, 6), maxout(2)),
    Case("maxout", {"out_features": 4, "pool_size": 3}, [(6,)], [(4,)], 12 * 7, pieces(4, 3, 6), maxout(3)),
    Case("maxout", {"out_features": 2, "bias": False}, [(6,)], [(2,)], 4 * 6, pieces(2, 2, 6, bias=False), maxout(2)),
    Case("maxout", {"out_features": 3}, [(5, 6)], [(5, 3)], 6 * 7, pieces(5 * 3, 2, 6), maxout(2)),
    Case("maxout", {"out_features": 3}, [Shape((6,), samples=4)], [Shape((3,), samples=4)], 6 * 7,
         pieces(4 * 3, 2, 6), maxout(2)),
    Case("matmul", {}, [(3, 4), (4, 5)], [(3, 5)], 0, Cost(multiply_adds=3 * 5 * 4), lambda p, a, b: torch.bmm(a, b)),
    Case("matmul", {}, [(2, 3, 4), (2, 4, 5)], [(2, 3, 5)], 0, Cost(multiply_adds=2 * 3 * 5 * 4),
         lambda p, a, b: torch.einsum("nhij,nhjk->nhik", a, b)),
    Case("matmul", {}, [(2, 3, 4), (1, 4, 5)], [(2, 3, 5)], 0, Cost(multiply_adds=2 * 3 * 5 * 4),
         lambda p, a, b: torch.einsum("nhij,njk->nhik", a, b[:, 0])),
    Case("matmul", {}, [(1, 6, 3, 4), (2, 1, 4, 5)], [(2, 6, 3, 5)], 0, Cost(multiply_adds=2 * 6 * 3 * 5 * 4),
         lambda p, a, b: torch.einsum("nhij,ngjk->nghik", a[:, 0], b[:, :, 0])),
    Case("matmul", {}, [Shape((1, 4), samples=3), Shape((4, 1), samples=3)], [Shape((1, 1), samples=3)], 0,
         Cost(multiply_adds=3 * 4), lambda p, a, b: torch.bmm(a, b)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_torch(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    ("op", "fields", "inputs"),
    [
        ("linear", {"out_features": 4}, [(5, 3)]),
        ("matmul", {}, [(3, 4), (4, 5)]),
        ("matmul", {}, [(2, 3, 4), (1, 4, 5)]),
    ],
)
def test_backward_against_flop_counter_mode(op: str, fields: dict[str, Any], inputs: list[tuple[int, ...]]) -> None:
    """Whichever of the factors need a gradient."""
    operator, given = create(op, **fields), shapes(inputs)
    outputs = operator.shapes(given)
    for needed in product((False, True), repeat=len(given)):
        if op == "matmul" and not any(needed):
            continue  # it has no weights
        values = [each.requires_grad_(wanted) for each, wanted in zip(tensors(given, batch=1), needed, strict=True)]
        loss = operator.module(given)(*values).sum()
        with FlopCounterMode(display=False) as counter:
            loss.backward()
        mine = operator.backward_cost(given, outputs, needed, op == "linear")
        assert mine is not None
        assert counter.get_total_flops() == 2 * mine.multiply_adds


def test_depth_kernel_and_window() -> None:
    maxout = create("maxout", out_features=4096, pool_size=2)
    assert maxout.kernel(shapes([(128,)])) == "maxout p=2"
    assert create("linear", out_features=3).kernel(shapes([(128,)])) == ""
    assert [create(op, out_features=3).depth for op in ("linear", "maxout")] == [1, 1]
    inputs = shapes([(3, 4), (4, 5)])
    assert create("matmul").window(inputs, create("matmul").shapes(inputs)) == WHOLE


@pytest.mark.parametrize(
    ("op", "fields", "inputs", "code", "message"),
    [
        ("linear", {"out_features": 3, "features": 4}, [(4,)], "unknown-field",
         "has no field features: did you mean out_features?"),
        ("linear", {"out_features": 3}, [(4,), (4,)], "wrong-arity", "linear takes 1 input, not 2"),
        ("linear", {"out_features": 3}, [Shape((4,), dtype="int64")], "wrong-dtype",
         "linear takes numbers (float), not int64"),
        ("maxout", {"out_features": 3, "pool_size": 1}, [(4,)], "out-of-range", "pool_size must be at least 2, not 1"),
        ("matmul", {}, [(3, 4)], "wrong-arity", "matmul takes 2 inputs, not 1"),
        ("matmul", {}, [(3, 4), (4,)], "wrong-rank", "takes two matrices, not [3, 4] and [4]"),
        ("matmul", {}, [(3, 4), (5, 4)], "shape-mismatch",
         "[3, 4] times [5, 4]: the last dimension of the first (4) must equal the last but one of the second (5)"),
        ("matmul", {}, [(2, 3, 4), (5, 4, 3)], "shape-mismatch",
         "the shapes [2, 3, 4] and [5, 4, 3] do not fit: leading dimensions must be equal, or 1"),
        ("matmul", {}, [(2, 3, 4), (4, 3)], "shape-mismatch",
         "the shapes [2, 3, 4] and [4, 3] do not fit: leading dimensions must be equal, or 1"),
        ("matmul", {}, [(3, 4), Shape((4, 3), samples=2)], "mixed-samples",
         "its inputs stand for 1 and 2 samples a network input: they must be equal"),
    ],
)  # fmt: skip
def test_refusals(op: str, fields: dict[str, Any], inputs: list[Any], code: str, message: str) -> None:
    with pytest.raises(Refusal) as raised:
        create(op, **fields).shapes(shapes(inputs))
    assert (raised.value.code, str(raised.value)) == (code, message)
