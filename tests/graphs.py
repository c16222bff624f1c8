"""Graphs built by hand, and random ones, for tests that need no spec."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from archprof.cost import Cost
from archprof.graph import Graph, Input, Node, Value
from archprof.operators import create
from archprof.operators.base import Inputs, Operator
from archprof.shape import Shape


class Unknown(Operator, frozen=True, kw_only=True):
    """An operator whose cost archprof cannot say."""

    op = "mystery"

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return (inputs[0],)

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost | None:
        return None


class Builder:
    """Adds nodes one after another; a node without inputs named takes the one before it."""

    def __init__(self, *shapes: tuple[int, ...], **options: Any) -> None:
        self.options = options
        self.nodes: list[Node] = []
        for place, shape in enumerate(shapes or ((3, 8, 8),)):
            inputs = Input(shape=Shape(shape))
            self.nodes.append(Node(path=f"input{place}", operator=inputs, output_shapes=(Shape(shape),)))

    def add(
        self,
        path: str,
        op: str | Operator,
        *inputs: Value | int,
        shares: str | None = None,
        training_only: bool = False,
        **fields: Any,
    ) -> int:
        """Add a node and return its number."""
        operator = create(op, **fields) if isinstance(op, str) else op
        values = tuple(Value(each) if isinstance(each, int) else each for each in inputs)
        values = values or (Value(len(self.nodes) - 1),)
        shapes = tuple(self.nodes[value.node].output_shapes[value.output] for value in values)
        self.nodes.append(
            Node(
                path=path,
                operator=operator,
                inputs=values,
                input_shapes=shapes,
                output_shapes=operator.infer(shapes),
                shares=shares,
                training_only=training_only,
            )
        )
        return len(self.nodes) - 1

    def graph(self, *outputs: int, training: tuple[int, ...] = ()) -> Graph:
        """The graph; its output is the last node unless others are named."""
        ends = outputs or (len(self.nodes) - 1,)
        return Graph(
            name=self.options.pop("name", "net"),
            nodes=tuple(self.nodes),
            outputs={str(end): Value(end) for end in ends},
            training_outputs={str(end): Value(end) for end in training},
            **self.options,
        )


def two_headed() -> Graph:
    """conv -> conv -> linear with a head for training on the first convolution: 3x8x8 -> 4x8x8 -> 4x8x8 -> 10."""
    net = Builder((3, 8, 8), title="Two heads", source="made up")
    first = net.add("stem", "conv2d", out_channels=4, kernel_size=3, padding=1)
    net.add("body.conv", "conv2d", out_channels=4, kernel_size=1, bias=False)
    net.add("body.flatten", "flatten")
    end = net.add("classifier", "linear", out_features=10)
    net.add("head.flatten", "flatten", first, training_only=True)
    head = net.add("head.linear", "linear", out_features=2, training_only=True)
    return net.graph(end, training=(head,))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Small random graphs over a 4-channel map: branches, sums, unknown costs, shared weights, heads."""
    net = Builder((4, 6, 6))
    names = st.sampled_from(["a", "b", "c"])
    convolutions: list[str] = []
    heads = []
    for place in range(draw(st.integers(1, 12))):
        prefix = draw(st.lists(names, max_size=3))
        path = ".".join([*prefix, f"n{place}"])
        sources = [number for number, node in enumerate(net.nodes) if not node.training_only]
        kind = draw(st.sampled_from(["conv2d", "conv2d", "relu", "add", "unknown", "shared", "head"]))
        source = draw(st.sampled_from(sources))
        if kind == "conv2d":
            net.add(path, "conv2d", source, out_channels=4, kernel_size=draw(st.sampled_from([1, 3])), padding="same")
            convolutions.append(path)
        elif kind == "shared" and convolutions:
            owner = draw(st.sampled_from(convolutions))
            operator = next(node.operator for node in net.nodes if node.path == owner)
            net.add(path, operator, source, shares=owner)
        elif kind == "add":
            net.add(path, "add", source, draw(st.sampled_from(sources)))
        elif kind == "unknown":
            net.add(path, Unknown(), source)
        elif kind == "head":
            heads.append(net.add(path, "conv2d", source, out_channels=2, kernel_size=1, training_only=True))
        else:
            net.add(path, "relu", source)
    last = max(number for number, node in enumerate(net.nodes) if not node.training_only)
    return net.graph(last, training=tuple(heads))
