"""The cases of ../shared/peers.md that concern a module: what other tools get wrong, imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import archprof
from archprof.analysis import make_table
from archprof.importer.modules import import_module
from tests.importer.test_modules import Calls


def shared() -> nn.Module:
    layer = nn.Linear(10, 10)
    return nn.Sequential(nn.Sequential(layer), nn.Sequential(layer))


# the module, its input without the batch, parameters, floating-point operations of products in the passes
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, int, str]] = {
    "a layer under two parents": (shared, (10,), 110, 2 * 200, "forward"),
    "a transposed convolution": (
        lambda: nn.ConvTranspose2d(3, 5, 2, stride=2, bias=False), (3, 4, 4), 60, 2 * 960, "forward",
    ),
    "a depthwise convolution, inner": (
        lambda: nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)),
        (4, 8, 8), 20 + 36, 2 * 2 * 64 * 16 + 13_824, "both",
    ),
    "a first convolution": (lambda: nn.Conv2d(3, 8, 3, padding=1, bias=False), (3, 8, 8), 216, 27_648, "forward"),
    "a first convolution and its gradient": (
        lambda: nn.Conv2d(3, 8, 3, padding=1, bias=False), (3, 8, 8), 216, 55_296, "both",
    ),
    "padding by name": (lambda: nn.Conv2d(3, 8, 3, padding="same", bias=False), (3, 8, 8), 216, 27_648, "forward"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_figures(name: str) -> None:
    make, shape, params, operations, passes = CASES[name]
    analysis = archprof.analyse(import_module(make(), torch.zeros(1, *shape)), passes=passes)
    assert (analysis.params, 2 * analysis.flops) == (params, operations)


def test_one_figure_whenever_it_is_asked_for() -> None:
    module = shared()
    assert {archprof.analyse(import_module(module, torch.zeros(1, 10))).flops for _ in range(3)} == {200}


@pytest.mark.parametrize(("kernel", "padding", "size", "out"), [(2, 1, 3, 2), (3, 0, 8, 4)])
def test_a_ceiling_pool_starts_inside_its_input(kernel: int, padding: int, size: int, out: int) -> None:
    module = nn.MaxPool2d(kernel, 2, padding=padding, ceil_mode=True)
    graph = import_module(module, torch.zeros(1, 1, size, size))
    assert (
        graph.nodes[-1].output_shapes[0].dims == tuple(module(torch.zeros(1, 1, size, size)).shape[1:]) == (1, out, out)
    )


def test_upsampling_counts_in_no_convention_of_products() -> None:
    graph = import_module(nn.Upsample(scale_factor=2, mode="bilinear"), torch.zeros(1, 3, 4, 4))
    assert archprof.analyse(graph).flops == 0
    assert archprof.analyse(graph, counting="operations").flops == 7 * 3 * 8 * 8  # four products, three sums


def test_operators_in_place() -> None:
    """Under module hooks torch refuses them backward; an import takes neither hooks nor a backward pass."""

    def forward(m: Any, x: Tensor) -> Tensor:
        y = F.relu(m.a(x), inplace=True)
        y += x
        return m.b(y)

    module = Calls(forward, a=nn.Linear(6, 6), b=nn.Linear(6, 2))
    graph = import_module(module, torch.zeros(1, 6))
    assert [node.operator.op for node in graph.nodes[1:]] == ["linear", "relu", "add", "linear"]
    assert archprof.analyse(graph, passes="both").flops == 2 * 36 + 3 * 12


def test_folding_changes_no_total() -> None:
    analysis = archprof.analyse(import_module(shared(), torch.zeros(1, 10)))
    assert len({make_table(analysis, fold=fold).total for fold in (1, 2, None)}) == 1


@pytest.mark.parametrize("run", [
    lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
    lambda q, k, v: (q @ k.transpose(-1, -2) / 2).softmax(-1) @ v,
], ids=["fused", "written out"])  # fmt: skip
def test_attention_costs_the_same_however_it_is_dispatched(run: Callable[..., Tensor]) -> None:
    module = Calls(lambda m, q, k, v: run(q, k, v))
    inputs = tuple(torch.zeros(1, 2, 5, 4) for _ in range(3))
    assert archprof.analyse(import_module(module, inputs)).flops == 2 * 2 * 5 * 5 * 4


def test_the_branch_that_runs_is_counted() -> None:
    module = Calls(lambda m, x: m.a(x) if m.training else m.b(x), a=nn.Linear(6, 4), b=nn.Linear(6, 2))
    figures = [
        archprof.analyse(import_module(module, torch.zeros(1, 6), train=train), train=train).flops
        for train in (False, True)
    ]
    assert figures == [12, 24]
