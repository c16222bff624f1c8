"""Small modules whose parameters and multiply-adds are worked out by hand: what a module computes is what counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import parametrizations

import archprof
from archprof import UsageError
from archprof.analysis import Analysis
from archprof.importer import modules
from archprof.importer.modules import import_module


class Calls(nn.Module):
    """A module that runs a function of itself and its input: parts by name."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, nn.Parameter(part) if isinstance(part, Tensor) else part)
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


def parameter(*sizes: int) -> Tensor:
    return torch.ones(sizes)


def analysed(module: nn.Module, *inputs: Tensor, **options: Any) -> Analysis:
    return archprof.analyse(import_module(module, inputs), **options)


class Case(NamedTuple):
    """A module, what it is given (with a batch of one), and what comes of it."""

    make: Callable[[], nn.Module]
    inputs: tuple[Tensor, ...]
    params: int
    multiply_adds: int
    depth: int | None = None


def x(*sizes: int) -> tuple[Tensor, ...]:
    return (torch.zeros(1, *sizes),)


def indices(*sizes: int) -> tuple[Tensor, ...]:
    return (torch.zeros(1, *sizes, dtype=torch.int64),)


def shared_linear() -> nn.Module:
    shared = nn.Linear(10, 10)
    return nn.Sequential(nn.Sequential(shared), nn.Sequential(shared))


def tied_embedding() -> nn.Module:
    module = Calls(lambda m, ids: m.out(m.table(ids)), table=nn.Embedding(50, 8), out=nn.Linear(8, 50))
    module.out.weight = module.table.weight
    return module


def tied_linear(bias: bool = False) -> nn.Module:
    module = Calls(lambda m, x: m.b(m.a(x)), a=nn.Linear(8, 8, bias=bias), b=nn.Linear(8, 8, bias=bias))
    module.b.weight = module.a.weight
    return module


def frozen_in_no_grad(m: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        x = m.a(x)
    return m.b(x)


def in_place_sum(m: nn.Module, x: Tensor) -> Tensor:
    y = m.a(x)
    y += x
    return y.relu_()


def attention_by_hand(m: nn.Module, x: Tensor) -> Tensor:
    q, k, v = m.qkv(x).chunk(3, -1)
    return (q @ k.transpose(-2, -1) / 8**0.5).softmax(-1) @ v


def heads(m: nn.Module, x: Tensor) -> Tensor:
    q, k, v = m.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)


ATTENTION = 3 * 8 * 24  # 3 tokens of width 8 to queries, keys and values
SELF_ATTENTION = ATTENTION + 2 * 3 * 3 * 8 + 3 * 8 * 8  # the projections, two products, the projection out
MHA_PARAMS = 4 * 8 * 8 + 4 * 8

