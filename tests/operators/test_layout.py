"""Operators that lay elements out anew: no arithmetic but bilinear upsampling's."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from torch.nn import functional

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators import create
from archprof.operators.base import POINTWISE, WHOLE, Window
from archprof.shape import Shape
from tests.operators.harness import Case, check, shapes


def free(op: str, fields: dict[str, Any], inputs: list[Any], outputs: list[Any], forward: Any) -> Case:
    return Case(op, fields, inputs, outputs, 0, Cost(), forward)


def enlarged(op_fields: dict[str, Any], shape: tuple[int, ...], out: tuple[int, ...], cost: Cost, forward: Any) -> Case:
    return Case("upsample", op_fields, [shape], [out], 0, cost, forward)


def nearest(elements: int) -> Cost:
    return Cost(fvcore=elements)


def bilinear(elements: int) -> Cost:
    return Cost(multiplications=4 * elements, additions=3 * elements, fvcore=4 * elements)


def interpolated(weights):
    """Rows and columns as weighted sums of the input's, the matrices written out."""

    def forward(p, x):
        matrix = torch.tensor(weights)
        return torch.einsum("ih,nchw,jw->ncij", matrix, x, matrix)

    return forward


INDICES = Shape((3, 4), dtype="int64")

CASES = [
    free("flatten", {}, [(2, 3, 4)], [(24,)], lambda p, x: x.reshape(len(x), 24)),
    free("flatten", {"start_dim": 2}, [(2, 3, 4)], [(2, 12)], lambda p, x: x.reshape(len(x), 2, 12)),
    free("flatten", {"start_dim": 1, "end_dim": 2}, [(2, 3, 4)], [(6, 4)], lambda p, x: x.reshape(len(x), 6, 4)),
    free("flatten", {"start_dim": -2, "end_dim": -1}, [(2, 3, 4)], [(2, 12)], lambda p, x: x.reshape(len(x), 2, 12)),
    free("flatten", {}, [Shape((5,), samples=3)], [Shape((5,), samples=3)], lambda p, x: x),
    free("flatten", {}, [INDICES], [Shape((12,), dtype="int64")], lambda p, x: x.reshape(len(x), 12)),
    free("reshape", {"shape": [32, 128]}, [(4096,)], [(32, 128)], lambda p, x: x.unflatten(1, (32, 128))),
    free("reshape", {"shape": [-1]}, [(2, 3, 4)], [(24,)], lambda p, x: x.flatten(1)),
    free("reshape", {"shape": [2, -1, 2]}, [(2, 3, 4)], [(2, 6, 2)], lambda p, x: x.flatten(2).unflatten(2, (6, 2))),
    free("reshape", {"shape": [1, 6]}, [Shape((6,), samples=2)], [Shape((1, 6), samples=2)], lambda p, x: x[:, None]),
    free("reshape", {"shape": [2, 2, 3]}, [(4, 3)], [(2, 2, 3)], lambda p, x: x.unflatten(1, (2, 2))),
    free("transpose", {"dim0": 1, "dim1": 2}, [(4, 3)], [(3, 4)], lambda p, x: x.mT),
    free("transpose", {"dim0": -1, "dim1": -2}, [(4, 3)], [(3, 4)], lambda p, x: x.mT),
    free("transpose", {"dim0": 1, "dim1": 3}, [(4, 3, 2)], [(2, 3, 4)], lambda p, x: torch.einsum("nabc->ncba", x)),
    free("transpose", {"dim0": 2, "dim1": 2}, [(4, 3)], [(4, 3)], lambda p, x: x),
    free("transpose", {"dim0": 1, "dim1": 2}, [INDICES], [Shape((4, 3), dtype="int64")], lambda p, x: x.mT),
    free("permute", {"dims": [0, 2, 1]}, [(4, 3)], [(3, 4)], lambda p, x: x.mT),
    free("permute", {"dims": [0, 2, 3, 1]}, [(4, 3, 2)], [(3, 2, 4)], lambda p, x: torch.einsum("nchw->nhwc", x)),
    free("permute", {"dims": [0, 3, 1, 2]}, [(4, 3, 2)], [(2, 4, 3)], lambda p, x: torch.einsum("nhwc->nchw", x)),
    free("permute", {"dims": [0, 1]}, [(4,)], [(4,)], lambda p, x: x),
    free("permute", {"dims": [0, 2, 1]}, [Shape((4, 3), samples=2)], [Shape((3, 4), samples=2)], lambda p, x: x.mT),
    free("select", {"dim": 1, "index": 0}, [(5, 4)], [(4,)], lambda p, x: x[:, 0]),
    free("select", {"dim": -1, "index": -1}, [(5, 4)], [(5,)], lambda p, x: x[:, :, -1]),
    free("select", {"dim": 2, "index": 1}, [(5, 4, 3)], [(5, 3)], lambda p, x: x[:, :, 1]),
    free("select", {"dim": 1, "index": -5}, [(5, 4)], [(4,)], lambda p, x: x[:, 0]),
    free("select", {"dim": 1, "index": 2}, [INDICES], [Shape((4,), dtype="int64")], lambda p, x: x[:, 2]),
    free("concat", {}, [(2, 4, 4), (3, 4, 4)], [(5, 4, 4)],
         lambda p, x, y: torch.stack([*x.unbind(1), *y.unbind(1)], 1)),
    free("concat", {}, [(2, 4)], [(2, 4)], lambda p, x: x),
    free("concat", {"dim": -1}, [(2, 4), (2, 1), (2, 3)], [(2, 8)],
         lambda p, x, y, z: torch.stack([*x.unbind(2), *y.unbind(2), *z.unbind(2)], 2)),
    free("concat", {"dim": 2}, [(2, 4, 3), (2, 1, 3)], [(2, 5, 3)],
         lambda p, x, y: torch.stack([*x.unbind(2), *y.unbind(2)], 2)),
    free("concat", {}, [INDICES, INDICES], [Shape((6, 4), dtype="int64")], lambda p, x, y: torch.hstack([x, y])),
    free("split", {"split_size": [1, 3]}, [(4, 2, 2)], [(1, 2, 2), (3, 2, 2)], lambda p, x: (x[:, :1], x[:, 1:])),
    free("split", {"split_size": 2, "sections": 3}, [(6, 2)], [(2, 2)] * 3,
         lambda p, x: (x[:, :2], x[:, 2:4], x[:, 4:])),
    free("split", {"split_size": [2, 1], "dim": -1}, [(4, 3)], [(4, 2), (4, 1)],
         lambda p, x: (x[:, :, :2], x[:, :, 2:])),
    free("split", {"split_size": [3]}, [(3,)], [(3,)], lambda p, x: (x,)),
    free("split", {"split_size": 3, "sections": 1}, [(3, 2)], [(3, 2)], lambda p, x: (x,)),
    free("split", {"split_size": 1, "sections": 2, "dim": 2}, [Shape((3, 2), samples=2)],
         [Shape((3, 1), samples=2)] * 2, lambda p, x: (x[:, :, :1], x[:, :, 1:])),
    free("pad", {"padding": [1, 2]}, [(3, 4)], [(3, 7)],
         lambda p, x: torch.cat([x.new_zeros(len(x), 3, 1), x, x.new_zeros(len(x), 3, 2)], 2)),
    free("pad", {"padding": [0, 1, 2, 0], "value": -1}, [(2, 3, 3)], [(2, 5, 4)],
         lambda p, x: torch.nn.ConstantPad2d((0, 1, 2, 0), -1.0)(x)),
    free("pad", {"padding": [0, 0, 0, 0, 1, 1]}, [(2, 3, 3)], [(4, 3, 3)],
         lambda p, x: torch.cat([0 * x[:, :1], x, 0 * x[:, :1]], 1)),
    free("pad", {"padding": [-1, -1, 0, -2]}, [(2, 5, 5)], [(2, 3, 3)], lambda p, x: x[:, :, :3, 1:4]),
    free("pad", {"padding": [-2, 0]}, [(2, 3)], [(2, 1)], lambda p, x: x[:, :, 2:]),
    free("pad", {"padding": [1, 0]}, [Shape((3,), samples=2)], [Shape((4,), samples=2)],
         lambda p, x: torch.cat([0 * x[:, :1], x], 1)),
    free("pad_channels", {"out_channels": 5}, [(3, 4, 4)], [(5, 4, 4)],
         lambda p, x: torch.cat([x, 0 * x[:, :2]], 1)),
    free("pad_channels", {"out_channels": 4, "stride": 2}, [(2, 5, 4)], [(4, 3, 2)],
         lambda p, x: torch.cat([x[:, :, ::2, ::2], 0 * x[:, :, ::2, ::2]], 1)),
    free("pad_channels", {"out_channels": 3, "stride": 3}, [(3, 7, 8)], [(3, 3, 3)], lambda p, x: x[:, :, ::3, ::3]),
    free("pad_channels", {"out_channels": 3}, [(3, 2, 2)], [(3, 2, 2)], lambda p, x: x),
    free("pad_channels", {"out_channels": 2, "stride": 2}, [Shape((1, 2, 2), samples=3)],
         [Shape((2, 1, 1), samples=3)], lambda p, x: torch.cat([x[:, :, :1, :1], 0 * x[:, :, :1, :1]], 1)),
    enlarged({"scale_factor": 2}, (2, 3, 4), (2, 6, 8), nearest(2 * 48),
             lambda p, x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)),
    enlarged({"scale_factor": [1, 3]}, (2, 3, 4), (2, 3, 12), nearest(2 * 36), lambda p, x: x.repeat_interleave(3, 3)),
    enlarged({"size": [2, 6]}, (2, 4, 4), (2, 2, 6), nearest(2 * 12),
             lambda p, x: x[:, :, ::2][:, :, :, [0, 0, 1, 2, 2, 3]]),
    # peers.md: 2 x 3 x 4 x 4 to 8 x 8 is 2 x 3 x 64 output elements; fvcore 4 each, 1536
    enlarged({"scale_factor": 2, "mode": "bilinear"}, (3, 4, 4), (3, 8, 8), bilinear(3 * 64),
             interpolated([[1, 0, 0, 0], [.75, .25, 0, 0], [.25, .75, 0, 0], [0, .75, .25, 0], [0, .25, .75, 0],
                           [0, 0, .75, .25], [0, 0, .25, .75], [0, 0, 0, 1.0]])),
    enlarged({"size": 5, "mode": "bilinear", "align_corners": True}, (2, 3, 3), (2, 5, 5), bilinear(2 * 25),
             interpolated([[1, 0, 0], [.5, .5, 0], [0, 1, 0], [0, .5, .5], [0, 0, 1.0]])),
    enlarged({"size": 3, "mode": "bilinear"}, (2, 3, 3), (2, 3, 3), bilinear(2 * 9), lambda p, x: x),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_torch(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("op", ["flatten", "reshape", "transpose", "permute", "select", "split"])
def test_views_cost_nothing_back_either(op: str) -> None:
    case = next(case for case in CASES if case.op == op)
    operator, inputs = case.operator, shapes(case.inputs)
    assert operator.view
    assert operator.backward_cost(inputs, operator.shapes(inputs), (True,) * len(inputs), False) == Cost()


def test_split_names_its_outputs() -> None:
    assert create("split", split_size=2, sections=3).output_names() == ("0", "1", "2")
    assert create("split", split_size=[5, 1]).output_names() == ("0", "1")


HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    ("op", "fields", "dims", "expected"),
    [
        ("flatten", {}, (8, 4, 4), WHOLE),
        ("flatten", {}, (8, 1, 1), POINTWISE),
        ("flatten", {"start_dim": 2}, (8, 4, 4), POINTWISE),
        ("flatten", {}, (8,), POINTWISE),
        ("reshape", {"shape": [128]}, (8, 4, 4), WHOLE),
        ("reshape", {"shape": [8, 16]}, (8, 4, 4), POINTWISE),
        ("reshape", {"shape": [2, 4, 4, 4]}, (8, 4, 4), POINTWISE),
        ("reshape", {"shape": [2, 4]}, (8, 1, 1), POINTWISE),
        ("transpose", {"dim0": 1, "dim1": 2}, (8, 4), POINTWISE),
        ("permute", {"dims": [0, 2, 3, 1]}, (8, 4, 4), POINTWISE),
        ("select", {"dim": 1, "index": 0}, (8, 4), POINTWISE),
        ("split", {"split_size": [4, 4]}, (8, 4, 4), POINTWISE),
        ("concat", {}, (8, 4, 4), POINTWISE),
        ("pad", {"padding": [1, 2, 3, 4]}, (8, 4, 4), Window((1, 1), (1, 1), (3, 1))),
        ("pad", {"padding": [1, 2, 3, 4, 5, 6]}, (8, 4, 4), Window((1, 1), (1, 1), (3, 1))),
        ("pad", {"padding": [1, 2]}, (8, 4), Window((1,), (1,), (1,))),
        ("pad_channels", {"out_channels": 8, "stride": 2}, (8, 4, 4), Window((1, 1), (2, 2), (0, 0))),
        ("upsample", {"scale_factor": 2}, (8, 4, 4), Window((1, 1), (HALF, HALF), (0, 0))),
        ("upsample", {"size": [8, 4], "mode": "bilinear"}, (8, 4, 4), Window((2, 1), (HALF, 1), (0, 0))),
        ("upsample", {"size": [7, 1], "mode": "bilinear", "align_corners": True}, (8, 4, 1),
         Window((2, 1), (HALF, 0), (0, 0))),
    ],
)  # fmt: skip
def test_windows(op: str, fields: dict[str, Any], dims: tuple[int, ...], expected: Window | str | None) -> None:
    operator, inputs = create(op, **fields), shapes([dims])
    assert operator.window(inputs, operator.shapes(inputs)) == expected


