"""How strongly layers answer: the standard deviation of what each puts out (He et al. 2016, section 4.2, figure 7)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx

from archprof.experiments.records import Response
from archprof.graph import Graph
from archprof.operators.convolution import Conv2d
from archprof.operators.normalization import BatchNorm2d


def response_paths(graph: Graph) -> tuple[str, ...]:
    """The nodes whose outputs are the responses, in the order of execution: one a convolution larger than 1x1.

    It is the batch norm where the convolution feeds that alone, else the convolution itself: before an activation and
    before an addition. Convolutions of 1x1 are left out, those of shortcuts among them; so are training heads.
    """
    consumers = Counter(value.node for node in graph.nodes for value in node.inputs)
    consumers.update(value.node for value in graph.outputs.values())
    normalised = {
        node.inputs[0].node: node.path for node in graph.nodes if isinstance(node.operator, BatchNorm2d)
    }  # by the node that feeds it
    found = []
    for index, node in enumerate(graph.nodes):
        if not isinstance(node.operator, Conv2d) or max(node.operator.kernel_size) == 1 or node.training_only:
            continue
        alone = consumers[index] == 1 and index in normalised
        found.append(normalised[index] if alone else node.path)
    return tuple(found)


def responses(module: fx.GraphModule, graph: Graph, batches: Iterable[Tensor]) -> tuple[Response, ...]:
    """The standard deviation of each layer's response over all elements of all images, in evaluation mode.

    `module` is what `build` made of `graph`; it is left in the mode that it was in. `batches` are its inputs, (N, C, H,
    W) each, on its device.
    """
    paths = response_paths(graph)
    observer = _Observer(module, paths)
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                observer.run(batch)
    finally:
        module.train(training)
    return tuple(Response(layer=number, path=path, std=observer.std(path)) for number, path in enumerate(paths, 1))


class _Observer(fx.Interpreter):
    """Runs a module node by node, summing up what some of them put out."""

    def __init__(self, module: fx.GraphModule, paths: Iterable[str]) -> None:
        super().__init__(module)
        self.sums = {path: [0.0, 0.0] for path in paths}  # of the elements, of their squares
        self.counts = dict.fromkeys(self.sums, 0)

    def run_node(self, n: fx.Node) -> Any:
        out = super().run_node(n)
        path = n.meta.get("path")
        if path in self.sums:
            values = out.double()
            self.sums[path][0] += values.sum().item()
            self.sums[path][1] += values.square().sum().item()
            self.counts[path] += values.numel()
        return out

    def std(self, path: str) -> float:
        total, squares = self.sums[path]
        count = self.counts[path]
        mean = total / count
        return math.sqrt(max(squares / count - mean**2, 0.0))
