"""Each known reason: where it holds, the figure that it gives, and that it covers no other."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import pytest

from archprof.cost import Cost
from archprof.operators.attention import ScaledDotProductAttention
from archprof.operators.convolution import Conv2d
from archprof.operators.pooling import MaxPool2d
from archprof.shape import Shape
from archprof.spec import expand
from archprof.spec.library import parse_text
from archprof.verification import EXPLAINED, REASONS, Finding, Reason, verify
from archprof.verification.reasons import BACKWARD, FORWARD, FVCORE, IN_FVCORE, Call, explain, holds_for
from tests.verification.test_imported import REASONS_OF_MODULES

B = 2  # the batch


class Known(NamedTuple):
    """A network whose last node differs: in which quantity, and the two figures as arithmetic."""

    reason: str
    input: str
    layer: str
    quantity: str
    ours: int
    theirs: int | str
    device: str = "meta"


GROUPED = B * (7 * 7) * 6 * (2 * 9)
TRANSPOSED = B * (4 * 5 * 5) * (3 * 9)
# queries 5, keys 5, width 8: two products
ATTENTION = B * 2 * 5 * 5 * 8
PROJECTIONS = B * 4 * 5 * 8 * 8
LSTM, GRU = (B * 5 * gates * 3 * (8 + 3) for gates in (4, 3))
FIRST_LSTM, FIRST_GRU = (B * gates * 3 * 3 for gates in (4, 3))

KNOWN = [
    Known(
        "grouped-weight-gradient",
        "[4, 9, 9]",
        "conv2d, out_channels: 6, kernel_size: 3, groups: 2",
        BACKWARD,
        GROUPED,
        2 * GROUPED,
    ),  # the first layer has a weight gradient alone
    Known(
        "grouped-weight-gradient",
        "[4, 5, 5]",
        "conv_transpose2d, out_channels: 6, kernel_size: 3, groups: 2",
        BACKWARD,
        TRANSPOSED,
        2 * TRANSPOSED,
    ),
    Known(
        "first-hidden-state",
        "[5, 8]",
        "lstm, hidden_size: 3",
        BACKWARD,
        2 * LSTM - B * 5 * 12 * 8,
        2 * LSTM - B * 5 * 12 * 8 - FIRST_LSTM,
    ),
    Known(
        "first-hidden-state",
        "[5, 8]",
        "gru, hidden_size: 3",
        BACKWARD,
        2 * GRU - B * 5 * 9 * 8,
        2 * GRU - B * 5 * 9 * 8 - FIRST_GRU,
        "cpu",
    ),
    Known("lstm-kernel-on-cpu", "[5, 8]", "lstm, hidden_size: 3", FORWARD, LSTM, 0, "cpu"),
    Known("lstm-kernel-on-cpu", "[5, 8]", "lstm, hidden_size: 3", BACKWARD, 2 * LSTM - B * 5 * 12 * 8, 0, "cpu"),
    Known(
        "attention-kernel-on-cpu",
        "[2, 5, 4]",
        "scaled_dot_product_attention, from: [a, a, a]",
        FORWARD,
        ATTENTION,
        0,
        "cpu",
    ),
    Known(
        "attention-kernel-on-cpu",
        "[5, 8]",
        "multi_head_attention, num_heads: 2",
        FORWARD,
        PROJECTIONS + ATTENTION,
        PROJECTIONS,
        "cpu",
    ),
    Known(
        "attention-kernel-on-cpu-backward",
        "[5, 8]",
        "multi_head_attention, num_heads: 2",
        BACKWARD,
        # the three projections in have no input gradient
        2 * PROJECTIONS - 3 * PROJECTIONS // 4 + 2 * ATTENTION,
        2 * PROJECTIONS - 3 * PROJECTIONS // 4,
        "cpu",
    ),
    Known("fvcore-attention", "[2, 5, 4]", "scaled_dot_product_attention, from: [a, a, a]", IN_FVCORE, ATTENTION, 0),
    Known(
        "fvcore-attention",
        "[5, 8]",
        "multi_head_attention, num_heads: 2",
        IN_FVCORE,
        PROJECTIONS + ATTENTION,
        PROJECTIONS,
    ),
    Known("fvcore-recurrent", "[5, 8]", "lstm, hidden_size: 3", IN_FVCORE, LSTM, 0),
    Known("fvcore-recurrent", "[5, 8]", "gru, hidden_size: 3", IN_FVCORE, GRU, 0),
    Known(
        "fvcore-norm-rank",
        "[1, 2, 3, 4, 5]",
        "layer_norm",
        IN_FVCORE,
        5 * B * 120,
        "AssertionError: [2, 1, 2, 3, 4, 5]",
    ),
    Known(
        "fvcore-norm-rank",
        "[1, 2, 3, 4, 5]",
        "layer_norm, dim: 2",
        IN_FVCORE,
        5 * B * 120,
        "AssertionError: [2, 1, 3, 4, 5, 2]",
    ),
]


def findings_of(text: str, device: str = "meta") -> tuple[Finding, ...]:
    return verify(expand(parse_text(f"name: net\n{text}".encode(), "net.yaml"), None), device=device)


def last_of(text: str, quantity: str, device: str) -> Finding:
    return next(each for each in findings_of(text, device) if each.node == "last" and each.quantity == quantity)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: f"{known.reason}-{known.layer.partition(',')[0]}")
def test_each_reason_gives_the_figure(known: Known) -> None:
    spec = f"input: {known.input}\nlayers: [{{name: a, op: identity}}, {{name: last, op: {known.layer}}}]\n"
    found = last_of(spec, known.quantity, known.device)
    assert (found.ours, found.theirs) == (known.ours, known.theirs)
    assert found.reason is not None
    assert (found.reason.name, found.status) == (known.reason, EXPLAINED)


def test_a_broadcast_product() -> None:
    """Three products of 5x8 by 8x2; fvcore sees one of the first factor."""
    spec = """
