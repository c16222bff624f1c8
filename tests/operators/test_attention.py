"""Attention. Its scores are queries x keys a head; a score costs a product of width and one of the values' width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators import create
from archprof.operators.base import WHOLE
from archprof.shape import Shape
from tests.operators.harness import Case, check, fvcore_count, shapes, tensors


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return (scores - scores.amax(-1, keepdim=True)).softmax(-1) @ value


def attend(heads: int, queries: int, keys: int, width: int, values: int) -> Cost:
    """Two products, a scaling, and a softmax of every row of scores."""
    scores, rows = heads * queries * keys, heads * queries
    return Cost(
        multiply_adds=scores * width + scores * values,
        multiplications=scores,
        comparisons=scores - rows,
        additions=scores + (scores - rows),
        special=scores,
        divisions=scores,
    )


def projections(positions: int, width: int, bias: bool = True) -> Cost:
    """The products with the four projections; `positions` are those of queries, keys, values and results together."""
    out = positions * width
    return Cost(multiply_adds=out * width, bias_additions=out if bias else 0, activations=out)


def multi_head(heads: int) -> Any:
    def forward(p: dict[str, Tensor], query: Tensor, *others: Tensor) -> Tensor:
        width = query.shape[-1]
        split = []
        for place, source in enumerate((query, *others) if others else (query,) * 3):
            rows = slice(place * width, (place + 1) * width)
            projected = source @ p["in_proj_weight"][rows].T
            if "in_proj_bias" in p:
                projected = projected + p["in_proj_bias"][rows]
            split.append(torch.stack(projected.split(width // heads, 2), 1))
        mixed = torch.cat(attention(*split).unbind(1), 2) @ p["out_proj.weight"].T
        return mixed + p["out_proj.bias"] if "out_proj.bias" in p else mixed

    return forward


def plain(p: dict[str, Tensor], *inputs: Tensor) -> Tensor:
    return attention(*inputs)


CASES = [
    Case("scaled_dot_product_attention", {}, [(5, 4), (5, 4), (5, 4)], [(5, 4)], 0, attend(1, 5, 5, 4, 4), plain),
    Case("scaled_dot_product_attention", {}, [(3, 5, 4)] * 3, [(3, 5, 4)], 0, attend(3, 5, 5, 4, 4), plain),
    Case("scaled_dot_product_attention", {}, [(2, 5, 4), (2, 7, 4), (2, 7, 6)], [(2, 5, 6)], 0,
         attend(2, 5, 7, 4, 6), plain),
    Case("scaled_dot_product_attention", {}, [(2, 3, 1, 4), (2, 3, 7, 4), (2, 3, 7, 4)], [(2, 3, 1, 4)], 0,
         attend(6, 1, 7, 4, 4), plain),
    Case("scaled_dot_product_attention", {}, [Shape((2, 5, 3), samples=4), Shape((2, 1, 3), samples=4),
         Shape((2, 1, 1), samples=4)], [Shape((2, 5, 1), samples=4)], 0, attend(4 * 2, 5, 1, 3, 1), plain),
    Case("multi_head_attention", {"num_heads": 2}, [(5, 8)], [(5, 8)], 4 * (8 * 8 + 8),
         projections(4 * 5, 8) + attend(2, 5, 5, 4, 4), multi_head(2)),
    Case("multi_head_attention", {"num_heads": 8}, [(3, 8)], [(3, 8)], 4 * (8 * 8 + 8),
         projections(4 * 3, 8) + attend(8, 3, 3, 1, 1), multi_head(8)),
    Case("multi_head_attention", {"num_heads": 3, "bias": False}, [(4, 6)], [(4, 6)], 4 * 6 * 6,
         projections(4 * 4, 6, bias=False) + attend(3, 4, 4, 2, 2), multi_head(3)),
    Case("multi_head_attention", {"num_heads": 2}, [(5, 8), (7, 8), (7, 8)], [(5, 8)], 4 * (8 * 8 + 8),
         projections(2 * 5 + 2 * 7, 8) + attend(2, 5, 7, 4, 4), multi_head(2)),
    Case("multi_head_attention", {"num_heads": 1}, [Shape((5, 4), samples=3)], [Shape((5, 4), samples=3)],
         4 * (4 * 4 + 4), (projections(4 * 5, 4) + attend(1, 5, 5, 4, 4)) * 3, multi_head(1)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_torch(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("bias", [True, False])
def test_same_state_and_result_as_torchs_own_layer(bias: bool) -> None:
    torch.manual_seed(0)
    mine = create("multi_head_attention", num_heads=2, bias=bias).module(shapes([(5, 8)]))
    theirs = torch.nn.MultiheadAttention(8, 2, bias=bias, batch_first=True)
    theirs.load_state_dict(mine.state_dict())
    query, key, value = torch.randn(2, 5, 8), torch.randn(2, 7, 8), torch.randn(2, 7, 8)
    torch.testing.assert_close(mine(query, key, value), theirs(query, key, value, need_weights=False)[0])
    torch.testing.assert_close(mine(query), theirs(query, query, query, need_weights=False)[0])


def test_fvcore_sees_the_projections_alone() -> None:
    operator, inputs = create("multi_head_attention", num_heads=2), shapes([(5, 8)])
    assert fvcore_count(operator.module(inputs).eval(), tensors(inputs, batch=1)) == 4 * 5 * 8 * 8


@pytest.mark.parametrize("input_gradient", [True, False])
def test_backward_against_flop_counter_mode(input_gradient: bool) -> None:
    """FlopCounterMode sees matrix products, so attention is written in them; the kernel itself it counts as 0."""
    operator, inputs = create("multi_head_attention", num_heads=2), shapes([(5, 8)])
    outputs = operator.shapes(inputs)
    x = torch.randn(1, 5, 8, requires_grad=input_gradient)
    named = dict(operator.module(inputs).named_parameters())
    with FlopCounterMode(display=False) as counter:
        result = multi_head(2)(named, x)
    assert counter.get_total_flops() == 2 * operator.cost(inputs, outputs).multiply_adds
    with FlopCounterMode(display=False) as counter:
        result.sum().backward()
    mine = operator.backward_cost(inputs, outputs, (input_gradient,), True)
    assert counter.get_total_flops() == 2 * mine.multiply_adds
    assert mine.bias_additions == 4 * 5 * 8


@pytest.mark.parametrize("needed", list(product((False, True), repeat=3)), ids=str)
def test_backward_of_the_bare_kernel(needed: tuple[bool, ...]) -> None:
    """Whichever of queries, keys and values need a gradient; all of them: the forward multiply-adds twice."""
    operator, inputs = create("scaled_dot_product_attention"), shapes([(2, 5, 4), (2, 7, 4), (2, 7, 6)])
    outputs = operator.shapes(inputs)
    mine = operator.backward_cost(inputs, outputs, needed, False)
    assert mine == Cost(multiply_adds=_counted(plain, {}, tensors(inputs, batch=1), needed))
    if all(needed):
        assert mine == Cost(multiply_adds=2 * (2 * 5 * 7 * (4 + 6)))


@pytest.mark.parametrize("weight_gradient", [True, False])
@pytest.mark.parametrize("needed", list(product((False, True), repeat=3)), ids=str)
def test_backward_of_three_sequences(needed: tuple[bool, ...], weight_gradient: bool) -> None:
    operator, inputs = create("multi_head_attention", num_heads=2), shapes([(5, 8), (7, 8), (7, 8)])
    outputs = operator.shapes(inputs)
    named = {name: value.requires_grad_(weight_gradient) for name, value in operator.module(inputs).named_parameters()}
    mine = operator.backward_cost(inputs, outputs, needed, weight_gradient)
    assert mine.multiply_adds == _counted(multi_head(2), named, tensors(inputs, batch=1), needed)


def _counted(run: Any, named: dict[str, Tensor], given: Sequence[Tensor], needed: tuple[bool, ...]) -> int:
    """FlopCounterMode's multiply-adds of a backward pass."""
    result = run(named, *(each.requires_grad_(wanted) for each, wanted in zip(given, needed, strict=True)))
    with FlopCounterMode(display=False) as counter:
        if result.requires_grad:
            result.sum().backward()
    return counter.get_total_flops() // 2


