"""`archprof results` and `archprof trend`, as a user runs them."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from archprof.profiling.history import record
from archprof.profiling.records import Cell, Key, Run
from archprof.profiling.results import write_run
from archprof.profiling.statistics import summarise
from archprof.report.results.exports import EXPORTS
from archprof.report.results.trend import bars
from tests import goldens

Ok = Callable[..., str]
Status = Callable[..., tuple[int, str, str]]

KEYS = [
    Key("resnet-18", 1, "3x224x224", multiply_adds=1814073344),
    Key("resnet-18", 16, "3x224x224", multiply_adds=1814073344),
    Key("vgg-d", 16, "3x224x224", pass_="forward+backward", multiply_adds=15470264320),
    Key("zf", 16, "3x220x220", multiply_adds=1605944064),
]
PARAMS = {"resnet-18": 11689512, "vgg-d": 138357544, "zf": 140025664}
SECONDS = (0.0213, 0.2951, 4.31, 0.402)


def cell(key: Key, seconds: float, noise: float = 0.004) -> Cell:
    steady = [seconds * (1 + noise * (place - 2)) for place in (0, 1, 2, 3, 4)]
    timings = {key.pass_: summarise([steady] * 5, 0.02)}
    if key.pass_ == "forward+backward":
        parts = ((part, share) for part, share in (("forward", 0.3), ("backward", 0.7)))
        timings = {part: summarise([[each * share for each in steady]] * 5, 0.02) for part, share in parts} | timings
    return Cell(
        key,
        "ok",
        timings=timings,
        images_per_second=key.batch / seconds,
        peak_memory=key.batch * 2**20,
        params=PARAMS[key.network],
        settings={"threads": 2, "precision": 0.02, "budget": 10.0},
    )


def made(*seconds: float | Cell, created: str = "2026-11-24T10:00:00+00:00", **fields: Any) -> Run:
    cells = tuple(each if isinstance(each, Cell) else cell(key, each) for key, each in zip(KEYS, seconds, strict=False))
    environment = {"torch": "2.13.0+cpu", "threads": 2, "commit": "a198f59"} | fields.pop("environment", {})
    machine = "amd-epyc-2-cores_torch-2.13_2-threads"
    return msgspec.structs.replace(
        Run(1, created, "0.1.0", "archprof bench", machine, "AMD EPYC, 2 cores", environment, cells), **fields
    )


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """before.json and after.json: slower, same, unclear, and one that ran out of memory."""
    write_run(made(*SECONDS), tmp_path / "before.json")
    after = made(
        0.0228,
        0.2955,
        cell(KEYS[2], 4.5, noise=0.04),
        Cell(KEYS[3], "oom", reason="out of memory"),
        created="2026-11-25T10:00:00+00:00",
        environment={"commit": "1ad196c", "driver": "550.54"},
    )
    write_run(after, tmp_path / "after.json")
    return tmp_path


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


# --- list, show


def test_list_shows_the_runs_of_a_folder(ok: Ok, runs: Path) -> None:
    (runs / "package.json").write_text('{"name": "x"}')
    (runs / "cut.json").write_bytes((runs / "after.json").read_bytes()[:200])
    (runs / "newer.json").write_text('{"version": 7, "cells": []}')
    assert ok("results", "list") == (
        "2 results files in .\n\n"
        "file         created                    hardware           networks              cells\n"
        f"{'─' * 92}\n"
        "before.json  2026-11-24T10:00:00+00:00  AMD EPYC, 2 cores  resnet-18, vgg-d, zf  4 ok\n"
        "after.json   2026-11-25T10:00:00+00:00  AMD EPYC, 2 cores  resnet-18, vgg-d, zf  3 ok, 1 oom\n\n"
        "not read: cut.json: cut off: its JSON ends too early\n"
        "not read: newer.json: a results file of version 7; this archprof reads version 1: upgrade archprof to read "
        "it\n"
    )


def test_list_for_programs(ok: Ok, runs: Path) -> None:
    found = json.loads(ok("results", "list", str(runs), "--format", "json"))
    assert [(each["file"], each["cells"], each["ok"]) for each in found["files"]] == [
        ("before.json", 4, 4),
        ("after.json", 4, 3),
    ]
    assert len(ok("results", "list", "--format", "csv").splitlines()) == 3


def test_nothing_to_list_is_said(refused: Ok, tmp_path: Path) -> None:
    assert refused("results", "list") == "no results files in .: archprof bench writes one\n"
    assert refused("results", "list", "nowhere") == "nowhere: no such folder\n"


def test_show_prints_the_cells(ok: Ok, runs: Path) -> None:
    shown = ok("results", "show", "after.json")
    assert "4 cells on AMD EPYC, 2 cores" in shown
    assert re.search(r"^resnet-18 +1 .* 22\.80 ", shown, re.MULTILINE)
    assert re.search(r"^zf .* oom \[1\]$", shown, re.MULTILINE)
    assert json.loads(ok("results", "show", "after.json", "--format", "json"))["version"] == 1


# --- compare


@pytest.mark.parametrize("format_", ["terminal", "markdown", "csv", "json", "github"])
def test_compare(ok: Ok, runs: Path, format_: str) -> None:
    suffix = {"terminal": "txt", "markdown": "md", "github": "github.txt"}.get(format_, format_)
    goldens.check(f"results-compare.{suffix}", ok("results", "compare", "before.json", "after.json", "-f", format_))


def test_compare_at_80_columns_keeps_within_them(ok: Ok, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from archprof.cli import results
    from archprof.report import Surface

    monkeypatch.setattr(results, "surface", lambda output: Surface(80))
    text = ok("results", "compare", "before.json", "after.json")
    assert max(map(len, text.splitlines())) <= 80
    goldens.check("results-compare-80.txt", text)


def test_a_gate_fails_on_what_is_slower_or_lost(run: Status, runs: Path) -> None:
    status, out, errors = run("results", "compare", "before.json", "after.json", "--fail-if", "slower:5%")
    assert (status, out.partition("\n")[0]) == (
        1, "before.json -> after.json: 1 slower, 1 unclear, 1 same, 1 not comparable",
    )  # fmt: skip
    assert errors == (
        "slower:5%: 2 of 4 cells fail\n"
        "resnet-18, batch 1, 3x224x224, forward: slower, x 1.07 (1.06..1.08)\n"
        "zf, batch 16, 3x220x220, forward: not comparable: ok -> oom: out of memory\n"
    )


def test_a_gate_passes_where_nothing_is_slower_by_so_much(run: Status, ok: Ok, runs: Path) -> None:
    assert run("results", "compare", "before.json", "before.json", "--fail-if", "slower:5%")[0] == 0
    write_run(made(0.0228), runs / "one.json")
    write_run(made(0.0213), runs / "two.json")
    ok("results", "compare", "two.json", "one.json", "--fail-if", "slower:10%")
    assert run("results", "compare", "two.json", "one.json", "--fail-if", "slower:5%")[0] == 1
    ok("results", "compare", "two.json", "one.json", "--fail-if", "slower:5%", "--floor", "8%")


def test_a_gate_in_which_nothing_is_judged_is_no_success(run: Status, runs: Path) -> None:
    write_run(made(*SECONDS, hardware="another CPU"), runs / "other.json")
    status, out, errors = run("results", "compare", "before.json", "other.json", "--fail-if", "slower:5%")
    assert (status, errors) == (2, "nothing was judged: 4 not comparable\n")
    assert "[1] hardware AMD EPYC, 2 cores -> another CPU\n" in out
    assert "--across hardware compares them all the same\n" in out
    assert (
        run("results", "compare", "before.json", "other.json", "--fail-if", "slower:5%", "--across", "hardware")[0] == 0
    )
    assert "4 same" in run("results", "compare", "before.json", "other.json")[1]


def test_github_prints_at_most_ten_annotations_and_one_summary(
    run: Status, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = runs / "page.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    keys = [msgspec.structs.replace(KEYS[0], batch=batch) for batch in range(1, 15)]
    for name, seconds in (("old", 1.0), ("new", 1.2)):
        write_run(made(cells=tuple(cell(key, seconds) for key in keys)), runs / f"{name}.json")
    status, out, errors = run("results", "compare", "old.json", "new.json", "--fail-if", "slower:5%", "-f", "github")
    lines = out.splitlines()
    assert (status, len(lines), sum(line.startswith("::error ") for line in lines)) == (1, 11, 10)
    assert lines[-1].startswith("::notice title=archprof results compare::14 slower%0A")
    assert lines[-1].count("%0A") == 14
    assert len(errors.splitlines()) == 15
    assert page.read_text().startswith("### archprof results compare\n\n**old.json -> new.json: 14 slower**\n")
    assert page.read_text().count("| slower") == 14


@pytest.mark.parametrize("format_", ["terminal", "json"])
def test_beside_published_figures(ok: Ok, runs: Path, format_: str) -> None:
    suffix = "txt" if format_ == "terminal" else format_
    goldens.check(f"results-published.{suffix}", ok("results", "compare", "before.json", "--published", "-f", format_))


def test_beside_every_published_software(ok: Ok, runs: Path) -> None:
    few, every = ok("results", "compare", "before.json", "--published"), ok(
        "results", "compare", "before.json", "--published", "--all"
    )  # fmt: skip
    assert "of each device the fastest software; --all shows 7 more\n" in few
    assert "--all" not in every
    assert len(every.splitlines()) == len(few.splitlines()) + 7 - 1
    lines = ok("results", "compare", "before.json", "--published", "-f", "csv").splitlines()
    assert len(lines) == 1 + 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["before.json"], "compare needs two results files, not 1; one with --published"),
        (["before.json"] * 3, "compare needs two results files, not 3; one with --published"),
        (["before.json", "after.json", "--published"], "--published puts one run beside published figures, not 2"),
        (
            ["before.json", "--published", "--fail-if", "slower:5%"],
            "--published gives ratios and no verdict: leave --fail-if and --across away",
        ),
        (["before.json", "after.json", "--fail-if", "slower>5%"], "--fail-if slower>5%: write slower:5%"),
        (["before.json", "after.json", "--fail-if", "slower:5"], "--fail-if slower:5: write a percentage, as 5%"),
        (["before.json", "after.json", "--fail-if", "slower:-1%"], "--fail-if slower:-1%: write a percentage, as 5%"),
        (["before.json", "after.json", "--fail-if", "slower:nan%"], "--fail-if slower:nan%: write a percentage, as 5%"),
        (["before.json", "after.json", "--floor", "x"], "--floor x: write a percentage, as 5%"),
        (
            ["before.json", "after.json", "--across", "hardware,tread"],
            "unknown key tread in --across: did you mean threads?",
        ),
        (["before.json", "none.json"], "cannot read none.json: No such file or directory"),
        (["cut.json", "after.json"], "cut.json: cut off: its JSON ends too early"),
        (
            ["before.json", "newer.json"],
            "newer.json: a results file of version 2; this archprof reads version 1: upgrade archprof to read it",
        ),
        (["before.json", "after.json", "-f", "jsn"], "unknown format jsn: did you mean json?"),
        (["before.json", "--published", "-f", "github"], "unknown format github: take terminal, markdown, csv or json"),
        (
            ["before.json", "after.json", "-o", "no/where.txt"],
            "cannot write no/where.txt: there is no folder {here}/no",
        ),
    ],
)
def test_what_compare_refuses(refused: Ok, runs: Path, arguments: list[str], message: str) -> None:
    (runs / "cut.json").write_bytes((runs / "before.json").read_bytes()[:-20])
    (runs / "newer.json").write_text('{"version": 2, "cells": []}')
    assert refused("results", "compare", *arguments) == f"{message.format(here=runs)}\n"


# --- export


def test_export_to_github_action_benchmark(run: Status, runs: Path) -> None:
    status, out, errors = run("results", "export", "after.json", "--to", "github-action-benchmark")
    assert (status, errors) == (0, "1 of 4 cells are not in it: 1 oom\n")
    entries = json.loads(out)
    for entry in entries:  # BenchmarkResult in the action's src/extract.ts
        assert {name: type(value) for name, value in entry.items()} == {
            "name": str, "unit": str, "value": float, "range": str, "extra": str,
        }  # fmt: skip
    assert len({entry["name"] for entry in entries}) == len(entries) == 5
    goldens.check("results-github-action-benchmark.json", out)


def test_export_refuses_other_formats_and_empty_runs(refused: Ok, runs: Path) -> None:
    assert list(EXPORTS) == ["github-action-benchmark"]
    assert refused("results", "export", "after.json", "--to", "github-action") == (
        "unknown format of another tool github-action: did you mean github-action-benchmark?\n"
    )
    write_run(made(cells=(Cell(KEYS[0], "failed", reason="no"),)), runs / "empty.json")
    assert refused("results", "export", "empty.json", "--to", "github-action-benchmark") == (
        "empty.json: nothing was measured: 1 failed\n"
    )


# --- record, trend


@pytest.fixture(scope="module")
def fifty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of 50 runs in which resnet-18 takes 6 % longer from run 40 on, and the last of them."""
    folder = tmp_path_factory.mktemp("history")
    rng = random.Random(11)
    for number in range(50):
        level = 0.0213 * (1.06 if number >= 39 else 1) * rng.gauss(1, 0.006)
        each = made(
            level,
            0.2951 * rng.gauss(1, 0.02),
            created=f"2026-{number // 25 + 10}-{number % 25 + 1:02}T08:00:00+00:00",
            environment={"commit": f"{number:02}a8f59c"},
        )
        record(each, folder / "reports/history")
    write_run(each, folder / "run.json")
    return folder


