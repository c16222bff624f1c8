"""What the scheduler and its workers say to each other, a JSON line each. Without torch."""

from __future__ import annotations

import base64
import pickle
from typing import Any, Literal

import msgspec

from archprof.graph import Graph
from archprof.profiling.records import Cell, Key
from archprof.profiling.sampling import BUDGET, PRECISION


class Settings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How every cell of a run is measured."""

    device: str = "cpu"
    threads: int | None = None  # None: as torch has it; so for the other settings of the device
    tf32: bool | None = None
    cudnn_benchmark: bool | None = None
    flush_l2: bool = False
    train: bool = False  # the training graph, with its heads
    precision: float = PRECISION
    budget: float = BUDGET  # seconds a cell
    memory: int | None = None  # bytes that a network may take; None: 90 % of what is free at the start


class Setup(msgspec.Struct, frozen=True):
    """A worker's first line: its network, and how it is measured."""

    graph: str  # pickled
    settings: Settings
    parent: int  # the process without which it has nothing to do


class Task(msgspec.Struct, frozen=True):
    """One thing to do: tell of the machine, measure a cell, or try whether its batch fits."""

    do: Literal["describe", "measure", "try"]
    key: Key | None = None


class Described(msgspec.Struct, frozen=True):
    """The machine, and the bytes that can be had on the device."""

    machine: str
    hardware: str
    environment: dict[str, Any]
    available: int | None


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a task came to: one of these."""

    cell: Cell | None = None
    described: Described | None = None
    mistake: str | None = None  # of the user's
    died: str | None = None  # how the process that did it ended: SIGKILL, exit status 3


def packed(graph: Graph) -> str:
    """A graph for a Setup."""
    return base64.b64encode(pickle.dumps(graph)).decode("ascii")


def unpacked(text: str) -> Graph:
    """The graph of a Setup."""
    graph: Graph = pickle.loads(base64.b64decode(text))
    return graph