CASES: Mapping[str, Case] = {
    # what belongs to whom
    "shared": Case(shared_linear, x(10), 110, 2 * 10 * 10, 2),
    "called three times": Case(lambda: Calls(lambda m, x: m.l(m.l(m.l(x))), l=nn.Linear(5, 5)), x(5), 30, 3 * 25, 3),
    "tied, embedding": Case(tied_embedding, indices(4), 50 * 8 + 50, 4 * 8 * 50, 1),
    "tied, linear": Case(tied_linear, x(8), 64, 2 * 64, 2),
    "tied, linear with biases": Case(lambda: tied_linear(True), x(8), 64 + 8 + 8, 2 * 64, 2),
    "functional": Case(
        lambda: Calls(lambda m, x: F.linear(x, m.w, m.b), w=parameter(4, 6), b=parameter(4)), x(6), 28, 24, 1
    ),
    "functional convolution": Case(
        lambda: Calls(lambda m, x: F.conv2d(x, m.w, padding=1), w=parameter(4, 3, 3, 3)), x(3, 8, 8), 108, 64 * 108, 1
    ),
    "a parent's parameters": Case(
        lambda: Calls(lambda m, x: m.l(x * m.scale) + m.shift, scale=parameter(6), shift=parameter(1), l=nn.Linear(6, 2)),
        x(6), 6 + 1 + 14, 12, 1,
    ),
    "a product with a parameter": Case(lambda: Calls(lambda m, x: x @ m.w, w=parameter(6, 4)), x(5, 6), 24, 5 * 24, 1),
    "addmm": Case(
        lambda: Calls(lambda m, x: torch.addmm(m.b, x, m.w), w=parameter(6, 4), b=parameter(4)), x(6), 28, 24, 1
    ),
    "unused": Case(lambda: Calls(lambda m, x: m.a(x), a=nn.Linear(4, 4), b=nn.Linear(4, 7)), x(4), 20 + 35, 16, 1),
    "weight norm": Case(lambda: parametrizations.weight_norm(nn.Linear(8, 5)), x(8), 40 + 5 + 5, 40, 1),
    "weight norm by a hook": Case(
        lambda: nn.utils.weight_norm(nn.Conv1d(3, 4, 3)), x(3, 10), 36 + 4 + 4, 8 * 36, 1
    ),
    "spectral norm": Case(  # and two products that give the greatest singular value
        lambda: parametrizations.spectral_norm(nn.Linear(8, 5)), x(8), 45, 40 + 40 + 5, 1
    ),
    # layers
    "many leading dimensions": Case(lambda: nn.Linear(10, 3), x(2, 4, 5, 10), 33, 2 * 4 * 5 * 30, 1),
    "conv1d": Case(lambda: nn.Conv1d(4, 6, 3, groups=2), x(4, 9), 42, 7 * 6 * 2 * 3, 1),
    "conv3d": Case(lambda: nn.Conv3d(2, 3, 2, bias=False), x(2, 4, 4, 4), 48, 27 * 48, 1),
    "conv2d, padding same": Case(lambda: nn.Conv2d(3, 8, 3, padding="same", bias=False), x(3, 8, 8), 216, 13_824, 1),
    "conv2d, circular padding": Case(
        lambda: nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular", bias=False), x(3, 8, 8), 216, 13_824, 1
    ),
    "depthwise": Case(lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), x(4, 8, 8), 36, 64 * 36, 1),
    "conv_transpose1d": Case(lambda: nn.ConvTranspose1d(4, 6, 3, 2, groups=2), x(4, 5), 36 + 6, 5 * 4 * 3 * 3, 1),
    "conv_transpose2d": Case(lambda: nn.ConvTranspose2d(3, 5, 2, 2, bias=False), x(3, 4, 4), 60, 16 * 60, 1),
    "conv_transpose3d": Case(lambda: nn.ConvTranspose3d(2, 3, 2, bias=False), x(2, 3, 3, 3), 48, 27 * 48, 1),
    "bilinear": Case(lambda: nn.Bilinear(4, 5, 3), (*x(4), *x(5)), 63, 3 * (4 * 5 + 5)),
    "prelu": Case(lambda: nn.PReLU(6), x(6, 4), 6, 0, 0),
    "batch norms": Case(
        lambda: Calls(
            lambda m, x: m.three(m.two(m.one(x.flatten(2)).view_as(x)).unsqueeze(-1)),
            one=nn.BatchNorm1d(4), two=nn.BatchNorm2d(4), three=nn.BatchNorm3d(4, affine=False),
        ),
        x(4, 3, 3), 16, 0, 0,
    ),
    "other norms": Case(
        lambda: nn.Sequential(
            nn.LayerNorm([4, 6, 6]), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.RMSNorm(6),
            nn.LocalResponseNorm(3),
        ),
        x(4, 6, 6), 2 * 144 + 8 + 8 + 6, 0, 0,
    ),
    "embedding bag": Case(lambda: nn.EmbeddingBag(9, 4), indices(3), 36, 0),
    # recurrent layers: gates x hidden x (input + hidden) a step, two biases each
    "lstm": Case(lambda: nn.LSTM(6, 5, batch_first=True), x(7, 6), 4 * 5 * (11 + 2), 7 * 4 * 5 * 11, 1),
    "lstm, two layers and directions": Case(
        lambda: nn.LSTM(6, 5, 2, bidirectional=True, batch_first=True), x(7, 6),
        2 * 20 * (11 + 2) + 2 * 20 * (15 + 2), 7 * (2 * 20 * 11 + 2 * 20 * 15), 2,
    ),
    "lstm, projected": Case(
        lambda: nn.LSTM(6, 5, proj_size=2, batch_first=True), x(7, 6),
        20 * (6 + 2 + 2) + 10, 7 * (20 * 8 + 10), 1,
    ),
    "lstm, states given": Case(
        lambda: Calls(lambda m, x, h: m.l(x, (h.transpose(0, 1), h.transpose(0, 1)))[0], l=nn.LSTM(6, 5, batch_first=True)),
        (*x(7, 6), *x(1, 5)), 260, 7 * 220, 1,
    ),
    "gru": Case(lambda: nn.GRU(6, 5, batch_first=True, bias=False), x(7, 6), 3 * 5 * 11, 7 * 3 * 5 * 11, 1),
    "rnn": Case(lambda: nn.RNN(6, 5, batch_first=True), x(7, 6), 5 * (11 + 2), 7 * 5 * 11, 1),
    "sequence first": Case(lambda: Calls(lambda m, x: m.l(x.transpose(0, 1))[0], l=nn.LSTM(6, 5)), x(7, 6), 260, 1540, 1),
    "cells": Case(
        lambda: Calls(
            lambda m, x: m.c(m.b(m.a(x)[0])), a=nn.LSTMCell(6, 5), b=nn.GRUCell(5, 5), c=nn.RNNCell(5, 5)
        ),
        x(6), 20 * 13 + 15 * 12 + 5 * 12, 20 * 11 + 15 * 10 + 5 * 10, 3,
    ),
    # attention
    "scaled_dot_product_attention": Case(
        lambda: Calls(lambda m, q, k: F.scaled_dot_product_attention(q, k, k)), (*x(2, 5, 4), *x(2, 7, 4)), 0,
        2 * 2 * 5 * 7 * 4,
    ),
    "causal, in heads": Case(lambda: Calls(heads, qkv=nn.Linear(8, 24)), x(3, 8), 216, ATTENTION + 2 * 3 * 3 * 8),
    "by hand": Case(lambda: Calls(attention_by_hand, qkv=nn.Linear(8, 24)), x(3, 8), 216, ATTENTION + 2 * 3 * 3 * 8),
    "grouped queries": Case(
        lambda: Calls(lambda m, q, k: F.scaled_dot_product_attention(q, k, k, enable_gqa=True)),
        (*x(4, 5, 4), *x(2, 5, 4)), 0, 2 * 4 * 5 * 5 * 4,
    ),
    "nn.MultiheadAttention": Case(
        lambda: Calls(lambda m, x: m.a(x, x, x)[0], a=nn.MultiheadAttention(8, 2, batch_first=True)), x(3, 8),
        MHA_PARAMS, SELF_ATTENTION, 2,
    ),
    "nn.MultiheadAttention, sequence first": Case(
        lambda: Calls(
            lambda m, x: m.a(x.transpose(0, 1), x.transpose(0, 1), x.transpose(0, 1), need_weights=False)[0],
            a=nn.MultiheadAttention(8, 2),
        ),
        x(3, 8), MHA_PARAMS, SELF_ATTENTION, 2,
    ),
    "nn.MultiheadAttention, weights used": Case(
        lambda: Calls(lambda m, x: m.a(x, x, x), a=nn.MultiheadAttention(8, 2, batch_first=True)), x(3, 8),
        MHA_PARAMS, SELF_ATTENTION, 2,
    ),
    "nn.MultiheadAttention, masked": Case(
        lambda: Calls(
            lambda m, x: m.a(x, x, x, attn_mask=torch.full((3, 3), 0.5).triu(), need_weights=False)[0],
            a=nn.MultiheadAttention(8, 2, batch_first=True),
        ),
        x(3, 8), MHA_PARAMS, SELF_ATTENTION, 2,
    ),
    "nn.MultiheadAttention, crossed": Case(  # 3 queries, 5 keys
        lambda: Calls(lambda m, q, k: m.a(q, k, k)[0], a=nn.MultiheadAttention(8, 2, batch_first=True)),
        (*x(3, 8), *x(5, 8)), MHA_PARAMS, 2 * 3 * 64 + 2 * 5 * 64 + 2 * 3 * 5 * 8, 2,
    ),
    "nn.MultiheadAttention, other widths": Case(
        lambda: Calls(
            lambda m, q, k: m.a(q, k, k)[0], a=nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True)
        ),
        (*x(3, 8), *x(5, 6)), 2 * 64 + 2 * 48 + 32, 2 * 3 * 64 + 2 * 5 * 48 + 2 * 3 * 5 * 8, 2,
    ),
    "nn.TransformerEncoderLayer": Case(
        lambda: nn.TransformerEncoderLayer(8, 2, 20, batch_first=True), x(3, 8),
        MHA_PARAMS + 20 * 9 + 8 * 21 + 2 * 16, SELF_ATTENTION + 2 * 3 * 8 * 20, 4,
    ),
    "nn.TransformerEncoderLayer, frozen": Case(
        lambda: nn.TransformerEncoderLayer(8, 2, 20, batch_first=True).requires_grad_(False), x(3, 8),
        MHA_PARAMS + 20 * 9 + 8 * 21 + 2 * 16, SELF_ATTENTION + 2 * 3 * 8 * 20, 4,
    ),
    "nn.TransformerEncoder": Case(
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 20, batch_first=True), 2), x(3, 8),
        2 * (MHA_PARAMS + 20 * 9 + 8 * 21 + 2 * 16), 2 * (SELF_ATTENTION + 2 * 3 * 8 * 20), 8,
    ),
    "nn.TransformerDecoderLayer": Case(
        lambda: nn.TransformerDecoderLayer(8, 2, 20, batch_first=True), (*x(3, 8), *x(5, 8)),
        2 * MHA_PARAMS + 20 * 9 + 8 * 21 + 3 * 16,
        SELF_ATTENTION + 2 * 3 * 64 + 2 * 5 * 64 + 2 * 3 * 5 * 8 + 2 * 3 * 8 * 20, 6,
    ),
    # products of tensors
    "matmul": Case(lambda: Calls(lambda m, a, b: a @ b), (*x(5, 3, 4), *x(5, 4, 6)), 0, 5 * 3 * 4 * 6),
    "bmm": Case(lambda: Calls(lambda m, a, b: torch.bmm(a, b)), (*x(3, 4), *x(4, 6)), 0, 3 * 4 * 6),
    "baddbmm": Case(lambda: Calls(lambda m, a, b, c: torch.baddbmm(c, a, b)), (*x(3, 4), *x(4, 6), *x(3, 6)), 0, 72),
    "einsum": Case(lambda: Calls(lambda m, a, b: torch.einsum("bhqd,bhkd->bhqk", a, b)), (*x(2, 5, 4), *x(2, 7, 4)), 0, 280),
    "einsum, ellipsis": Case(
        lambda: Calls(lambda m, a, b: torch.einsum("...qd,...kd->...qk", a, b)), (*x(2, 5, 4), *x(2, 7, 4)), 0, 280
    ),
    "einsum, a parameter": Case(
        lambda: Calls(lambda m, a: torch.einsum("bld,dk->blk", a, m.w), w=parameter(4, 6)), x(3, 4), 24, 72
    ),
    "einsum, three": Case(  # a with b, then with c
        lambda: Calls(lambda m, a, b, c: torch.einsum("bij,bjk,bkl->bil", a, b, c)), (*x(2, 3), *x(3, 4), *x(4, 5)), 0,
        2 * 3 * 4 + 2 * 4 * 5,
    ),
    "einsum, elements": Case(lambda: Calls(lambda m, a, b: torch.einsum("bi,bi->bi", a, b)), (*x(3), *x(3)), 0, 0),
    "tensordot": Case(lambda: Calls(lambda m, a: torch.tensordot(a, m.w, 2), w=parameter(3, 4, 6)), x(3, 4), 72, 72),
    # how a module is written
    "in place": Case(lambda: nn.Sequential(nn.Linear(6, 6), nn.ReLU(inplace=True), nn.Linear(6, 2)), x(6), 56, 48, 2),
    "in-place sum": Case(lambda: Calls(in_place_sum, a=nn.Linear(6, 6)), x(6), 42, 36, 1),
    "without gradients": Case(lambda: Calls(frozen_in_no_grad, a=nn.Linear(6, 4), b=nn.Linear(4, 2)), x(6), 38, 32, 2),
    "checkpointed": Case(
        lambda: Calls(
            lambda m, x: torch.utils.checkpoint.checkpoint(m.a, x, use_reentrant=False), a=nn.Linear(6, 4)
        ),
        x(6), 28, 24, 1,
    ),
    "samples one by one": Case(
        lambda: Calls(lambda m, x: torch.stack([m.a(x[i]) for i in range(x.shape[0])]), a=nn.Linear(6, 4)), x(6), 28, 24, 1
    ),
    "a state of one sample": Case(
        lambda: Calls(lambda m, x: m.a(torch.cat([x, torch.zeros(1, 2)], 1)), a=nn.Linear(8, 4)), x(6), 36, 32, 1
    ),
    "windows in the batch": Case(
        lambda: Calls(lambda m, x: m.a(x.reshape(-1, 4, 6)).mean(1), a=nn.Linear(6, 3)), x(5, 4, 6), 21, 5 * 4 * 18, 1
    ),
    "channels in the batch": Case(  # each a map of its own
        lambda: Calls(lambda m, x: m.a(x.reshape(-1, 1, 8, 8)), a=nn.Conv2d(1, 2, 3, bias=False)), x(3, 8, 8), 18, 3 * 36 * 18, 1
    ),
    "no layer": Case(lambda: Calls(lambda m, x: x.relu() + 1), x(3), 0, 0, 0),
}  # fmt: skip


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_parameters_and_multiply_adds(name: str) -> None:
    case = CASES[name]
    module = case.make()
    analysis = analysed(module, *case.inputs, counting="multiply_adds")
    assert analysis.params == case.params == sum(each.numel() for each in module.parameters())
    assert analysis.flops == case.multiply_adds
    assert not analysis.lower_bound
    if case.depth is not None:
        assert analysis.depth == case.depth
    paths = [node.path for node in analysis.graph.nodes]
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("name", ["shared", "lstm", "nn.TransformerEncoderLayer", "conv_transpose1d", "einsum, three"])
def test_a_batch_costs_so_many_times(name: str) -> None:
    case = CASES[name]
    graph = import_module(case.make(), case.inputs)
    assert archprof.analyse(graph, batch=5, counting="multiply_adds").flops == 5 * case.multiply_adds


