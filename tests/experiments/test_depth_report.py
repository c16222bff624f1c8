"""What `archprof depth` prints of a run: tables, verdicts with their evidence, and json after its schema."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from archprof.experiments.insertion import Effect, Insertion
from archprof.experiments.records import Response, Trial
from archprof.report import Surface
from archprof.report.depth import INSERTION_SCHEMA_FILE, SCHEMA_FILE, nets, render, render_insertions
from tests import goldens
from tests.experiments.made import replaced, trial
from tests.experiments.made import run as trained

TITLE = "resnet-cifar on digits"
HOW = ("recipe digits: 12 epochs, one thread a trial",)


def messy() -> list[Trial]:
    """Four depths, one net diverged, one unfinished."""

    def errors(depth: int, shortcut: str, seed: int) -> tuple[float, float, float]:
        worse = (depth - 20) * (1 + seed / 10) if shortcut == "none" else seed / 50
        return worse, 2 + worse * 1.01, 0.6 - depth / 1000 + (0.01 if shortcut == "none" else 0)

    trials = trained(errors, depths=(20, 32, 44, 56))
    trials = replaced(trials, 56, "none", 2, status="diverged", epochs=(), responses=())
    return replaced(trials, 44, "identity", 4, status="unfinished", epochs=(), responses=(), params=0)


@pytest.mark.parametrize("name", ["typical", "messy", "one-seed"])
@pytest.mark.parametrize("ending", ["80.txt", "txt", "md", "json"])
def test_render(name: str, ending: str) -> None:
    trials = {"typical": trained(), "messy": messy(), "one-seed": trained(seeds=1)}[name]
    kind = {"md": "markdown", "json": "json"}.get(ending, "terminal")
    width = 80 if ending == "80.txt" else None
    text = render(trials, kind, Surface(width=width), title=TITLE, caption=HOW)
    if width is not None:
        assert max(map(len, text.splitlines())) <= width
    if kind == "json":
        jsonschema.validate(json.loads(text), json.loads(SCHEMA_FILE.read_text()))
    goldens.check(f"depth-{name}.{ending}", text)


def test_colour_is_the_only_difference() -> None:
    coloured = render(trained(), "terminal", Surface(width=80, colour=True), title=TITLE)
    assert coloured.count("\x1b[1mshown\x1b[0m") == 6
    plain = coloured.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert plain == render(trained(), "terminal", Surface(width=80), title=TITLE)


def test_ascii() -> None:
    assert render(trained(), "terminal", Surface(unicode=False), title=TITLE).isascii()


def test_nets() -> None:
    trials = [each for each in trained() if (each.depth, each.shortcut) == (56, "none")]
    (net,) = nets(replaced(trials, 56, "none", 1, status="diverged", responses=()))
    assert (net.name, net.depth, net.shortcut, net.params) == ("plain-56", 56, "none", 56000)
    assert (net.seeds, net.diverged, net.unfinished) == ((0, 1, 2, 3, 4), (1,), ())
    assert net.training_error == (57, 100, 59, 60, 61)
    assert net.test_error == (58.6, 100, 60.6, 61.6, 62.6)
    assert net.seconds == (1.0,) * 5  # two epochs of half a second
    assert net.response_mean == pytest.approx([0.58] * 4)
    assert net.profile == (("conv1", pytest.approx(0.48)), ("stage1", pytest.approx(0.68)))


def test_the_median_is_beside_the_mean() -> None:
    skewed = tuple(Response(number, f"stage1.{number}", std) for number, std in enumerate((0.1, 0.2, 0.9), 1))
    trials = replaced([trial(20, "none", 0, 1, 1)], 20, "none", 0, responses=skewed)
    (net,) = nets(trials)
    assert (net.response_mean, net.response_median) == ((pytest.approx(0.4),), (0.2,))
    line = next(line for line in render(trials, "terminal", Surface(), title="").splitlines()[8:] if "plain-20" in line)
    assert line.split() == ["plain-20", "0.4000", "0.2000", "0.4000"]


def test_the_profile_of_a_net_whose_layers_have_many_names() -> None:
    """Quarters of its layers."""
    many = tuple(Response(number, f"conv{number}", float(number)) for number in range(1, 9))
    (net,) = nets(replaced([trial(20, "none", 0, 1, 1)], 20, "none", 0, responses=many))
    assert net.profile == (("quarter 1", 1.5), ("quarter 2", 3.5), ("quarter 3", 5.5), ("quarter 4", 7.5))


def test_without_responses_there_is_no_table_of_them() -> None:
    trials = replaced([trial(20, "none", 0, 1, 1)], 20, "none", 0, responses=())
    assert "Layer responses" not in render(trials, "terminal", Surface(), title="")


def test_json_has_all_digits() -> None:
    document: dict[str, Any] = json.loads(render(trained(), "json", Surface(), title=TITLE))
    (evidence,) = document["verdicts"][0]["evidence"]
    assert evidence["differences"] == [57.0 + seed - 0.2 for seed in range(5)]
    assert evidence["p"] == 1 / 32
    low, high = evidence["interval"]
    half = 2.7764451051977987 * math.sqrt(2.5 / 5)  # t of 4 degrees; the variance of 0 to 4 is 2.5
    assert (low, high) == (pytest.approx(58.8 - half), pytest.approx(58.8 + half))


# --- identity insertion


def insertions(seeds: int = 1) -> list[Insertion]:
    same = (Effect("evaluation", True, 0.0, 0.0, 0.0), Effect("training", True, 0.0, 0.07, 0.07))
    other = (Effect("evaluation", False, 2.1e-4, 0.15, 0.15), Effect("training", False, 1.4, 0.37, 50.56))
    ways = (("identity", "zero norm scale", same), ("none", "identity", other))
    return [
        Insertion("resnet-cifar", shortcut, seed, 20, 56, 18, values, effects)
        for seed in range(seeds)
        for shortcut, values, effects in ways
    ]


@pytest.mark.parametrize("ending", ["txt", "md", "json"])
def test_insertions(ending: str) -> None:
    kind = {"md": "markdown", "json": "json"}.get(ending, "terminal")
    text = render_insertions(insertions(), kind, Surface(width=80), title=TITLE, caption=HOW)
    if kind == "json":
        jsonschema.validate(json.loads(text), json.loads(INSERTION_SCHEMA_FILE.read_text()))
    goldens.check(f"depth-insertion.{ending}", text)


def test_insertions_of_several_seeds() -> None:
    """One that is not equal makes none of a line equal; errors are means."""
    first, second = insertions()[0], insertions(2)[2]
    off = msgspec.structs.replace(second, effects=(Effect("evaluation", False, 0.5, 3.0, 4.0), second.effects[1]))
    text = render_insertions([first, off], "terminal", Surface(), title=TITLE)
    rows = [line.split() for line in text.splitlines() if line.startswith("residual")]
    assert [row[7:] for row in rows] == [
        ["evaluation", "5.0e-01", "1.50", "2.00"],
        ["training", "equal", "0.07", "0.07"],
    ]
    assert text.endswith("2 seeds: the largest difference, and means of errors\n")


# --- the runs in reports/depth


REPORTS = Path(__file__).parents[2] / "reports/depth"
COMMAND = "archprof depth --plot-only reports/depth"
RUNS = sorted(path.parent.name for path in REPORTS.glob("*/config.json"))


@pytest.mark.parametrize("name", RUNS)
def test_reports_are_current(name: str, run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """Judged and drawn again, in the folder that `run` works in, they are as committed."""
    shutil.copytree(REPORTS / name, tmp_path / "again", ignore=shutil.ignore_patterns("report.md", "verdicts.json"))
    assert run("depth", "--plot-only", "again")[0] == 0
    for file in ("report.md", "verdicts.json"):
        assert (tmp_path / "again" / file).read_text() == (REPORTS / name / file).read_text(), f"{COMMAND}/{name}"


def test_pictures_and_folders_that_the_text_names_are_there() -> None:
    text = (REPORTS / "README.md").read_text()
    named = re.findall(r"\]\(([^)]+)\)", text)
    assert [path for path in named if not (REPORTS / path).is_file()] == []
    assert sorted({path.partition("/")[0] for path in named}) == RUNS
    assert sum(path.stat().st_size for path in REPORTS.glob("*/*.[ps][nv]g")) < 10**6 * len(RUNS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "digits",
            {"a": {"shown"}, "b": {"shown"}, "c": {"shown"}, "d": {"shown"}, "e": {"shown"}, "f": {"not shown"}},
        ),
        ("cifar10", {letter: {"not shown"} for letter in "abcdef"}),  # one seed
    ],
)
def test_what_the_runs_show(name: str, expected: dict[str, set[str]]) -> None:
    found: dict[str, set[str]] = {}
    for verdict in json.loads((REPORTS / name / "verdicts.json").read_text())["verdicts"]:
        found.setdefault(verdict["letter"], set()).add(verdict["outcome"])
    assert found == expected
