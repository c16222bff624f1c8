"""Where torch's and fvcore's counters are known to differ from archprof, and what they print there.

A reason is data: for which operators, tool, quantities, devices and versions it holds, where it is known from, and
the figure that the tool prints. It applies only where the tool prints that figure, so it cannot cover another error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping

import msgspec

from archprof.operators.base import Inputs, Operator

TORCH, COUNTER, FVCORE = "torch", "FlopCounterMode", "fvcore"  # the tools, by the names that a report gives them
FORWARD, BACKWARD = "forward multiply-adds", "backward multiply-adds"
IN_FVCORE = "FLOPs in the fvcore convention"

_TORCH = "https://github.com/pytorch/pytorch"
_HANDLES = "https://github.com/facebookresearch/fvcore/blob/main/fvcore/nn"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call of an operator whose figure differs, for a whole batch."""

    operator: Operator
    inputs: Inputs
    outputs: Inputs
    batch: int
    ours: int

    @property
    def forward(self) -> int:
        """The multiply-adds of the forward call."""
        cost = self.operator.cost(self.inputs, self.outputs)
        assert cost is not None  # a call that is not counted is not compared
        return cost.multiply_adds * self.batch


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why a tool's figure is another one.

    `torch` and `fvcore` are the versions with which it is tried: one from which on, and the first without it. It was
    measured with `measured_torch` and `measured_fvcore`; with another it covers only what still gives its figure.
    """

    name: str
    text: str
    source: str
    tool: str
    quantities: tuple[str, ...]
    operators: tuple[str, ...]
    devices: tuple[str, ...]
    torch: tuple[str, str | None] = ("2.4", None)
    fvcore: tuple[str, str | None] = ("0.1.5", None)
    measured_torch: str = "2.13.0"
    measured_fvcore: str = "0.1.5.post20221221"
    applies: Callable[[Call], bool] = lambda call: True
    predicts: Callable[[Call], int | str]  # what the tool prints


def explain(
    call: Call, theirs: int | str, *, tool: str, quantity: str, device: str, versions: Mapping[str, str]
) -> Reason | None:
    """The reason that gives the tool's figure, if one does. `versions` are of "torch" and "fvcore"."""
    for reason in _applicable(call, tool=tool, quantity=quantity, device=device, versions=versions):
        if theirs != call.ours and reason.predicts(call) == theirs:
            return reason
    return None


def expected(call: Call, *, tool: str, quantity: str, device: str, versions: Mapping[str, str]) -> Reason | None:
    """The first reason for the tool to print another figure of a call, if there is one."""
    return next(_applicable(call, tool=tool, quantity=quantity, device=device, versions=versions), None)


def _applicable(call: Call, *, tool: str, quantity: str, device: str, versions: Mapping[str, str]) -> Iterator[Reason]:
    for reason in REASONS:
        if (
            reason.tool == tool
            and quantity in reason.quantities
            and call.operator.op in reason.operators
            and device in reason.devices
            and holds_for(versions["torch"], reason.torch)
            and (tool != FVCORE or holds_for(versions["fvcore"], reason.fvcore))
            and reason.applies(call)
        ):
            yield reason


def holds_for(version: str, span: tuple[str, str | None]) -> bool:
    """Whether a version lies in a span: from the first on, before the second."""
    since, until = span
    return _numbers(since) <= _numbers(version) and (until is None or _numbers(version) < _numbers(until))


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers: 2.13.0+cpu is (2, 13, 0)."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found.group().split("."))) if found else ()


# --- what the tools print


def _grouped(call: Call) -> bool:
    return _groups(call) > 1


def _groups(call: Call) -> int:
    groups: int = getattr(call.operator, "groups")  # noqa: B009  # every operator of the reason has it
    return groups


def _attention(call: Call) -> int:
    """The multiply-adds of the two products of attention, without projections."""
    queries, keys = call.inputs[0], call.inputs[-1]
    if call.operator.op == "multi_head_attention":
        length, width = queries.dims  # of all heads together: heads x length x keys x (width / heads), twice
        return 2 * length * keys.dims[0] * width * queries.samples * call.batch
    return call.forward


def _fused_on_cpu(call: Call) -> bool:
    """Whether torch takes its fused kernel: (batch, heads, length, width), all of one width; else it multiplies."""
    if call.operator.op == "multi_head_attention":
        return True
    return all(len(shape.dims) == 3 and shape.dims[-1] == call.inputs[0].dims[-1] for shape in call.inputs)


def _first_states(call: Call) -> int:
    """The multiply-adds of the gradients of the first hidden states: a product with each weight_hh."""
    weights = call.operator.parameters(call.inputs)
    hidden = sum(math.prod(dims) for name, dims in weights.items() if name.startswith("weight_hh"))
    return hidden * call.inputs[0].samples * call.batch


def _left_factor_unbroadcast(call: Call) -> int:
    left, right = call.inputs
    return left.numel * right.dims[-1] * call.batch


def _norm_rank_refused(call: Call) -> str:
    shape = call.inputs[0]
    # layer_norm along another dimension moves it to the end first; what is printed is the shape then
    dims = list(shape.dims)
    along = getattr(call.operator, "dim", None)
    if along is not None:
        dims.append(dims.pop(along - 1 if along > 0 else along + len(dims)))
    return f"AssertionError: {[call.batch * shape.samples, *dims]}"


