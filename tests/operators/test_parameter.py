"""Trainable tensors and tables: they compute nothing, and give what they hold to every sample."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators import create
from archprof.operators.base import NOTHING, WHOLE
from archprof.shape import Shape
from tests.operators.harness import Case, check, shapes


def held(p: dict[str, Tensor], x: Tensor) -> Tensor:
    return torch.stack([p["value"]] * x.shape[0])


def looked_up(p: dict[str, Tensor], x: Tensor) -> Tensor:
    return functional.one_hot(x, p["weight"].shape[0]).float() @ p["weight"]


def indices(*dims: int, samples: int = 1) -> Shape:
    return Shape(dims, samples, "int64")


CASES = [
    Case("parameter", {"shape": [1, 8]}, [(5, 8)], [(1, 8)], 8, Cost(), held),
    Case("parameter", {"shape": [6, 8], "init": "normal"}, [(5, 8)], [(6, 8)], 6 * 8, Cost(), held),
    Case("parameter", {"shape": [3, 1, 1], "init": "ones"}, [(3, 4, 4)], [(3, 1, 1)], 3, Cost(), held),
    Case("parameter", {"shape": [4], "init": 1e-6}, [(4,)], [(4,)], 4, Cost(), held),
    Case("parameter", {"shape": [2, 3]}, [indices(7, samples=3)], [Shape((2, 3), samples=3)], 2 * 3, Cost(), held),
    Case("embedding", {"num_embeddings": 5, "embedding_dim": 3}, [indices(7)], [(7, 3)], 5 * 3, Cost(), looked_up),
    Case("embedding", {"num_embeddings": 9, "embedding_dim": 1}, [indices(4)], [(4, 1)], 9, Cost(), looked_up),
    Case("embedding", {"num_embeddings": 5, "embedding_dim": 4}, [indices(2, 3)], [(2, 3, 4)], 5 * 4, Cost(),
         looked_up),
    Case("embedding", {"num_embeddings": 8, "embedding_dim": 2}, [indices(1)], [(1, 2)], 8 * 2, Cost(), looked_up),
    Case("embedding", {"num_embeddings": 6, "embedding_dim": 2}, [indices(3, samples=4)],
         [Shape((3, 2), samples=4)], 6 * 2, Cost(), looked_up),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_torch(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    ("init", "mean", "deviation"), [("zeros", 0, 0), ("ones", 1, 0), (0.25, 0.25, 0), (-2, -2, 0), ("normal", 0, 0.02)]
)
def test_what_a_parameter_starts_as(init: str | float, mean: float, deviation: float) -> None:
    torch.manual_seed(0)
    value = create("parameter", shape=[100, 100], init=init).module(shapes([(4,)])).value
    assert value.requires_grad
    assert value.mean().item() == pytest.approx(mean, abs=1e-3)
    assert value.std().item() == pytest.approx(deviation, abs=1e-3)


def test_backward_adds_up() -> None:
    """Of a parameter over the samples, of a table at the rows that were looked up; neither passes a gradient on."""
    parameter, inputs = create("parameter", shape=[6, 8]), shapes([(5, 8)])
    table, words = create("embedding", num_embeddings=5, embedding_dim=3), (indices(7),)
    assert parameter.backward_cost(inputs, shapes([(6, 8)]), (True,), True) == Cost(additions=6 * 8)
    assert parameter.backward_cost(inputs, shapes([(6, 8)]), (True,), False) == Cost()
    assert table.backward_cost(words, shapes([(7, 3)]), (True,), True) == Cost(additions=7 * 3)
    assert table.backward_cost(words, shapes([(7, 3)]), (True,), False) == Cost()


def test_window_and_depth() -> None:
    parameter, table = create("parameter", shape=[1]), create("embedding", num_embeddings=5, embedding_dim=3)
    assert (parameter.window(shapes([(5, 8)]), shapes([(1,)])), parameter.depth) == (NOTHING, 0)
    assert (table.window((indices(7),), shapes([(7, 3)])), table.depth) == (WHOLE, 0)


@pytest.mark.parametrize(
    ("op", "fields", "inputs", "code", "message"),
    [
        ("parameter", {}, [(3,)], "missing-field", "needs shape"),
        ("parameter", {"shape": 3}, [(3,)], "wrong-type", "shape must be a list of integers, not 3: write [3]"),
        ("parameter", {"shape": []}, [(3,)], "wrong-length", "shape must have at least 1 integers, not 0"),
        ("parameter", {"shape": [3, 0]}, [(3,)], "out-of-range", "shape must be at least 1, not 0"),
        ("parameter", {"shape": [3], "init": "twos"}, [(3,)], "not-a-choice",
         'init must be zeros, ones or normal, not the word "twos"'),
        ("parameter", {"shape": [3], "init": True}, [(3,)], "wrong-type", "init must be a number, not true"),
        ("parameter", {"shape": [3]}, [], "wrong-arity", "parameter takes 1 input, not 0"),
        ("embedding", {"num_embeddings": 5}, [indices(3)], "missing-field", "needs embedding_dim"),
        ("embedding", {}, [indices(3)], "missing-field", "needs num_embeddings and embedding_dim"),
        ("embedding", {"num_embeddings": 0, "embedding_dim": 3}, [indices(3)], "out-of-range",
         "num_embeddings must be at least 1, not 0"),
        ("embedding", {"num_embeddings": 5, "embedding_dim": 3}, [(3,)], "wrong-dtype",
         "embedding takes indices (int64), not float"),
        ("embedding", {"num_embeddings": 5, "embedding_dim": 3}, [indices(3), indices(3)], "wrong-arity",
         "embedding takes 1 input, not 2"),
    ],
)  # fmt: skip
def test_refusals(op: str, fields: dict[str, Any], inputs: list[Any], code: str, message: str) -> None:
    with pytest.raises(Refusal) as raised:
        create(op, **fields).shapes(shapes(inputs))
    assert (raised.value.code, str(raised.value)) == (code, message)
