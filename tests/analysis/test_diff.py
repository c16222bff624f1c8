"""Two networks layer by layer: how rows are aligned, and what is said of the totals."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

import archprof
from archprof.analysis import analyse
from archprof.analysis.diff import ADDED, CHANGED, REMOVED, SAME, Diff, diff
from archprof.graph import Graph
from tests.graphs import Builder, Unknown, graphs


def compared(before: Graph, after: Graph, fold: int | None = 1) -> Diff:
    return diff(analyse(before), analyse(after), fold)


def chain(*layers: str, size: int = 8) -> Graph:
    """`conv1:4` is a 3x3 convolution of 4 channels, `wide:4x5` a 5x5 one, `act` a ReLU."""
    net = Builder((3, size, size))
    for layer in layers:
        path, _, fields = layer.partition(":")
        if not fields:
            net.add(path, "relu")
            continue
        channels, _, kernel = fields.partition("x")
        size_of = int(kernel or 3)
        net.add(path, "conv2d", out_channels=int(channels), kernel_size=size_of, padding=size_of // 2, bias=False)
    return net.graph()


def rows(before: Graph, after: Graph, fold: int | None = 1) -> list[str]:
    """Each row as a mark with the paths that it pairs."""
    marks = {SAME: "=", CHANGED: "~", ADDED: "+", REMOVED: "-"}
    return [
        f"{marks[change.status]} {' '.join(side.path for side in (change.before, change.after) if side is not None)}"
        for change in compared(before, after, fold).changes
    ]


BASE = chain("conv1:4", "act1", "conv2:4", "act2", "conv3:8")


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (BASE, ["= conv1 conv1", "= act1 act1", "= conv2 conv2", "= act2 act2", "= conv3 conv3"]),
        (  # wider: what follows has more input channels too
            chain("conv1:4", "act1", "conv2:6", "act2", "conv3:8"),
            ["= conv1 conv1", "= act1 act1", "~ conv2 conv2", "~ act2 act2", "~ conv3 conv3"],
        ),
        (  # another kernel
            chain("conv1:4", "act1", "conv2:4x5", "act2", "conv3:8"),
            ["= conv1 conv1", "= act1 act1", "~ conv2 conv2", "= act2 act2", "= conv3 conv3"],
        ),
        (  # added in the middle
            chain("conv1:4", "act1", "norm1", "conv2:4", "act2", "conv3:8"),
            ["= conv1 conv1", "= act1 act1", "+ norm1", "= conv2 conv2", "= act2 act2", "= conv3 conv3"],
        ),
        (  # removed
            chain("conv1:4", "conv2:4", "conv3:8"),
            ["= conv1 conv1", "- act1", "= conv2 conv2", "- act2", "= conv3 conv3"],
        ),
        (  # renamed: the shapes agree
            chain("stem:4", "relu", "conv2:4", "act2", "conv3:8"),
            ["~ conv1 stem", "~ act1 relu", "= conv2 conv2", "= act2 act2", "= conv3 conv3"],
        ),
        (  # renamed with another kernel: the shape agrees
            chain("stem:4x5", "act1", "conv2:4", "act2", "conv3:8"),
            ["~ conv1 stem", "= act1 act1", "= conv2 conv2", "= act2 act2", "= conv3 conv3"],
        ),
        (  # neither shape nor kernel agrees: another layer
            chain("conv1:4", "act1", "conv2:4", "act2", "last:9x5"),
            ["= conv1 conv1", "= act1 act1", "= conv2 conv2", "= act2 act2", "- conv3", "+ last"],
        ),
        (  # one becomes two
            chain("conv1:4", "act1", "left:4", "right:4", "act2", "conv3:8"),
            ["= conv1 conv1", "= act1 act1", "- conv2", "+ left", "+ right", "= act2 act2", "= conv3 conv3"],
        ),
        (chain("other:2"), ["- conv1", "- act1", "- conv2", "- act2", "- conv3", "+ other"]),
    ],
)
def test_alignment(after: Graph, expected: list[str]) -> None:
    assert rows(BASE, after) == expected


def test_alignment_at_the_depth_of_a_fold() -> None:
    one = chain("a.conv:4", "a.act", "b.conv:4")
    two = chain("a.conv:4", "a.act", "b.conv:4", "b.act")
    assert rows(one, two) == ["= a a", "= b b"]
    assert rows(one, two, fold=2) == ["= a.conv a.conv", "= a.act a.act", "= b.conv b.conv", "+ b.act"]
    assert rows(one, two, fold=None) == rows(one, two, fold=2)


def test_equal_rows_are_not_equal_networks() -> None:
    one, two = chain("a.conv:4", "a.act"), chain("a.conv:4", "a.more")
    made = compared(one, two)
    assert made.same_rows
    assert not made.equal
    assert compared(one, chain("a.conv:4", "a.act")).equal
    assert not compared(one, two, fold=None).same_rows
    net = Builder((3, 8, 8))  # another activation: no figure changes
    net.add("a.conv", "conv2d", out_channels=4, kernel_size=3, padding=1, bias=False)
    net.add("a.act", "sigmoid")
    assert compared(one, net.graph()).same_rows
    assert not compared(one, net.graph()).equal


def totals(made: Diff) -> dict[str, tuple[int | None, int | None, float | None]]:
    return {each.name: (each.before, each.after, each.ratio) for each in made.totals}


def test_totals_and_ratios() -> None:
    before, after = chain("conv1:4"), chain("conv1:4", "conv2:4")
    one, two = 4 * 3 * 9, 4 * 3 * 9 + 4 * 4 * 9
    assert totals(compared(before, after)) == {
        "parameters": (one, two, two / one),
        "FLOPs": (one * 64, two * 64, two / one),
        "activations": (4 * 64, 8 * 64, 2.0),
        "weight layers deep": (1, 2, 2.0),
        "receptive field": (3, 5, 5 / 3),
    }


def test_what_is_not_counted_has_no_ratio() -> None:
    net = Builder((3, 8, 8))
    net.add("mystery", Unknown())
    found = totals(compared(chain("conv1:4"), net.graph()))
    assert found["FLOPs"] == (None, None, None)
    assert found["activations"] == (None, None, None)
    assert found["parameters"] == (108, 0, 0.0)


def test_a_ratio_to_nothing() -> None:
    found = totals(compared(chain("act"), chain("conv:4")))
    assert found["parameters"] == (0, 108, None)


def test_two_3x3_against_one_5x5() -> None:
    """The lecture's remark: the same receptive field with 2 x 9 instead of 25 products an output."""
    found = totals(compared(archprof.load("one-5x5"), archprof.load("two-3x3")))
    assert found["receptive field"] == (5, 5, 1.0)
    assert found["parameters"] == (25 * 256 * 256, 18 * 256 * 256, 18 / 25)