input: {left: [1, 5, 8], right: [3, 8, 2]}
layers: [{name: last, op: matmul, from: [left, right]}]
"""
    found = last_of(spec, IN_FVCORE, "meta")
    assert (found.ours, found.theirs) == (B * 3 * 5 * 8 * 2, B * 5 * 8 * 2)
    assert found.reason is not None
    assert found.reason.name == "fvcore-broadcast-product"


def test_every_reason_is_exercised() -> None:
    exercised = {known.reason for known in KNOWN} | {"fvcore-broadcast-product"} | REASONS_OF_MODULES
    assert exercised == {reason.name for reason in REASONS}


def test_names_are_unique_and_sources_are_given() -> None:
    assert len({reason.name for reason in REASONS}) == len(REASONS)
    assert all(reason.source.startswith("https://") for reason in REASONS)


# --- it covers nothing else

VERSIONS = {"torch": "2.13.0+cpu", "fvcore": "0.1.5.post20221221"}
CALL = Call(
    operator=Conv2d(out_channels=6, kernel_size=(3, 3), groups=2),
    inputs=(Shape((4, 9, 9)),),
    outputs=(Shape((6, 7, 7)),),
    batch=B,
    ours=GROUPED,
)


def explained(call: Call = CALL, theirs: int | str = 2 * GROUPED, **changed: str) -> Reason | None:
    asked = {"tool": "FlopCounterMode", "quantity": BACKWARD, "device": "meta", **changed}
    versions = {**VERSIONS, **({"torch": asked.pop("torch")} if "torch" in asked else {})}
    return explain(call, theirs, versions=versions, **asked)


def test_the_reason_holds() -> None:
    reason = explained()
    assert reason is not None
    assert reason.name == "grouped-weight-gradient"


@pytest.mark.parametrize("theirs", [2 * GROUPED + 1, 2 * GROUPED - 1, 3 * GROUPED, 0, "RuntimeError: no"])
def test_another_figure_is_not_explained(theirs: int | str) -> None:
    assert explained(theirs=theirs) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"tool": FVCORE},
        {"quantity": FORWARD},
        {"device": "cuda"},
        {"torch": "2.3.1"},
    ],
    ids=str,
)
def test_another_tool_quantity_device_or_version_is_not_explained(changed: dict[str, str]) -> None:
    assert explained(**changed) is None


def test_another_operator_is_not_explained() -> None:
    assert explained(msgspec.structs.replace(CALL, operator=MaxPool2d(kernel_size=(3, 3)))) is None


def test_another_field_is_not_explained() -> None:
    """Without groups, and without heads, for which torch has no kernel on a CPU."""
    plain = msgspec.structs.replace(CALL, operator=Conv2d(out_channels=6, kernel_size=(3, 3)), ours=2 * GROUPED)
    assert explained(plain) is None
    for dims, name in (((2, 5, 8), "attention-kernel-on-cpu"), ((5, 8), None)):
        shape = Shape(dims)
        attention = Call(
            operator=ScaledDotProductAttention(),
            inputs=(shape,) * 3,
            outputs=(shape,),
            batch=B,
            ours=B * shape.numel * 10,
        )
        reason = explained(attention, 0, quantity=FORWARD, device="cpu")
        assert (None if reason is None else reason.name) == name


@pytest.mark.parametrize(
    ("version", "span", "holds"),
    [
        ("2.13.0+cpu", ("2.4", None), True),
        ("2.4.0", ("2.4", None), True),
        ("2.10.1", ("2.4", "2.13"), True),
        ("2.13.0", ("2.4", "2.13"), False),
        ("2.3.9", ("2.4", None), False),
        ("3.0.0a0+gitabc", ("2.4", None), True),
        ("0.1.5.post20221221", ("0.1.5", None), True),
        ("0.1.4", ("0.1.5", None), False),
    ],
)
def test_versions(version: str, span: tuple[str, str | None], holds: bool) -> None:
    assert holds_for(version, span) is holds


def test_a_mistake_beside_a_known_reason_is_not_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    backward = Conv2d.backward_cost

    def wrong(self: Conv2d, *arguments: object) -> Cost:
        return backward(self, *arguments) + Cost(multiply_adds=1)  # type: ignore[arg-type, operator]

    monkeypatch.setattr(Conv2d, "backward_cost", wrong)
    spec = "input: [4, 9, 9]\nlayers: [{name: last, op: conv2d, out_channels: 6, kernel_size: 3, groups: 2}]\n"
    found = last_of(spec, BACKWARD, "meta")
    assert (found.ours, found.theirs, found.reason) == (GROUPED + B, 2 * GROUPED, None)


# --- cases of ../shared/peers.md


def figures(text: str, device: str = "meta") -> dict[str, tuple[int | str, int | str]]:
    """Of the node called last, ours and theirs."""
    return {each.quantity: (each.ours, each.theirs) for each in findings_of(text, device) if each.node == "last"}


def test_a_grouped_convolution_is_13_824_operations_and_flop_counter_mode_says_27_648() -> None:
    spec = """
