"""Measuring the requests of a matrix, each network in a process of its own. Without torch, which the workers import."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import NoReturn, Protocol

import msgspec

from archprof.errors import UsageError
from archprof.graph import Graph
from archprof.profiling import batch_search
from archprof.profiling.matrix import Request, model_peak, predicted_memory, skip_reason
from archprof.profiling.messages import Answer, Described, Settings, Setup, Task, packed
from archprof.profiling.records import Cell, Key

SHARE = 0.9  # of the free memory, that a search may take where no limit was given


class WorkerDied(Exception):
    """A worker ended without an answer. `how`: SIGKILL, exit status 3; `said`: the last line that it wrote."""

    def __init__(self, how: str, said: str = "") -> None:
        super().__init__(f"its process was ended by {how}" if how.startswith("SIG") else f"its process ended: {how}")
        self.how = how
        self.said = said

    @property
    def reason(self) -> str:
        """For a cell."""
        return f"{self}: {self.said}" if self.said else str(self)


class Worker(Protocol):
    """Does tasks of one network."""

    def ask(self, task: Task) -> Answer:
        """Do a task. Raises WorkerDied."""

    def close(self) -> None:
        """End it, whatever it does."""


class Process:
    """A worker that is a process of its own, with the import path of this one."""

    def __init__(self, graph: Graph, settings: Settings) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "archprof.profiling.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"},  # nothing of the working directory
            start_new_session=True,  # Ctrl-C is this process's affair
        )
        self._send(Setup(packed(graph), settings, os.getpid()))

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self, task: Task) -> Answer:
        """Do a task. Raises WorkerDied where the process, or the fork of it that did the task, ended."""
        assert self._process.stdout is not None
        self._send(task)
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._died(signal.Signals(-status).name if status < 0 else f"exit status {status}")
        answer = msgspec.json.decode(line, type=Answer)
        if answer.died is not None:
            self._died(answer.died)
        return answer

    def _send(self, message: Setup | Task) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: the answer that does not come says so
            self._process.stdin.write(msgspec.json.encode(message) + b"\n")
            self._process.stdin.flush()

    def _died(self, how: str) -> NoReturn:
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").splitlines()
        raise WorkerDied(how, "" if how == "SIGKILL" else next((line for line in reversed(lines) if line.strip()), ""))

    def close(self) -> None:
        """End the process, what it forked, and the compilers that these started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # all have ended
            os.killpg(self._process.pid, signal.SIGKILL)
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):  # a task that it never read
                stream.close()
        self._process.wait()


class Listener:
    """Hears what happens while cells are measured."""

    def starts(self, request: Request) -> None:
        """A request is taken up."""

    def tried(self, request: Request, batch: int, fitted: bool) -> None:
        """A search has tried a batch."""


Start = Callable[[Graph, Settings], Worker]


def describe(graph: Graph, settings: Settings) -> Described:
    """The machine that cells would be measured on. Raises UsageError for a device that cannot be used."""
    if not hasattr(os, "fork"):
        raise UsageError("bench needs a system that forks processes: Linux, macOS, or WSL on Windows")
    worker = Process(graph, settings)
    try:
        answer = worker.ask(Task("describe"))
    except WorkerDied as death:
        raise UsageError(f"device {settings.device} cannot be used here: {death.reason}") from None
    finally:
        worker.close()
    if answer.described is None:
        raise UsageError(answer.mistake or "the worker told nothing of the machine")
    return answer.described


def measure(
    requests: Sequence[Request],
    graphs: Mapping[str, Graph],
    settings: Settings,
    *,
    available: int | None = None,
    finished: Sequence[Cell] = (),
    listener: Listener | None = None,
    start: Start | None = None,
) -> Generator[Cell, None, None]:
    """A cell for each request, in their order, as soon as it is done.

    Each network gets a fresh process; one that dies takes its cell with it, which is then failed, and no other.
    `graphs` are by the name that the keys have, `available` is the memory of the device in bytes, `finished` are cells
    of an earlier run. `start` makes a worker; None: a process.
    """
    done = list(finished)
    heard = listener or Listener()
    for name, group in itertools.groupby(requests, key=lambda request: request.key.network):
        crew = _Crew(graphs[name], settings, available, heard, start or Process)
        try:
            for request in group:
                heard.starts(request)
                reason = skip_reason(request, done)
                cell = crew.cell(request) if reason is None else request.cell("skipped", reason)
                done.append(cell)
                yield cell
        finally:
            crew.close()