@pytest.mark.parametrize("size", [1, 2, 1009])
def test_the_examples_batch_is_of_no_matter(size: int) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    graph = import_module(module, torch.zeros(size, 3, 4, 4))
    assert [node.output_shapes[0].dims for node in graph.nodes] == [(3, 4, 4), (4, 2, 2), (16,), (2,)]


# --- rows


def paths_of(module: nn.Module, *inputs: Tensor) -> list[str]:
    return [node.path for node in import_module(module, inputs).nodes if not node.is_input]


def test_paths_are_those_of_the_modules_in_order_of_execution() -> None:
    module = nn.TransformerEncoderLayer(8, 2, 20, dropout=0.0, batch_first=True)
    assert paths_of(module, *x(3, 8)) == [
        "self_attn", "dropout1", "add", "norm1", "linear1", "relu", "dropout", "linear2", "dropout2", "add_2", "norm2",
    ]  # fmt: skip


def test_a_second_call_of_a_module_has_a_number() -> None:
    block = Calls(lambda m, x: m.relu(m.fc(m.relu(x))), fc=nn.Linear(4, 4), relu=nn.ReLU())
    module = Calls(lambda m, x: m.block(m.block(x)), block=block)
    assert paths_of(module, *x(4)) == [
        "block.relu", "block.fc", "block.relu_2", "block_2.relu", "block_2.fc", "block_2.relu_2",
    ]  # fmt: skip