input: [4, 8, 8]
layers:
  - {op: layer_norm}
  - {name: last, op: conv2d, out_channels: 4, kernel_size: 3, padding: 1, groups: 4, bias: false}
"""
    found = figures(spec)
    ours, theirs = (found[FORWARD][side] + found[BACKWARD][side] for side in (0, 1))
    assert (2 * ours, 2 * theirs) == (B * 13_824, B * 27_648)


def test_a_first_layer_has_no_input_gradient() -> None:
    spec = """
input: [3, 8, 8]
layers: [{name: last, op: conv2d, out_channels: 8, kernel_size: 3, padding: 1, bias: false}]
"""
    found = figures(spec)
    assert found[FORWARD] == found[BACKWARD] == (B * 13_824, B * 13_824)


def test_a_transposed_convolution_counts_by_its_input() -> None:
    spec = """
input: [3, 4, 4]
layers: [{name: last, op: conv_transpose2d, out_channels: 5, kernel_size: 2, stride: 2, bias: false}]
"""
    found = figures(spec)
    assert found[FORWARD] == found[BACKWARD] == found[IN_FVCORE] == (B * 960, B * 960)


def test_same_padding_is_built_so_that_fvcore_counts_it() -> None:
    spec = """
input: [3, 8, 8]
layers: [{name: last, op: conv2d, out_channels: 8, kernel_size: 3, padding: same, bias: false}]
"""
    assert figures(spec)[IN_FVCORE] == (B * 13_824, B * 13_824)


def test_bilinear_upsampling() -> None:
    spec = "input: [3, 4, 4]\nlayers: [{name: last, op: upsample, size: 8, mode: bilinear}]\n"
    found = figures(spec)
    assert (found[FORWARD], found[IN_FVCORE]) == ((0, 0), (1536, 1536))


@pytest.mark.parametrize(("device", "theirs"), [("meta", 8400 * B), ("cpu", 0)])
def test_attention_on_meta_is_counted_and_on_a_cpu_is_not(device: str, theirs: int) -> None:
    spec = "input: [3, 10, 14]\nlayers: [{name: last, op: scaled_dot_product_attention, from: [input, input, input]}]\n"
    assert figures(spec, device)[FORWARD] == (2 * 3 * 10 * 10 * 14 * B, theirs)


def test_a_layer_under_two_parents() -> None:
    spec = """
input: [10]
layers:
  - {name: left, op: linear, out_features: 10}
  - {name: last, op: linear, out_features: 10, weights: left}
"""
    findings = findings_of(spec)
    of = {name: [each.theirs for each in findings if each.quantity == name] for name in (FORWARD, "parameter elements")}
    assert of == {FORWARD: [100 * B, 100 * B], "parameter elements": [110, 0]}
