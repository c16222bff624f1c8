"""Recurrent layers. Multiply-adds: a step takes, of every gate, the products with the input and with the state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators import create
from archprof.operators.base import WHOLE
from archprof.shape import Shape
from tests.operators.harness import Case, check, shapes


def _linear(p: dict[str, Tensor], kind: str, suffix: str, x: Tensor) -> Tensor:
    product = x @ p[f"weight_{kind}_{suffix}"].T
    return product + p[f"bias_{kind}_{suffix}"] if f"bias_{kind}_{suffix}" in p else product


def _lstm_run(p: dict[str, Tensor], suffix: str, x: Tensor, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
    """One direction of one layer, step by step from the definition; torch orders the gates input, forget, cell, out."""
    size = p[f"weight_hh_{suffix}"].shape[1]
    hidden = cell = x.new_zeros(x.shape[0], size)
    out: list[Tensor] = []
    for step in range(x.shape[1])[:: -1 if reverse else 1]:
        gates = _linear(p, "ih", suffix, x[:, step]) + _linear(p, "hh", suffix, hidden)
        i, f, g, o = gates.split(size, 1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        out.append(hidden)
    return torch.stack(out[:: -1 if reverse else 1], 1), hidden, cell


def _gru_run(p: dict[str, Tensor], suffix: str, x: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """One direction of one layer; torch orders the gates reset, update, new."""
    size = p[f"weight_hh_{suffix}"].shape[1]
    hidden = x.new_zeros(x.shape[0], size)
    out: list[Tensor] = []
    for step in range(x.shape[1])[:: -1 if reverse else 1]:
        rx, zx, nx = _linear(p, "ih", suffix, x[:, step]).split(size, 1)
        rh, zh, nh = _linear(p, "hh", suffix, hidden).split(size, 1)
        update = (zx + zh).sigmoid()
        hidden = (1 - update) * (nx + (rx + rh).sigmoid() * nh).tanh() + update * hidden
        out.append(hidden)
    return torch.stack(out[:: -1 if reverse else 1], 1), hidden


def stacked(run: Any, layers: int, directions: int) -> Any:
    """All layers and directions: the output of the last, and the states of each, (batch, layer and direction, size)."""

    def forward(p: dict[str, Tensor], x: Tensor) -> tuple[Tensor, ...]:
        states: list[tuple[Tensor, ...]] = []
        for layer in range(layers):
            outputs = []
            for direction in range(directions):
                output, *state = run(p, f"l{layer}" + "_reverse" * direction, x, bool(direction))
                outputs.append(output)
                states.append(tuple(state))
            x = torch.cat(outputs, 2)
        return (x, *(torch.stack(each, 1) for each in zip(*states, strict=True)))

    return forward


# of one hidden unit in one step, beside the products; each gate adds up two of them
LSTM_UNIT = Cost(special=3 + 2, additions=4 + 3 + 1, divisions=3, multiplications=3)
GRU_UNIT = Cost(special=2 + 1, additions=3 + 2 + 2, divisions=2, multiplications=3)


CASES = [
    Case("lstm", {"hidden_size": 4}, [(5, 3)], [(5, 4), (1, 4), (1, 4)], 16 * (3 + 4 + 2),
         Cost(multiply_adds=5 * 16 * (3 + 4), bias_additions=5 * 32, activations=5 * 32) + LSTM_UNIT * (5 * 4),
         stacked(_lstm_run, 1, 1)),
    Case("lstm", {"hidden_size": 4, "bias": False}, [(5, 3)], [(5, 4), (1, 4), (1, 4)], 16 * (3 + 4),
         Cost(multiply_adds=5 * 16 * (3 + 4), activations=5 * 32) + LSTM_UNIT * (5 * 4), stacked(_lstm_run, 1, 1)),
    Case("lstm", {"hidden_size": 2, "num_layers": 3}, [(4, 3)], [(4, 2), (3, 2), (3, 2)],
         8 * (3 + 2 + 2) + 2 * 8 * (2 + 2 + 2),
         Cost(multiply_adds=4 * 8 * (3 + 2 + 2 * (2 + 2)), bias_additions=4 * 3 * 16, activations=4 * 3 * 16)
         + LSTM_UNIT * (4 * 3 * 2), stacked(_lstm_run, 3, 1)),
    Case("lstm", {"hidden_size": 2, "bidirectional": True}, [(4, 3)], [(4, 4), (2, 2), (2, 2)], 2 * 8 * (3 + 2 + 2),
         Cost(multiply_adds=4 * 2 * 8 * (3 + 2), bias_additions=4 * 2 * 16, activations=4 * 2 * 16)
         + LSTM_UNIT * (4 * 2 * 2), stacked(_lstm_run, 1, 2)),
    Case("lstm", {"hidden_size": 2, "num_layers": 2, "bidirectional": True}, [Shape((1, 3), samples=3)],
         [Shape((1, 4), samples=3), Shape((4, 2), samples=3), Shape((4, 2), samples=3)],
         2 * 8 * (3 + 2 + 2) + 2 * 8 * (4 + 2 + 2),
         Cost(multiply_adds=3 * 2 * 8 * (3 + 2 + 4 + 2), bias_additions=3 * 4 * 16, activations=3 * 4 * 16)
         + LSTM_UNIT * (3 * 4 * 2), stacked(_lstm_run, 2, 2)),
    Case("gru", {"hidden_size": 4}, [(5, 3)], [(5, 4), (1, 4)], 12 * (3 + 4 + 2),
         Cost(multiply_adds=5 * 12 * (3 + 4), bias_additions=5 * 24, activations=5 * 24) + GRU_UNIT * (5 * 4),
         stacked(_gru_run, 1, 1)),
    Case("gru", {"hidden_size": 4, "bias": False}, [(5, 3)], [(5, 4), (1, 4)], 12 * (3 + 4),
         Cost(multiply_adds=5 * 12 * (3 + 4), activations=5 * 24) + GRU_UNIT * (5 * 4), stacked(_gru_run, 1, 1)),
    Case("gru", {"hidden_size": 2, "num_layers": 3}, [(4, 3)], [(4, 2), (3, 2)],
         6 * (3 + 2 + 2) + 2 * 6 * (2 + 2 + 2),
         Cost(multiply_adds=4 * 6 * (3 + 2 + 2 * (2 + 2)), bias_additions=4 * 3 * 12, activations=4 * 3 * 12)
         + GRU_UNIT * (4 * 3 * 2), stacked(_gru_run, 3, 1)),
    Case("gru", {"hidden_size": 2, "bidirectional": True}, [(4, 3)], [(4, 4), (2, 2)], 2 * 6 * (3 + 2 + 2),
         Cost(multiply_adds=4 * 2 * 6 * (3 + 2), bias_additions=4 * 2 * 12, activations=4 * 2 * 12)
         + GRU_UNIT * (4 * 2 * 2), stacked(_gru_run, 1, 2)),
    Case("gru", {"hidden_size": 2, "num_layers": 2, "bidirectional": True}, [Shape((1, 3), samples=3)],
         [Shape((1, 4), samples=3), Shape((4, 2), samples=3)], 2 * 6 * (3 + 2 + 2) + 2 * 6 * (4 + 2 + 2),
         Cost(multiply_adds=3 * 2 * 6 * (3 + 2 + 4 + 2), bias_additions=3 * 4 * 12, activations=3 * 4 * 12)
         + GRU_UNIT * (3 * 4 * 2), stacked(_gru_run, 2, 2)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_torch(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("op", ["lstm", "gru"])
def test_same_state_result_and_gradients_as_torchs_own_layer(op: str) -> None:
    torch.manual_seed(0)
    mine = create(op, hidden_size=3, num_layers=2, bidirectional=True).module(shapes([(5, 4)]))
    theirs = {"lstm": nn.LSTM, "gru": nn.GRU}[op](4, 3, 2, bidirectional=True)
    theirs.load_state_dict(mine.state_dict())
    x = torch.randn(2, 5, 4, requires_grad=True)
    y = x.detach().transpose(0, 1).requires_grad_()  # torch's own takes the batch second
    output, *states = mine(x)
    expected, ends = theirs(y)
    torch.testing.assert_close(output, expected.transpose(0, 1))
    for state, end in zip(states, ends if op == "lstm" else (ends,), strict=True):
        torch.testing.assert_close(state, end.transpose(0, 1))
    output.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad.transpose(0, 1))
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("op", ["lstm", "gru"])
@pytest.mark.parametrize("input_gradient", [True, False])
def test_backward_against_flop_counter_mode(op: str, input_gradient: bool) -> None:
    """What enters the first layer needs no gradient; the states and what enters the second do, but for the first
    states, which are constants: archprof counts every step alike, as cuDNN computes them."""
    operator, inputs = create(op, hidden_size=2, num_layers=2), shapes([(4, 3)])
    outputs = operator.shapes(inputs)
    x = torch.randn(1, 4, 3, requires_grad=input_gradient)
    named = dict(operator.module(inputs).named_parameters())
    with FlopCounterMode(display=False) as counter:
        results = stacked(_lstm_run if op == "lstm" else _gru_run, 2, 1)(named, x)
    assert counter.get_total_flops() == 2 * operator.cost(inputs, outputs).multiply_adds
    with FlopCounterMode(display=False) as counter:
        sum(result.sum() for result in results).backward()
    gates = 4 if op == "lstm" else 3
    first_states = 2 * (gates * 2) * 2  # two layers: gates x hidden by hidden
    mine = operator.backward_cost(inputs, outputs, (input_gradient,), True)
    assert counter.get_total_flops() == 2 * (mine.multiply_adds - first_states)
    assert mine.bias_additions == 4 * 2 * 2 * (gates * 2)


@pytest.mark.parametrize("op", ["lstm", "gru"])
def test_frozen_weights_get_no_gradient(op: str) -> None:
    operator, inputs = create(op, hidden_size=2, num_layers=2), shapes([(4, 3)])
    outputs = operator.shapes(inputs)
    forward = operator.cost(inputs, outputs)
    assert operator.backward_cost(inputs, outputs, (True,), False) == Cost(multiply_adds=forward.multiply_adds)
    assert operator.backward_cost(inputs, outputs, (False,), False) == Cost()


def test_outputs_have_names() -> None:
    assert create("lstm", hidden_size=4).output_names() == ("output", "hidden", "cell")
    assert create("gru", hidden_size=4).output_names() == ("output", "hidden")


@pytest.mark.parametrize("op", ["lstm", "gru"])
def test_depth_is_the_number_of_layers(op: str) -> None:
    assert create(op, hidden_size=4).depth == 1
    assert create(op, hidden_size=4, num_layers=3, bidirectional=True).depth == 3


@pytest.mark.parametrize("op", ["lstm", "gru"])
def test_sees_the_whole_sequence(op: str) -> None:
    operator, inputs = create(op, hidden_size=4), shapes([(5, 3)])
    assert operator.window(inputs, operator.shapes(inputs)) == WHOLE


@pytest.mark.parametrize(
    ("op", "fields", "inputs", "code", "message"),
    [
        ("lstm", {"hidden_size": 4}, [(3, 8, 8)], "wrong-rank", "takes a sequence (L, C), not [3, 8, 8]"),
        ("gru", {"hidden_size": 4}, [(3,)], "wrong-rank", "takes a sequence (L, C), not [3]"),
        ("lstm", {"hidden_size": 4}, [(5, 3), (1, 4)], "wrong-arity", "lstm takes 1 input, not 2"),
        ("lstm", {"hidden_size": 4}, [Shape((5, 3), dtype="int64")], "wrong-dtype",
         "lstm takes numbers (float), not int64"),
        ("lstm", {}, [(5, 3)], "missing-field", "needs hidden_size"),
        ("gru", {"hidden_size": 0}, [(5, 3)], "out-of-range", "hidden_size must be at least 1, not 0"),
        ("gru", {"hidden_size": 4, "num_layers": 1001}, [(5, 3)], "out-of-range",
         "num_layers must be at most 1000, not 1001"),
        ("gru", {"hidden_size": 4, "bidirectional": "yes"}, [(5, 3)], "not-a-boolean",
         'bidirectional must be true or false, not the word "yes"'),
    ],
)  # fmt: skip
def test_refusals(op: str, fields: dict[str, Any], inputs: list[Any], code: str, message: str) -> None:
    with pytest.raises(Refusal) as raised:
        create(op, **fields).shapes(shapes(inputs))
    assert (raised.value.code, str(raised.value)) == (code, message)
