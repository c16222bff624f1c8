"""A run on disk: its configuration, what each trial gave, how far each is, and the tables of all of them.

config.json       what the numbers follow from; a folder takes no other configuration
environment.json  the machine
spec.yaml         the network
trials.csv, trials.parquet, responses.csv
trials/           a file a trial that ended
checkpoints/      a folder a trial
progress/         how far each trial is
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from archprof.errors import UsageError
from archprof.experiments.records import Epoch, Trial

_TRIAL_COLUMNS = ("network", "depth", "shortcut", "seed", "status", "reason", "params")
_NOT_COMPARED = ("data.name",)  # the same images may lie elsewhere

Config = Mapping[str, Any]
Value = TypeVar("Value")


class Progress(msgspec.Struct, frozen=True):
    """How far a trial is."""

    iteration: int
    iterations: int
    elapsed: float  # seconds since it was begun or resumed
    resumed_at: int  # the iteration it was begun or resumed at
    epochs: tuple[Epoch, ...]


class RunFolder:
    """The files of a run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.spec = self.path / "spec.yaml"

    def create(self, config: Config, spec: bytes, environment: Mapping[str, Any]) -> None:
        """Begin a run. Raises UsageError where the folder holds a run, saying which keys of its configuration differ,
        and where it cannot be written."""
        if (self.path / "config.json").exists():
            self.require(config)
            raise UsageError(f"{self.path} holds this run: archprof depth --resume {self.path} goes on with it")
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise UsageError(f"{self.path} is not empty and holds no run: give another folder")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            replace_file(self.spec, spec)
            replace_file(self.path / "environment.json", _json(environment))
            replace_file(self.path / "config.json", _json(config))
        except OSError as error:
            raise UsageError(f"cannot write {self.path}: {error.strerror}") from None

    def config(self) -> dict[str, Any]:
        """The configuration of the run. Raises UsageError where there is none."""
        try:
            found: dict[str, Any] = json.loads((self.path / "config.json").read_bytes())
        except FileNotFoundError:
            raise UsageError(f"{self.path} holds no run: it has no config.json") from None
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read {self.path}/config.json: {error}") from None
        return found

    def require(self, config: Config) -> None:
        """Raise UsageError, with the keys that differ, where the folder's configuration is another."""
        differing = differences(self.config(), config)
        if differing:
            raise UsageError(f"{self.path} holds a run of another configuration: {'; '.join(differing)}")

    def checkpoints(self, name: str) -> Path:
        """Where a trial's checkpoints lie, for workers that run in other folders too."""
        return self.path.absolute() / "checkpoints" / name

    def write_trial(self, name: str, trial: Trial) -> None:
        """Keep what a trial gave."""
        replace_file(self.path / "trials" / f"{name}.json", msgspec.json.encode(trial))

    def trial(self, name: str) -> Trial | None:
        """What a trial gave; None where it has not ended."""
        return _decoded(self.path / "trials" / f"{name}.json", Trial)

    def write_progress(self, name: str, progress: Progress) -> None:
        """Tell how far a trial is."""
        replace_file(self.path / "progress" / f"{name}.json", msgspec.json.encode(progress), lasting=False)

    def progress(self, name: str) -> Progress | None:
        """How far a trial is; None where it was not begun."""
        return _decoded(self.path / "progress" / f"{name}.json", Progress)

    def forget_progress(self, name: str) -> None:
        """Take away what an earlier run told of a trial that is begun again."""
        (self.path / "progress" / f"{name}.json").unlink(missing_ok=True)

    def write_tables(self, trials: Sequence[Trial]) -> None:
        """trials.csv and trials.parquet, a row an epoch, and responses.csv, a row a layer."""
        names = [*_TRIAL_COLUMNS, *Epoch.__struct_fields__]
        rows = list(_epoch_rows(trials))
        replace_file(self.path / "trials.csv", _csv(names, rows))
        replace_file(self.path / "trials.parquet", _parquet(names, rows))
        layers = [
            (trial.network, trial.depth, trial.shortcut, trial.seed, *msgspec.structs.astuple(response))
            for trial in trials
            for response in trial.responses
        ]
        columns = ["network", "depth", "shortcut", "seed", "layer", "path", "std"]
        replace_file(self.path / "responses.csv", _csv(columns, layers))


def differences(there: Config, here: Config) -> list[str]:
    """The keys in which two configurations differ, each with both values."""
    first, second = dict(_flat(there)), dict(_flat(here))
    return [
        f"{key} is {_shown(first, key)} there and {_shown(second, key)} here"
        for key in [*first, *(key for key in second if key not in first)]
        if first.get(key) != second.get(key) and key not in _NOT_COMPARED
    ]


def replace_file(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write a file whole, in the place of what was there; its folder is made. Lasting: it survives a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        if lasting:
            file.flush()
            os.fsync(file.fileno())
    os.replace(temporary, path)


def free_folder(name: str) -> Path:
    """A folder that is not there yet: NAME, NAME-2, NAME-3."""
    number = 1
    while (path := Path(name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return path


def distinct(option: str, values: Sequence[Value]) -> tuple[Value, ...]:
    """The values, of which none may come twice. Raises UsageError."""
    twice = next((value for index, value in enumerate(values) if value in values[:index]), None)
    if twice is not None:
        raise UsageError(f"{option}: {twice} is given twice")
    return tuple(values)


def _decoded(path: Path, kind: type[Value]) -> Value | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None


def _flat(config: Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value


def _shown(config: Config, key: str) -> str:
    value = config.get(key, "not given")
    if isinstance(value, list):
        return ",".join(map(str, value)) or "empty"
    return "none" if value is None else str(value)


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1).encode() + b"\n"


def _epoch_rows(trials: Iterable[Trial]) -> Iterator[tuple[Any, ...]]:
    """A row an epoch; one without epoch for a trial that ended in its first."""
    nothing = (None,) * len(Epoch.__struct_fields__)
    for trial in trials:
        about = tuple(getattr(trial, name) for name in _TRIAL_COLUMNS)
        yield from ((*about, *msgspec.structs.astuple(epoch)) for epoch in trial.epochs)
        if not trial.epochs:
            yield (*about, *nothing)


def _csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    columns = {name: [row[index] for row in rows] for index, name in enumerate(names)}
    stream = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), stream)
    return stream.getvalue()