@pytest.fixture
def recorded(fifty: Path, tmp_path: Path) -> Path:
    """The file of that history, in this test's folder."""
    shutil.copytree(fifty, tmp_path, dirs_exist_ok=True)
    return tmp_path / "reports/history/amd-epyc-2-cores_torch-2.13_2-threads.jsonl"


def test_record_says_where_and_how_many(ok: Ok, runs: Path) -> None:
    file = "reports/history/amd-epyc-2-cores_torch-2.13_2-threads.jsonl"
    assert ok("results", "record", "before.json") == f"{file}: 1 run\n"
    assert ok("results", "record", "after.json") == f"{file}: 2 runs\n"
    assert ok("results", "record", "before.json") == f"{file}: 2 runs; this one was there\n"
    assert ok("results", "record", "before.json", "--history", "elsewhere").startswith("elsewhere/amd-epyc")


@pytest.mark.parametrize(("format_", "suffix"), [("terminal", "txt"), ("markdown", "md"), ("svg", "svg")])
def test_trend(ok: Ok, recorded: Path, format_: str, suffix: str) -> None:
    goldens.check(f"trend.{suffix}", ok("trend", "--format", format_))


def test_the_picture_is_svg_with_a_dot_a_run(ok: Ok, recorded: Path) -> None:
    picture = ElementTree.fromstring(ok("trend", "--format", "svg"))
    assert len(picture.findall(".//{*}circle")) == 100
    assert len(picture.findall(".//{*}line[@class='step']")) == 1


