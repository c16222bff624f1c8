"""Attention, recurrent cells, tables and tensors of their own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators import create
from archprof.operators.base import NOTHING, WHOLE
from archprof.shape import Shape
from tests.operators.harness import Case, check, randomised, shapes, tensors


def attention(heads: int, queries: int, keys: int, width: int, values: int) -> Cost:
    """Two products; each score scaled; a softmax for each query."""
    scores = heads * queries * keys
    return Cost(
        multiply_adds=scores * width + scores * values,
        multiplications=scores,
        comparisons=heads * queries * (keys - 1),
        additions=heads * queries * (keys + keys - 1),
        special=scores,
        divisions=scores,
    )


def attend(q, k, v):
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v


def projected(rows: int, width: int, bias: bool = True) -> Cost:
    """So many rows through a square linear layer."""
    return Cost(multiply_adds=rows * width * width, bias_additions=rows * width * bias, activations=rows * width)


def heads(num_heads):
    """Head by head, from nn.MultiheadAttention's parameters."""

    def forward(p, query, key=None, value=None):
        key = query if key is None else key
        value = key if value is None else value
        width = query.shape[-1]
        zeros = torch.zeros(3 * width)
        each, mixed = width // num_heads, []
        for head in range(num_heads):
            rows = [slice(part * width + head * each, part * width + (head + 1) * each) for part in range(3)]
            q, k, v = (
                functional.linear(x, p["in_proj_weight"][row], p.get("in_proj_bias", zeros)[row])
                for x, row in zip((query, key, value), rows, strict=True)
            )
            mixed.append(attend(q, k, v))
        return functional.linear(torch.cat(mixed, -1), p["out_proj.weight"], p.get("out_proj.bias"))

    return forward


def recurrent(gates: int, steps: int, layers: list[tuple[int, int]], directions: int, each: Cost, bias: bool) -> Cost:
    """Layers of (width of the input, hidden units): the products of both, two biases a gate, their sum, the cell."""
    total = Cost()
    for width, hidden in layers:
        total += Cost(
            multiply_adds=gates * hidden * (width + hidden),
            bias_additions=2 * gates * hidden * bias,
            additions=gates * hidden,
            activations=2 * gates * hidden,
        )
        total += each * hidden
    return total * (steps * directions)


# a sigmoid is an exponential, an addition and a division
LSTM = Cost(special=3 + 2, additions=3 + 1, divisions=3, multiplications=3)
GRU = Cost(special=2 + 1, additions=2 + 2, divisions=2, multiplications=3)