def test_calls_of_a_parent_stand_beside_its_children() -> None:
    class Child(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.gain = nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x) * self.gain + x

    module = nn.Sequential(Child(), nn.ReLU())
    assert paths_of(module, *x(4)) == ["0.fc", "0.gain", "0.multiply", "0.add", "1"]


def test_a_parameter_that_nothing_uses_has_a_row() -> None:
    graph = import_module(CASES["unused"].make(), x(4))
    rows = {each.node.path: each.params for each in archprof.analyse(graph).figures}
    assert rows == {"a": 20, "b.weight": 28, "b.bias": 7}


def test_a_shared_module_has_its_parameters_at_the_first_call() -> None:
    rows = {each.node.path: (each.params, each.flops) for each in analysed(shared_linear(), *x(10)).figures}
    assert rows == {"0.0": (110, 100), "1.0": (0, 100)}


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, image: Tensor, scale: Tensor | None = None) -> Any:
        return {"a": self.fc(image), "rest": [image if scale is None else scale * 2]}


def test_inputs_by_name() -> None:
    graph = import_module(Named(), x(4), {"scale": torch.zeros(1)})
    assert [node.path for node in graph.inputs] == ["image", "scale"]
    assert list(graph.outputs) == ["a", "rest.0"]
    assert [node.path for node in import_module(Named(), x(4)).inputs] == ["image"]


