"""`archprof verify` of torch modules and ONNX files: all agrees, known reasons give their figures, errors are found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jsonschema
import pytest
import torch
from torch import nn

from archprof.cost import Cost
from archprof.operators.convolution import Conv2d
from archprof.operators.linear import Linear
from archprof.report.verification import SCHEMA_FILE
from archprof.verification import AGREES, EXPLAINED, UNEXPLAINED, Verified, verify_imported

MODULE = "tests.importer.running_nets"
B = 2  # the batch
AGREEING = {
    "Mixed": ["3x8x8"],
    "Modes": ["8"],
    "Shared": ["10"],
    "Frozen": ["3x8x8"],
    "Values": ["8"],
}


def verified(name: str, inputs: list[str], **options: object) -> Verified:
    return verify_imported(f"{MODULE}:{name}", inputs, {}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", AGREEING)
def test_all_agrees(name: str, train: bool) -> None:
    found = verified(name, AGREEING[name], train=train)
    assert [each for each in found.findings if each.status != AGREES] == []
    assert found.notes == ()
    assert {each.quantity for each in found.findings} >= {
        "output shape",
        "parameter elements",
        "forward multiply-adds",
        "backward multiply-adds",
        "FLOPs in the fvcore convention",
    }


class Known(NamedTuple):
    """A node or module whose figure differs: the two figures, and why."""

    net: str
    inputs: list[str]
    node: str
    quantity: str
    ours: int
    theirs: int
    reason: str


IN_FVCORE = "FLOPs in the fvcore convention"
CONV, PRODUCTS = B * 81 * 4 * 2 * 9, B * 4 * 5 * (6 + 5)
KNOWN = [
    Known("ByName", ["4x9x9"], "same", IN_FVCORE, CONV, 0, "fvcore-padding-by-name"),
    Known("ByName", ["4x9x9"], "(network)", IN_FVCORE, CONV, 0, "fvcore-padding-by-name"),
    Known("ByName", ["4x9x9"], "(network)", "backward multiply-adds", CONV, 2 * CONV, "grouped-weight-gradient"),
    # a state before the first step is a constant
    Known("Recurrent", ["4x8"], "layer", "backward multiply-adds", 2 * PRODUCTS, 2 * PRODUCTS - B * 25,
          "first-hidden-state"),
    Known("Recurrent", ["4x8"], "layer", IN_FVCORE, PRODUCTS, 0, "fvcore-recurrent"),
    Known("Named", ["a=5x6", "b=7x6"], "pair.bilinear", "forward multiply-adds", B * 7 * 4 * (25 + 5), 0, "no-formula"),
    Known("Named", ["a=5x6", "b=7x6"], "pair", IN_FVCORE, B * 7 * 4 * (25 + 5), 0, "fvcore-no-handle"),
    Known("Tied", ["9:int64"], "(network)", IN_FVCORE, B * 9 * (2 * 4 * 64 + 240), B * 9 * 240, "fvcore-recurrent"),
]  # fmt: skip
REASONS_OF_MODULES = {known.reason for known in KNOWN}


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: f"{known.net}-{known.node}-{known.reason}")
def test_each_reason_gives_the_figure(known: Known) -> None:
    found = verified(known.net, known.inputs).findings
    (one,) = [each for each in found if (each.node, each.quantity) == (known.node, known.quantity)]
    assert (one.ours, one.theirs, one.status) == (known.ours, known.theirs, EXPLAINED)
    assert one.reason is not None
    assert one.reason.name == known.reason
    assert [each for each in found if each.status == UNEXPLAINED] == []


@pytest.mark.parametrize(
    ("operator", "method", "change", "wrong"),
    [
        (Conv2d, "cost", Cost(multiply_adds=1), {("conv", "forward multiply-adds"), ("conv", IN_FVCORE)}),
        (Linear, "backward_cost", Cost(multiply_adds=-1), {("head", "backward multiply-adds")}),
    ],
)
def test_an_error_is_found(
    monkeypatch: pytest.MonkeyPatch, operator: type, method: str, change: Cost, wrong: set[tuple[str, str]]
) -> None:
    real = getattr(operator, method)
    monkeypatch.setattr(operator, method, lambda *given, **named: real(*given, **named) + change)
    found = {(each.node, each.quantity) for each in verified("Mixed", ["3x8x8"]).findings if each.status == UNEXPLAINED}
    assert wrong <= found
    assert {("(network)", quantity) for _, quantity in wrong} <= found
    assert {node for node, _ in found} == {node for node, _ in wrong} | {"(network)"}


def test_what_is_not_counted_is_not_compared() -> None:
    found = verified("Odd", ["8"])
    assert {each.status for each in found.findings} == {AGREES}
    assert not [each for each in found.findings if each.node == "(network)" and "multiply-adds" in each.quantity]


# --- the command


def test_the_command(ok: Callable[..., str]) -> None:
    out = ok("verify", f"{MODULE}:ByName", "--input", "4x9x9")
    assert out.splitlines()[0] == "ByName: 5 of 9 figures agree, 4 differ for a known reason"
    assert "fvcore-padding-by-name: fvcore has no handle for aten::_convolution_mode, which torch calls where" in out


def test_json(ok: Callable[..., str]) -> None:
    document = json.loads(ok("verify", f"{MODULE}:ByName", "--input", "4x9x9", "-f", "json"))
    jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    assert document["networks"][0]["notes"] == []
    assert {each["measured"]["torch"] for each in document["reasons"]} == {"2.13.0"}


@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file(ok: Callable[..., str], tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    file = str(tmp_path / "small.onnx")
    torch.onnx.export(net, (torch.randn(1, 3, 8, 8),), file, dynamo=False)
    out = ok("verify", file)
    assert out.startswith("small: ")
    assert "unexplained" not in out


def test_mistakes(refused: Callable[..., str]) -> None:
    assert refused("verify", f"{MODULE}:Mixed", "--input", "4x8x8") == (
        f"{MODULE}:Mixed: Mixed cannot be traced: Given groups=1, weight of size [8, 3, 3, 3], expected input[1, 4, 8, "
        "8] to have 3 channels, but got 4 channels instead\n"
    )
    assert refused("verify", f"{MODULE}:Mixed", "--input", "3x8x8", "--device", "cuda") == (
        "verify runs on meta or cpu, not cuda: what FlopCounterMode counts of other devices' kernels has not been "
        "measured\n"
    )