def test_frozen_weights_get_no_gradient() -> None:
    operator, inputs = create("multi_head_attention", num_heads=2), shapes([(5, 8)])
    outputs = operator.shapes(inputs)
    scores = 2 * 5 * 5 * 4
    assert operator.backward_cost(inputs, outputs, (True,), False) == Cost(multiply_adds=4 * 5 * 8 * 8 + 4 * scores)
    assert operator.backward_cost(inputs, outputs, (False,), False) == Cost()


def test_depth_and_window() -> None:
    kernel, layer = create("scaled_dot_product_attention"), create("multi_head_attention", num_heads=2)
    assert (kernel.depth, layer.depth) == (0, 2)
    assert kernel.window(shapes([(5, 8)] * 3), shapes([(5, 8)])) == WHOLE
    assert layer.window(shapes([(5, 8)]), shapes([(5, 8)])) == WHOLE


@pytest.mark.parametrize(
    ("op", "fields", "inputs", "code", "message"),
    [
        ("scaled_dot_product_attention", {}, [(5, 4)], "wrong-arity",
         "scaled_dot_product_attention takes 3 inputs, not 1"),
        ("scaled_dot_product_attention", {}, [(4,), (4,), (4,)], "wrong-rank",
         "takes three sequences of equal rank, not queries [4], keys [4], values [4]"),
        ("scaled_dot_product_attention", {}, [(5, 4), (2, 5, 4), (2, 5, 4)], "wrong-rank",
         "takes three sequences of equal rank, not queries [5, 4], keys [2, 5, 4], values [2, 5, 4]"),
        ("scaled_dot_product_attention", {}, [(2, 5, 4), (3, 5, 4), (3, 5, 4)], "shape-mismatch",
         "queries [2, 5, 4], keys [3, 5, 4], values [3, 5, 4] do not fit: (..., L, E), (..., S, E), (..., S, V)"),
        ("scaled_dot_product_attention", {}, [(5, 4), (7, 4), (6, 4)], "shape-mismatch",
         "queries [5, 4], keys [7, 4], values [6, 4] do not fit: (..., L, E), (..., S, E), (..., S, V)"),
        ("scaled_dot_product_attention", {}, [(5, 4), (7, 3), (7, 4)], "shape-mismatch",
         "queries [5, 4], keys [7, 3], values [7, 4] do not fit: (..., L, E), (..., S, E), (..., S, V)"),
        ("multi_head_attention", {"num_heads": 2}, [(5, 8), (5, 8)], "wrong-arity",
         "multi_head_attention takes 1 input or 3 (queries, keys, values), not 2"),
        ("multi_head_attention", {"num_heads": 2}, [(5, 8)] * 4, "wrong-arity",
         "multi_head_attention takes 1 to 3 inputs, not 4"),
        ("multi_head_attention", {"num_heads": 2}, [(3, 5, 8)], "wrong-rank",
         "takes a sequence (L, E), not [3, 5, 8]"),
        ("multi_head_attention", {"num_heads": 2}, [(5, 8), (7, 6), (7, 6)], "shape-mismatch",
         "takes sequences (L, E) of one width, not [5, 8], [7, 6] and [7, 6]"),
        ("multi_head_attention", {"num_heads": 2}, [(5, 8), (7, 8), (6, 8)], "shape-mismatch",
         "keys [7, 8] and values [6, 8] must be equal"),
        ("multi_head_attention", {"num_heads": 3}, [(5, 8)], "groups-do-not-divide",
         "the width (=8) must be divisible by num_heads (=3)"),
        ("multi_head_attention", {}, [(5, 8)], "missing-field", "needs num_heads"),
        ("multi_head_attention", {"num_heads": 0}, [(5, 8)], "out-of-range", "num_heads must be at least 1, not 0"),
    ],
)  # fmt: skip
def test_refusals(op: str, fields: dict[str, Any], inputs: list[Any], code: str, message: str) -> None:
    with pytest.raises(Refusal) as raised:
        create(op, **fields).shapes(shapes(inputs))
    assert (raised.value.code, str(raised.value)) == (code, message)