def test_one_output_is_called_output() -> None:
    assert list(import_module(nn.Linear(2, 2), x(2)).outputs) == ["output"]


def test_a_batch_in_another_dimension() -> None:
    module = Calls(lambda m, x: m.a(x, x, x)[0], a=nn.MultiheadAttention(8, 2))
    graph = import_module(module, torch.zeros(3, 1, 8), batch_dims={0: 1})
    assert archprof.analyse(graph).flops == SELF_ATTENTION


# --- costs beside multiply-adds


def operations(module: nn.Module, *inputs: Tensor) -> int:
    return analysed(module, *inputs, counting="operations").flops


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x + 1, 12),
        (lambda x: x * x, 12),
        (lambda x: torch.add(x, x, alpha=2), 24),
        (lambda x: (x * 0.5).exp(), 24),
        (lambda x: x**2, 12),
        (lambda x: x**0.5, 12),
        (lambda x: x.sum(1), 12 - 4),  # 3 x 4 to 4
        (lambda x: x.mean(1), 12 - 4 + 4),
        (lambda x: x.std(1), 3 * 12 - 2 * 4 + 12 + 2 * 4 + 4),
        (lambda x: x.amax(1), 0),  # comparisons
        (lambda x: x.log_softmax(2), 3 * 12 - 3 + 12 + 3),
        (lambda x: F.elu(x), 3 * 12),
        (lambda x: x.transpose(1, 2).reshape(-1, 12), 0),
        (lambda x: torch.cat([x, x], 1), 0),
        (lambda x: x.masked_fill(x > 0, 0.0), 0),
        (lambda x: x[:, 1:] - x[:, :-1], 8),
        (lambda x: (x.argmax(-1) + 1).float(), 0),  # arithmetic of indices is none
        (lambda x: F.avg_pool1d(x, 2), 3 * 2 * (1 + 1)),
        (lambda x: F.adaptive_avg_pool1d(x, 2), 3 * 2 * (1 + 1)),
        (lambda x: F.normalize(x, dim=-1), 2 * 12 - 3 + 3 + 12),
    ],
)  # fmt: skip
def test_operations_of_functions(function: Callable[[Tensor], Tensor], expected: int) -> None:
    assert operations(Calls(lambda m, x: function(x)), *x(3, 4)) == expected