class _Ended(Exception):
    """A search that something else than memory ended."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell


class _Crew:
    """The worker of one network, and another where it died."""

    def __init__(
        self, graph: Graph, settings: Settings, available: int | None, listener: Listener, start: Start
    ) -> None:
        self.graph = graph
        self.settings = settings
        self.available = available
        self.listener = listener
        self.start = start
        self.worker: Worker | None = None

    def close(self) -> None:
        if self.worker is not None:
            self.worker.close()
            self.worker = None

    def ask(self, task: Task) -> Cell:
        """The cell that a task comes to. Raises WorkerDied."""
        if self.worker is None:
            self.worker = self.start(self.graph, self.settings)
        try:
            answer = self.worker.ask(task)
        except WorkerDied:
            self.close()
            raise
        assert answer.cell is not None
        return answer.cell

    def cell(self, request: Request) -> Cell:
        if request.search:
            return self.largest(request)
        return self.with_memory(self.measured(Task("measure", request.key)))

    def measured(self, task: Task) -> Cell:
        assert task.key is not None
        try:
            return self.ask(task)
        except WorkerDied as death:
            return Cell(key=task.key, status="failed", reason=death.reason)

    def with_memory(self, cell: Cell) -> Cell:
        predicted = predicted_memory(self.graph, cell.key, train=self.settings.train)
        return msgspec.structs.replace(cell, predicted_memory=predicted)

    def largest(self, request: Request) -> Cell:
        """The cell of the largest batch that fits, or one that says why there is none."""
        limit = self.settings.memory
        if limit is None and self.available is not None:
            limit = int(self.available * SHARE)

        def key_of(batch: int) -> Key:
            return msgspec.structs.replace(request.key, batch=batch)

        def peak(batch: int) -> int:
            return model_peak(self.graph, key_of(batch), train=self.settings.train)

        def fits(batch: int) -> bool:
            fitted = self.fits(key_of(batch))
            self.listener.tried(request, batch, fitted)
            return fitted

        predicted = None if limit is None else batch_search.predict(peak, limit)
        try:
            found = batch_search.search(fits, predicted or 1)
        except _Ended as ended:
            reason = f"batch {ended.cell.key.batch}: {ended.cell.reason}"
            return request.cell(ended.cell.status, reason)
        batch, refused, trials = found.fits, found.refused, list(found.trials)
        cell = request.cell("oom", "not even a batch of 1 fits")
        step = max(1, batch // batch_search.FINE)
        while batch > 0:
            measured = self.measured(Task("measure", key_of(batch)))
            if measured.status != "oom":
                cell = self.with_memory(measured)
                break
            self.listener.tried(request, batch, False)  # after all: an allocator needs more the longer it runs
            trials.append((batch, False))
            refused, batch, step = batch, batch - step, 2 * step
        told = predicted_memory(self.graph, key_of(1), train=self.settings.train) is not None
        notes = {
            "limit": limit,
            # of cells that the model does not know it is where the search began, and no prediction
            "predicted": predicted if told else None,
            "found": max(batch, 0),
            "refused": refused,
            "trials": [list(trial) for trial in trials],
        }
        return msgspec.structs.replace(cell, settings={**cell.settings, **request.mark(), "search": notes})

    def fits(self, key: Key) -> bool:
        """Whether a batch fits. Raises _Ended where anything but memory stops it."""
        try:
            cell = self.ask(Task("try", key))
        except WorkerDied as death:
            if death.how == "SIGKILL":  # Linux has no memory left
                return False
            raise _Ended(Cell(key=key, status="failed", reason=death.reason)) from None
        if cell.status not in ("ok", "oom"):
            raise _Ended(cell)
        return cell.status == "ok"
