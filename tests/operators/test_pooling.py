"""Pools. A window of k elements inside the input takes k - 1 comparisons or additions."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators import create
from archprof.operators.base import WHOLE, Window
from archprof.shape import Shape
from tests.operators.harness import Case, check, shapes, tensors


def compared(elements: int, windows: int) -> Cost:
    return Cost(comparisons=elements - windows)


def averaged(elements: int, windows: int, fvcore: int = 0) -> Cost:
    return Cost(additions=elements - windows, divisions=windows, fvcore=fvcore)


def powers(elements: int, windows: int) -> Cost:
    return Cost(special=elements + windows, additions=elements - windows)


def regions(p, x):
    """The fixed grid of regions of a 6 x 8 map: the top row steps through 0..3, the left column every second time."""
    boxes = [(region % 4, region // 2 % 5) for region in range(5)]
    pooled = [functional.adaptive_max_pool2d(x[:, :, top:, left:], (2, 3)) for top, left in boxes]
    return torch.stack(pooled, 1).reshape(-1, 3, 2, 3)


CASES = [
    Case("max_pool2d", {"kernel_size": 2}, [(3, 8, 8)], [(3, 4, 4)], 0, compared(3 * 4 * 4 * 4, 3 * 4 * 4),
         lambda p, x: functional.max_pool2d(x, 2)),
    # padded by 1, windows of 2, 3, 3, 3 a dimension: 11 x 11 elements
    Case("max_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1}, [(2, 8, 8)], [(2, 4, 4)], 0,
         compared(2 * 11 * 11, 2 * 4 * 4), lambda p, x: functional.max_pool2d(x, 3, 2, 1)),
    # peers.md: windows of 3, 3, 3, 2 a dimension: 11 x 11 elements, 16 windows: 105 a channel
    Case("max_pool2d", {"kernel_size": 3, "stride": 2, "ceil_mode": True}, [(1, 8, 8)], [(1, 4, 4)], 0,
         Cost(comparisons=105), lambda p, x: functional.max_pool2d(x, 3, 2, ceil_mode=True)),
    # peers.md: a third window would start in the right padding: 2 x 2 windows of 1 and 2 a dimension
    Case("max_pool2d", {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True}, [(1, 3, 3)], [(1, 2, 2)], 0,
         compared(3 * 3, 2 * 2), lambda p, x: functional.max_pool2d(x, 2, 2, 1, ceil_mode=True)),
    Case("max_pool2d", {"kernel_size": [3, 2], "stride": [1, 2], "dilation": [2, 1]},
         [Shape((2, 7, 6), samples=3)], [Shape((2, 3, 3), samples=3)], 0, compared(3 * 2 * 9 * 6, 3 * 2 * 3 * 3),
         lambda p, x: functional.max_pool2d(x, (3, 2), (1, 2), dilation=(2, 1))),
    Case("max_pool2d", {"kernel_size": 1, "stride": 2}, [(2, 5, 5)], [(2, 3, 3)], 0, Cost(),
         lambda p, x: x[:, :, ::2, ::2]),
    Case("avg_pool2d", {"kernel_size": 2}, [(3, 8, 8)], [(3, 4, 4)], 0, averaged(3 * 4 * 4 * 4, 3 * 4 * 4),
         lambda p, x: functional.avg_pool2d(x, 2)),
    Case("avg_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1}, [(2, 8, 8)], [(2, 4, 4)], 0,
         averaged(2 * 11 * 11, 2 * 4 * 4), lambda p, x: functional.avg_pool2d(functional.pad(x, [1] * 4), 3, 2)),
    Case("avg_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}, [(2, 7, 7)],
         [(2, 4, 4)], 0, averaged(2 * (2 + 3 + 3 + 2) ** 2, 2 * 4 * 4),
         lambda p, x: functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
    Case("avg_pool2d", {"kernel_size": [1, 3], "divisor_override": 2}, [(2, 4, 6)], [(2, 4, 2)], 0,
         averaged(2 * 4 * 6, 2 * 4 * 2), lambda p, x: functional.avg_pool2d(x, (1, 3)) * 3 / 2),
    Case("avg_pool2d", {"kernel_size": 3, "stride": 2, "ceil_mode": True}, [(2, 8, 8)], [(2, 4, 4)], 0,
         averaged(2 * 11 * 11, 2 * 4 * 4), lambda p, x: functional.avg_pool2d(x, 3, 2, ceil_mode=True)),
    Case("lp_pool2d", {"norm_type": 2, "kernel_size": 2}, [(3, 8, 8)], [(3, 4, 4)], 0,
         powers(3 * 8 * 8, 3 * 4 * 4), lambda p, x: (4 * functional.avg_pool2d(x**2, 2)).sqrt()),
    Case("lp_pool2d", {"norm_type": 2, "kernel_size": 3, "stride": 2}, [(2, 7, 7)], [(2, 3, 3)], 0,
         powers(2 * 9 * 9, 2 * 3 * 3), lambda p, x: (9 * functional.avg_pool2d(x**2, 3, 2)).sqrt()),
    Case("lp_pool2d", {"norm_type": 1, "kernel_size": 2}, [(2, 4, 4)], [(2, 2, 2)], 0,
         powers(2 * 4 * 4, 2 * 2 * 2), lambda p, x: 4 * functional.avg_pool2d(x, 2)),
    Case("lp_pool2d", {"norm_type": 4, "kernel_size": [2, 1], "stride": 1}, [(2, 4, 4)], [(2, 3, 4)], 0,
         powers(2 * 6 * 4, 2 * 3 * 4), lambda p, x: (x[:, :, 1:] ** 4 + x[:, :, :-1] ** 4) ** 0.25),
    Case("lp_pool2d", {"norm_type": 2, "kernel_size": 2, "ceil_mode": True}, [(2, 5, 4)], [(2, 3, 2)], 0,
         powers(2 * 5 * 4, 2 * 3 * 2), lambda p, x: functional.lp_pool2d(x, 2.0, 2, ceil_mode=True)),
    Case("adaptive_avg_pool2d", {"output_size": 1}, [(5, 7, 7)], [(5, 1, 1)], 0, averaged(5 * 49, 5, 5 * 49),
         lambda p, x: x.mean((2, 3), keepdim=True)),
    Case("adaptive_avg_pool2d", {"output_size": [2, 4]}, [(2, 8, 8)], [(2, 2, 4)], 0,
         averaged(2 * 8 * 8, 2 * 8, 2 * 64), lambda p, x: functional.avg_pool2d(x, (4, 2))),
    # 10 into 4: windows 0-3, 2-5, 5-8, 7-10, so 12 elements
    Case("adaptive_avg_pool2d", {"output_size": 4}, [(1, 10, 10)], [(1, 4, 4)], 0, averaged(12 * 12, 16, 100),
         lambda p, x: functional.adaptive_avg_pool2d(x, 4)),
    Case("adaptive_avg_pool2d", {"output_size": 6}, [(2, 4, 3)], [(2, 6, 6)], 0,
         averaged(2 * (1 + 2 + 1) * 2 * 6, 2 * 36, 2 * 12), lambda p, x: functional.adaptive_avg_pool2d(x, 6)),
    Case("adaptive_avg_pool2d", {"output_size": [None, 1]}, [Shape((2, 5, 4), samples=3)],
         [Shape((2, 5, 1), samples=3)], 0, averaged(3 * 2 * 20, 3 * 2 * 5, 3 * 2 * 20),
         lambda p, x: x.mean(3, keepdim=True)),
    Case("adaptive_max_pool2d", {"output_size": 1}, [(5, 7, 7)], [(5, 1, 1)], 0, compared(5 * 49, 5),
         lambda p, x: x.amax((2, 3), keepdim=True)),
    Case("adaptive_max_pool2d", {"output_size": [2, 4]}, [(2, 8, 8)], [(2, 2, 4)], 0, compared(2 * 64, 2 * 8),
         lambda p, x: functional.max_pool2d(x, (4, 2))),
    Case("adaptive_max_pool2d", {"output_size": 4}, [(1, 10, 10)], [(1, 4, 4)], 0, compared(12 * 12, 16),
         lambda p, x: functional.adaptive_max_pool2d(x, 4)),
    Case("adaptive_max_pool2d", {"output_size": 3}, [(2, 3, 3)], [(2, 3, 3)], 0, Cost(), lambda p, x: x),
    Case("adaptive_max_pool2d", {"output_size": [1, None]}, [(2, 5, 4)], [(2, 1, 4)], 0, compared(2 * 20, 2 * 4),
         lambda p, x: x.amax(2, keepdim=True)),
    # every region is counted as the whole map: 6 x 8 elements into 2 x 3, 6 and 8 + 3 - 1 a dimension
    Case("roi_pool", {"output_size": [2, 3], "regions": 5}, [(3, 6, 8)], [Shape((3, 2, 3), samples=5)], 0,
         Cost(comparisons=5 * 3 * (6 * 10 - 6)), regions),
    Case("roi_pool", {"output_size": 1, "regions": 1}, [(3, 6, 8)], [(3, 1, 1)], 0, Cost(comparisons=3 * 47),
         lambda p, x: x.amax((2, 3), keepdim=True)),
    Case("roi_pool", {"output_size": 1, "regions": 2}, [(1, 2, 2)], [Shape((1, 1, 1), samples=2)], 0,
         Cost(comparisons=2 * 3),
         lambda p, x: torch.stack([x.amax((2, 3)), x[:, :, 1].amax(2)], 1).reshape(-1, 1, 1, 1)),
    Case("roi_pool", {"output_size": 3, "regions": 1}, [(2, 6, 6)], [(2, 3, 3)], 0, Cost(comparisons=2 * (36 - 9)),
         lambda p, x: functional.max_pool2d(x, 2)),
    Case("roi_pool", {"output_size": 2, "regions": 1}, [Shape((2, 4, 4), samples=3)], [Shape((2, 2, 2), samples=3)],
         0, Cost(comparisons=3 * 2 * (16 - 4)), lambda p, x: functional.max_pool2d(x, 2)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_torch(case: Case) -> None:
    check(case)


def visited(dims: tuple[int, ...], out: tuple[int, ...], options: dict[str, Any]) -> tuple[int, int]:
    """Of one channel, the elements inside the input of all windows, and the windows that have any."""
    elements = windows = 0
    k, s, p, d = (options[name] for name in ("kernel_size", "stride", "padding", "dilation"))
    for place in itertools.product(*map(range, out)):
        inside = 0
        for tap in itertools.product(range(k[0]), range(k[1])):
            spots = [place[axis] * s[axis] - p[axis] + tap[axis] * d[axis] for axis in (0, 1)]
            inside += all(0 <= spot < size for spot, size in zip(spots, dims, strict=True))
        elements += inside
        windows += inside > 0
    return elements, windows


@st.composite
def pools(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, Any]]:
    def pair(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=2, max_size=2))

    kernel = pair(1, 4)
    options = {
        "kernel_size": kernel,
        "stride": pair(1, 4),
        "padding": [draw(st.integers(0, size // 2)) for size in kernel],
        "dilation": pair(1, 4),
        "ceil_mode": draw(st.booleans()),
    }
    return (draw(st.integers(1, 2)), *pair(1, 8)), options


@settings(max_examples=200, deadline=None)
@given(pools())
def test_random_max_pools(drawn: tuple[tuple[int, ...], dict[str, Any]]) -> None:
    dims, options = drawn
    operator, inputs = create("max_pool2d", **options), shapes([dims])
    (x,) = tensors(inputs)
    try:
        expected = functional.max_pool2d(x, **options)
    except RuntimeError:
        with pytest.raises(Refusal) as raised:
            operator.shapes(inputs)
        assert raised.value.code == "kernel-too-large"
        return
    outputs = operator.shapes(inputs)
    assert outputs[0].dims == tuple(expected.shape[1:])
    torch.testing.assert_close(operator.module(inputs)(x), expected)
    elements, windows = visited(dims[1:], outputs[0].dims[1:], options)
    assert operator.cost(inputs, outputs) == Cost(comparisons=dims[0] * (elements - windows))


@settings(max_examples=150, deadline=None)
@given(pools(), st.booleans(), st.sampled_from([None, 1, 7]))
def test_random_average_pools(
    drawn: tuple[tuple[int, ...], dict[str, Any]], include: bool, divisor: int | None
) -> None:
    dims, options = drawn
    del options["dilation"]
    options |= {"count_include_pad": include, "divisor_override": divisor}
    operator, inputs = create("avg_pool2d", **options), shapes([dims])
    (x,) = tensors(inputs)
    try:
        expected = functional.avg_pool2d(x, **options)
    except RuntimeError:
        with pytest.raises(Refusal) as raised:
            operator.shapes(inputs)
        assert raised.value.code == "kernel-too-large"
        return
    outputs = operator.shapes(inputs)
    assert outputs[0].dims == tuple(expected.shape[1:])
    torch.testing.assert_close(operator.module(inputs)(x), expected)
    elements, windows = visited(dims[1:], outputs[0].dims[1:], {**options, "dilation": [1, 1]})
    assert windows == outputs[0].dims[1] * outputs[0].dims[2]
    assert operator.cost(inputs, outputs) == Cost(additions=dims[0] * (elements - windows), divisions=dims[0] * windows)


@settings(max_examples=100, deadline=None)
@given(pools(), st.sampled_from([1.0, 2.0, 4.0]))
def test_random_lp_pools(drawn: tuple[tuple[int, ...], dict[str, Any]], norm_type: float) -> None:
    dims, options = drawn
    options = {name: options[name] for name in ("kernel_size", "stride", "ceil_mode")}
    operator, inputs = create("lp_pool2d", norm_type=norm_type, **options), shapes([dims])
    x = tensors(inputs)[0].abs()
    try:
        expected = functional.lp_pool2d(x, norm_type, **options)
    except RuntimeError:
        with pytest.raises(Refusal) as raised:
            operator.shapes(inputs)
        assert raised.value.code == "kernel-too-large"
        return
    outputs = operator.shapes(inputs)
    assert outputs[0].dims == tuple(expected.shape[1:])
    torch.testing.assert_close(operator.module(inputs)(x), expected)
    elements, windows = visited(dims[1:], outputs[0].dims[1:], {**options, "padding": [0, 0], "dilation": [1, 1]})
    assert operator.cost(inputs, outputs) == Cost(
        special=dims[0] * (elements + windows), additions=dims[0] * (elements - windows)
    )


def adaptive_windows(size: int, out: int) -> list[tuple[int, int]]:
    """By experiment: the outputs that a gradient of one output position reaches."""
    windows = []
    for place in range(out):
        x = torch.arange(float(size)).reshape(1, 1, 1, size).requires_grad_()
        functional.adaptive_avg_pool2d(x, (1, out))[0, 0, 0, place].backward()
        touched = x.grad.flatten().nonzero().flatten().tolist()
        windows.append((touched[0], touched[-1] + 1))
    return windows


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_random_adaptive_pools(height: int, width: int, out_height: int, out_width: int) -> None:
    inputs, size = shapes([(2, height, width)]), [out_height, out_width]
    rows, columns = adaptive_windows(height, out_height), adaptive_windows(width, out_width)
    elements = 2 * sum(b - a for a, b in rows) * sum(b - a for a, b in columns)
    windows = 2 * out_height * out_width
    average, maximum = create("adaptive_avg_pool2d", output_size=size), create("adaptive_max_pool2d", output_size=size)
    outputs = average.shapes(inputs)
    assert outputs == maximum.shapes(inputs) == shapes([(2, out_height, out_width)])
    fvcore = 2 * height * width
    assert average.cost(inputs, outputs) == averaged(elements, windows, fvcore)
    assert maximum.cost(inputs, outputs) == compared(elements, windows)
    seen = average.window(inputs, outputs)
    if (out_height, out_width) == (1, 1):
        assert seen == WHOLE
    else:
        assert isinstance(seen, Window)
        assert seen.size == (max(b - a for a, b in rows), max(b - a for a, b in columns))
        assert seen.stride == (Fraction(height, out_height), Fraction(width, out_width))


def test_costs_take_no_time_however_large_the_map() -> None:
    """Windows are counted by arithmetic, not one by one."""
    size = 10**15
    inputs = shapes([(1, size, 1)])
    pool = create("max_pool2d", kernel_size=[10**9 + 1, 1], padding=[10**9 // 2, 0], stride=1)
    outputs = pool.shapes(inputs)
    half = 10**9 // 2
    # all windows full but the first and the last `half`, which lack 1 to `half` elements
    elements = size * (2 * half + 1) - 2 * (half * (half + 1) // 2)
    assert pool.cost(inputs, outputs) == Cost(comparisons=elements - size)
    adaptive = create("adaptive_avg_pool2d", output_size=[10**12, 1])
    assert adaptive.cost(inputs, adaptive.shapes(inputs)) == averaged(size, 10**12, fvcore=size)


def test_backward() -> None:
    """A max pool hands each gradient to one element, an average to all of its window's."""
    inputs = shapes([(1, 8, 8)])
    for op, elsewhere, own in [
        ("max_pool2d", Cost(), Cost(additions=16)),
        ("avg_pool2d", Cost(), Cost(additions=64, divisions=16)),
    ]:
        operator = create(op, kernel_size=2)
        outputs = operator.shapes(inputs)
        assert operator.backward_cost(inputs, outputs, (False,), False) == elsewhere
        assert operator.backward_cost(inputs, outputs, (True,), False) == own


