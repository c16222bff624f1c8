"""`archprof verify`: what it prints, and its exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from archprof.cli import main
from archprof.cost import Cost
from archprof.operators.linear import Linear
from archprof.report.verification import SCHEMA_FILE
from archprof.verification import tools

NET = """\
name: net
input: [8]
parameters: {width: 5}
layers:
  - {name: fc, op: linear, out_features: =width}
"""
MIXED = """\
name: mixed
input: [4, 5, 5]
layers:
  - {name: grouped, op: conv2d, out_channels: 6, kernel_size: 3, groups: 2}
  - {name: flatten, op: flatten}
  - {name: fc, op: linear, out_features: 5}
variants: {mixed-too: {}}
"""
GROUPED = 2 * 3 * 3 * 6 * 2 * 9
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """`archprof verify ARGUMENTS` in a folder with the two specs: its exit status, output and errors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.yaml").write_text(NET, encoding="utf-8")
    (tmp_path / "mixed.yaml").write_text(MIXED, encoding="utf-8")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["archprof", "verify", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out, printed.err

    return call


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = Linear.cost
    monkeypatch.setattr(Linear, "cost", lambda *given, **named: cost(*given, **named) + Cost(multiply_adds=1))


def notes() -> str:
    return "".join(f"{name}: {what}\n" for name, what in tools().items())


def test_all_agrees(run: Run) -> None:
    assert run("net.yaml") == (0, f"net: 6 of 6 figures agree\n\n{notes()}", "")
    status, out, _ = run("net.yaml", "-f", "markdown")
    assert (status, out) == (0, f"net: 6 of 6 figures agree\n\n- {notes()[:-1]}".replace("\nfv", "\n- fv") + "\n")


def test_a_known_reason_is_told_and_is_no_failure(run: Run) -> None:
    status, out, errors = run("mixed.yaml:mixed-too")
    assert (status, errors) == (0, "")
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[0] == "mixed-too: 15 of 16 figures agree, 1 differs for a known reason"
    assert lines[4].split() == [
        "mixed-too",
        "grouped",
        "conv2d",
        "backward",
        "multiply-adds",
        f"{GROUPED:,}",
        f"{2 * GROUPED:,}",
        "FlopCounterMode",
        "grouped-weight-gradient",
    ]
    assert lines[6] == (
        "grouped-weight-gradient: FlopCounterMode multiplies the weight gradient of a grouped convolution by the groups"
        " (measured with torch 2.13.0; https://github.com/pytorch/pytorch/pull/183405)"
    )


def test_an_unexplained_difference_comes_first_and_exits_1(run: Run, wrong: None) -> None:
    status, out, errors = run("mixed.yaml:mixed-too", "net.yaml")
    assert (status, errors) == (1, "")
    lines = out.splitlines()
    assert lines[0] == "2 networks: 15 of 22 figures agree, 1 differs for a known reason, 6 differ unexplained"
    assert [line.split()[-1] for line in lines[4:11]] == ["unexplained"] * 6 + ["grouped-weight-gradient"]


def test_json_follows_its_schema(run: Run, wrong: None) -> None:
    status, out, _ = run(".", "-f", "json")
    document = json.loads(out)
    jsonschema.validate(document, json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    assert status == 1
    assert {key: document[key] for key in ("agrees", "explained", "unexplained")} == {
        "agrees": 12 + 12 + 3,
        "explained": 2,
        "unexplained": 9,
    }
    assert [network["network"] for network in document["networks"]] == ["mixed", "mixed-too", "net"]
    assert document["networks"][0]["differences"][-1] == {
        "node": "grouped",
        "op": "conv2d",
        "quantity": "backward multiply-adds",
        "ours": GROUPED,
        "theirs": 2 * GROUPED,
        "tool": "FlopCounterMode",
        "reason": "grouped-weight-gradient",
    }
    (reason,) = document["reasons"]
    assert (reason["torch"], reason["devices"]) == ({"since": "2.4", "until": None}, ["meta", "cpu"])


def test_options(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("net.yaml", "--set", "width=7", "--input", "12", "-o", "report.txt")
    assert (status, out) == (0, "")
    assert (tmp_path / "report.txt").read_text(encoding="utf-8").startswith("net: 6 of 6 figures agree\n")


def test_train_takes_the_heads(run: Run, tmp_path: Path) -> None:
    head = "  - {name: head, op: linear, out_features: 3, from: fc}\n"
    outputs = "outputs: [fc]\ntraining_outputs: [head]\n"
    (tmp_path / "heads.yaml").write_text(NET + head + outputs, encoding="utf-8")
    assert run("heads.yaml")[1].startswith("net: 6 of 6 figures agree\n")
    assert run("heads.yaml", "--train")[1].startswith("net: 12 of 12 figures agree\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("net.yaml", "-f", "jsom"), "unknown format jsom: did you mean json?\n"),
        (("net.yaml", "--device", "cuda"), "verify runs on meta or cpu, not cuda: what FlopCounterMode counts of "),
        (("nothing.yaml",), "nothing.yaml: no such file, and no shipped spec is called nothing: "),
    ],
)
def test_mistakes(run: Run, arguments: tuple[str, ...], message: str) -> None:
    status, out, errors = run(*arguments)
    assert (status, out) == (2, "")
    assert errors.startswith(message)


def test_without_fvcore_one_line_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fvcore" else found(name))
    assert run("net.yaml") == (2, "", "verify needs fvcore: pip install 'archprof[torch]'\n")
