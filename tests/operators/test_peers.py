"""Small cases that other counters get wrong, most of them from their issue threads: one test each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import archprof
from archprof.analysis import Analysis
from archprof.cost import Cost
from archprof.operators import create
from archprof.operators.base import Operator
from archprof.shape import Shape
from tests.operators.harness import fvcore_count


def costs(op: str, dims: tuple[int, ...], **fields: Any) -> tuple[Operator, Shape, Cost]:
    """An operator of one input, its output and its cost in inference."""
    operator = create(op, **fields)
    (out,) = operator.shapes((Shape(dims),))
    cost = operator.cost((Shape(dims),), (out,))
    assert cost is not None
    return operator, out, cost


def analysed(folder: Path, text: str, **options: Any) -> Analysis:
    path = folder / "net.yaml"
    path.write_text("name: net\n" + text, encoding="utf-8")
    return archprof.analyse(archprof.load(str(path)), **options)


def test_a_linear_layer_under_two_parents_costs_twice_and_has_its_parameters_once(tmp_path: Path) -> None:
    """torchinfo gives 330 parameters, thop 800 and 220, calflops 400."""
    spec = """
input: [10]
layers:
  - {name: left, block: parent}
  - {name: right, block: parent, weights: left}
blocks:
  parent: {layers: [{name: l, op: linear, out_features: 10}]}
"""
    analysis = analysed(tmp_path, spec)
    assert (analysis.flops, analysis.params) == (2 * 10 * 10, 10 * 10 + 10) == (200, 110)
    assert [(each.node.path, each.flops, each.params) for each in analysis.figures] == [
        ("left.l", 100, 110),
        ("right.l", 100, 0),
    ]


def test_a_linear_layer_called_twice_by_its_own_name(tmp_path: Path) -> None:
    spec = """
input: [10]
layers:
  - {name: a, op: linear, out_features: 10}
  - {name: b, op: linear, out_features: 10, weights: a}
"""
    analysis = analysed(tmp_path, spec)
    assert (analysis.flops, analysis.params) == (200, 110)


def test_transposed_convolution_costs_by_its_input_positions() -> None:
    """torchinfo, thop and torchprofile give 3840, the output's."""
    _, out, cost = costs("conv_transpose2d", (3, 4, 4), out_channels=5, kernel_size=2, stride=2, bias=False)
    assert out.dims == (5, 8, 8)
    assert cost.multiply_adds == 3 * 4 * 4 * (5 * 2 * 2) == 960


def test_depthwise_convolution_forward_and_backward() -> None:
    """Floating-point operations. FlopCounterMode 2.13 gives 27,648: the weight gradient once for each group."""
    operator, out, forward = costs("conv2d", (4, 8, 8), out_channels=4, kernel_size=3, padding=1, groups=4, bias=False)
    backward = operator.backward_cost((Shape((4, 8, 8)),), (out,), (True,), True)
    assert backward is not None
    assert 2 * (forward.multiply_adds + backward.multiply_adds) == 3 * 2 * (4 * 8 * 8 * 9) == 13_824


@pytest.mark.parametrize(
    ("passes", "first", "inner"),
    [("forward", 27_648, 27_648), ("backward", 27_648, 2 * 27_648), ("both", 55_296, 3 * 27_648)],
)
def test_a_first_layer_needs_no_input_gradient(tmp_path: Path, passes: str, first: int, inner: int) -> None:
    """calflops and DeepSpeed give three times the forward count for both."""
    spec = """
input: [3, 8, 8]
layers:
  - {name: first, op: conv2d, out_channels: 8, kernel_size: 3, padding: 1, bias: false}
  - {name: narrow, op: conv2d, out_channels: 3, kernel_size: 1, bias: false}
  - {name: inner, op: conv2d, out_channels: 8, kernel_size: 3, padding: 1, bias: false}
"""
    assert 2 * (8 * 8 * 8) * (3 * 9) == 27_648
    analysis = analysed(tmp_path, spec, counting="operations", passes=passes)
    flops = {each.node.path: each.flops for each in analysis.figures}
    assert (flops["first"], flops["inner"]) == (first, inner)