REASONS: tuple[Reason, ...] = (
    Reason(
        name="grouped-weight-gradient",
        text="FlopCounterMode multiplies the weight gradient of a grouped convolution by the groups",
        source=f"{_TORCH}/pull/183405",
        tool=COUNTER,
        quantities=(BACKWARD,),
        operators=("conv1d", "conv2d", "conv3d", "conv_transpose2d"),
        devices=("meta", "cpu"),
        applies=_grouped,
        predicts=lambda call: call.ours + (_groups(call) - 1) * call.forward,
    ),
    Reason(
        name="first-hidden-state",
        text="run step by step, autograd leaves out the gradient of the first hidden states, which are constants; "
        "archprof counts all steps alike, as cuDNN's kernel computes them",
        source=f"{_TORCH}/blob/v2.13.0/aten/src/ATen/native/cudnn/RNN.cpp",
        tool=COUNTER,
        quantities=(BACKWARD,),
        operators=("lstm", "gru", "rnn_tanh", "rnn_relu"),
        devices=("meta", "cpu"),
        predicts=lambda call: call.ours - _first_states(call),
    ),
    Reason(
        name="lstm-kernel-on-cpu",
        text="FlopCounterMode has no formula for oneDNN's LSTM kernel (aten.mkldnn_rnn_layer), which torch takes on "
        "a CPU",
        source=f"{_TORCH}/blob/v2.13.0/torch/utils/flop_counter.py",
        tool=COUNTER,
        quantities=(FORWARD, BACKWARD),
        operators=("lstm",),
        devices=("cpu",),
        predicts=lambda call: 0,
    ),
    Reason(
        name="attention-kernel-on-cpu",
        text="FlopCounterMode has no formula for the fused attention kernel that torch takes on a CPU "
        "(aten._scaled_dot_product_flash_attention_for_cpu)",
        source=f"{_TORCH}/issues/195460",
        tool=COUNTER,
        quantities=(FORWARD,),
        operators=("scaled_dot_product_attention", "multi_head_attention"),
        devices=("cpu",),
        applies=_fused_on_cpu,
        predicts=lambda call: call.ours - _attention(call),
    ),
    Reason(
        name="attention-kernel-on-cpu-backward",
        text="FlopCounterMode has no formula for the backward call of the fused attention kernel either",
        source=f"{_TORCH}/issues/195460",
        tool=COUNTER,
        quantities=(BACKWARD,),
        operators=("scaled_dot_product_attention", "multi_head_attention"),
        devices=("cpu",),
        applies=_fused_on_cpu,
        predicts=lambda call: call.ours - 2 * _attention(call),
    ),
    Reason(
        name="fvcore-attention",
        text="fvcore has no handle for aten::scaled_dot_product_attention: it counts the projections alone",
        source=f"{_HANDLES}/flop_count.py",
        tool=FVCORE,
        quantities=(IN_FVCORE,),
        operators=("scaled_dot_product_attention", "multi_head_attention"),
        devices=("cpu",),
        predicts=lambda call: call.ours - _attention(call),
    ),
    Reason(
        name="fvcore-recurrent",
        text="fvcore has no handle for aten::lstm, aten::gru and other recurrent layers: it counts nothing",
        source=f"{_HANDLES}/flop_count.py",
        tool=FVCORE,
        quantities=(IN_FVCORE,),
        operators=("lstm", "gru", "rnn_tanh", "rnn_relu"),
        devices=("cpu",),
        predicts=lambda call: 0,
    ),
    Reason(
        name="fvcore-padding-by-name",
        text="fvcore has no handle for aten::_convolution_mode, which torch calls where the padding is a word",
        source=f"{_HANDLES}/flop_count.py",
        tool=FVCORE,
        quantities=(IN_FVCORE,),
        operators=("conv1d", "conv2d", "conv3d"),
        devices=("cpu",),
        applies=lambda call: isinstance(call.operator.padding, str),  # type: ignore[attr-defined]
        predicts=lambda call: 0,
    ),
    Reason(
        name="no-formula",
        text="FlopCounterMode has no formula for bilinear layers and for products of a vector",
        source=f"{_TORCH}/blob/v2.13.0/torch/utils/flop_counter.py",
        tool=COUNTER,
        quantities=(FORWARD, BACKWARD),
        operators=("bilinear", "mv", "dot", "vdot"),
        devices=("meta", "cpu"),
        predicts=lambda call: 0,
    ),
    Reason(
        name="fvcore-no-handle",
        text="fvcore has no handle for bilinear layers and for products of a vector",
        source=f"{_HANDLES}/flop_count.py",
        tool=FVCORE,
        quantities=(IN_FVCORE,),
        operators=("bilinear", "mv", "dot", "vdot"),
        devices=("cpu",),
        predicts=lambda call: 0,
    ),
    Reason(
        name="fvcore-broadcast-product",
        text="fvcore takes the first factor of a matrix product as it comes, not broadcast",
        source=f"{_HANDLES}/jit_handles.py",
        tool=FVCORE,
        quantities=(IN_FVCORE,),
        operators=("matmul",),
        devices=("cpu",),
        predicts=_left_factor_unbroadcast,
    ),
    Reason(
        name="fvcore-norm-rank",
        text="fvcore asserts that what is normalised has at most 5 dimensions, the batch included",
        source=f"{_HANDLES}/jit_handles.py",
        tool=FVCORE,
        quantities=(IN_FVCORE,),
        operators=("layer_norm", "group_norm"),
        devices=("cpu",),
        applies=lambda call: len(call.inputs[0].dims) > 4,
        predicts=_norm_rank_refused,
    ),
)
