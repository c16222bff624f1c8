"""Memory of inference and of training, by liveness over the graph. What is assumed stands in docs/memory.md."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from archprof.analysis.analysis import DTYPES, element_bytes
from archprof.errors import UsageError
from archprof.graph import Graph, Node, Value
from archprof.operators import hint

# tensors of the parameters' size that an optimiser keeps
OPTIMISERS: Mapping[str, int] = {"sgd": 0, "momentum": 1, "adam": 2}


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes. Peaks are sums of live tensors; workspaces of kernels and what an allocator rounds up are not in them."""

    weights: int
    buffers: int
    activations: int  # all outputs together, views none
    gradients: int  # of the parameters
    optimiser: int
    saved: int  # what the forward pass of a training step keeps for the backward one
    inference_peak: int  # weights, buffers, and the most that lives at once
    inference_peak_at: str  # the node that runs then
    training_peak: int  # weights, buffers, gradients, optimiser, and the most that lives at once
    training_peak_at: str


def memory(
    graph: Graph, *, batch: int = 1, dtype: str = "float32", optimiser: str = "momentum", train: bool = False
) -> Memory:
    """The memory of a network for a batch.

    `train` takes the training graph's heads into the training step. An output lives from its node to its
    last use, outputs of the network to the end; a view shares its input's storage. In a training step what
    is saved for the backward pass lives until the last node (the first in the order of execution) that
    needs it, and the gradient of a tensor from its first use backwards to its node.

    Raises UsageError for an unknown dtype or optimiser.
    """
    for given, known, what in ((dtype, DTYPES, "dtype"), (optimiser, OPTIMISERS, "optimiser")):
        if given not in known:
            raise UsageError(f"unknown {what} {given}: {hint(given, known)}")
    parameters, buffers = _constants(graph, train)
    weights = parameters * DTYPES[dtype]
    inference = _Storages(graph, batch, dtype, train=False)
    training = _Storages(graph, batch, dtype, train=True, heads=train)
    forward_peak, forward_at = inference.forward_peak()
    step_peak, step_at, saved = training.step_peak()
    constant = weights + buffers
    optimiser_bytes = OPTIMISERS[optimiser] * weights
    return Memory(
        weights=weights,
        buffers=buffers,
        activations=sum(inference.sizes.values()) - inference.entering(),
        gradients=weights,
        optimiser=optimiser_bytes,
        saved=saved,
        inference_peak=constant + forward_peak,
        inference_peak_at=forward_at,
        training_peak=constant + weights + optimiser_bytes + step_peak,
        training_peak_at=step_at,
    )


def _constants(graph: Graph, train: bool) -> tuple[int, int]:
    """Elements of the parameters, and bytes of the buffers (counters are int64, the rest float32)."""
    parameters = buffers = 0
    for node in graph.nodes:
        if node.shares is not None or (node.training_only and not train):
            continue
        parameters += sum(map(math.prod, node.operator.parameters(node.input_shapes).values()))
        for dims in node.operator.buffers(node.input_shapes).values():
            buffers += 4 * math.prod(dims) if dims else 8
    return parameters, buffers