@pytest.mark.parametrize(
    ("op", "fields", "inputs", "code", "message"),
    [
        ("flatten", {"start_dim": 0}, [(3, 4)], "batch-dimension",
         "start_dim 0 is the batch: dimensions of a sample count from 1"),
        ("flatten", {"end_dim": 3}, [(3, 4)], "no-such-dimension",
         "end_dim 3 is not there: the input has dimensions 1 to 2"),
        ("flatten", {"start_dim": 2, "end_dim": 1}, [(3, 4)], "no-such-dimension", "start_dim 2 comes after end_dim 1"),
        ("reshape", {"shape": [5, 5]}, [(3, 4)], "shape-mismatch",
         "shape [5, 5] does not take the 12 elements of [3, 4]"),
        ("reshape", {"shape": [5, -1]}, [(3, 4)], "shape-mismatch",
         "shape [5, -1] does not take the 12 elements of [3, 4]"),
        ("reshape", {"shape": [-1, -1]}, [(3, 4)], "out-of-range",
         "shape must have dimensions of at least 1 and one -1 at most, not [-1, -1]"),
        ("reshape", {"shape": [0, -1]}, [(3, 4)], "out-of-range",
         "shape must have dimensions of at least 1 and one -1 at most, not [0, -1]"),
        ("reshape", {"shape": 12}, [(3, 4)], "wrong-type", "shape must be a list of integers, not 12: write [12]"),
        ("transpose", {"dim0": 1, "dim1": -3}, [(3, 4)], "batch-dimension",
         "dim1 -3 is the batch: dimensions of a sample count from 1"),
        ("permute", {"dims": [0, 1, 1]}, [(3, 4)], "no-such-dimension",
         "dims must be 0 and then 1 to 2 in some order, not [0, 1, 1]"),
        ("permute", {"dims": [1, 0, 2]}, [(3, 4)], "no-such-dimension",
         "dims must be 0 and then 1 to 2 in some order, not [1, 0, 2]"),
        ("select", {"dim": 1, "index": 3}, [(3, 4)], "out-of-range", "index 3 is not there: dim 1 has 3"),
        ("select", {"dim": 1, "index": 0}, [(3,)], "wrong-rank", "takes at least 2 dimensions, not [3]"),
        ("concat", {}, [(8, 30, 30), (16, 28, 28)], "shape-mismatch",
         "[8, 30, 30] and [16, 28, 28] do not fit: all dimensions but dim 1 must be equal"),
        ("concat", {"dim": 2}, [(3, 4), (3,)], "shape-mismatch",
         "[3, 4] and [3] do not fit: all dimensions but dim 2 must be equal"),
        ("concat", {}, [INDICES, (3, 4)], "wrong-dtype", "concat takes indices (int64), not float"),
        ("concat", {}, [(3, 4), Shape((3, 4), samples=2)], "mixed-samples",
         "its inputs stand for 1 and 2 samples a network input: they must be equal"),
        ("split", {"split_size": [1, 1]}, [(3, 4)], "shape-mismatch",
         "the sizes [1, 1] add up to 2, but dim 1 has 3"),
        ("split", {"split_size": 1}, [(3, 4)], "conflicting-fields",
         "takes a list of sizes, or one size and sections, how many there are"),
        ("split", {"split_size": [1, 2], "sections": 2}, [(3, 4)], "conflicting-fields",
         "takes a list of sizes, or one size and sections, how many there are"),
        ("split", {"split_size": 0, "sections": 2}, [(3, 4)], "out-of-range", "split_size must be at least 1, not 0"),
        ("split", {"split_size": [3, 0]}, [(3, 4)], "out-of-range", "split_size must be at least 1, not 0"),
        ("split", {"split_size": 3, "sections": 0}, [(3, 4)], "out-of-range", "sections must be at least 1, not 0"),
        ("split", {"split_size": 1, "sections": 10**12}, [(3, 4)], "out-of-range",
         "sections must be at most 10000, not 1000000000000"),
        ("pad", {"padding": [1]}, [(3, 4)], "wrong-length",
         "padding must be pairs, the last dimension first, not [1]"),
        ("pad", {"padding": [1, 1, 1, 1]}, [(3,)], "wrong-length", "padding has 2 pairs, more than [3] has dimensions"),
        ("pad", {"padding": [-2, -2]}, [(3, 4)], "out-of-range", "padding [-2, -2] leaves nothing of [3, 4]"),
        ("pad", {"padding": [1, 1]}, [INDICES], "wrong-dtype", "pad takes numbers (float), not int64"),
        ("pad_channels", {"out_channels": 2}, [(3, 4, 4)], "out-of-range",
         "out_channels (=2) must be at least in_channels (=3)"),
        ("upsample", {}, [(3, 4, 4)], "conflicting-fields", "takes size or scale_factor, one of both"),
        ("upsample", {"size": 8, "scale_factor": 2}, [(3, 4, 4)], "conflicting-fields",
         "takes size or scale_factor, one of both"),
        ("upsample", {"size": 8, "align_corners": True}, [(3, 4, 4)], "conflicting-fields",
         "align_corners is for mode bilinear"),
        ("upsample", {"size": 8, "mode": "bicubic"}, [(3, 4, 4)], "not-a-choice",
         'mode must be nearest or bilinear, not the word "bicubic"'),
        ("upsample", {"size": 8}, [(3, 4)], "wrong-rank", "takes 3 dimensions (C, H, W), not [3, 4]"),
    ],
)  # fmt: skip
def test_refusals(op: str, fields: dict[str, Any], inputs: list[Any], code: str, message: str) -> None:
    with pytest.raises(Refusal) as raised:
        create(op, **fields).shapes(shapes(inputs))
    assert (raised.value.code, str(raised.value)) == (code, message)


def test_upsampling_is_torch_s_interpolation() -> None:
    x = torch.randn(2, 3, 5, 4)
    for fields in ({"size": (7, 9)}, {"size": (7, 9), "mode": "bilinear", "align_corners": True}):
        module = create("upsample", **fields).module(shapes([(3, 5, 4)]))
        torch.testing.assert_close(module(x), functional.interpolate(x, **fields))
