"""Normalisations.

A group of n elements: 3 n - 1 additions, 2 n multiplications, 3 divisions, a root; then scale and shift.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators import create
from archprof.operators.base import POINTWISE
from archprof.shape import Shape
from tests.operators.harness import Case, check, fvcore_count, randomised, shapes, tensors


def groups(count: int, size: int, scale: bool = True, shift: bool = True) -> Cost:
    """So many groups of so many elements, normalised by their own mean and variance; fvcore's 5 or 4 an element."""
    elements = count * size
    return Cost(
        additions=count * (3 * size - 1) + elements * shift,
        multiplications=2 * elements + elements * scale,
        divisions=3 * count,
        special=count,
        fvcore=elements * (5 if scale else 4),
    )


def running(count: int, affine: bool = True) -> Cost:
    """By statistics that are kept: a multiplication and an addition an element; fvcore's 2, or 1 without scale."""
    return Cost(additions=count, multiplications=count, fvcore=count * (2 if affine else 1))


def norm(x, dims, eps=1e-5):
    return (x - x.mean(dims, keepdim=True)) / (x.var(dims, unbiased=False, keepdim=True) + eps).sqrt()


def channels(tensor):
    return tensor[:, None, None]


def batch_norm(eps=1e-5):
    def forward(p, x):
        out = (x - channels(p["running_mean"])) / (channels(p["running_var"]) + eps).sqrt()
        return out * channels(p["weight"]) + channels(p["bias"]) if "weight" in p else out

    return forward