def test_names_in_the_picture_are_text(ok: Ok, tmp_path: Path) -> None:
    named = msgspec.structs.replace(KEYS[0], network="<img onerror=x>&\x1b")
    write_run(made(cells=(msgspec.structs.replace(cell(KEYS[0], 1.0), key=named),)), tmp_path / "run.json")
    ok("results", "record", "run.json")
    picture = ElementTree.fromstring(ok("trend", "--format", "svg"))
    assert "<img onerror=x>& , batch 1, 3x224x224, forward" in [text.text for text in picture.findall(".//{*}text")]
    assert picture.find(".//{*}img") is None


def test_trend_for_programs(ok: Ok, recorded: Path) -> None:
    found = json.loads(ok("trend", "--format", "json", "resnet-18"))
    assert [
        (each["batch"], len(each["points"]), [step["run"] for step in each["steps"]]) for each in found["courses"]
    ] == [
        (1, 50, [40]),
        (16, 50, []),
    ]
    (first, _) = csv.DictReader(ok("trend", "--format", "csv").splitlines())
    assert first["steps"] == "+5.8 % at run 40 (2026-11-15, 39a8f59)"


def test_trend_of_the_last_runs(ok: Ok, recorded: Path) -> None:
    found = json.loads(ok("trend", "--format", "json", "--last", "10"))
    assert [(len(each["points"]), each["steps"]) for each in found["courses"]] == [(10, []), (10, [])]


