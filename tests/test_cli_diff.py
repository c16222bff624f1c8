"""`archprof diff` as it is run: formats, settings, git revisions."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from archprof.cli import main
from archprof.operators import base
from archprof.report.diff import SCHEMA_FILE
from tests import goldens
from tests.graphs import Unknown

SCHEMA = json.loads(SCHEMA_FILE.read_text())
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `archprof diff` in an empty folder: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def diff(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["archprof", "diff", *arguments])
        status = 0
        try:
            main()
        except SystemExit as left:
            status = int(left.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return diff


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("diff-vgg-remark.txt", ["two-3x3", "one-5x5"]),
        ("diff-plain-34.txt", ["plain-34", "resnet-34"]),
        ("diff-plain-34.md", ["plain-34", "resnet-34", "--format", "markdown"]),
        ("diff-depths.md", ["resnet-cifar", "--set-before", "depth=20", "--set-after", "depth=32", "-f", "markdown"]),
        ("diff-all.txt", ["vgg-a", "vgg-b", "--all", "--counting", "operations"]),
        ("diff-nodes.txt", ["two-3x3", "one-5x5", "--fold", "all", "--set", "channels=8"]),
        ("diff-vgg-remark.json", ["two-3x3", "one-5x5", "--format", "json"]),
    ],
)
def test_what_is_printed(run: Run, name: str, arguments: list[str]) -> None:
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    goldens.check(name, out)


def document(run: Run, *arguments: str) -> Any:
    status, out, err = run(*arguments, "--format", "json")
    assert (status, err) == (0, "")
    made = json.loads(out)
    jsonschema.validate(made, SCHEMA)
    return made


def test_json(run: Run) -> None:
    made = document(run, "two-3x3", "one-5x5")
    assert made["before"] == {"spec": "two-3x3", "network": "two-3x3", "settings": {"kernels": [3, 3], "channels": 256}}
    assert [row["status"] for row in made["rows"]] == ["changed", "removed"]
    assert made["rows"][1]["after"] is None
    params, *_, field = made["totals"]
    assert params == {
        "name": "parameters",
        "before": 18 * 256 * 256,
        "after": 25 * 256 * 256,
        "ratio": pytest.approx(25 / 18),
    }
    assert field == {"name": "receptive field", "before": 5, "after": 5, "ratio": 1.0}
    assert document(run, "plain-34", "resnet-34", "--fold", "2")["fold"] == 2


def test_json_of_what_is_not_counted_and_of_settings_that_json_has_not(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(base.REGISTRY, "mystery", Unknown)
    Path("m.yaml").write_text(
        "name: m\ninput: [3, 8, 8]\nparameters: {big: .inf, width: 4}\nlayers:\n"
        "  - {name: a, op: conv2d, out_channels: =width if big > 1 else 1, kernel_size: 1}\n"
        "  - {name: b, op: mystery}\n"
    )
    made = document(run, "m.yaml", "--set-after", "width=5")
    assert made["before"]["settings"] == {"big": "inf", "width": 4}
    assert made["rows"][1]["before"]["flops"] is None
    assert made["totals"][1] == {"name": "FLOPs", "before": None, "after": None, "ratio": None}
    assert "not counted" in run("m.yaml", "--set-after", "width=5")[1]


def test_the_json_schema_is_strict(run: Run) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    made = document(run, "two-3x3", "one-5x5")
    made["rows"][0]["after"]["more"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(made, SCHEMA)


def test_equal_networks_say_so(run: Run) -> None:
    status, out, _ = run("zf", "zf.yaml")
    assert status == 0
    assert out.splitlines()[0] == "zf -> zf.yaml"
    assert "the networks are equal" in out
    assert document(run, "zf", "zf")["equal"] is True
    assert "\n- the networks are equal\n" in run("zf", "zf", "-f", "markdown")[1]


def test_equal_rows_of_networks_that_differ(run: Run) -> None:
    text = "name: n\ninput: [3, 8, 8]\nlayers: [{name: a, op: relu}]\n"
    Path("one.yaml").write_text(text)
    Path("two.yaml").write_text(text.replace("relu", "gelu"))
    out = run("one.yaml", "two.yaml")[1]
    assert out.splitlines()[0] == "one.yaml -> two.yaml"
    said = "at depth 1 of the paths no row differs, but the networks do: see --fold all, or their operators' fields"
    assert said in out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["zf"], "diff needs two specs, or two settings of one: --set-before and --set-after\n"),
        (["zf", "zf", "--format", "csv"], "unknown format csv: take terminal, markdown or json\n"),
        (["zf", "zf", "--fold", "x"], "--fold x: write a depth of the node paths, as 1, or all\n"),
        (["zf", "zf", "--fold", "0"], "fold must be at least 1, not 0; all shows every node\n"),
        (["zf", "zf", "--counting", "operation"], "unknown counting convention operation: did you mean operations?\n"),
        (["resnet-cifar", "--set-after", "depth"], "--set depth: write --set name=value\n"),
    ],
)
def test_what_cannot_be_served(run: Run, arguments: list[str], message: str) -> None:
    assert run(*arguments) == (2, "", message)


def test_mistakes(run: Run) -> None:
    Path("bad.yaml").write_text("name: bad\ninput: [3, 8, 8]\nlayers: [{op: rellu}]\n")
    status, out, err = run("zf", "bad.yaml")
    assert (status, out) == (2, "")
    assert err.startswith("bad.yaml:3:15: unknown operator rellu: did you mean relu?")


def test_output_to_a_file(run: Run) -> None:
    assert run("two-3x3", "one-5x5", "--format", "markdown", "--output", "pull-request.md") == (0, "", "")
    assert Path("pull-request.md").read_text().startswith("**two-3x3")


# --- git

OLD = """\
name: net
input: [3, 8, 8]
parameters: {width: 4}
layers:
  - {name: conv, op: conv2d, out_channels: =width, kernel_size: 3, padding: 1, bias: false}