def test_plain_34_against_resnet_34() -> None:
    made = compared(archprof.load("plain-34"), archprof.load("resnet-34"))
    # projections where a stage begins: 1x1 convolutions and their norms
    projections = [64 * 128 + 2 * 128, 128 * 256 + 2 * 256, 256 * 512 + 2 * 512]
    changed = [change for change in made.changes if change.status != SAME]
    assert [change.path for change in changed] == ["conv3_x", "conv4_x", "conv5_x"]
    for change, added in zip(changed, projections, strict=True):
        assert change.before is not None
        assert change.after is not None
        assert change.after.params - change.before.params == added
    before, after, _ = totals(made)["parameters"]
    assert before is not None
    assert after == before + sum(projections)
    assert totals(made)["weight layers deep"] == (34, 34, 1.0)


@settings(max_examples=60, deadline=None)
@given(graphs(), graphs())
def test_every_row_of_both_stands_in_a_diff_once_and_in_order(before: Graph, after: Graph) -> None:
    for fold in (1, None):
        made = compared(before, after, fold)
        for side, graph in (("before", before), ("after", after)):
            given_rows = [getattr(change, side).path for change in made.changes if getattr(change, side) is not None]
            own = [node.path for node in graph.nodes if not node.is_input and not node.training_only]
            folded = list(dict.fromkeys(path if fold is None else path.partition(".")[0] for path in own))
            assert given_rows == folded
        difference = sum(change.after.params for change in made.changes if change.after is not None) - sum(
            change.before.params for change in made.changes if change.before is not None
        )
        assert difference == analyse(after).params - analyse(before).params


@settings(max_examples=30, deadline=None)
@given(graphs())
def test_a_network_against_itself(graph: Graph) -> None:
    made = compared(graph, graph)
    assert made.equal
    assert made.same_rows
    assert {ratio for _, _, ratio in totals(made).values()} <= {1.0, None}
