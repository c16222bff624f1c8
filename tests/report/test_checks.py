"""What `archprof check` prints: for people, GitHub, JUnit's readers and programs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import xmlschema
from hypothesis import given, settings
from hypothesis import strategies as st

from archprof.analysis.check import EXCEPTION, FAILED, PASSED, Checked, Finding, Report
from archprof.report import Surface
from archprof.report.checks import FORMATS, render
from archprof.report.checks.github import step_summary
from archprof.report.checks.json import SCHEMA_FILE
from archprof.spec.errors import Mistake

JUNIT = xmlschema.XMLSchema(str(Path(__file__).parents[1] / "data/junit.xsd"))
SCHEMA = json.loads(SCHEMA_FILE.read_text())


def finding(what: str = "params", status: str = PASSED, note: str | None = None, line: int = 7) -> Finding:
    found = "2,668" if status == PASSED else "9"
    return Finding(
        what=what, expected="2,668", found=found, status=status, note=note, file="specs/a.yaml", line=line, column=18
    )


def network(*findings: Finding, name: str = "a", **more: Any) -> Checked:
    return Checked(name=name, file="specs/a.yaml", findings=findings, **more)


MISTAKE = Mistake("specs/b.yaml", 3, 5, "layer x (conv2d): needs out_channels", "missing-field")
NO_FILE = Mistake("c.yaml", 0, 0, "no such file", "no-such-file")
SOME = Report(
    networks=(
        network(finding(), finding("flops (multiply_adds)", FAILED, "a 10% note: 50,000\nand more")),
        network(finding("conv1: ops", EXCEPTION, "misprinted"), name="b", unlisted=("softmax", "loss")),
        network(name="nothing"),
        network(name="family", family=True),
    ),
    mistakes=(NO_FILE, MISTAKE),
)
GOOD = Report(networks=(network(finding(), finding("depth")),))


def test_terminal() -> None:
    assert render(SOME, "terminal", Surface()) == (
        "FAIL  a: 1 agrees, 1 differs\n"
        "      specs/a.yaml:7:18: flops (multiply_adds) is 9, not 2,668 (a 10% note: 50,000\nand more)\n"
        "ok    b: 0 agree, 1 published cell does not follow, as recorded\n"
        "      specs/a.yaml:7:18: does not follow, as recorded: conv1: ops is 9, not 2,668 (misprinted)\n"
        "      published rows that the spec has no node for: softmax, loss\n"
        "2 networks: 1 agrees, 1 differs, 1 published cell does not follow, as recorded; 2 files with mistakes; "
        "nothing is expected of nothing\n"
    )
    assert render(GOOD, "terminal", Surface()) == "ok    a: 2 agree\n1 network: 2 agree\n"


def test_terminal_in_colour() -> None:
    lines = render(SOME, "terminal", Surface(colour=True)).splitlines()
    assert lines[0] == "\x1b[1mFAIL  a: 1 agrees, 1 differs\x1b[0m"
    assert lines[-1].startswith("\x1b[1m2 networks")
    assert sum("\x1b" in line for line in lines) == 2


# --- GitHub


def annotations(text: str) -> list[tuple[str, dict[str, str], str]]:
    """The workflow commands of a text, as GitHub's runner reads them."""
    found = []
    for line in text.splitlines():
        matched = re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line)
        assert matched is not None, line
        kind, properties, message = matched.groups()
        values = dict(pair.split("=", 1) for pair in properties.split(","))
        found.append((kind, {key: decoded(value) for key, value in values.items()}, decoded(message)))
    return found


def decoded(text: str) -> str:
    for code, char in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, char)
    return text


@pytest.fixture(autouse=True)
def no_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)


