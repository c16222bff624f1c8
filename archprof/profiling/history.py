"""A history without a server: a run a line in MACHINE.jsonl, and the course of each cell over the runs."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import msgspec

from archprof.errors import UsageError
from archprof.profiling.changes import Step, steps
from archprof.profiling.records import Cell, Key, Run
from archprof.profiling.results import CutOff, read_content

FOLDER = "reports/history"
LAST = 200  # runs of a course that are looked at


class History(msgspec.Struct, frozen=True):
    """One machine's runs in the order recorded, and what of the file could not be read."""

    path: Path
    runs: tuple[Run, ...]
    notes: tuple[str, ...] = ()


class Point(msgspec.Struct, frozen=True):
    """One run of a course; seconds, with the interval of the median."""

    created: str
    seconds: float
    low: float
    high: float
    commit: str | None = None


class Course(msgspec.Struct, frozen=True):
    """One cell over the runs of one machine; `steps` count places in `points`."""

    machine: str
    hardware: str
    key: Key
    points: tuple[Point, ...]
    steps: tuple[Step, ...]


def record(run: Run, folder: str | os.PathLike[str] = FOLDER) -> tuple[History, bool]:
    """Append a run to its machine's history; raw samples and layers stay in the run's own file.

    Gives the history with it, and whether it was new: a run that is there is not recorded twice. A half-written last
    line stays as it is, on a line of its own. Raises UsageError for published figures, for a run in which nothing was
    measured, and where the file cannot be read or written; then it is as it was.
    """
    if run.published is not None:
        raise UsageError(f"these figures are published ones ({run.published}): a history is of a machine's own runs")
    if not any(cell.status == "ok" for cell in run.cells):
        raise UsageError(f"nothing in this run was measured: no cell of {len(run.cells)} is ok")
    path = Path(folder) / f"{re.sub(r'[^A-Za-z0-9._+-]+', '-', run.machine) or 'unknown'}.jsonl"
    before = read_history(path) if path.exists() else History(path, ())
    light = msgspec.structs.replace(run, cells=tuple(map(_light, run.cells)))
    if light in before.runs:
        return before, False
    _append(msgspec.json.encode(light) + b"\n", path)
    return History(path, (*before.runs, light), before.notes), True


def read_history(path: str | os.PathLike[str]) -> History:
    """Read one machine's history, up to what is half-written, which the notes tell. Raises UsageError."""
    path = Path(path)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    runs, notes = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            runs.append(read_content(line, f"{path}:{number}"))
        except CutOff:
            notes.append(f"{path}:{number}: half-written, {len(line):,} bytes: this run is left out")
    return History(path, tuple(runs), tuple(notes))


def read_histories(folder: str | os.PathLike[str] = FOLDER) -> tuple[History, ...]:
    """All machines' histories in a folder. Raises UsageError where there is none."""
    paths = sorted(Path(folder).glob("*.jsonl"))
    if not paths:
        raise UsageError(f"no history in {folder}: archprof results record RUN begins one")
    return tuple(map(read_history, paths))


def courses(
    histories: Iterable[History], last: int = LAST, networks: Collection[str] | None = None
) -> tuple[Course, ...]:
    """The course of every cell that was measured, by machine, over its `last` runs at most, in the order of time.

    `networks` are those wanted; None: all.
    """
    found = []
    for history in histories:
        points: dict[Key, list[Point]] = {}
        for run in sorted(history.runs, key=lambda each: each.created):
            for cell in run.cells:
                timing = cell.timings.get(cell.key.pass_)
                if timing is not None and timing.median > 0 and (networks is None or cell.key.network in networks):
                    commit = run.environment.get("commit")
                    point = Point(run.created, timing.median, timing.low, timing.high, commit and str(commit))
                    points.setdefault(cell.key, []).append(point)
        for key, all_of_it in points.items():
            latest = history.runs[-1]
            found.append(_course(latest.machine, latest.hardware, key, all_of_it[-last:]))
    return tuple(found)


def _course(machine: str, hardware: str, key: Key, points: Sequence[Point]) -> Course:
    return Course(machine, hardware, key, tuple(points), steps([point.seconds for point in points]))


def _light(cell: Cell) -> Cell:
    """A cell as a history keeps it."""
    timings = {name: msgspec.structs.replace(timing, stretches=()) for name, timing in cell.timings.items()}
    return msgspec.structs.replace(cell, timings=timings, layers=())


def _append(line: bytes, path: Path) -> None:
    """Add a line to a file, whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        with open(descriptor, "rb+", buffering=0) as stream:
            size = stream.seek(0, os.SEEK_END)
            if size:
                stream.seek(size - 1)
                if stream.read(1) != b"\n":  # what was half-written, or edited by hand, gets an end
                    line = b"\n" + line
            try:
                written = stream.write(line)
                os.fsync(descriptor)
            except OSError:
                stream.truncate(size)
                raise
            if written != len(line):
                stream.truncate(size)
                raise UsageError(f"cannot write {path}: {written} of {len(line)} bytes were taken")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"cannot write {path}: {reason}") from None