@pytest.mark.parametrize(
    ("op", "fields", "expected", "kernel"),
    [
        ("max_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1}, Window((3, 3), (2, 2), (1, 1)), "3x3x64, 2"),
        ("max_pool2d", {"kernel_size": 3, "dilation": 2}, Window((5, 5), (3, 3), (0, 0)), "3x3x64, 3"),
        ("avg_pool2d", {"kernel_size": [2, 1]}, Window((2, 1), (2, 1), (0, 0)), "2x1x64, 2x1"),
        ("lp_pool2d", {"kernel_size": 3, "norm_type": 2, "stride": 1}, Window((3, 3), (1, 1), (0, 0)), "3x3x64, 1"),
        ("adaptive_avg_pool2d", {"output_size": 1}, WHOLE, ""),
        ("adaptive_max_pool2d", {"output_size": 4}, Window((3, 3), (3, 3), (0, 0)), ""),
        ("roi_pool", {"output_size": 4, "regions": 2}, WHOLE, ""),
    ],
)
def test_windows_and_kernel_cells(op: str, fields: dict[str, Any], expected: Window | str, kernel: str) -> None:
    operator, inputs = create(op, **fields), shapes([(64, 12, 12)])
    assert operator.window(inputs, operator.shapes(inputs)) == expected
    assert operator.kernel(inputs) == kernel


@pytest.mark.parametrize(
    ("op", "fields", "dims", "code", "message"),
    [
        ("max_pool2d", {"kernel_size": 9}, (3, 8, 8), "kernel-too-large",
         "kernel_size 9 is larger than its padded input 8x8"),
        ("max_pool2d", {"kernel_size": 3, "dilation": 2, "padding": [1, 0]}, (3, 2, 4), "kernel-too-large",
         "kernel_size 3 (dilated to 5x5) is larger than its padded input 4x4"),
        ("avg_pool2d", {"kernel_size": [1, 9]}, (3, 8, 8), "kernel-too-large",
         "kernel_size 1x9 is larger than its padded input 8x8"),
        ("max_pool2d", {"kernel_size": 3, "padding": 2}, (3, 8, 8), "padding-too-large",
         "padding (=2) must be at most half of kernel_size (=3)"),
        ("avg_pool2d", {"kernel_size": [4, 1], "padding": [2, 1]}, (3, 8, 8), "padding-too-large",
         "padding (=1) must be at most half of kernel_size (=1)"),
        ("avg_pool2d", {"kernel_size": 2}, (3, 8), "wrong-rank", "takes 3 dimensions (C, H, W), not [3, 8]"),
        ("avg_pool2d", {"kernel_size": 2, "divisor_override": 0}, (3, 8, 8), "out-of-range",
         "divisor_override must be at least 1, not 0"),
        ("lp_pool2d", {"kernel_size": 2}, (3, 8, 8), "missing-field", "needs norm_type"),
        ("lp_pool2d", {"kernel_size": 2, "norm_type": 0}, (3, 8, 8), "out-of-range",
         "norm_type must be at least 1, not 0"),
        ("lp_pool2d", {"kernel_size": 2, "norm_type": 2, "padding": 1}, (3, 8, 8), "unknown-field",
         "has no field padding; it has norm_type, kernel_size, stride, ceil_mode"),
        ("adaptive_avg_pool2d", {"output_size": 0}, (3, 8, 8), "out-of-range",
         "output_size must be at least 1, not 0"),
        ("adaptive_max_pool2d", {"output_size": [1, 1, 1]}, (3, 8, 8), "wrong-length",
         "output_size must be one integer or 2, not 3: [1, 1, 1]"),
        ("adaptive_max_pool2d", {"output_size": 1}, (8,), "wrong-rank", "takes 3 dimensions (C, H, W), not [8]"),
        ("roi_pool", {"output_size": 7, "regions": 0}, (3, 8, 8), "out-of-range",
         "regions must be at least 1, not 0"),
        ("roi_pool", {"output_size": 7, "regions": 3}, (3, 8), "wrong-rank",
         "takes 3 dimensions (C, H, W), not [3, 8]"),
    ],
)  # fmt: skip
def test_refusals(op: str, fields: dict[str, Any], dims: tuple[int, ...], code: str, message: str) -> None:
    with pytest.raises(Refusal) as raised:
        create(op, **fields).shapes(shapes([dims]))
    assert (raised.value.code, str(raised.value)) == (code, message)