def test_github() -> None:
    assert render(SOME, "github", Surface()) == (
        "::error file=c.yaml,line=1,col=1,title=archprof check::no such file [no-such-file]\n"
        "::error file=specs/b.yaml,line=3,col=5,title=archprof check::"
        "layer x (conv2d): needs out_channels [missing-field]\n"
        "::error file=specs/a.yaml,line=7,col=18,title=archprof check%3A a::"
        "flops (multiply_adds) is 9, not 2,668 (a 10%25 note: 50,000%0Aand more)\n"
        "::notice title=archprof check::"
        "2 networks: 1 agrees, 1 differs, 1 published cell does not follow, as recorded; 2 files with mistakes; "
        "nothing is expected of nothing"
        "%0Ac.yaml: no such file [no-such-file]"
        "%0Aspecs/b.yaml:3:5: layer x (conv2d): needs out_channels [missing-field]"
        "%0Aa: specs/a.yaml:7:18: flops (multiply_adds) is 9, not 2,668 (a 10%25 note: 50,000%0Aand more)\n"
    )
    assert render(GOOD, "github", Surface()) == "::notice title=archprof check::1 network: 2 agree\n"


@pytest.mark.parametrize("failures", [0, 1, 9, 10, 11, 40])
def test_github_shows_ten_errors_and_one_notice_that_holds_all(failures: int) -> None:
    findings = [finding(f"layer{number}", FAILED, line=number + 1) for number in range(failures)]
    found = annotations(render(Report(networks=(network(*findings),)), "github", Surface()))
    assert [kind for kind, _, _ in found] == ["error"] * min(failures, 10) + ["notice"]
    assert [properties["line"] for kind, properties, _ in found if kind == "error"] == [
        str(number + 1) for number in range(min(failures, 10))
    ]
    notice = found[-1][2]
    assert all(f"specs/a.yaml:{number + 1}:18: layer{number} is 9" in notice for number in range(failures))


def test_github_shows_ten_mistakes_at_most() -> None:
    mistakes = tuple(Mistake("b.yaml", line, 1, "wrong", "wrong-type") for line in range(1, 13))
    found = annotations(
        render(Report(networks=(network(finding(status=FAILED)),), mistakes=mistakes), "github", Surface())
    )
    assert [kind for kind, _, _ in found] == ["error"] * 10 + ["notice"]
    assert "b.yaml:12:1: wrong" in found[-1][2]
    assert "a: specs/a.yaml:7:18: params is 9" in found[-1][2]


@settings(max_examples=200, deadline=None)
@given(st.text("ab%:,\n\r0A25", max_size=30), st.text("ab%:,\n0", min_size=1, max_size=20))
def test_github_reads_back_what_was_written(note: str, name: str) -> None:
    one = finding(status=FAILED, note=note)
    error, notice = annotations(render(Report(networks=(network(one, name=name),)), "github", Surface()))
    assert error[1]["title"] == f"archprof check: {name}"
    assert error[2] == "params is 9, not 2,668" + (f" ({note})" if note else "")
    assert notice[2].endswith(error[2])


def test_github_s_paths_are_relative_to_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets/specs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "nets")
    report = Report(
        networks=(network(finding(status=FAILED)),), mistakes=(Mistake(str(tmp_path / "x.yaml"), 1, 1, "m", "c"),)
    )

    def files() -> list[str]:
        return [each["file"] for kind, each, _ in annotations(render(report, "github", Surface())) if kind == "error"]

    assert files() == [str(tmp_path / "x.yaml"), "specs/a.yaml"]  # from the working folder, where nothing is said
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    assert files() == ["x.yaml", "nets/specs/a.yaml"]
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / "elsewhere"))
    assert files() == [str(tmp_path / "x.yaml"), "specs/a.yaml"]