def test_a_half_written_history_is_read_up_to_and_said(ok: Ok, run: Status, recorded: Path) -> None:
    recorded.write_bytes(recorded.read_bytes() + b'{"version":1,"created":"2026')
    note = f"{recorded.relative_to(Path.cwd())}:51: half-written, 28 bytes: this run is left out"
    assert ok("trend").splitlines()[-1] == note
    assert run("trend", "--format", "svg")[2] == f"{note}\n"
    status, out, errors = run("results", "record", "run.json")
    assert (status, out.endswith(": 50 runs; this one was there\n"), errors) == (0, True, f"{note}\n")
    write_run(made(0.02), Path("other.json"))
    assert run("results", "record", "other.json")[1].endswith(": 51 runs\n")
    assert b'{"version":1,"created":"2026\n' in recorded.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet-81"], "no network resnet-81 in reports/history: did you mean resnet-18?"),
        (["--history", "none"], "no history in none: archprof results record RUN begins one"),
        (
            ["--machine", "gpu"],
            "unknown machine in reports/history: gpu: take amd-epyc-2-cores_torch-2.13_2-threads",
        ),
        (["--format", "png"], "unknown format png: take terminal, markdown, csv, json or svg"),
        (["-f", "svg", "-o", "no/where.svg"], "cannot write no/where.svg: there is no folder {here}/no"),
    ],
)
def test_what_trend_refuses(ok: Ok, refused: Ok, runs: Path, arguments: list[str], message: str) -> None:
    ok("results", "record", "before.json")
    assert refused("trend", *arguments) == f"{message.format(here=runs)}\n"


def test_a_folder_that_cannot_be_written_is_said(refused: Ok, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: Any, **__: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", read_only)
    assert refused("results", "record", "before.json") == (
        "cannot write reports/history/amd-epyc-2-cores_torch-2.13_2-threads.jsonl: Permission denied\n"
    )


def test_bars_show_noise_as_noise() -> None:
    assert bars([1.0, 1.0]) == "▁▁"
    assert bars([1.0, 1.01, 1.0]) == "▁▁▁"
    assert bars([1.0, 2.0, 1.5]) == "▁█▅"
    assert bars([1.0, 2.0, 1.5], unicode=False) == "_@+"
    assert bars([1.0] * 40 + [2.0] * 40) == "▁" * 13 + "█" * 14


# --- the sub-application


def test_results_alone_prints_its_commands(run: Status) -> None:
    status, out, errors = run("results")
    assert [name for name in ("list", "show", "compare", "export", "record") if f"\n  {name} " in out + errors] == [
        "list", "show", "compare", "export", "record",
    ]  # fmt: skip
    assert status in (0, 2)  # click 8.2 exits with 2 where nothing is asked for