def test_views_before_the_first_layer_do_not_make_it_an_inner_one(tmp_path: Path) -> None:
    spec = """
input: [3, 8, 8]
layers:
  - {op: pad, padding: [1, 1, 1, 1]}
  - {name: first, op: conv2d, out_channels: 8, kernel_size: 3, bias: false}
"""
    analysis = analysed(tmp_path, spec, counting="operations", passes="both")
    assert analysis.flops == 55_296


def test_max_pool_last_window_starts_inside() -> None:
    """The formula without the clip gives 3x3; netscope ignores ceil_mode."""
    _, out, _ = costs("max_pool2d", (1, 3, 3), kernel_size=2, stride=2, padding=1, ceil_mode=True)
    assert out.dims == (1, 2, 2)
    assert nn.MaxPool2d(2, 2, padding=1, ceil_mode=True)(torch.zeros(1, 1, 3, 3)).shape == (1, 1, 2, 2)


def test_max_pool_clipped_windows_are_smaller() -> None:
    """Rows of 3, 3, 3 and 2 elements, so 11 x 11 elements in 16 windows. With whole windows: 16 x 8 = 128."""
    _, out, cost = costs("max_pool2d", (1, 8, 8), kernel_size=3, stride=2, ceil_mode=True)
    assert out.dims == (1, 4, 4)
    assert cost.comparisons == (3 + 3 + 3 + 2) ** 2 - 4 * 4 == 105


def test_same_padding_is_counted_and_built_so_that_fvcore_counts_it() -> None:
    """fvcore and torchprofile give 0 for torch's own padding='same'."""
    operator, out, cost = costs("conv2d", (3, 8, 8), out_channels=8, kernel_size=3, padding="same", bias=False)
    assert out.dims == (8, 8, 8)
    assert cost.multiply_adds == 8 * 8 * 8 * 3 * 9 == 13_824
    assert fvcore_count(operator.module((Shape((3, 8, 8)),)).eval(), [torch.zeros(1, 3, 8, 8)]) == 13_824


def test_bilinear_upsampling_counts_by_output_elements() -> None:
    """Of two 3x4x4: fvcore's term is 4 an element, ptflops' 1, FlopCounterMode's 0; none is a multiply-add."""
    operator, _, cost = costs("upsample", (3, 4, 4), size=[8, 8], mode="bilinear")
    elements = 2 * 3 * 8 * 8
    assert (cost * 2).fvcore == 4 * elements == 1536
    assert (cost * 2).multiplications + (cost * 2).additions == (4 + 3) * elements
    assert (cost.multiply_adds, cost.bias_additions, cost.activations) == (0, 0, 0)
    assert fvcore_count(operator.module((Shape((3, 4, 4)),)), [torch.zeros(2, 3, 4, 4)]) == 1536


@pytest.mark.parametrize(
    ("counting", "flops"),
    [("multiply_adds", 0), ("multiply_adds_with_bias", 0), ("operations", 2 * 128), ("fvcore", 2 * 128)],
)
def test_one_batch_norm_by_convention(tmp_path: Path, counting: str, flops: int) -> None:
    """BatchNorm2d(8) on 8x4x4, 128 elements: 0, 16, 128, 256 or 512 by tool; here the convention's name says which."""
    analysis = analysed(tmp_path, "input: [8, 4, 4]\nlayers: [{op: batch_norm2d}]\n", counting=counting)
    assert analysis.flops == flops