def cells(p, x, step, layers, directions, states):
    """A recurrent network step by step, layer by layer, direction by direction."""
    ends = []
    for layer in range(layers):
        outputs = []
        for suffix in ("", "_reverse")[:directions]:
            weights = [p.get(f"{name}_l{layer}{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            state = [x.new_zeros(len(x), weights[1].shape[1]) for _ in range(states)]
            found = [None] * x.shape[1]
            for place in reversed(range(x.shape[1])) if suffix else range(x.shape[1]):
                from_input = functional.linear(x[:, place], weights[0], weights[2])
                from_state = functional.linear(state[0], weights[1], weights[3])
                state = step(from_input, from_state, state)
                found[place] = state[0]
            outputs.append(torch.stack(found, 1))
            ends.append(state)
        x = torch.cat(outputs, -1)
    return (x, *(torch.stack([end[number] for end in ends], 1) for number in range(states)))


def lstm(layers=1, directions=1):
    def step(from_input, from_state, state):
        i, f, g, o = (from_input + from_state).chunk(4, -1)
        cell = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return [o.sigmoid() * cell.tanh(), cell]

    return lambda p, x: cells(p, x, step, layers, directions, states=2)


def gru(layers=1, directions=1):
    def step(from_input, from_state, state):
        (r, z, n), (r2, z2, n2) = from_input.chunk(3, -1), from_state.chunk(3, -1)
        z = (z + z2).sigmoid()
        return [(1 - z) * (n + (r + r2).sigmoid() * n2).tanh() + z * state[0]]

    return lambda p, x: cells(p, x, step, layers, directions, states=1)


def tokens(*dims: int, samples: int = 1) -> Shape:
    return Shape(dims, samples, "int64")


def looked_up(p, x):
    return functional.one_hot(x, len(p["weight"])).float() @ p["weight"]


def constant(p, x):
    return torch.stack([p["value"]] * len(x))


CASES = [
    Case("scaled_dot_product_attention", {}, [(5, 4)] * 3, [(5, 4)], 0, attention(1, 5, 5, 4, 4),
         lambda p, *x: attend(*x)),
    Case("scaled_dot_product_attention", {}, [(5, 4), (7, 4), (7, 3)], [(5, 3)], 0, attention(1, 5, 7, 4, 3),
         lambda p, *x: attend(*x)),
    Case("scaled_dot_product_attention", {}, [(2, 5, 4)] * 3, [(2, 5, 4)], 0, attention(2, 5, 5, 4, 4),
         lambda p, *x: attend(*x)),
    Case("scaled_dot_product_attention", {}, [(2, 1, 4), (2, 7, 4), (2, 7, 3)], [(2, 1, 3)], 0,
         attention(2, 1, 7, 4, 3), lambda p, *x: attend(*x)),
    Case("scaled_dot_product_attention", {}, [Shape((2, 5, 4), samples=3)] * 3, [Shape((2, 5, 4), samples=3)], 0,
         attention(6, 5, 5, 4, 4), lambda p, *x: attend(*x)),
    Case("multi_head_attention", {"num_heads": 2}, [(5, 6)], [(5, 6)], 4 * 6 * 7,
         projected(4 * 5, 6) + attention(2, 5, 5, 3, 3), heads(2)),
    Case("multi_head_attention", {"num_heads": 1}, [(5, 6)], [(5, 6)], 4 * 6 * 7,
         projected(4 * 5, 6) + attention(1, 5, 5, 6, 6), heads(1)),
    Case("multi_head_attention", {"num_heads": 3, "bias": False}, [(5, 6)], [(5, 6)], 4 * 6 * 6,
         projected(4 * 5, 6, bias=False) + attention(3, 5, 5, 2, 2), heads(3)),
    Case("multi_head_attention", {"num_heads": 2}, [(5, 6), (7, 6), (7, 6)], [(5, 6)], 4 * 6 * 7,
         projected(2 * 5 + 2 * 7, 6) + attention(2, 5, 7, 3, 3), heads(2)),
    Case("multi_head_attention", {"num_heads": 6}, [Shape((5, 6), samples=2)], [Shape((5, 6), samples=2)], 4 * 6 * 7,
         (projected(4 * 5, 6) + attention(6, 5, 5, 1, 1)) * 2, heads(6)),
    Case("lstm", {"hidden_size": 3}, [(5, 4)], [(5, 3), (1, 3), (1, 3)], 12 * (4 + 3 + 2),
         recurrent(4, 5, [(4, 3)], 1, LSTM, True), lstm()),
    Case("lstm", {"hidden_size": 3, "bias": False}, [(5, 4)], [(5, 3), (1, 3), (1, 3)], 12 * (4 + 3),
         recurrent(4, 5, [(4, 3)], 1, LSTM, False), lstm()),
    Case("lstm", {"hidden_size": 3, "num_layers": 2}, [(5, 4)], [(5, 3), (2, 3), (2, 3)], 12 * (4 + 3 + 2 + 3 + 3 + 2),
         recurrent(4, 5, [(4, 3), (3, 3)], 1, LSTM, True), lstm(2)),
    Case("lstm", {"hidden_size": 3, "num_layers": 2, "bidirectional": True}, [(5, 4)], [(5, 6), (4, 3), (4, 3)],
         2 * 12 * (4 + 3 + 2 + 6 + 3 + 2), recurrent(4, 5, [(4, 3), (6, 3)], 2, LSTM, True), lstm(2, 2)),
    Case("lstm", {"hidden_size": 2}, [Shape((1, 4), samples=3)],
         [Shape((1, 2), samples=3)] * 3, 8 * (4 + 2 + 2), recurrent(4, 3, [(4, 2)], 1, LSTM, True), lstm()),
    Case("gru", {"hidden_size": 3}, [(5, 4)], [(5, 3), (1, 3)], 9 * (4 + 3 + 2),
         recurrent(3, 5, [(4, 3)], 1, GRU, True), gru()),
    Case("gru", {"hidden_size": 3, "bias": False}, [(5, 4)], [(5, 3), (1, 3)], 9 * (4 + 3),
         recurrent(3, 5, [(4, 3)], 1, GRU, False), gru()),
    Case("gru", {"hidden_size": 3, "num_layers": 2}, [(5, 4)], [(5, 3), (2, 3)], 9 * (4 + 3 + 2 + 3 + 3 + 2),
         recurrent(3, 5, [(4, 3), (3, 3)], 1, GRU, True), gru(2)),
    Case("gru", {"hidden_size": 3, "bidirectional": True}, [(5, 4)], [(5, 6), (2, 3)], 2 * 9 * (4 + 3 + 2),
         recurrent(3, 5, [(4, 3)], 2, GRU, True), gru(1, 2)),
    Case("gru", {"hidden_size": 2}, [Shape((1, 4), samples=3)], [Shape((1, 2), samples=3)] * 2, 6 * (4 + 2 + 2),
         recurrent(3, 3, [(4, 2)], 1, GRU, True), gru()),
    Case("embedding", {"num_embeddings": 5, "embedding_dim": 4}, [tokens(7)], [(7, 4)], 20, Cost(), looked_up),
    Case("embedding", {"num_embeddings": 9, "embedding_dim": 1}, [tokens(7)], [(7, 1)], 9, Cost(), looked_up),
    Case("embedding", {"num_embeddings": 5, "embedding_dim": 4}, [tokens(2, 3)], [(2, 3, 4)], 20, Cost(), looked_up),
    Case("embedding", {"num_embeddings": 5, "embedding_dim": 2}, [tokens(1)], [(1, 2)], 10, Cost(), looked_up),
    Case("embedding", {"num_embeddings": 5, "embedding_dim": 2}, [tokens(3, samples=2)], [Shape((3, 2), samples=2)],
         10, Cost(), looked_up),
    Case("parameter", {"shape": [1, 6]}, [(5, 6)], [(1, 6)], 6, Cost(), constant),
    Case("parameter", {"shape": [4]}, [(3, 8, 8)], [(4,)], 4, Cost(), constant),
    Case("parameter", {"shape": [4, 1, 1], "init": "ones"}, [(4, 8, 8)], [(4, 1, 1)], 4, Cost(), constant),
    Case("parameter", {"shape": [2, 3], "init": "normal"}, [Shape((5,), samples=3)], [Shape((2, 3), samples=3)], 6,
         Cost(), constant),
    Case("parameter", {"shape": [2], "init": 1e-6}, [tokens(3)], [(2,)], 2, Cost(), constant),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_torch(case: Case) -> None:
    check(case)


def test_multi_head_attention_is_torch_s() -> None:
    """The state_dict of nn.MultiheadAttention loads, and its results are the same."""
    for bias in (True, False):
        mine = create("multi_head_attention", num_heads=2, bias=bias).module(shapes([(5, 6)]))
        theirs = randomised(nn.MultiheadAttention(6, 2, bias=bias, batch_first=True))
        mine.load_state_dict(theirs.state_dict())
        x, y = torch.randn(3, 5, 6), torch.randn(3, 7, 6)
        torch.testing.assert_close(mine(x), theirs(x, x, x)[0])
        torch.testing.assert_close(mine(x, y, y), theirs(x, y, y)[0])


@pytest.mark.parametrize(("op", "cls"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_recurrent_layers_are_torch_s(op: str, cls: type[nn.Module]) -> None:
    operator = create(op, hidden_size=3, num_layers=2, bidirectional=True)
    theirs = cls(4, 3, 2, bidirectional=True)  # type: ignore[call-arg]
    mine = operator.module(shapes([(5, 4)]))
    mine.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 4)
    torch.testing.assert_close(mine(x)[0].transpose(0, 1), theirs(x.transpose(0, 1))[0])
    assert operator.depth == 2
    assert operator.output_names() == ("output", "hidden", "cell")[: 3 if op == "lstm" else 2]


def test_parameters_start_as_told() -> None:
    inputs = shapes([(5,)])
    starts = {
        init: create("parameter", shape=[100, 100], init=init).module(inputs).value
        for init in ("zeros", "ones", "normal", 0.5)
    }
    assert [starts[init].unique().tolist() for init in ("zeros", "ones", 0.5)] == [[0.0], [1.0], [0.5]]
    assert starts["normal"].std().item() == pytest.approx(0.02, rel=0.05)


def test_depth() -> None:
    """The projections of an attention, in and out, follow each other; a product of tensors has no weights."""
    assert create("multi_head_attention", num_heads=2).depth == 2
    assert create("scaled_dot_product_attention").depth == 0
    assert create("embedding", num_embeddings=5, embedding_dim=2).depth == 0
    assert create("parameter", shape=[2]).depth == 0


@pytest.mark.parametrize(
    ("op", "fields", "inputs", "input_gradient", "weight_gradient", "expected"),
    [
        # a gradient for both factors of both products
        ("scaled_dot_product_attention", {}, [(5, 4), (7, 4), (7, 3)], True, False,
         Cost(multiply_adds=2 * 5 * 7 * (4 + 3))),
        ("scaled_dot_product_attention", {}, [(5, 4), (7, 4), (7, 3)], False, False, Cost()),
        # four projections of 5 x 6 x 6, the attention's 2 x 5 x 5 x 6
        ("multi_head_attention", {"num_heads": 2}, [(5, 6)], True, True,
         Cost(multiply_adds=2 * 4 * 180 + 2 * 300, bias_additions=4 * 30)),
        # no input gradient: the three projections in have their weights' only
        ("multi_head_attention", {"num_heads": 2}, [(5, 6)], False, True,
         Cost(multiply_adds=3 * 180 + 2 * 180 + 2 * 300, bias_additions=4 * 30)),
        ("embedding", {"num_embeddings": 5, "embedding_dim": 2}, [tokens(3)], False, True, Cost(additions=6)),
        ("parameter", {"shape": [2, 3]}, [(5,)], True, True, Cost(additions=6)),
        ("parameter", {"shape": [2, 3]}, [(5,)], True, False, Cost()),
    ],
)  # fmt: skip
def test_backward(
    op: str, fields: dict[str, Any], inputs: list[Any], input_gradient: bool, weight_gradient: bool, expected: Cost
) -> None:
    operator, given = create(op, **fields), shapes(inputs)
    assert operator.backward_cost(given, operator.shapes(given), input_gradient, weight_gradient) == expected


@pytest.mark.parametrize("case", CASES, ids=str)
def test_windows(case: Case) -> None:
    inputs = shapes(case.inputs)
    expected = NOTHING if case.op == "parameter" else WHOLE
    assert case.operator.window(inputs, shapes(case.outputs)) == expected


@pytest.mark.parametrize(
    ("op", "fields", "inputs", "code", "message"),
    [
        ("scaled_dot_product_attention", {}, [(5, 4)] * 2, "wrong-arity",
         "scaled_dot_product_attention takes 3 inputs, not 2"),
        ("scaled_dot_product_attention", {}, [(5, 4), (5, 4), (2, 5, 4)], "wrong-rank",
         "takes three sequences of equal rank, not queries [5, 4], keys [5, 4], values [2, 5, 4]"),
        ("scaled_dot_product_attention", {}, [(5, 4), (5, 3), (5, 4)], "shape-mismatch",
         "queries [5, 4], keys [5, 3], values [5, 4] do not fit: (..., L, E), (..., S, E), (..., S, V)"),
        ("scaled_dot_product_attention", {}, [(5, 4), (6, 4), (5, 4)], "shape-mismatch",
         "queries [5, 4], keys [6, 4], values [5, 4] do not fit: (..., L, E), (..., S, E), (..., S, V)"),
        ("multi_head_attention", {"num_heads": 4}, [(5, 6)], "groups-do-not-divide",
         "the width (=6) must be divisible by num_heads (=4)"),
        ("multi_head_attention", {"num_heads": 2}, [(5, 6), (5, 6)], "wrong-arity",
         "multi_head_attention takes 1 input or 3 (queries, keys, values), not 2"),
        ("multi_head_attention", {"num_heads": 2}, [(5, 6), (5, 4), (5, 4)], "shape-mismatch",
         "takes sequences (L, E) of one width, not [5, 6], [5, 4] and [5, 4]"),
        ("multi_head_attention", {"num_heads": 2}, [(5, 6), (7, 6), (8, 6)], "shape-mismatch",
         "keys [7, 6] and values [8, 6] must be equal"),
        ("multi_head_attention", {"num_heads": 2}, [(6,)], "wrong-rank", "takes a sequence (L, E), not [6]"),
        ("lstm", {"hidden_size": 2}, [(5,)], "wrong-rank", "takes a sequence (L, C), not [5]"),
        ("gru", {"hidden_size": 2, "num_layers": 1001}, [(5, 4)], "out-of-range",
         "num_layers must be at most 1000, not 1001"),
        ("embedding", {"num_embeddings": 5, "embedding_dim": 2}, [(5,)], "wrong-dtype",
         "embedding takes indices (int64), not float"),
        ("embedding", {"num_embeddings": 5}, [tokens(5)], "missing-field", "needs embedding_dim"),
        ("parameter", {"shape": [0]}, [(5,)], "out-of-range", "shape must be at least 1, not 0"),
        ("parameter", {"shape": [2], "init": "random"}, [(5,)], "not-a-choice",
         'init must be zeros, ones or normal, not the word "random"'),
    ],
)  # fmt: skip
def test_refusals(op: str, fields: dict[str, Any], inputs: list[Any], code: str, message: str) -> None:
    with pytest.raises(Refusal) as raised:
        create(op, **fields).shapes(shapes(inputs))
    assert (raised.value.code, str(raised.value)) == (code, message)


def test_gradients_reach_all_inputs() -> None:
    for op, fields, dims in [("multi_head_attention", {"num_heads": 2}, (5, 6)), ("lstm", {"hidden_size": 3}, (5, 4))]:
        inputs = shapes([dims])
        module = create(op, **fields).module(inputs)
        (x,) = tensors(inputs)
        result = module(x.requires_grad_())
        (result if isinstance(result, torch.Tensor) else result[0]).sum().backward()
        assert x.grad is not None
        assert all(parameter.grad is not None for parameter in module.parameters())
