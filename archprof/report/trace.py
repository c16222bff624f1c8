"""A profiled pass as a trace that chrome://tracing and Perfetto open (the Trace Event Format, complete events).

There is a process for each direction and in it a track for each fold depth, so that what lies inside a block lies
below it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from archprof.profiling.records import Layer

if TYPE_CHECKING:
    from archprof.profiling.layers import Span  # its module needs torch

MICROSECONDS = 1e6  # the format's unit


def trace(network: str, forward: Sequence[Span], backward: Sequence[Span], layers: Iterable[Layer]) -> str:
    """The trace as JSON, ending with a newline: the backward pass after the forward one.

    `layers` give an event its operations and bytes: those of the different layers in it.
    """
    by_path = {layer.path: layer for layer in layers}
    events: list[dict[str, Any]] = []
    offset = 0.0  # seconds
    for process, (direction, spans) in enumerate((("forward", forward), ("backward", backward)), 1):
        if not spans:
            continue
        events.append(_name("process_name", process, 0, f"{network}: {direction}"))
        offset -= spans[0].start
        for depth in range(1, max(span.path.count(".") for span in spans) + 2):
            events.append(_name("thread_name", process, depth, f"depth {depth}"))
            events += _events(spans, by_path, direction, process, depth, offset)
        offset += spans[-1].end
    return msgspec.json.encode({"traceEvents": events, "displayTimeUnit": "ms"}).decode() + "\n"


def _events(
    spans: Sequence[Span], layers: Mapping[str, Layer], direction: str, process: int, depth: int, offset: float
) -> Iterator[dict[str, Any]]:
    """The events of one track: neighbours that share a path cut off at this depth are one."""
    for path, members in itertools.groupby(spans, key=lambda span: ".".join(span.path.split(".")[:depth])):
        inside = list(members)
        if path.count(".") + 1 < depth:
            continue  # it ends higher up
        found = [layers.get(name) for name in dict.fromkeys(span.path for span in inside)]
        arguments: dict[str, Any] = {
            "operator": found[0].operator if found[0] is not None and found[0].path == path else None,
            "operations": _sum(found, "operations" if direction == "forward" else "operations_backward"),
            "bytes": _sum(found, "bytes" if direction == "forward" else "bytes_backward"),
        }
        start = round((inside[0].start + offset) * MICROSECONDS, 3)
        end = round((inside[-1].end + offset) * MICROSECONDS, 3)
        yield {
            "name": path,
            "cat": direction,
            "ph": "X",
            "pid": process,
            "tid": depth,
            "ts": start,
            "dur": round(end - start, 3),
            "args": {key: value for key, value in arguments.items() if value is not None},
        }


def _sum(layers: Iterable[Layer | None], quantity: str) -> int | None:
    """A quantity of all layers together; None where one is not known."""
    known: list[int | None] = [None if layer is None else getattr(layer, quantity) for layer in layers]
    return None if any(count is None for count in known) else sum(count or 0 for count in known)


def _name(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
