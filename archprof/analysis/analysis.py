"""The figures of every node of a graph, and of the network: plain arithmetic, no tensor is made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

from archprof.analysis.counting import Convention
from archprof.analysis.counting import convention as find_convention
from archprof.analysis.receptive_field import Sizes, receptive_fields
from archprof.collector import rare_collections
from archprof.cost import Cost
from archprof.errors import UsageError
from archprof.graph import Graph, Node
from archprof.operators.base import Inputs, Needed, Operator, ParameterShapes, hint, listed
from archprof.shape import Shape

DTYPES: Mapping[str, int] = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}  # bytes an element
PASSES = ("forward", "backward", "both")

_INDEX_BYTES = {"int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1}  # of dtypes that Shapes name


def element_bytes(shape: Shape, dtype: str) -> int:
    """Bytes of one element of a tensor, in a network of a floating-point dtype."""
    return DTYPES[dtype] if shape.dtype == "float" else _INDEX_BYTES[shape.dtype]


ONE_INPUT: tuple[Needed, Needed] = ((False,), (True,))  # whether the input of a node that has one needs a gradient


class NodeFigures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one call of one operator comes to, for the whole batch.

    A cost, and with it `flops` and `activations`, is None where archprof cannot say.
    """

    node: Node
    cost: Cost | None
    flops: int | None  # of the cost, in the analysis's convention
    params: int  # elements; 0 where another node's are used
    buffers: int  # elements kept beside the parameters
    activations: int | None  # elements put out by convolutions and linear layers
    output_bytes: int  # 0 for a view
    moved_bytes: int  # read and written
    receptive_field: Sizes | None  # in pixels of the network's input, a spatial dimension each
    depth: int  # weight layers on the longest path from an input up to here


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over nodes. With `uncounted` nodes among them, what concerns costs is a lower bound."""

    params: int = 0
    buffers: int = 0
    cost: Cost = Cost()
    flops: int = 0
    activations: int = 0
    output_bytes: int = 0
    moved_bytes: int = 0
    uncounted: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})

    @property
    def lower_bound(self) -> bool:
        """Whether the cost of some node is not known."""
        return self.uncounted > 0


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """A graph's figures under one convention, batch, mode and dtype. The input nodes have none."""

    graph: Graph
    convention: Convention
    batch: int
    train: bool
    dtype: str
    passes: str
    figures: tuple[NodeFigures, ...]  # in order of execution; nodes for training only if `train`
    total: Totals
    network: Totals  # without the heads that only training uses
    heads: Totals  # those heads; all zero without `train`
    depth: int  # weight layers on the longest path from an input to an output (not a training one)
    receptive_field: Sizes | None  # of the network's (last) output

    @property
    def counting(self) -> str:
        """The name of the counting convention."""
        return self.convention.name

    @property
    def params(self) -> int:
        """Trainable parameters of all nodes."""
        return self.total.params

    @property
    def flops(self) -> int:
        """FLOPs of all nodes for the batch; at least that many where `lower_bound`."""
        return self.total.flops

    @property
    def lower_bound(self) -> bool:
        """Whether some node's cost is not known, so that totals of costs are at least what they say."""
        return self.total.lower_bound


@rare_collections()
def analyse(
    graph: Graph,
    *,
    batch: int = 1,
    counting: str | None = None,
    train: bool = False,
    dtype: str = "float32",
    passes: str = "forward",
) -> Analysis:
    """Count parameters, FLOPs, activations, bytes, receptive field and depth of every node.

    `counting` None takes the convention that the graph's source prints. With `train` the training graph
    is counted: its extra heads, and operators as they compute in training. `passes` is forward, backward
    or both; a backward pass needs no gradient of an input where nothing before it has a parameter, and does not come
    to what reaches no output.
    Parameters that several nodes share count once, at the first of them.

    Raises UsageError for a batch below 1 or an unknown convention, dtype or pass.
    """
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise UsageError(f"batch must be an integer of at least 1, not {batch!r}")
    if dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype}: {hint(dtype, DTYPES)}")
    if passes not in PASSES:
        raise UsageError(f"passes must be {listed(PASSES)}, not {passes}")
    calls = _Calls(find_convention(graph.counting if counting is None else counting), batch, train, dtype, passes)

    fields = receptive_fields(graph)
    nodes = graph.nodes
    depths = [0] * len(nodes)
    trained = [False] * len(nodes)  # whether a parameter is at or before the node: its output has a gradient
    owners: dict[str, str] = {}  # path -> the path whose parameters it uses
    counted: set[str] = set()  # owners whose parameters are counted
    reached = _reached(graph, train) if passes != "forward" else None
    figures = []
    needed: Needed
    for index, node in enumerate(nodes):
        operator, inputs = node.operator, node.inputs
        if len(inputs) == 1:  # most are so
            source = inputs[0].node
            needed, depth = ONE_INPUT[trained[source]], depths[source]
        elif inputs:
            needed = tuple([trained[value.node] for value in inputs])
            depth = max(depths[value.node] for value in inputs)
        elif node.is_input:
            continue
        else:
            needed, depth = (), 0
        if operator.detached:
            needed = (False,) * len(inputs)
        arrives = reached is None or reached[index]
        call = calls.of(operator, node.input_shapes, node.output_shapes, needed if arrives else None)
        depth += operator.depth
        depths[index] = depth
        trained[index] = True in needed or (call.params > 0 and not node.operator.frozen)
        if node.training_only and not train:
            continue
        shares = node.shares
        owner = node.path if shares is None else owners.get(shares, shares)
        if shares is not None:
            owners[node.path] = owner
        first = owner not in counted
        counted.add(owner)
        figures.append(
            NodeFigures(
                node=node,
                cost=call.cost,
                flops=call.flops,
                params=call.params if first else 0,
                buffers=call.buffers if first else 0,
                activations=call.activations,
                output_bytes=call.output_bytes,
                moved_bytes=call.moved_bytes,
                receptive_field=fields[index],
                depth=depth,
            )
        )
    network = _sum(each for each in figures if not each.node.training_only)
    heads = _sum(each for each in figures if each.node.training_only)
    # a graph without outputs is one that a mistake cut short: then all of it
    ends = [value.node for value in graph.outputs.values()] or range(len(nodes))
    return Analysis(
        graph=graph,
        convention=calls.convention,
        batch=batch,
        train=train,
        dtype=dtype,
        passes=passes,
        figures=tuple(figures),
        total=network + heads,
        network=network,
        heads=heads,
        depth=max((depths[end] for end in ends), default=0),
        receptive_field=fields[ends[-1]] if ends else None,
    )