def test_the_step_summary() -> None:
    report = Report(
        networks=(
            network(finding(), finding("flops", FAILED, "a *note*"), name="a_|b"),
            network(finding("ops", EXCEPTION), name="b"),
            network(name="nothing"),
        ),
        mistakes=(MISTAKE,),
    )
    assert step_summary(report) == (
        "### archprof check\n\n"
        "2 networks: 1 agrees, 1 differs, 1 published cell does not follow, as recorded; 1 file with mistakes; "
        "nothing is expected of nothing\n\n"
        "- specs/b.yaml:3:5: layer x (conv2d): needs out_channels [missing-field]\n"
        "- a\\_\\|b: specs/a.yaml:7:18: flops is 9, not 2,668 (a \\*note\\*)\n\n"
        "| network | checked |\n"
        "|---|---|\n"
        "| a\\_\\|b | 1 agrees, 1 differs |\n"
        "| b | 0 agree, 1 published cell does not follow, as recorded |\n\n"
        "<details><summary>Published cells that do not follow, as recorded</summary>\n\n"
        "- specs/a.yaml:7:18: does not follow, as recorded: ops is 9, not 2,668\n\n"
        "</details>\n\n"
    )
    assert step_summary(GOOD) == (
        "### archprof check\n\n1 network: 2 agree\n\n| network | checked |\n|---|---|\n| a | 2 agree |\n\n"
    )


# --- JUnit


def test_junit() -> None:
    text = render(SOME, "junit", Surface())
    JUNIT.validate(text)
    root = ElementTree.fromstring(text)
    assert root.attrib == {"tests": "5", "failures": "1", "errors": "2", "time": "0"}
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["a", "b", "nothing", "family", "c.yaml", "specs/b.yaml"]
    sums = [[suite.get(key) for key in ("tests", "failures", "errors", "skipped")] for suite in root]
    assert sums == [list(each) for each in ("2100", "1001", "0000", "0000", "1010", "1010")]
    passed, failed = suites["a"]
    assert (passed.get("name"), passed.get("classname"), len(passed)) == ("params", "a", 0)
    (failure,) = failed
    assert (failure.tag, failure.get("message")) == ("failure", "flops (multiply_adds) is 9, not 2,668")
    assert failure.text == "specs/a.yaml:7:18: flops (multiply_adds) is 9, not 2,668 (a 10% note: 50,000\nand more)"
    assert suites["b"][0][0].tag == "skipped"
    assert suites["specs/b.yaml"][0][0].attrib == {
        "message": "specs/b.yaml:3:5: layer x (conv2d): needs out_channels [missing-field]",
        "type": "missing-field",
    }


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=20), st.text(st.characters(codec="utf-8"), max_size=20))
def test_junit_holds_any_text(what: str, note: str) -> None:
    report = Report(
        networks=(network(finding(what, FAILED, note), finding(what, EXCEPTION, note), name=what),),
        mistakes=(Mistake(what, 1, 1, note, "wrong-type"),),
    )
    JUNIT.validate(render(report, "junit", Surface()))


def test_the_junit_schema_refuses_what_is_none() -> None:
    text = render(SOME, "junit", Surface())
    for broken in (
        text.replace(' time="0"', ' skipped="1"', 1),  # not an attribute of testsuites
        text.replace("<testcase name=", "<testcase nam="),
        text.replace('failures="1"', 'failures="one"'),
        text.replace("failure", "failed"),
    ):
        assert broken != text
        assert not JUNIT.is_valid(broken)


# --- JSON


def test_json() -> None:
    document = json.loads(render(SOME, "json", Surface()))
    jsonschema.validate(document, SCHEMA)
    assert {key: document[key] for key in ("schema", "passed", "failed", "exception")} == {
        "schema": "archprof.check/1",
        "passed": 1,
        "failed": 1,
        "exception": 1,
    }
    assert document["networks"][0]["findings"][1] == {
        "what": "flops (multiply_adds)",
        "expected": "2,668",
        "found": "9",
        "status": "failed",
        "note": "a 10% note: 50,000\nand more",
        "file": "specs/a.yaml",
        "line": 7,
        "column": 18,
    }
    assert document["networks"][1]["unlisted_rows"] == ["softmax", "loss"]
    assert document["mistakes"][1] == {
        "file": "specs/b.yaml",
        "line": 3,
        "column": 5,
        "message": "layer x (conv2d): needs out_channels",
        "code": "missing-field",
    }


def test_the_json_schema_is_strict() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = json.loads(render(SOME, "json", Surface()))
    document["networks"][0]["findings"][0]["more"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_ends_in_one_newline_and_has_no_codes(name: str) -> None:
    text = render(SOME, name, Surface())
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "\x1b" not in text