variants: {wide: {with: {width: 8}}}
expect: {published: published/net.yaml}
"""
NEW = OLD.replace("kernel_size: 3, padding: 1", "kernel_size: 5, padding: 2")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with two revisions of specs/net.yaml; its published file is in neither."""
    root = tmp_path / "repository"
    (root / "specs").mkdir(parents=True)

    def git(*arguments: str) -> None:
        settings = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "core.hooksPath=")
        subprocess.run(["git", *settings, *arguments], cwd=root, check=True, capture_output=True)

    git("init", "-b", "main")
    for text, name in ((OLD, "first"), (NEW, "second")):
        (root / "specs/net.yaml").write_text(text)
        git("add", ".")
        git("commit", "-m", name)
        git("tag", name)
    return root


def changes(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith(("~", "+", "-"))]


CHANGED = f"~  conv   8x8x4     3x3x3, 1 -> 5x5x3, 1  {4 * 27} -> {4 * 75}  {4 * 27 * 64:,} -> {4 * 75 * 64:,}"


@pytest.mark.parametrize(
    ("folder", "before", "after"),
    [
        (".", "first:specs/net.yaml", "second:specs/net.yaml"),
        (".", "HEAD~1:specs/net.yaml", "specs/net.yaml"),
        (".", "HEAD~1:./specs/net.yaml", "specs/net.yaml"),
        ("specs", "HEAD~1:net.yaml", "net.yaml"),  # relative to this folder
        ("specs", "HEAD~1:specs/net.yaml", "main:net.yaml"),  # and from the root, as git takes it
        ("specs", "HEAD~1:./net.yaml", "HEAD:../specs/net.yaml"),
    ],
)
def test_revisions(
    run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch, folder: str, before: str, after: str
) -> None:
    monkeypatch.chdir(repository / folder)
    status, out, err = run(before, after)
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == f"{before} -> {after}"
    assert changes(out) == [CHANGED]


def test_a_variant_and_settings_at_a_revision(run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    out = run("first:specs/net.yaml:wide", "specs/net.yaml:wide")[1]
    assert f"parameters {8 * 27} -> {8 * 75}: x 2.78" in out
    out = run("first:specs/net.yaml", "first:specs/net.yaml:wide")[1]
    assert out.splitlines()[0] == "net (width=4) -> wide (width=8)"
    out = run("first:specs/net.yaml", "--set-before", "width=2", "--set-after", "width=6")[1]
    assert f"parameters {2 * 27} -> {6 * 27}: x 3" in out


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("first:specs/no.yaml", "first:specs/no.yaml: path 'specs/no.yaml' does not exist in 'first'\n"),
        ("third:specs/net.yaml", "third:specs/net.yaml: invalid object name 'third'.\n"),
        ("first:specs/net.yaml:wid", "first:specs/net.yaml: no variant wid: did you mean wide? [unknown-variant]\n"),
    ],
)
def test_revisions_that_are_not_there(
    run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch, spec: str, message: str
) -> None:
    monkeypatch.chdir(repository)
    assert run(spec, "specs/net.yaml") == (2, "", message)


def test_no_revision_is_an_option_of_git(run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    status, _, err = run("zf", "--", "--output=x:net.yaml")
    assert status == 2
    assert err.startswith("--output=x:net.yaml: ")
    assert not list(repository.glob("x*"))


def test_outside_a_repository(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    status, _, err = run("HEAD:net.yaml", "zf")
    assert status == 2
    assert err.startswith("HEAD:net.yaml: not a git repository")


def test_without_git(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    message = "HEAD:net.yaml: a git revision needs git, which is not installed\n"
    assert run("HEAD:net.yaml", "zf") == (2, "", message)


def test_a_mistake_at_a_revision_has_its_place(run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    status, _, err = run("first:specs/net.yaml", "second:specs/net.yaml", "--set-before", "widht=4")
    assert status == 2
    assert "first:specs/net.yaml" in err
    assert "widht" in err


def test_a_file_whose_name_looks_like_a_revision(run: Run) -> None:
    Path("v1:net.yaml").write_text(OLD)
    Path("net.yaml").write_text(NEW)
    out = run("v1:net.yaml", "net.yaml")[1]
    assert changes(out) == [CHANGED]
