"""The matrix of a benchmark: one request a cell, and what becomes of those that are not measured. Without torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

import msgspec

from archprof.analysis import analyse
from archprof.analysis.memory import memory
from archprof.errors import UsageError
from archprof.graph import Graph
from archprof.operators import hint
from archprof.profiling.records import Cell, Key, Pass, Status

Batch = Annotated[int, msgspec.Meta(ge=1)] | Literal["max"]
Dtype = Literal["float32", "bfloat16", "float16", "float64"]
Amp = Literal["none", "float16", "bfloat16"]
Layout = Literal["nchw", "nhwc"]
Mode = Literal["eager", "compile", "cuda-graph"]

NOT_YET = "not measured yet"


class Matrix(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every combination of these is a cell."""

    networks: tuple[str, ...]  # as a command line names them
    batch: tuple[Batch, ...] = (1,)
    pass_: tuple[Pass, ...] = msgspec.field(default=("forward",), name="pass")
    dtype: tuple[Dtype, ...] = ("float32",)
    amp: tuple[Amp, ...] = ("none",)
    layout: tuple[Layout, ...] = ("nchw",)
    mode: tuple[Mode, ...] = ("eager",)


AXES: Mapping[str, tuple[str, ...]] = {  # of a matrix, but networks and batch: what may be asked for
    "pass": get_args(Pass),
    "dtype": get_args(Dtype),
    "amp": get_args(Amp),
    "layout": get_args(Layout),
    "mode": get_args(Mode),
}


def axis(name: str, text: str) -> tuple[str, ...]:
    """The values of an option such as `--dtype float32,bfloat16`. Raises UsageError."""
    values = tuple(value.strip() for value in text.split(","))
    for value in values:
        if value not in AXES[name]:
            raise UsageError(f"--{name} {text}: unknown {name} {value or 'without a name'}: {hint(value, AXES[name])}")
    return values


def batches(text: str) -> tuple[Batch, ...]:
    """The values of `--batch 1,16,max`. Raises UsageError."""
    found: list[Batch] = []
    for value in text.split(","):
        word = value.strip()
        if word == "max":
            found.append("max")
        elif word.isascii() and word.isdigit() and len(word) < 10 and int(word) > 0:
            found.append(int(word))
        else:
            raise UsageError(f"--batch {text}: write numbers of at least 1, or max, with commas between, as 1,16,max")
    return tuple(found)


class Request(msgspec.Struct, frozen=True):
    """One cell that is asked for. `search`: for the largest batch that fits; the key's batch is 0 until it is found."""

    key: Key
    search: bool = False

    def cell(self, status: Status, reason: str) -> Cell:
        """What stands for it without being measured."""
        return Cell(key=self.key, status=status, reason=reason, settings=self.mark())

    def mark(self) -> dict[str, Any]:
        """What the settings of its cell say of the request."""
        return {"batch": "max"} if self.search else {}


def request_of(cell: Cell) -> Request:
    """The request that a cell answers."""
    search = cell.settings.get("batch") == "max"
    return Request(msgspec.structs.replace(cell.key, batch=0) if search else cell.key, search)


def expand(matrices: Iterable[Matrix], graphs: Mapping[str, Graph], *, train: bool = False) -> list[Request]:
    """The requests of matrices, each once, those of one network together, in the order in which they are written.

    `graphs` has the graph of each network by the name that the matrices give it.
    """
    found: dict[str, dict[Request, None]] = {}
    shapes: dict[str, tuple[str, int | None]] = {}
    for matrix in matrices:
        for name in matrix.networks:
            graph = graphs[name]
            if name not in shapes:
                shapes[name] = input_text(graph), multiply_adds(graph, train)
            shape, count = shapes[name]
            requests = found.setdefault(graph.name, {})
            for mode, layout, dtype, amp, pass_, batch in itertools.product(
                matrix.mode, matrix.layout, matrix.dtype, matrix.amp, matrix.pass_, matrix.batch
            ):
                key = Key(
                    network=graph.name,
                    batch=0 if batch == "max" else batch,
                    input=shape,
                    dtype=dtype,
                    amp=None if amp == "none" else amp,
                    layout=layout,
                    mode=mode,
                    pass_=pass_,
                    multiply_adds=count,
                )
                requests[Request(key, batch == "max")] = None
    return [request for requests in found.values() for request in requests]


def input_text(graph: Graph) -> str:
    """The first input's shape without the batch: 3x224x224."""
    return "x".join(map(str, graph.inputs[0].output_shapes[0].dims))


def multiply_adds(graph: Graph, train: bool) -> int | None:
    """Of one image, in the convention multiply_adds; None where some operator is not counted."""
    figures = analyse(graph, counting="multiply_adds", train=train)
    return None if figures.lower_bound else figures.flops


def predicted_memory(graph: Graph, key: Key, *, train: bool = False) -> int | None:
    """The peak that the memory model gives for a cell; None of autocast and compiled networks, which it does not know.

    A step is one of SGD with momentum, as `profiling.passes` takes it.
    """
    if key.amp is not None or key.mode == "compile":
        return None
    return model_peak(graph, key, train=train)


def model_peak(graph: Graph, key: Key, *, train: bool = False) -> int:
    """The same for every cell: of autocast and compiled networks it is where a search begins."""
    optimiser = "momentum" if key.pass_ == "step" else "sgd"
    found = memory(graph, batch=key.batch, dtype=key.dtype, optimiser=optimiser, train=train)
    return found.inference_peak if key.pass_ == "forward" else found.training_peak


def skip_reason(request: Request, finished: Sequence[Cell]) -> str | None:
    """Why a cell need not be tried, after those that are finished; None where it must be."""
    key = request.key
    if key.amp is not None and key.dtype != "float32":
        return "autocast is of float32 networks"
    if request.search:
        return None
    smaller = [
        cell.key.batch
        for cell in finished
        if cell.status == "oom"
        and 0 < cell.key.batch <= key.batch
        and msgspec.structs.replace(cell.key, batch=key.batch) == key
    ]
    return f"batch {min(smaller)} was out of memory already" if smaller else None


def differences(before: Sequence[Request], now: Sequence[Request]) -> Iterator[str]:
    """What tells two matrices apart, an axis a line; nothing where they hold the same cells."""
    if set(before) == set(now):
        return
    found = False
    for field in ("network", "batch", "pass_", "dtype", "amp", "layout", "mode"):
        there, here = ([*dict.fromkeys(_value(each, field) for each in side)] for side in (before, now))
        if set(there) != set(here):
            found = True
            yield f"{field.rstrip('_')}: {', '.join(there)} in the file, {', '.join(here)} asked for"
    if found:
        return
    known = {(each.key.network, each.key.input, each.key.multiply_adds) for each in before}
    for network, shape, count in dict.fromkeys(
        (each.key.network, each.key.input, each.key.multiply_adds) for each in now
    ):
        if (network, shape, count) not in known:
            found = True
            old = next(each for each in known if each[0] == network)
            yield (
                f"{network} is another network: input {old[1]}, {_count(old[2])} multiply-adds in the file, "
                f"input {shape}, {_count(count)} now"
            )
    if not found:
        yield f"{len(before)} cells in the file, {len(now)} asked for, in other combinations"


def _value(request: Request, field: str) -> str:
    if field == "batch" and request.search:
        return "max"
    value = getattr(request.key, field)
    return "none" if value is None else str(value)


def _count(value: int | None) -> str:
    return "uncounted" if value is None else f"{value:,}"