def test_pools_count_what_lies_inside() -> None:
    module = nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True))
    assert analysed(module, *x(1, 8, 8)).total.cost.comparisons == (3 + 3 + 3 + 2) ** 2 - 4 * 4 == 105
    volume = analysed(nn.MaxPool3d(2, 2, padding=1), *x(2, 4, 4, 4)).total.cost  # of 1, 2 and 1 elements each way
    assert volume.comparisons == 2 * (4**3 - 3**3)


def test_bilinear_upsampling_is_by_output_elements() -> None:
    cost = analysed(nn.Upsample(scale_factor=2, mode="bilinear"), *x(3, 4, 4)).total.cost
    assert cost.multiplications + cost.additions == 7 * 3 * 8 * 8


def test_attention_costs_the_same_however_it_is_written() -> None:
    fused = Calls(lambda m, x: F.scaled_dot_product_attention(*m.qkv(x).chunk(3, -1)), qkv=nn.Linear(8, 24))
    costs = [analysed(module, *x(3, 8)).total.cost for module in (CASES["by hand"].make(), fused)]
    assert costs[0].multiply_adds == costs[1].multiply_adds == ATTENTION + 2 * 9 * 8
    assert costs[0].special == costs[1].special == 9


# --- backward


def both_passes(module: nn.Module, *inputs: Tensor) -> int:
    return analysed(module, *inputs, counting="multiply_adds", passes="both").flops


