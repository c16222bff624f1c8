"""Convolutions and transposed convolutions. Multiply-adds: outputs x taps, or for transposed ones inputs x taps."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators import create
from archprof.operators.base import Window
from archprof.shape import Shape
from tests.operators.harness import Case, check, randomised, shapes, tensors


def conv(out: int, taps: int, bias: bool = True) -> Cost:
    return Cost(multiply_adds=out * taps, bias_additions=out if bias else 0, activations=out)


def conv1d(p, x, **options):
    return functional.conv1d(x, p["weight"], p.get("bias"), **options)


def conv2d(p, x, **options):
    return functional.conv2d(x, p["weight"], p.get("bias"), **options)


def conv3d(p, x, **options):
    return functional.conv3d(x, p["weight"], p.get("bias"), **options)


def transposed(p, x, **options):
    return functional.conv_transpose2d(x, p["weight"], p.get("bias"), **options)


CASES = [
    Case("conv1d", {"out_channels": 4, "kernel_size": 3}, [(2, 8)], [(4, 6)], 4 * (2 * 3 + 1),
         conv(4 * 6, 2 * 3), conv1d),
    Case("conv1d", {"out_channels": 4, "kernel_size": 5, "stride": 2, "padding": 2}, [(3, 9)], [(4, 5)],
         4 * (3 * 5 + 1), conv(4 * 5, 3 * 5), lambda p, x: conv1d(p, x, stride=2, padding=2)),
    Case("conv1d", {"out_channels": 6, "kernel_size": [2], "dilation": 3, "bias": False}, [(2, 8)], [(6, 5)],
         6 * 2 * 2, conv(6 * 5, 2 * 2, bias=False), lambda p, x: conv1d(p, x, dilation=3)),
    Case("conv1d", {"out_channels": 6, "kernel_size": 4, "padding": "same"}, [(2, 7)], [(6, 7)],
         6 * (2 * 4 + 1), conv(6 * 7, 2 * 4), lambda p, x: conv1d(p, functional.pad(x, [1, 2]))),
    Case("conv1d", {"out_channels": 6, "kernel_size": 3, "groups": 3, "padding": [[2, 0]]}, [(3, 7)], [(6, 7)],
         6 * (1 * 3 + 1), conv(6 * 7, 3), lambda p, x: conv1d(p, functional.pad(x, [2, 0]), groups=3)),
    Case("conv2d", {"out_channels": 8, "kernel_size": 3}, [(3, 8, 8)], [(8, 6, 6)], 8 * (3 * 9 + 1),
         conv(8 * 6 * 6, 3 * 9), conv2d),
    Case("conv2d", {"out_channels": 4, "kernel_size": [3, 1], "stride": [2, 1], "padding": [1, 0]}, [(2, 7, 5)],
         [(4, 4, 5)], 4 * (2 * 3 + 1), conv(4 * 4 * 5, 2 * 3),
         lambda p, x: conv2d(p, x, stride=(2, 1), padding=(1, 0))),
    Case("conv2d", {"out_channels": 4, "kernel_size": 3, "dilation": 2, "padding": "same"}, [(2, 6, 5)],
         [(4, 6, 5)], 4 * (2 * 9 + 1), conv(4 * 6 * 5, 2 * 9), lambda p, x: conv2d(p, x, dilation=2, padding=2)),
    Case("conv2d", {"out_channels": 4, "kernel_size": 2, "padding": "same", "bias": False}, [(2, 4, 4)],
         [(4, 4, 4)], 4 * 2 * 4, conv(4 * 4 * 4, 2 * 4, bias=False),
         lambda p, x: conv2d(p, functional.pad(x, [0, 1, 0, 1]))),
    Case("conv2d", {"out_channels": 4, "kernel_size": 3, "padding": [[0, 1], [2, 3]], "stride": 2}, [(2, 6, 6)],
         [(4, 3, 5)], 4 * (2 * 9 + 1), conv(4 * 3 * 5, 2 * 9),
         lambda p, x: conv2d(p, functional.pad(x, [2, 3, 0, 1]), stride=2)),
    Case("conv2d", {"out_channels": 8, "kernel_size": 1, "padding": "valid", "groups": 2},
         [Shape((4, 3, 3), samples=3)], [Shape((8, 3, 3), samples=3)], 8 * (2 + 1), conv(3 * 8 * 3 * 3, 2),
         lambda p, x: conv2d(p, x, groups=2)),
    # peers.md: padding 'same' is no reason to count 0: 8 x 8 x 8 outputs of 3 x 9 taps, 13,824
    Case("conv2d", {"out_channels": 8, "kernel_size": 3, "padding": "same", "bias": False}, [(3, 8, 8)],
         [(8, 8, 8)], 8 * 3 * 9, conv(8 * 8 * 8, 3 * 9, bias=False), lambda p, x: conv2d(p, x, padding=1)),
    Case("conv3d", {"out_channels": 4, "kernel_size": 2}, [(2, 3, 4, 5)], [(4, 2, 3, 4)], 4 * (2 * 8 + 1),
         conv(4 * 2 * 3 * 4, 2 * 8), conv3d),
    Case("conv3d", {"out_channels": 4, "kernel_size": [1, 3, 3], "padding": [0, 1, 1]}, [(2, 3, 4, 5)],
         [(4, 3, 4, 5)], 4 * (2 * 9 + 1), conv(4 * 3 * 4 * 5, 2 * 9), lambda p, x: conv3d(p, x, padding=(0, 1, 1))),
    Case("conv3d", {"out_channels": 2, "kernel_size": 3, "stride": [1, 2, 2], "padding": 1, "bias": False},
         [(1, 3, 5, 5)], [(2, 3, 3, 3)], 2 * 27, conv(2 * 3 * 3 * 3, 27, bias=False),
         lambda p, x: conv3d(p, x, stride=(1, 2, 2), padding=1)),
    Case("conv3d", {"out_channels": 4, "kernel_size": 2, "dilation": [2, 1, 1], "groups": 2}, [(2, 4, 3, 3)],
         [(4, 2, 2, 2)], 4 * (8 + 1), conv(4 * 2 * 2 * 2, 8), lambda p, x: conv3d(p, x, dilation=(2, 1, 1), groups=2)),
    Case("conv3d", {"out_channels": 2, "kernel_size": 2, "padding": [[1, 0], [0, 1], [0, 0]]}, [(2, 2, 2, 2)],
         [(2, 2, 2, 1)], 2 * (2 * 8 + 1), conv(2 * 2 * 2 * 1, 2 * 8),
         lambda p, x: conv3d(p, functional.pad(x, [0, 0, 0, 1, 1, 0]))),
    # peers.md: 4 x 4 input positions of 3 channels, each into 5 channels of 2 x 2: 960
    Case("conv_transpose2d", {"out_channels": 5, "kernel_size": 2, "stride": 2, "bias": False}, [(3, 4, 4)],
         [(5, 8, 8)], 3 * 5 * 4, Cost(multiply_adds=3 * 4 * 4 * (5 * 4), activations=5 * 8 * 8),
         lambda p, x: transposed(p, x, stride=2)),
    Case("conv_transpose2d", {"out_channels": 4, "kernel_size": 3}, [(2, 3, 5)], [(4, 5, 7)], 2 * 4 * 9 + 4,
         Cost(multiply_adds=2 * 3 * 5 * 4 * 9, bias_additions=4 * 5 * 7, activations=4 * 5 * 7), transposed),
    Case("conv_transpose2d",
         {"out_channels": 4, "kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}, [(2, 4, 4)],
         [(4, 8, 8)], 2 * 4 * 9 + 4,
         Cost(multiply_adds=2 * 4 * 4 * 4 * 9, bias_additions=4 * 8 * 8, activations=4 * 8 * 8),
         lambda p, x: transposed(p, x, stride=2, padding=1, output_padding=1)),
    Case("conv_transpose2d", {"out_channels": 4, "kernel_size": 3, "dilation": 2, "groups": 2}, [(4, 3, 3)],
         [(4, 7, 7)], 4 * 2 * 9 + 4,
         Cost(multiply_adds=4 * 3 * 3 * 2 * 9, bias_additions=4 * 7 * 7, activations=4 * 7 * 7),
         lambda p, x: transposed(p, x, dilation=2, groups=2)),
    Case("conv_transpose2d",
         {"out_channels": 3, "kernel_size": [4, 2], "stride": [2, 1], "padding": [1, 0], "groups": 3, "bias": False},
         [Shape((3, 2, 2), samples=2)], [Shape((3, 4, 3), samples=2)], 3 * 8,
         Cost(multiply_adds=2 * 3 * 2 * 2 * 8, activations=2 * 3 * 4 * 3),
         lambda p, x: transposed(p, x, stride=(2, 1), padding=(1, 0), groups=3)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_torch(case: Case) -> None:
    check(case)


def brute_force(sizes: tuple[int, ...], options: dict[str, Any]) -> int:
    """Multiply-adds of one channel to one channel: every window is visited, every tap counted, on padding too."""
    axes = []
    for size, (before, after), k, s, d in zip(
        sizes, options["padding"], options["kernel_size"], options["stride"], options["dilation"], strict=True
    ):
        windows = []
        start = -before
        while start + d * (k - 1) < size + after:
            windows.append([start + tap * d for tap in range(k)])
            start += s
        axes.append(windows)
    return sum(len(list(itertools.product(*window))) for window in itertools.product(*axes))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, Any]]:
    dimensions = draw(st.integers(1, 3))
    top = {1: 9, 2: 6, 3: 4}[dimensions]

    def each(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=dimensions, max_size=dimensions))

    groups = draw(st.integers(1, 3))
    options = {
        "out_channels": groups * draw(st.integers(1, 2)),
        "kernel_size": each(1, 3),
        "stride": each(1, 3),
        "dilation": each(1, 2),
        "padding": [[a, b] for a, b in zip(each(0, 2), each(0, 2), strict=True)],
        "groups": groups,
        "bias": draw(st.booleans()),
    }
    return (groups * draw(st.integers(1, 2)), *each(1, top)), options


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_random_convolutions(drawn: tuple[tuple[int, ...], dict[str, Any]]) -> None:
    dims, options = drawn
    rank = len(dims) - 1
    operator = create(f"conv{rank}d", **options)
    flat = [side for pair in reversed(options["padding"]) for side in pair]
    function = [functional.conv1d, functional.conv2d, functional.conv3d][rank - 1]
    (x,) = tensors((Shape(dims),))
    weight = torch.randn(options["out_channels"], dims[0] // options["groups"], *options["kernel_size"])
    try:
        expected = function(
            functional.pad(x, flat),
            weight,
            stride=options["stride"],
            dilation=options["dilation"],
            groups=options["groups"],
        )
    except RuntimeError:
        with pytest.raises(Refusal) as raised:
            operator.shapes((Shape(dims),))
        assert raised.value.code == "kernel-too-large"
        return
    (out,) = operator.shapes((Shape(dims),))
    assert out.dims == tuple(expected.shape[1:])
    module = randomised(operator.module((Shape(dims),)))
    with torch.no_grad():
        module.weight.copy_(weight)
        if options["bias"]:
            module.bias.zero_()
    torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-5)
    cost = operator.cost((Shape(dims),), (out,))
    pairs = dims[0] // options["groups"] * options["out_channels"]
    assert cost.multiply_adds == pairs * brute_force(dims[1:], options)


def brute_force_transposed(sizes: tuple[int, ...], options: dict[str, Any], out: tuple[int, ...]) -> tuple[int, int]:
    """Of one channel to one channel: all products, and those that land inside the output."""
    products = landed = 0
    for position in itertools.product(*map(range, sizes)):
        for tap in itertools.product(*map(range, options["kernel_size"])):
            products += 1
            places = [
                p * s + t * d - pad
                for p, t, s, d, pad in zip(
                    position, tap, options["stride"], options["dilation"], options["padding"], strict=True
                )
            ]
            landed += all(0 <= place < size for place, size in zip(places, out, strict=True))
    return products, landed


@st.composite
def transposed_convolutions(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, Any]]:
    def pair(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=2, max_size=2))

    groups = draw(st.integers(1, 3))
    options = {
        "out_channels": groups * draw(st.integers(1, 2)),
        "kernel_size": pair(1, 3),
        "stride": pair(1, 3),
        "padding": pair(0, 2),
        "output_padding": pair(0, 2),
        "dilation": pair(1, 3),
        "groups": groups,
    }
    return (groups * draw(st.integers(1, 2)), *pair(1, 4)), options


@settings(max_examples=150, deadline=None)
@given(transposed_convolutions())
def test_random_transposed_convolutions(drawn: tuple[tuple[int, ...], dict[str, Any]]) -> None:
    dims, options = drawn
    (x,) = tensors((Shape(dims),))
    weight = torch.rand(dims[0], options["out_channels"] // options["groups"], *options["kernel_size"])
    arguments = {name: value for name, value in options.items() if name not in ("out_channels", "kernel_size")}
    try:
        expected = functional.conv_transpose2d(x, weight, **arguments)
    except RuntimeError:
        expected = torch.empty(0)
    if expected.numel() == 0:
        with pytest.raises(Refusal) as raised:
            create("conv_transpose2d", **options).shapes((Shape(dims),))
        assert raised.value.code == "padding-too-large"
        return
    operator = create("conv_transpose2d", **options)
    (out,) = operator.shapes((Shape(dims),))
    assert out.dims == tuple(expected.shape[1:])
    module = operator.module((Shape(dims),))
    with torch.no_grad():
        module.weight.copy_(weight)
        module.bias.zero_()
    torch.testing.assert_close(module(x), expected)
    pairs = dims[0] * options["out_channels"] // options["groups"]
    products, landed = brute_force_transposed(dims[1:], options, out.dims[1:])
    assert operator.cost((Shape(dims),), (out,)).multiply_adds == pairs * products
    # what lands is what torch adds up: with all ones, the sum of the output without its bias
    ones = functional.conv_transpose2d(torch.ones(1, *dims), torch.ones_like(weight), **arguments)
    assert round(ones.sum().item()) == pairs * landed
    # the receptive field holds every input position that an output position is made of
    window = operator.window((Shape(dims),), (out,))
    assert isinstance(window, Window)
    for axis in range(2):
        seen = list(seen_by_transposed(options, axis, dims[axis + 1], out.dims[axis + 1]))
        assert max((len(range(min(each), max(each) + 1)) for each in seen if each), default=1) <= window.size[axis]
        for place, each in enumerate(seen):
            first = math.floor(place * window.stride[axis]) - window.before[axis]
            assert all(first - 1 <= position <= first + window.size[axis] for position in each)


def seen_by_transposed(options: dict[str, Any], axis: int, size: int, out: int) -> list[list[int]]:
    k, s, p, d = (options[name][axis] for name in ("kernel_size", "stride", "padding", "dilation"))
    return [
        sorted({position for position in range(size) for tap in range(k) if position * s + tap * d - p == place})
        for place in range(out)
    ]


@pytest.mark.parametrize(
    ("op", "fields", "dims", "expected"),
    [
        ("conv2d", {"out_channels": 8, "kernel_size": 7, "stride": 2, "padding": 3}, (3, 9, 9),
         Window((7, 7), (2, 2), (3, 3))),
        ("conv2d", {"out_channels": 8, "kernel_size": [3, 1], "dilation": 4}, (3, 9, 9),
         Window((9, 1), (1, 1), (0, 0))),
        ("conv1d", {"out_channels": 8, "kernel_size": 4, "padding": "same"}, (3, 9), Window((4,), (1,), (1,))),
        ("conv2d", {"out_channels": 8, "kernel_size": 2, "padding": [[1, 0], [0, 1]]}, (3, 9, 9),
         Window((2, 2), (1, 1), (1, 0))),
        ("conv_transpose2d", {"out_channels": 8, "kernel_size": 2, "stride": 2}, (3, 4, 4),
         Window((1, 1), (Fraction(1, 2), Fraction(1, 2)), (0, 0))),
        ("conv_transpose2d", {"out_channels": 8, "kernel_size": 4, "stride": 2, "padding": 1}, (3, 4, 4),
         Window((2, 2), (Fraction(1, 2), Fraction(1, 2)), (1, 1))),
        ("conv_transpose2d", {"out_channels": 8, "kernel_size": 3}, (3, 4, 4), Window((3, 3), (1, 1), (2, 2))),
    ],
)  # fmt: skip
def test_windows(op: str, fields: dict[str, Any], dims: tuple[int, ...], expected: Window) -> None:
    operator, inputs = create(op, **fields), shapes([dims])
    assert operator.window(inputs, operator.shapes(inputs)) == expected


@pytest.mark.parametrize(
    ("op", "fields", "dims", "expected"),
    [
        ("conv2d", {"out_channels": 64, "kernel_size": 7, "stride": 2, "padding": 3}, (3, 220, 220), "7x7x3, 2"),
        ("conv2d", {"out_channels": 64, "kernel_size": [3, 1], "groups": 4}, (64, 9, 9), "3x1x16, 1"),
        ("conv2d", {"out_channels": 64, "kernel_size": 1, "stride": [1, 2]}, (64, 9, 9), "1x1x64, 1x2"),
        ("conv1d", {"out_channels": 64, "kernel_size": 5}, (8, 9), "5x8, 1"),
        ("conv3d", {"out_channels": 64, "kernel_size": 3}, (8, 9, 9, 9), "3x3x3x8, 1"),
        ("conv_transpose2d", {"out_channels": 64, "kernel_size": 2, "stride": 2, "groups": 2}, (8, 9, 9), "2x2x4, 2"),
    ],
)
def test_kernel_cells(op: str, fields: dict[str, Any], dims: tuple[int, ...], expected: str) -> None:
    assert create(op, **fields).kernel(shapes([dims])) == expected


@pytest.mark.parametrize(
    ("op", "fields", "dims"),
    [
        ("conv2d", {"out_channels": 4, "kernel_size": 3, "padding": 1}, (3, 5, 5)),
        ("conv1d", {"out_channels": 4, "kernel_size": 3, "stride": 2}, (3, 9)),
        ("conv_transpose2d", {"out_channels": 4, "kernel_size": 3, "stride": 2}, (3, 4, 4)),
    ],
)
def test_backward_against_flop_counter_mode(op: str, fields: dict[str, Any], dims: tuple[int, ...]) -> None:
    """Without groups, where FlopCounterMode is right (peers.md). It counts a multiply-add as two."""
    operator, inputs = create(op, **fields), shapes([dims])
    outputs = operator.shapes(inputs)
    for input_gradient in (False, True):
        (x,) = tensors(inputs, batch=1)
        module = operator.module(inputs)
        loss = module(x.requires_grad_(input_gradient)).sum()
        with FlopCounterMode(display=False) as counter:
            loss.backward()
        mine = operator.backward_cost(inputs, outputs, (input_gradient,), weight_gradient=True)
        assert mine is not None
        assert counter.get_total_flops() == 2 * mine.multiply_adds


def test_backward_of_a_depthwise_convolution() -> None:
    """peers.md: floating-point operations forward and backward: 3 x 2 x 8 x 8 x 4 x 9 = 13,824, not twice that."""
    operator = create("conv2d", out_channels=4, kernel_size=3, padding=1, groups=4, bias=False)
    inputs = shapes([(4, 8, 8)])
    outputs = operator.shapes(inputs)
    forward = operator.cost(inputs, outputs)
    backward = operator.backward_cost(inputs, outputs, (True,), True)
    assert forward is not None
    assert backward is not None
    assert 2 * (forward.multiply_adds + backward.multiply_adds) == 3 * 2 * 8 * 8 * 4 * 9 == 13_824


@pytest.mark.parametrize(
    ("op", "fields", "dims", "code", "message"),
    [
        ("conv2d", {"out_channels": 8, "kernel_size": 9, "padding": 0}, (3, 7, 7), "kernel-too-large",
         "kernel_size 9 is larger than its padded input 7x7"),
        ("conv2d", {"out_channels": 8, "kernel_size": [3, 5], "padding": [1, 0], "dilation": 2}, (3, 7, 7),
         "kernel-too-large", "kernel_size 3x5 (dilated to 5x9) is larger than its padded input 9x7"),
        ("conv2d", {"out_channels": 8, "kernel_size": 3}, (3, 7), "wrong-rank",
         "takes 3 dimensions (C, H, W), not [3, 7]"),
        ("conv1d", {"out_channels": 8, "kernel_size": 3}, (3, 7, 7), "wrong-rank",
         "takes 2 dimensions (C, L), not [3, 7, 7]"),
        ("conv3d", {"out_channels": 8, "kernel_size": 3}, (3, 7, 7), "wrong-rank",
         "takes 4 dimensions (C, D, H, W), not [3, 7, 7]"),
        ("conv2d", {"out_channels": 8, "kernel_size": 3, "groups": 2}, (3, 7, 7), "groups-do-not-divide",
         "in_channels (=3) must be divisible by groups (=2)"),
        ("conv2d", {"out_channels": 8, "kernel_size": 3, "groups": 3}, (3, 7, 7), "groups-do-not-divide",
         "out_channels (=8) must be divisible by groups (=3)"),
        ("conv2d", {"out_channels": 8, "kernel_size": 3, "stride": 2, "padding": "same"}, (3, 7, 7),
         "same-with-stride", "padding same needs stride 1, not 2"),
        ("conv2d", {"out_channels": 8, "kernel_size": 3, "padding": "full"}, (3, 7, 7), "not-a-choice",
         'padding must be same or valid, not the word "full"'),
        ("conv2d", {"out_channels": 8, "kernel_size": 3, "padding": [[1, 1]]}, (3, 7, 7), "wrong-length",
         "padding must be 2 [before, after] pairs, not [[1, 1]]"),
        ("conv2d", {"out_channels": 8, "kernel_size": 3, "padding": [1, 1, 1]}, (3, 7, 7), "wrong-length",
         "padding must be one integer or 2, not 3: [1, 1, 1]"),
        ("conv2d", {"out_channels": 8, "kernel_size": 3, "padding": -1}, (3, 7, 7), "out-of-range",
         "padding must be at least 0, not -1"),
        ("conv2d", {"out_channels": 8, "kernel_size": 3, "stride": 0}, (3, 7, 7), "out-of-range",
         "stride must be at least 1, not 0"),
        ("conv2d", {"out_channels": 8}, (3, 7, 7), "missing-field", "needs kernel_size"),
        ("conv_transpose2d", {"out_channels": 8, "kernel_size": 3, "groups": 2}, (3, 7, 7), "groups-do-not-divide",
         "in_channels (=3) must be divisible by groups (=2)"),
        ("conv_transpose2d", {"out_channels": 8, "kernel_size": 3, "groups": 3}, (3, 7, 7), "groups-do-not-divide",
         "out_channels (=8) must be divisible by groups (=3)"),
        ("conv_transpose2d", {"out_channels": 8, "kernel_size": 3, "stride": 2, "output_padding": 2}, (3, 7, 7),
         "padding-too-large", "output_padding (=2) must be smaller than stride (=2) or dilation (=1)"),
        ("conv_transpose2d", {"out_channels": 8, "kernel_size": 1, "padding": 2}, (3, 4, 5),
         "padding-too-large", "padding [2, 2] crops all of the output: it would be 0x1"),
        ("conv_transpose2d", {"out_channels": 8, "kernel_size": 1}, (3,), "wrong-rank",
         "takes 3 dimensions (C, H, W), not [3]"),
    ],
)  # fmt: skip
def test_refusals(op: str, fields: dict[str, Any], dims: tuple[int, ...], code: str, message: str) -> None:
    with pytest.raises(Refusal) as raised:
        create(op, **fields).shapes(shapes([dims]))
    assert (raised.value.code, str(raised.value)) == (code, message)
