"""A profile as a trace that chrome://tracing and Perfetto open (the Trace Event Format, complete events).

The layers' median times stand one after another: forward in order of execution, then backward in reverse. There is a
process for each pass and in it a track for each fold depth, so that what lies inside a block lies below it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from archprof.profiling.records import Layer

PASSES = ("forward", "backward")
MICROSECONDS = 1e6  # the format's unit


class Span(NamedTuple):
    """One layer's time in one pass; microseconds from the start."""

    layer: Layer
    start: float
    end: float


def trace(network: str, layers: Sequence[Layer]) -> str:
    """The trace as JSON, ending with a newline. FLOPs and bytes of an event are those of all layers in it."""
    events: list[dict[str, Any]] = []
    now = 0.0
    for process, name in enumerate(PASSES, 1):
        spans = list(_spans(layers if name == "forward" else layers[::-1], name, now))
        if not spans:
            continue
        now = spans[-1].end
        events.append(_name("process_name", process, 0, f"{network}: {name}"))
        deepest = max(span.layer.path.count(".") + 1 for span in spans)
        for depth in range(1, deepest + 1):
            events.append(_name("thread_name", process, depth, f"depth {depth}"))
            events += _events(spans, process, depth, name)
    return msgspec.json.encode({"traceEvents": events, "displayTimeUnit": "ms"}).decode() + "\n"


def _spans(layers: Iterable[Layer], name: str, start: float) -> Iterator[Span]:
    for layer in layers:
        seconds = layer.forward if name == "forward" else layer.backward
        if seconds is None:
            continue
        end = start + seconds * MICROSECONDS
        yield Span(layer, start, end)
        start = end


def _events(spans: Sequence[Span], process: int, depth: int, name: str) -> Iterator[dict[str, Any]]:
    """The events of one track: neighbours that share a path cut off at this depth are one."""
    for path, members in itertools.groupby(spans, key=lambda span: ".".join(span.layer.path.split(".")[:depth])):
        inside = list(members)
        if len(inside) == 1 and inside[0].layer.path.count(".") + 1 < depth:
            continue  # it ends higher up
        arguments: dict[str, Any] = {
            "operations": _sum(
                span.layer.operations if name == "forward" else span.layer.operations_backward for span in inside
            ),
            "bytes": _sum(span.layer.bytes if name == "forward" else span.layer.bytes_backward for span in inside),
        }
        if len(inside) == 1 and inside[0].layer.path == path:
            arguments["operator"] = inside[0].layer.operator
        start, end = inside[0].start, inside[-1].end
        yield {
            "name": path,
            "cat": name,
            "ph": "X",
            "pid": process,
            "tid": depth,
            "ts": round(start, 3),
            "dur": round(round(end, 3) - round(start, 3), 3),  # so that neighbours and children never overlap
            "args": {key: value for key, value in arguments.items() if value is not None},
        }


def _sum(counts: Iterable[int | None]) -> int | None:
    """All together; None where one is not known."""
    known = list(counts)
    return None if any(count is None for count in known) else sum(count or 0 for count in known)


def _name(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
