"""`archprof check` as it is run: arguments, formats, exit statuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import xmlschema

from archprof.cli import main
from archprof.operators import base
from archprof.report.checks.json import SCHEMA_FILE
from tests.graphs import Unknown

JUNIT = xmlschema.XMLSchema(str(Path(__file__).parent / "data/junit.xsd"))
SMALL = """\
name: small
input: [3, 8, 8]
layers:
  - {name: conv, op: conv2d, out_channels: 4, kernel_size: 3, padding: 1, bias: false}
"""
PARAMS = 4 * 3 * 3 * 3
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `archprof check` in an empty folder: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)

    def check(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["archprof", "check", *arguments])
        status = 0
        try:
            main()
        except SystemExit as left:
            status = int(left.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return check


def write(name: str, text: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)


GOOD = f"{SMALL}expect: {{params: {PARAMS}}}\n"
BAD = f"{SMALL}expect: {{params: 109}}\n"
BROKEN = SMALL.replace("kernel_size: 3", "kernel_size: 30")


def test_all_holds(run: Run) -> None:
    write("good.yaml", GOOD)
    assert run("good.yaml") == (0, "ok    small: 1 agrees\n1 network: 1 agrees\n", "")


def test_something_differs(run: Run) -> None:
    write("bad.yaml", BAD)
    assert run("bad.yaml") == (
        1,
        "FAIL  small: 0 agree, 1 differs\n      bad.yaml:5:18: params is 108, not 109\n1 network: 0 agree, 1 differs\n",
        "",
    )


def test_one_that_differs_among_many(run: Run) -> None:
    write("specs/a.yaml", GOOD)
    write("specs/b.yaml", BAD)
    for arguments in (["specs"], ["specs/*.yaml"], ["specs/a.yaml", "specs/b.yaml"]):
        status, out, err = run(*arguments)
        assert (status, err) == (1, "")
        assert out.splitlines()[-1] == "2 networks: 1 agrees, 1 differs"


MISTAKE = (
    "specs/c.yaml:4:5: layer conv (conv2d): kernel_size 30 is larger than its padded input 10x10 [kernel-too-large]"
)


def test_mistakes_of_some_files(run: Run) -> None:
    write("specs/a.yaml", GOOD)
    write("specs/b.yaml", BAD)
    write("specs/c.yaml", BROKEN)
    write("specs/d.yaml", "name: d\n")
    status, out, err = run("specs")
    assert status == 2
    assert out.splitlines()[0] == "ok    small: 1 agrees"  # the others are checked
    assert out.splitlines()[-1] == "2 networks: 1 agrees, 1 differs; 2 files with mistakes"
    lines = err.splitlines()
    assert lines[0] == MISTAKE
    assert {line.partition(":")[0] for line in lines[1:]} == {"specs/d.yaml"}


def test_every_format_tells_mistakes(run: Run) -> None:
    write("specs/b.yaml", BAD)
    write("specs/c.yaml", BROKEN)
    for name in ("github", "junit", "json"):
        status, out, err = run("specs", "--format", name)
        assert (status, err) == (2, MISTAKE + "\n")
        assert "kernel-too-large" in out
        assert "109" in out


def test_a_file_that_is_not_there(run: Run) -> None:
    status, _, err = run("nothing.yaml")
    assert status == 2
    assert err.startswith("nothing.yaml: no such file, and no shipped spec is called nothing")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.yaml"], "nothing to check in none.yaml: write `expect` in the spec, or give a limit with --max\n"),
        (["empty"], "empty: no spec file (.yaml, .yml) is in this folder\n"),
        (["*.yml"], "*.yml: no file fits this pattern\n"),
        (["none.yaml", "--max", "param=5M"], "--max param=5M: unknown quantity param: did you mean params?\n"),
        (["none.yaml", "--max", "5M"], "--max 5M: write QUANTITY=NUMBER, as params=5M or memory=1GiB\n"),
        (["none.yaml", "--format", "junt"], "unknown format junt: did you mean junit?\n"),
        (["none.yaml", "--set", "w"], "--set w: write --set name=value\n"),
    ],
)
def test_what_cannot_be_served(run: Run, arguments: list[str], message: str) -> None:
    write("none.yaml", SMALL)
    Path("empty").mkdir()
    assert run(*arguments) == (2, "", message)


def test_no_argument(run: Run) -> None:
    status, out, err = run()
    assert (status, out) == (2, "")
    assert "Missing argument" in err


def test_limits(run: Run) -> None:
    write("none.yaml", SMALL)
    flops = PARAMS * 8 * 8
    assert run("none.yaml", "--max", "params=108", "--max", f"flops={flops}", "--max", "memory=1GiB")[0] == 0
    status, out, _ = run("none.yaml", "--max", "params=107", "--max", "flops=5M")
    assert status == 1
    assert out == (
        "FAIL  small: 1 agrees, 1 differs\n      none.yaml:4:5: params is 108, not at most 107\n"
        "1 network: 1 agrees, 1 differs\n"
    )


def test_a_limit_on_what_is_not_counted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(base.REGISTRY, "mystery", Unknown)
    write("unknown.yaml", f"{SMALL}  - {{op: mystery}}\n")
    message = "small: flops is not known, since not every operator is counted\n"
    assert run("unknown.yaml", "--max", "flops=1G") == (2, "", message)
    assert run("unknown.yaml", "--max", "params=1K")[0] == 0


def test_names_and_variants(run: Run) -> None:
    write(
        "my.yaml",
        SMALL.replace("4,", "=w,") + "parameters: {w: 4}\nvariants: {wide: {with: {w: 8}, expect: {params: 216}}}\n",
    )
    assert run("my.yaml:wide") == (0, "ok    wide: 1 agrees\n1 network: 1 agrees\n", "")
    assert run("my.yaml") == (0, "ok    wide: 1 agrees\n1 network: 1 agrees\n", "")  # nothing is expected of the base
    assert run("my.yaml", "--set", "w=4", "--max", "params=108")[0] == 1
    status, out, _ = run("resnet-50", "zf.yaml")
    assert (status, out.splitlines()[0]) == (0, "ok    resnet-50: 5 agree")
    assert run("my.yaml:wider")[0] == 2


def test_output_to_a_file(run: Run) -> None:
    write("bad.yaml", BAD)
    status, out, _ = run("bad.yaml", "--output", "found.txt")
    assert (status, out) == (1, "")
    assert Path("found.txt").read_text().startswith("FAIL  small")
    status, _, err = run("bad.yaml", "--output", "none/found.txt")
    assert status == 2
    assert err.startswith("cannot write none/found.txt: there is no folder")


def test_programs_read_it(run: Run) -> None:
    write("bad.yaml", BAD)
    status, out, _ = run("bad.yaml", "zf", "--format", "json")
    assert status == 1
    jsonschema.validate(json.loads(out), json.loads(SCHEMA_FILE.read_text()))
    status, out, _ = run("bad.yaml", "zf", "googlenet", "--format", "junit")
    assert status == 1
    JUNIT.validate(out)


def test_github_and_its_summary(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write("bad.yaml", BAD)
    write("summary.md", "before\n")
    error = "::error file=bad.yaml,line=5,col=18,title=archprof check%3A small::params is 108, not 109\n"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    status, out, _ = run("bad.yaml", "--format", "github")
    assert status == 1
    assert out.startswith(error)
    assert run("bad.yaml")[0] == 1  # another format adds nothing
    text = Path("summary.md").read_text()
    assert text.startswith("before\n### archprof check\n")  # what other steps wrote stays
    assert text.count("### archprof check") == 1
    assert "- small: bad.yaml:5:18: params is 108, not 109\n" in text
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "none/summary.md")
    assert run("bad.yaml", "--format", "github")[2] == (
        "cannot write GITHUB_STEP_SUMMARY none/summary.md: No such file or directory\n"
    )
