"""Histories: a run a line, never lost, and the courses over them."""

from __future__ import annotations

import os
import random
from pathlib import Path

import msgspec
import pytest

from archprof.errors import UsageError
from archprof.profiling.history import courses, read_histories, read_history, record
from archprof.profiling.records import Cell, Key, Layer, Run
from archprof.profiling.statistics import summarise

KEY = Key("resnet-18", 8, "3x224x224", multiply_adds=1814073344)


def run(number: int, seconds: float = 0.02, *, machine: str = "cpu_torch-2.13", key: Key = KEY) -> Run:
    timing = summarise([[seconds * (1 + place / 1000) for place in range(5)]] * 5, 0.02)
    cell = Cell(key, "ok", timings={key.pass_: timing}, layers=(Layer("conv1", "conv2d", 0.001),))
    failed = Cell(msgspec.structs.replace(key, batch=4096), "oom", reason="too large")
    created = f"2026-11-{number // 24 + 1:02}T{number % 24:02}:00:00+00:00"
    environment = {"commit": f"{number:040x}", "torch": "2.13.0", "variables": {"OMP_NUM_THREADS": "2"}}
    return Run(1, created, "0.1.0", "archprof bench", machine, "a CPU", environment, (cell, failed))


def test_a_run_is_a_line_with_its_environment_and_without_raw_samples(tmp_path: Path) -> None:
    history, new = record(run(1), tmp_path / "reports/history")
    assert (history.path, new) == (tmp_path / "reports/history/cpu_torch-2.13.jsonl", True)
    record(run(2), tmp_path / "reports/history")
    lines = history.path.read_bytes().splitlines()
    assert len(lines) == 2
    first = msgspec.json.decode(lines[0], type=Run)
    assert first.environment == run(1).environment
    assert first.cells[0].layers == ()
    assert first.cells[0].timings["forward"] == msgspec.structs.replace(
        run(1).cells[0].timings["forward"], stretches=()
    )
    assert first.cells[1].status == "oom"
    assert [each.created for each in read_history(history.path).runs] == [run(1).created, run(2).created]


def test_a_run_is_not_recorded_twice(tmp_path: Path) -> None:
    record(run(1), tmp_path)
    record(run(2), tmp_path)
    history, new = record(run(1), tmp_path)
    assert (len(history.runs), new) == (2, False)
    assert len(history.path.read_bytes().splitlines()) == 2


@pytest.mark.parametrize("cut", [1, 30, 400])
def test_a_half_written_last_line_is_read_up_to_and_never_lost(tmp_path: Path, cut: int) -> None:
    for number in range(3):
        history, _ = record(run(number), tmp_path)
    whole = history.path.read_bytes()
    history.path.write_bytes(whole[:-cut] if cut > 1 else whole + b'{"version": 1, "cre')
    read = read_history(history.path)
    half = history.path.read_bytes().rpartition(b"\n")[2]
    line = 3 if cut > 1 else 4
    assert len(read.runs) == line - 1
    assert read.notes == (f"{history.path}:{line}: half-written, {len(half):,} bytes: this run is left out",)
    record(run(9), tmp_path)
    assert half + b"\n" in history.path.read_bytes()
    after = read_history(history.path)
    assert [each.created for each in after.runs] == [*(each.created for each in read.runs), run(9).created]
    assert after.notes == read.notes


def test_a_last_line_cut_off_within_a_number_is_half_written(tmp_path: Path) -> None:
    history, _ = record(run(1), tmp_path)
    line = history.path.read_bytes()
    half = line[: line.index(b"0.", line.index(b'"median":')) + 2]
    history.path.write_bytes(line + half)
    read = read_history(history.path)
    assert len(read.runs) == 1
    assert read.notes == (f"{history.path}:2: half-written, {len(half):,} bytes: this run is left out",)


def test_a_last_line_that_only_lacks_its_end_is_whole(tmp_path: Path) -> None:
    history, _ = record(run(1), tmp_path)
    history.path.write_bytes(history.path.read_bytes().rstrip(b"\n"))
    assert len(read_history(history.path).runs) == 1
    record(run(2), tmp_path)
    assert (len(read_history(history.path).runs), read_history(history.path).notes) == (2, ())


def test_a_line_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    history, _ = record(run(1), tmp_path)
    with history.path.open("ab") as stream:
        stream.write(b'{"version": 2, "cells": []}\n')
    message = (
        f"{history.path}:2: a results file of version 2; this archprof reads version 1: upgrade archprof to read it"
    )
    with pytest.raises(UsageError) as refused:
        read_history(history.path)
    assert str(refused.value) == message
    with pytest.raises(UsageError):  # nor is anything written behind what is not understood
        record(run(2), tmp_path)
    assert len(history.path.read_bytes().splitlines()) == 2


def test_a_write_that_fails_leaves_the_history_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history, _ = record(run(1), tmp_path)
    before = history.path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match=r"^cannot write .*jsonl: No space left on device$"):
        record(run(2), tmp_path)
    assert history.path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"^cannot write .*/file/history/cpu_torch-2\.13\.jsonl: Not a directory$"):
        record(run(1), tmp_path / "file/history")


def test_a_machine_never_names_a_file_elsewhere(tmp_path: Path) -> None:
    history, _ = record(run(1, machine="../../etc/x y"), tmp_path / "history")
    assert history.path == tmp_path / "history/..-..-etc-x-y.jsonl"


def test_published_figures_and_empty_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"^these figures are published ones \(somewhere\): a history is of a machine's"
    ):
        record(msgspec.structs.replace(run(1), published="somewhere"), tmp_path)
    nothing = msgspec.structs.replace(run(1), cells=run(1).cells[1:])
    with pytest.raises(UsageError, match=r"^nothing in this run was measured: no cell of 1 is ok$"):
        record(nothing, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_history_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^no history in .*: archprof results record RUN begins one$"):
        read_histories(tmp_path)


def test_courses_are_in_the_order_of_time_by_machine_and_cell(tmp_path: Path) -> None:
    rng = random.Random(1)
    for number in (*range(1, 50), 0):
        seconds = 0.02 * rng.gauss(1, 0.005) * (1.06 if number >= 39 else 1)
        record(run(number, seconds), tmp_path)
    record(run(1, machine="gpu"), tmp_path)
    first, second = courses(read_histories(tmp_path))
    assert (first.machine, len(first.points), second.machine, len(second.points)) == ("cpu_torch-2.13", 50, "gpu", 1)
    assert [point.created for point in first.points] == sorted(point.created for point in first.points)
    assert first.points[7].commit == f"{7:040x}"
    assert [step.at for step in first.steps] == [39]
    assert second.steps == ()


def test_a_course_is_of_the_last_runs_and_of_the_networks_wanted(tmp_path: Path) -> None:
    for number in range(5):
        record(run(number, 0.01 * (number + 1)), tmp_path)
    other = msgspec.structs.replace(KEY, network="vgg-d")
    record(run(6, key=other), tmp_path)
    (course,) = courses(read_histories(tmp_path), last=2, networks=["resnet-18"])
    assert [round(point.seconds, 3) for point in course.points] == [0.04, 0.05]


def test_a_network_whose_count_changed_begins_a_new_course(tmp_path: Path) -> None:
    record(run(1), tmp_path)
    record(run(2, key=msgspec.structs.replace(KEY, multiply_adds=1)), tmp_path)
    assert [len(course.points) for course in courses(read_histories(tmp_path))] == [1, 1]