class _Storages:
    """The tensors of one pass: which storage each value lies in, its bytes, and when it is last used."""

    def __init__(self, graph: Graph, batch: int, dtype: str, train: bool, heads: bool = False) -> None:
        self.batch = batch
        self.dtype = dtype
        self.graph = graph
        self.nodes: list[tuple[int, Node]] = [
            (index, node) for index, node in enumerate(graph.nodes) if heads or not node.training_only
        ]
        self.roots: dict[Value, Value] = {}
        self.sizes: dict[Value, int] = {}  # bytes of each storage
        self.last_use: dict[Value, int] = {}
        self.trained: set[int] = set()  # nodes with a parameter at or before them: their outputs have gradients
        for index, node in self.nodes:
            if node.operator.parameters(node.input_shapes) or any(value.node in self.trained for value in node.inputs):
                self.trained.add(index)
            is_view = node.operator.is_view(train)
            for value in node.inputs:
                self.last_use[self.roots[value]] = index
            for number, shape in enumerate(node.output_shapes):
                value = Value(index, number)
                if is_view and node.inputs:
                    self.roots[value] = self.roots[node.inputs[0]]
                    continue
                self.roots[value] = value
                self.sizes[value] = shape.numel * batch * element_bytes(shape, dtype)
                self.last_use[value] = index
        ends = [*graph.outputs.values(), *(graph.training_outputs.values() if heads else ())]
        for value in ends:
            self.last_use[self.roots[value]] = len(graph.nodes)

    def entering(self) -> int:
        """Bytes of the network's inputs."""
        return sum(size for value, size in self.sizes.items() if self.graph.nodes[value.node].is_input)

    def made_and_freed(self) -> tuple[dict[int, int], dict[int, list[Value]]]:
        """Bytes that each node makes, and the storages whose last use it is."""
        made: dict[int, int] = {}
        freed: dict[int, list[Value]] = {}
        for value, size in self.sizes.items():
            made[value.node] = made.get(value.node, 0) + size
        for value, index in self.last_use.items():
            freed.setdefault(index, []).append(value)
        return made, freed

    def forward_peak(self) -> tuple[int, str]:
        """The most bytes that live at once in inference, and the node that runs then."""
        made, freed = self.made_and_freed()
        live = peak = 0
        at = ""
        for index, node in self.nodes:
            live += made.get(index, 0)
            if live > peak:
                peak, at = live, node.path
            live -= sum(self.sizes[value] for value in freed.get(index, ()))
        return peak, at

    def kept(self) -> tuple[dict[Value, int], dict[int, int]]:
        """What is saved: each storage with the first node that needs it, and further bytes by node."""
        element = DTYPES[self.dtype]
        needed: dict[Value, int] = {}
        further: dict[int, int] = {}
        for index, node in self.nodes:
            further[index] = 0
            if index not in self.trained:
                continue
            saved = node.operator.saved(node.input_shapes, node.output_shapes)
            values = [node.inputs[number] for number in saved.inputs]
            if saved.outputs:
                values.extend(Value(index, number) for number in range(len(node.output_shapes)))
            for value in values:
                needed.setdefault(self.roots[value], index)
            further[index] = (saved.elements * self.batch + saved.fixed) * element + saved.index_bytes * self.batch
        return needed, further

    def step_peak(self) -> tuple[int, str, int]:
        """The most bytes that live at once in a training step, the node that runs then, and what is saved."""
        needed, further = self.kept()
        saved = sum(self.sizes[value] for value in needed) + sum(further.values())
        made, freed = self.made_and_freed()
        live = peak = 0
        at = ""
        for index, node in self.nodes:
            live += made.get(index, 0) + further[index]
            if live > peak:
                peak, at = live, node.path
            live -= sum(self.sizes[value] for value in freed.get(index, ()) if value not in needed)
        released: dict[int, list[Value]] = {}
        for value, index in needed.items():
            released.setdefault(index, []).append(value)
        ends = [value for value, index in self.last_use.items() if index == len(self.graph.nodes)]
        gradients = {value for value in ends if value.node in self.trained}  # the loss's, of each output
        live += sum(self.sizes[value] for value in gradients)
        for index, node in reversed(self.nodes):
            for value in node.inputs:
                root = self.roots[value]
                if root not in gradients and root.node in self.trained:
                    gradients.add(root)
                    live += self.sizes[root]
            if live > peak:
                peak, at = live, node.path
            for value in [value for value in gradients if value.node == index]:
                gradients.discard(value)
                live -= self.sizes[value]
            live -= further[index] + sum(
                self.sizes[value] for value in released.get(index, ()) if self.last_use[value] < len(self.graph.nodes)
            )
        return peak, at, saved
