"""Traces: a golden file, and children inside their parents on every track."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from archprof.profiling.layers import Span
from archprof.profiling.records import Layer
from archprof.report.trace import trace
from tests import goldens

LAYERS = (
    Layer(path="stem.conv2d", operator="conv2d", forward=0.002, backward=0.004, operations=100, operations_backward=100,
          bytes=10, bytes_backward=20),
    Layer(path="stem.norm", operator="batch_norm2d", forward=0.001, backward=0.001, operations=4, operations_backward=8,
          bytes=10, bytes_backward=20),
    Layer(path="stage.0.conv", operator="conv2d", forward=0.0005, operations=None, bytes=10),
    Layer(path="stage.1.conv", operator="conv2d", forward=0.0005, backward=0.001, operations=50,
          operations_backward=100, bytes=10, bytes_backward=30),
    Layer(path="fc", operator="linear", forward=0.00025, backward=0.0005, operations=5, operations_backward=10,
          bytes=1, bytes_backward=2),
)  # fmt: skip


def spans(layers: Iterable[Layer], direction: str, start: float = 0.0) -> list[Span]:
    """The layers' own times, one after another from a start."""
    found = []
    for layer in layers:
        seconds = layer.forward if direction == "forward" else layer.backward
        if seconds is not None:
            found.append(Span(layer.path, start, start + seconds))
            start += seconds
    return found


FORWARD = spans(LAYERS, "forward", 0.125)
BACKWARD = spans([Layer(path="(loss)", operator="", forward=0, backward=0.0001), *LAYERS[::-1]], "backward", 7.0)


def events(text: str) -> list[dict[str, Any]]:
    return [event for event in json.loads(text)["traceEvents"] if event["ph"] == "X"]


def test_golden() -> None:
    goldens.check("trace.json", trace("net", FORWARD, BACKWARD, LAYERS))


def test_a_block_holds_what_its_layers_take() -> None:
    found = {
        (event["cat"], event["tid"], event["name"]): event for event in events(trace("net", FORWARD, BACKWARD, LAYERS))
    }
    stem = found["forward", 1, "stem"]
    assert (stem["ts"], stem["dur"], stem["args"]) == (0, 3000, {"operations": 104, "bytes": 20})
    assert found["forward", 1, "stage"]["args"] == {"bytes": 20}  # one of its counts is not known
    assert found["backward", 1, "(loss)"]["ts"] == 4250  # after all of forward
    assert found["backward", 1, "(loss)"]["args"] == {}  # no layer of the network
    assert found["backward", 1, "fc"]["ts"] == 4350
    assert found["backward", 1, "stage"]["dur"] == 1000  # the frozen layer in it has none
    assert ("forward", 2, "fc") not in found


def test_a_layer_that_comes_twice_counts_once() -> None:
    twice = [Span("stem.conv2d", 0.0, 0.1), Span("stem.norm", 0.1, 0.2), Span("stem.conv2d", 0.2, 0.3)]
    stem = events(trace("net", (), twice, LAYERS))[0]
    assert (stem["name"], stem["dur"], stem["args"]) == ("stem", 300_000, {"operations": 108, "bytes": 40})


blocks = st.lists(st.sampled_from("abc"), max_size=3)
times = st.floats(1e-7, 1e-2)
layers = st.lists(st.tuples(blocks, times), min_size=1, max_size=12).map(
    lambda drawn: [
        Layer(path=".".join([*block, f"layer{place}"]), operator="relu", forward=forward)
        for place, (block, forward) in enumerate(drawn)
    ]
)


@settings(max_examples=100, deadline=None)
@given(layers)
def test_children_lie_inside_their_parents(drawn: list[Layer]) -> None:
    found = events(trace("net", spans(drawn, "forward"), (), drawn))
    for event in found:
        start, end = event["ts"], event["ts"] + event["dur"]
        for other in found:
            if other["tid"] == event["tid"] and other is not event:  # one track: nothing overlaps
                assert other["ts"] >= end - 1e-6 or start >= other["ts"] + other["dur"] - 1e-6
        if event["tid"] > 1:
            assert any(
                other["name"] == event["name"].rpartition(".")[0]
                and other["tid"] == event["tid"] - 1
                and other["ts"] <= start + 1e-6
                and end <= other["ts"] + other["dur"] + 1e-6
                for other in found
            )
    total = sum(layer.forward for layer in drawn) * 1e6
    assert abs(sum(event["dur"] for event in found if event["tid"] == 1) - total) < 0.01
