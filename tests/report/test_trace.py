"""Traces: a golden file, and children inside their parents on every track."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

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


def events(text: str) -> list[dict[str, Any]]:
    return [event for event in json.loads(text)["traceEvents"] if event["ph"] == "X"]


def test_golden() -> None:
    goldens.check("trace.json", trace("net", LAYERS))


def test_a_block_holds_what_its_layers_take() -> None:
    found = {(event["cat"], event["tid"], event["name"]): event for event in events(trace("net", LAYERS))}
    stem = found["forward", 1, "stem"]
    assert (stem["ts"], stem["dur"], stem["args"]) == (0, 3000, {"operations": 104, "bytes": 20})
    assert found["forward", 1, "stage"]["args"] == {"bytes": 20}  # one of its counts is not known
    assert found["backward", 1, "fc"]["ts"] == 4250  # after all of forward: the first of the backward pass
    assert found["backward", 1, "stage"]["dur"] == 1000  # the frozen layer in it has none
    assert ("forward", 2, "fc") not in found


blocks = st.lists(st.sampled_from("abc"), max_size=3)
times = st.floats(1e-7, 1e-2)
layers = st.lists(st.tuples(blocks, times, st.none() | times), min_size=1, max_size=12).map(
    lambda drawn: [
        Layer(path=".".join([*block, f"layer{place}"]), operator="relu", forward=forward, backward=backward)
        for place, (block, forward, backward) in enumerate(drawn)
    ]
)


@settings(max_examples=100, deadline=None)
@given(layers)
def test_children_lie_inside_their_parents(drawn: list[Layer]) -> None:
    found = events(trace("net", drawn))
    for event in found:
        track = [other for other in found if other["pid"] == event["pid"]]
        for other in track:
            if other["tid"] == event["tid"] and other is not event:  # one track: nothing overlaps
                assert (
                    other["ts"] >= event["ts"] + event["dur"] - 1e-6 or event["ts"] >= other["ts"] + other["dur"] - 1e-6
                )
        if event["tid"] > 1:
            parent = event["name"].rpartition(".")[0]
            assert any(
                other["name"] == parent
                and other["tid"] == event["tid"] - 1
                and other["ts"] <= event["ts"] + 1e-6
                and event["ts"] + event["dur"] <= other["ts"] + other["dur"] + 1e-6
                for other in track
            )
    total = sum(layer.forward for layer in drawn) * 1e6
    assert abs(sum(event["dur"] for event in found if event["pid"] == 1 and event["tid"] == 1) - total) < 0.01