def _reached(graph: Graph, train: bool) -> list[bool]:
    """By node, whether a gradient comes to it: from the outputs, and from the training outputs if `train`."""
    outputs = (*graph.outputs.values(), *(graph.training_outputs.values() if train else ()))
    reached = [not outputs] * len(graph.nodes)
    for output in outputs:
        reached[output.node] = True
    for index in range(len(graph.nodes) - 1, -1, -1):
        node = graph.nodes[index]
        if reached[index] and not node.operator.detached:
            for value in node.inputs:
                reached[value.node] = True
    return reached


class _Call(msgspec.Struct, frozen=True):
    """The figures of an operator on given shapes, whatever node calls it."""

    cost: Cost | None
    flops: int | None
    params: int
    buffers: int
    activations: int | None
    output_bytes: int
    moved_bytes: int


class _Calls:
    """Figures by operator and shapes, each worked out once: deep networks repeat few distinct calls.

    It must not outlive the graph, whose objects it knows by identity.
    """

    def __init__(self, convention: Convention, batch: int, train: bool, dtype: str, passes: str) -> None:
        self.convention = convention
        self.batch = batch
        self.train = train
        self.dtype = dtype
        self.float_bytes = DTYPES[dtype]
        self.passes = passes
        self.seen: dict[
            tuple[int, int, Needed | None], _Call
        ] = {}  # nodes that are alike share objects, which spares hashing
        self.known: dict[tuple[Operator, Inputs, Needed | None], _Call] = {}  # the outputs follow from these

    def of(self, operator: Operator, inputs: Inputs, outputs: Inputs, needed: Needed | None) -> _Call:
        """`needed` None: no gradient comes to it."""
        identity = (id(operator), id(inputs), needed)
        call = self.seen.get(identity)
        if call is None:
            key = (operator, inputs, needed)
            call = self.known.get(key)
            if call is None:
                call = self.known[key] = self.work_out(operator, inputs, outputs, needed)
            self.seen[identity] = call
        return call

    def work_out(self, operator: Operator, inputs: Inputs, outputs: Inputs, needed: Needed | None) -> _Call:
        params = elements(operator.parameters(inputs))
        buffers = elements(operator.buffers(inputs))
        forward = operator.cost(inputs, outputs, self.train)
        cost: Cost | None = Cost()
        read = written = 0  # bytes
        arriving, leaving = self.bytes_of(inputs), self.bytes_of(outputs)
        weights = params * self.float_bytes
        if self.passes != "backward":
            cost = forward
            read += arriving + weights + buffers * self.float_bytes
            written += leaving
        weight_gradient = params > 0 and not operator.frozen
        if self.passes != "forward" and needed is not None and (any(needed) or weight_gradient):
            backward = operator.backward_cost(inputs, outputs, needed, weight_gradient)
            cost = None if cost is None or backward is None else cost + backward
            # the gradient that comes in, the inputs kept from the forward pass, and the weights again
            read += leaving + arriving + (weights if any(needed) else 0)
            written += self.bytes_of(tuple(shape for shape, each in zip(inputs, needed, strict=True) if each)) + weights
        if cost is not None:
            cost = cost * self.batch
        is_view = operator.is_view(self.train)
        return _Call(
            cost,
            None if cost is None else self.convention.count(cost),
            params,
            buffers,
            None if forward is None else forward.activations * self.batch,
            0 if is_view else leaving,
            0 if is_view else read + written,
        )

    def bytes_of(self, shapes: Inputs) -> int:
        """Of the whole batch. The weights are moved once, whatever the batch."""
        return sum(shape.numel * element_bytes(shape, self.dtype) for shape in shapes) * self.batch


def elements(tensors: ParameterShapes) -> int:
    """How many elements the tensors of a node hold."""
    return sum(math.prod(dims) for dims in tensors.values())


def _sum(figures: Iterable[NodeFigures]) -> Totals:
    params = buffers = flops = activations = output_bytes = moved_bytes = uncounted = 0
    costs: dict[Cost, int] = {}  # cost -> how many nodes have it
    for each in figures:
        params += each.params
        buffers += each.buffers
        flops += each.flops or 0
        activations += each.activations or 0
        output_bytes += each.output_bytes
        moved_bytes += each.moved_bytes
        if each.cost is None:
            uncounted += 1
        else:
            costs[each.cost] = costs.get(each.cost, 0) + 1
    return Totals(
        params=params,
        buffers=buffers,
        cost=sum((cost * times for cost, times in costs.items()), Cost()),
        flops=flops,
        activations=activations,
        output_bytes=output_bytes,
        moved_bytes=moved_bytes,
        uncounted=uncounted,
    )