@pytest.mark.parametrize(
    ("counting", "flops"),
    [
        ("multiply_adds", 5_451_264),
        ("multiply_adds_with_bias", 5_451_264 + 7 * 32 * 26 * 26),  # torchinfo's 5,602,688
        ("operations", 2 * 5_451_264 + 7 * 32 * 26 * 26),
        ("fvcore", 5_451_264),
    ],
)
def test_one_grouped_convolution_by_convention(tmp_path: Path, counting: str, flops: int) -> None:
    spec = "input: [16, 28, 28]\nlayers: [{op: conv2d, out_channels: 32, kernel_size: 3, groups: 4}]\n"
    assert 7 * (32 * 26 * 26) * (4 * 9) == 5_451_264
    assert analysed(tmp_path, spec, counting=counting, batch=7).flops == flops


@pytest.mark.parametrize("counting", ["multiply_adds", "multiply_adds_with_bias", "operations", "fvcore"])
@pytest.mark.parametrize("passes", ["forward", "both"])
def test_attention_costs_the_same_however_it_is_dispatched(tmp_path: Path, counting: str, passes: str) -> None:
    """One kernel, or two products and a softmax: most counters give 0 for the kernel.

    The scaling is a product with a number, which no operator of the language does alone.
    """
    head = """
input: [6, 8]
layers:
  - {name: q, op: linear, out_features: 8}
  - {name: k, op: linear, out_features: 8, from: input}
  - {name: v, op: linear, out_features: 8, from: input}
"""
    kernel = head + "  - {op: scaled_dot_product_attention, from: [q, k, v]}\n"
    written_out = head + (
        "  - {name: transposed, op: transpose, dim0: 1, dim1: 2, from: k}\n"
        "  - {name: scores, op: matmul, from: [q, transposed]}\n"
        "  - {name: weights, op: softmax, dim: -1}\n"
        "  - {name: mixed, op: matmul, from: [weights, v]}\n"
    )
    one = analysed(tmp_path, kernel, counting=counting, passes=passes)
    other = analysed(tmp_path, written_out, counting=counting, passes=passes)
    assert one.total.cost.multiply_adds == other.total.cost.multiply_adds
    if passes == "forward":
        scaling = 6 * 6 if counting == "operations" else 0
        assert one.flops == other.flops + scaling
    projections, products = 3 * 6 * 8 * 8, 6 * 6 * (8 + 8)
    # backward: a weight gradient for each projection, first layers all; a gradient for either factor of a product
    expected = projections + products if passes == "forward" else 2 * projections + 3 * products
    assert one.total.cost.multiply_adds == expected


def test_dropout_and_batch_norm_cost_what_the_mode_runs(tmp_path: Path) -> None:
    """fvcore's term for a batch norm is 2 an element in evaluation and 5 in training; dropout computes in training."""
    spec = "input: [8, 4, 4]\nlayers: [{op: batch_norm2d}, {op: dropout}]\n"
    assert analysed(tmp_path, spec, counting="fvcore").flops == 2 * 128
    assert analysed(tmp_path, spec, counting="fvcore", train=True).flops == 5 * 128
    assert analysed(tmp_path, spec, counting="operations").total.cost.comparisons == 0
    assert analysed(tmp_path, spec, counting="operations", train=True).total.cost.comparisons == 128


@pytest.mark.parametrize("op", ["relu", "add"])
def test_runs_under_module_backward_hooks(op: str) -> None:
    """pytorch#61519: what works in place breaks under them. Gradients are bit-equal with and without."""
    inputs = (Shape((3, 4, 4)),) * (2 if op == "add" else 1)
    first, last = create("conv2d", out_channels=3, kernel_size=1).module(inputs), create(op).module(inputs)
    x = torch.randn(2, 3, 4, 4, requires_grad=True)

    def gradients() -> list[torch.Tensor]:
        first.zero_grad()
        y = first(x)
        last(*(y for _ in inputs)).sum().backward()
        return [parameter.grad.clone() for parameter in first.parameters()]

    plain = gradients()
    fired = []
    for module in (first, last):
        module.register_full_backward_hook(lambda module, *_: fired.append(type(module).__name__))
    for hooked, without in zip(gradients(), plain, strict=True):
        assert torch.equal(hooked, without)
    assert len(fired) == 2
