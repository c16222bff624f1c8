"""The network as a graph of operators: what everything after the spec works on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import msgspec

from archprof.operators.base import Inputs, Operator
from archprof.shape import Shape


class Input(Operator, frozen=True, kw_only=True):
    """Stands for an input of the network. Not in the registry: no spec writes it as a layer."""

    op: ClassVar[str] = "input"
    arity: ClassVar[tuple[int, int | None]] = (0, 0)
    view: ClassVar[bool] = True

    shape: Shape

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return (self.shape,)


class Value(NamedTuple):
    """One tensor: output number `output` of node number `node` (its index in Graph.nodes)."""

    node: int
    output: int = 0


class Node(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call of one operator, at a dotted path that is unique in its graph."""

    path: str
    operator: Operator
    inputs: tuple[Value, ...] = ()
    input_shapes: tuple[Shape, ...] = ()
    output_shapes: tuple[Shape, ...] = ()
    shares: str | None = None  # the path of the earlier node whose parameters this one uses
    training_only: bool = False  # reaches only training outputs
    origin: Any = None  # opaque: where it was written, for whoever made the graph

    @property
    def is_input(self) -> bool:
        """Whether it stands for an input of the network, computing nothing."""
        return isinstance(self.operator, Input)


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """A network: nodes in order of execution, each fed by earlier ones; the inputs are nodes too.

    `counting` and `fold` are what the source of the network asks for; a caller may choose others.
    """

    name: str
    nodes: tuple[Node, ...]
    outputs: Mapping[str, Value]
    training_outputs: Mapping[str, Value] = {}
    title: str | None = None
    year: int | None = None
    source: str | None = None
    counting: str = "multiply_adds"
    fold: int | None = 1  # None: every node
    parameters: Mapping[str, Any] = {}  # the settings that made it

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes that stand for the network's inputs, in the order written."""
        return tuple(node for node in self.nodes if node.is_input)