def lrn(size, alpha=1e-4, beta=0.75, k=1.0):
    """Channel by channel, as in the paper but for alpha, which torch divides by size."""

    def forward(p, x):
        out = torch.empty_like(x)
        for channel in range(x.shape[1]):
            low, high = max(channel - size // 2, 0), min(channel + (size - 1) // 2, x.shape[1] - 1)
            total = (x[:, low : high + 1] ** 2).sum(1)
            out[:, channel] = x[:, channel] / (k + alpha / size * total) ** beta
        return out

    return forward


def responses(elements: int, sums: int) -> Cost:
    """Squares and the factor; the sums, and k; a power; a division."""
    return Cost(multiplications=2 * elements, additions=sums + elements, special=elements, divisions=elements)


CASES = [
    # 5 neighbours of 6 channels: 3, 4, 5, 5, 4, 3 are inside, so 2 + 3 + 4 + 4 + 3 + 2 additions a position
    Case("local_response_norm", {"size": 5}, [(6, 4, 4)], [(6, 4, 4)], 0, responses(96, 18 * 16), lrn(5)),
    # 4: two before, one after: 2, 3, 4, 4, 4, 3
    Case("local_response_norm", {"size": 4, "alpha": 0.5, "beta": 0.5, "k": 2}, [(6, 4, 4)], [(6, 4, 4)], 0,
         responses(96, 14 * 16), lrn(4, 0.5, 0.5, 2)),
    Case("local_response_norm", {"size": 1, "alpha": 1}, [(3, 2, 2)], [(3, 2, 2)], 0, responses(12, 0), lrn(1, 1)),
    # 9 is more than there are: all 3 inside for each
    Case("local_response_norm", {"size": 9, "alpha": 1}, [(3, 2, 2)], [(3, 2, 2)], 0, responses(12, 6 * 4), lrn(9, 1)),
    Case("local_response_norm", {"size": 3, "alpha": 1}, [Shape((4, 6), samples=2)], [Shape((4, 6), samples=2)], 0,
         responses(48, (1 + 2 + 2 + 1) * 6 * 2), lrn(3, 1)),
    Case("batch_norm2d", {}, [(8, 4, 4)], [(8, 4, 4)], 16, running(8 * 16), batch_norm()),
    Case("batch_norm2d", {"eps": 0.1}, [(3, 2, 5)], [(3, 2, 5)], 6, running(30), batch_norm(0.1)),
    Case("batch_norm2d", {"affine": False}, [(3, 2, 5)], [(3, 2, 5)], 0, running(30, affine=False), batch_norm()),
    Case("batch_norm2d", {"momentum": None}, [Shape((3, 2, 2), samples=4)], [Shape((3, 2, 2), samples=4)], 6,
         running(48), batch_norm()),
    Case("batch_norm2d", {"momentum": 0.5}, [(1, 1, 1)], [(1, 1, 1)], 2, running(1), batch_norm()),
    Case("layer_norm", {}, [(6,)], [(6,)], 12, groups(1, 6), lambda p, x: norm(x, -1) * p["weight"] + p["bias"]),
    Case("layer_norm", {"eps": 0.1}, [(4, 6)], [(4, 6)], 12, groups(4, 6),
         lambda p, x: norm(x, -1, 0.1) * p["weight"] + p["bias"]),
    Case("layer_norm", {"normalized_shape": [2, 6]}, [(4, 2, 6)], [(4, 2, 6)], 24, groups(4, 12),
         lambda p, x: norm(x, (-2, -1)) * p["weight"] + p["bias"]),
    Case("layer_norm", {"dim": 1}, [(6, 4, 5)], [(6, 4, 5)], 12, groups(20, 6),
         lambda p, x: norm(x, 1) * channels(p["weight"]) + channels(p["bias"])),
    Case("layer_norm", {"dim": 1, "bias": False}, [(6, 4, 5)], [(6, 4, 5)], 6, groups(20, 6, shift=False),
         lambda p, x: norm(x, 1) * channels(p["weight"])),
    Case("layer_norm", {"dim": -1, "elementwise_affine": False}, [Shape((4, 6), samples=3)],
         [Shape((4, 6), samples=3)], 0, groups(12, 6, scale=False, shift=False), lambda p, x: norm(x, -1)),
    Case("layer_norm", {"dim": 2, "elementwise_affine": False}, [(3, 4, 6)], [(3, 4, 6)], 0,
         groups(18, 4, scale=False, shift=False), lambda p, x: norm(x, 2)),
    Case("group_norm", {"num_groups": 2}, [(4, 3, 3)], [(4, 3, 3)], 8, groups(2, 18),
         lambda p, x: norm(x.reshape(-1, 2, 18), -1).reshape(x.shape) * channels(p["weight"]) + channels(p["bias"])),
    Case("group_norm", {"num_groups": 1}, [(4, 3, 3)], [(4, 3, 3)], 8, groups(1, 36),
         lambda p, x: norm(x, (1, 2, 3)) * channels(p["weight"]) + channels(p["bias"])),
    Case("group_norm", {"num_groups": 4, "eps": 0.1}, [(4, 3, 3)], [(4, 3, 3)], 8, groups(4, 9),
         lambda p, x: norm(x, (2, 3), 0.1) * channels(p["weight"]) + channels(p["bias"])),
    Case("group_norm", {"num_groups": 2, "affine": False}, [(6, 5)], [(6, 5)], 0,
         groups(2, 15, scale=False, shift=False), lambda p, x: norm(x.reshape(-1, 2, 15), -1).reshape(x.shape)),
    Case("group_norm", {"num_groups": 3}, [Shape((6,), samples=2)], [Shape((6,), samples=2)], 12, groups(6, 2),
         lambda p, x: norm(x.reshape(-1, 3, 2), -1).reshape(x.shape) * p["weight"] + p["bias"]),
    *(
        Case("l2_normalize", fields, [shape], [shape], 0,
             # k squares, k - 1 additions, a root, a comparison with eps, k divisions
             Cost(multiplications=count * k, additions=count * (k - 1), special=count, comparisons=count,
                  divisions=count * k),
             lambda p, x, dim=dim, eps=eps: x / (x**2).sum(dim, keepdim=True).sqrt().clamp(min=eps))
        for fields, shape, count, k, dim, eps in [
            ({}, (128,), 1, 128, 1, 1e-12),
            ({}, (8, 3, 3), 9, 8, 1, 1e-12),
            ({"dim": -1}, (4, 6), 4, 6, 2, 1e-12),
            ({"dim": 2, "eps": 3}, (4, 5, 6), 24, 5, 2, 3.0),
            ({}, Shape((8,), samples=7), 7, 8, 1, 1e-12),
        ]
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_torch(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    ("fields", "cost"),
    [
        ({}, groups(8, 16)),
        ({"affine": False}, groups(8, 16, scale=False, shift=False)),
        ({"track_running_stats": False}, groups(8, 16)),
    ],
)
def test_batch_norm_in_training_works_out_statistics(fields: dict[str, Any], cost: Cost) -> None:
    operator, inputs = create("batch_norm2d", **fields), shapes([(8, 4, 4)])
    assert operator.cost(inputs, inputs, train=True) == cost
    module = randomised(operator.module(inputs)).train()
    assert fvcore_count(module, tensors(inputs, batch=1)) == cost.fvcore


def test_batch_norm_without_running_statistics() -> None:
    operator, inputs = create("batch_norm2d", track_running_stats=False), shapes([(8, 4, 4)])
    assert operator.cost(inputs, inputs) == groups(8, 16)
    assert operator.buffers(inputs) == {} == dict(operator.module(inputs).named_buffers())


@pytest.mark.parametrize(
    ("op", "fields"),
    [("local_response_norm", {"size": 5}), ("batch_norm2d", {}), ("layer_norm", {"dim": 1}), ("l2_normalize", {})],
)
def test_the_receptive_field_stays(op: str, fields: dict[str, Any]) -> None:
    inputs = shapes([(8, 4, 4)])
    assert create(op, **fields).window(inputs, inputs) is POINTWISE


def test_costs_take_no_time_however_many_channels() -> None:
    channels = 10**15
    norm = create("local_response_norm", size=2 * 10**9 + 1)
    reach = 10**9
    inside = channels * (2 * reach + 1) - 2 * (reach * (reach + 1) // 2)
    assert norm.cost(shapes([(channels, 1, 1)]), ()) == responses(channels, inside - channels)


@pytest.mark.parametrize(
    ("op", "fields", "dims", "code", "message"),
    [
        ("local_response_norm", {}, (8, 4, 4), "missing-field", "needs size"),
        ("local_response_norm", {"size": 5}, (8,), "wrong-rank", "takes a map of channels, not [8]"),
        ("batch_norm2d", {}, (8, 4), "wrong-rank", "takes 3 dimensions (C, H, W), not [8, 4]"),
        ("batch_norm2d", {"momentum": 1.5}, (8, 4, 4), "out-of-range", "momentum must be at most 1, not 1.5"),
        ("layer_norm", {"normalized_shape": [4], "dim": 1}, (8, 4), "conflicting-fields",
         "takes normalized_shape or dim, not both"),
        ("layer_norm", {"normalized_shape": [8]}, (8, 4), "shape-mismatch",
         "normalized_shape [8] must be the last dimensions of the input [8, 4]"),
        ("layer_norm", {"dim": 3}, (8, 4), "no-such-dimension",
         "dim 3 is not there: the input has dimensions 1 to 2"),
        ("layer_norm", {"eps": -1}, (8, 4), "out-of-range", "eps must be at least 0, not -1"),
        ("group_norm", {"num_groups": 3}, (8, 4, 4), "groups-do-not-divide",
         "in_channels (=8) must be divisible by num_groups (=3)"),
        ("l2_normalize", {"dim": 0}, (8,), "batch-dimension",
         "dim 0 is the batch: dimensions of a sample count from 1"),
    ],
)  # fmt: skip
def test_refusals(op: str, fields: dict[str, Any], dims: tuple[int, ...], code: str, message: str) -> None:
    with pytest.raises(Refusal) as raised:
        create(op, **fields).shapes(shapes([dims]))
    assert (raised.value.code, str(raised.value)) == (code, message)