def test_a_first_layer_needs_no_input_gradient() -> None:
    assert both_passes(nn.Conv2d(3, 8, 3, padding=1, bias=False), *x(3, 8, 8)) == 2 * 13_824


def test_a_frozen_layer_needs_no_weight_gradient() -> None:
    first, last = nn.Linear(6, 6), nn.Linear(6, 6)
    assert both_passes(nn.Sequential(first, last), *x(6)) == (2 + 3) * 36
    first.requires_grad_(False)
    assert both_passes(nn.Sequential(first, last), *x(6)) == (1 + 2) * 36
    first.requires_grad_(True), last.requires_grad_(False)
    assert both_passes(nn.Sequential(first, last), *x(6)) == (2 + 2) * 36


def test_a_computed_weight_has_a_gradient_and_a_first_input_none() -> None:
    assert both_passes(parametrizations.weight_norm(nn.Linear(8, 5)), *x(8)) == 2 * 40


def test_the_bias_of_a_frozen_weight_is_trained() -> None:
    first, last = nn.Linear(6, 6), nn.Linear(6, 6)
    first.weight.requires_grad_(False)
    assert both_passes(nn.Sequential(first, last), *x(6)) == (1 + 3) * 36
    total = analysed(nn.Sequential(first, last), *x(6), passes="backward").total
    assert total.cost.bias_additions == 2 * 6


def test_a_cell_that_is_called_again_has_the_gradients_of_its_weights_again() -> None:
    """Of the first call the weights alone, of the second the hidden state's too: 3 gates of 6 by 8 and 6 by 6."""
    module = Calls(lambda m, x: m.cell(x, m.cell(x, x.new_zeros(len(x), 6))), cell=nn.GRUCell(8, 6))
    weights, hidden = 18 * (8 + 6), 18 * 6
    assert analysed(module, *x(8), counting="multiply_adds", passes="backward").flops == 2 * weights + hidden


def test_no_gradient_passes_no_grad_and_detach() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = m.a(x)
        return m.c(y) + m.c(m.b(x).detach())

    module = Calls(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8), c=nn.Linear(8, 3))
    assert analysed(module, *x(8), counting="multiply_adds", passes="backward").flops == 2 * 24
    assert analysed(module, *x(8), counting="multiply_adds").flops == 2 * 64 + 2 * 24


# --- what archprof does not know


def test_an_unknown_call_is_not_counted_and_makes_totals_lower_bounds() -> None:
    module = Calls(lambda m, x: m.a(x.sort(-1).values), a=nn.Linear(6, 4))
    analysis = analysed(module, *x(6))
    assert analysis.lower_bound
    assert analysis.flops == 24
    (unknown,) = [each for each in analysis.figures if each.cost is None]
    assert (unknown.node.path, unknown.node.operator.op) == ("sort", "sort")
    assert unknown.node.output_shapes[0].dims == (6,)


def test_a_custom_operator_is_not_counted() -> None:
    @torch.library.custom_op("archprof_tests::twice", mutates_args=())
    def twice(x: Tensor) -> Tensor:
        return x * 2

    twice.register_fake(lambda x: torch.empty_like(x))
    analysis = analysed(Calls(lambda m, x: twice(x)), *x(6))
    assert [each.node.operator.op for each in analysis.figures if each.cost is None] == ["archprof_tests.twice"]


# --- what cannot be traced


def test_a_branch_on_values_is_traced_with_zeros() -> None:
    def run(m: nn.Module, x: Tensor) -> Tensor:
        return m.a(x) if x.sum() > 0 else m.b(m.b(x))

    assert analysed(Calls(run, a=nn.Linear(6, 6), b=nn.Linear(6, 6)), *x(6)).flops == 2 * 36


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Linear(5, 4), "Linear cannot be traced: a and b must have same reduction dim, but got [1, 6] X [5, 4]."),
        (Calls(lambda m, x: 1 / 0), "Calls cannot be traced: division by zero"),
        (Calls(lambda m, x, y: x), None),
    ],
)
def test_what_cannot_be_traced_is_told_in_one_line(module: nn.Module, message: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        import_module(module, x(6))
    assert len(str(caught.value).splitlines()) == 1
    if message is not None:
        assert str(caught.value) == message


# --- training


def test_in_training_what_runs_in_training_is_counted() -> None:
    module = Calls(lambda m, x: (m.a(x), m.b(x)) if m.training else m.a(x), a=nn.Linear(6, 4), b=nn.Linear(6, 2))
    assert archprof.analyse(import_module(module, x(6))).flops == 24
    graph = import_module(module, x(6), train=True)
    assert archprof.analyse(graph, train=True).flops == 36


def test_batch_norm_in_training_counts_its_statistics() -> None:
    graph = import_module(nn.Sequential(nn.BatchNorm2d(8), nn.Dropout()), x(8, 4, 4), train=True)
    assert [node.operator.op for node in graph.nodes[1:]] == ["batch_norm2d", "dropout"]
    assert archprof.analyse(graph, counting="fvcore", train=True).flops == 5 * 128


def test_a_call_is_not_named_as_a_module_that_holds_others() -> None:
    part = Calls(lambda m, x: m.fc(x).relu(), fc=nn.Linear(4, 4))
    module = Calls(lambda m, x: F.linear(m.linear(x), m.weight), linear=part, weight=parameter(4, 4))
    assert paths_of(module, *x(4)) == ["linear.fc", "linear.relu", "linear_2"]


def test_a_frozen_parameter_of_a_module_keeps_its_name() -> None:
    part = Calls(lambda m, x: x * m.gain, gain=parameter(4)).requires_grad_(False)
    assert paths_of(nn.Sequential(part), *x(4)) == ["0.gain", "0.multiply"]


def test_a_forward_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "MAX_CALLS", 300)
    monkeypatch.setattr(modules, "MAX_DRAFT_CALLS", 100)

    def by_data(m: Any, x: Tensor) -> Tensor:
        while x.abs().sum() < 10:
            x = x * 2
        return x

    def ever(m: Any, x: Tensor) -> Tensor:
        while True:
            x = x * 2

    for forward, most in ((by_data, 100), (ever, 300)):
        with pytest.raises(UsageError) as raised:
            import_module(Calls(forward), x(6))
        assert str(raised.value) == (
            f"Calls cannot be traced: its forward makes more than {most} calls of torch; a loop whose end depends on "
            "the data may not end here, where all inputs are zeros"
        )
