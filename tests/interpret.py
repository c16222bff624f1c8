"""Runs a graph in torch node by node, by the modules of its operators alone: what `build` makes must do the same."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from archprof.graph import Graph, Node
from archprof.shape import Shape


def random_tensor(shape: Shape, batch: int) -> Tensor:
    """Normal numbers, or indices 0 and 1, which every table has. The samples of an input are part of the batch."""
    size = (batch * shape.samples, *shape.dims)
    return torch.randn(size) if shape.dtype == "float" else torch.randint(0, 2, size)


def interpret(graph: Graph, batch: int = 2) -> Iterator[tuple[Node, nn.Module | None, tuple[Tensor, ...]]]:
    """Each node in order with its module (None for an input) and its outputs for a random batch, in inference."""
    values: list[tuple[Tensor, ...]] = []
    modules: dict[str, nn.Module] = {}
    last_use = {value.node: index for index, node in enumerate(graph.nodes) for value in node.inputs}
    with torch.no_grad():
        for index, node in enumerate(graph.nodes):
            module = None
            if node.is_input:
                outputs: tuple[Tensor, ...] = (random_tensor(node.output_shapes[0], batch),)
            else:
                module = modules[node.shares] if node.shares else node.operator.module(node.input_shapes).eval()
                modules[node.path] = module
                result = module(*(values[value.node][value.output] for value in node.inputs))
                outputs = result if isinstance(result, tuple) else (result,)
            values.append(outputs)
            for value in node.inputs:
                if last_use[value.node] == index:
                    values[value.node] = ()  # a deep network's maps are let go as it proceeds
            yield node, module, outputs


def assert_builds(graph: Graph, batch: int = 2) -> None:
    """Every node's module gives outputs of the shapes inferred, and has the parameters and buffers counted."""
    for node, module, outputs in interpret(graph, batch):
        expected = [(batch * shape.samples, *shape.dims) for shape in node.output_shapes]
        assert [tuple(output.shape) for output in outputs] == expected, node.path
        assert all(output.isfinite().all() for output in outputs), node.path
        if module is not None:
            parameters = {name: tuple(each.shape) for name, each in module.named_parameters()}
            assert parameters == dict(node.operator.parameters(node.input_shapes)), node.path
            buffers = {name: tuple(each.shape) for name, each in module.named_buffers()}
            assert buffers == dict(node.operator.buffers(node.input_shapes)), node.path


class Interpreted(nn.Module):
    """A graph of one input as a module; `train` keeps its training heads. One output, or a tuple of several."""

    def __init__(self, graph: Graph, train: bool = False) -> None:
        super().__init__()
        self.nodes = [node for node in graph.nodes if train or not node.training_only]
        self.places = [index for index, node in enumerate(graph.nodes) if train or not node.training_only]
        self.ends = [*graph.outputs.values(), *(graph.training_outputs.values() if train else ())]
        self.made = nn.ModuleDict()
        for node in self.nodes:
            if not node.is_input and node.shares is None:
                self.made[_key(node.path)] = node.operator.module(node.input_shapes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        values: dict[tuple[int, int], Tensor] = {}
        for place, node in zip(self.places, self.nodes, strict=True):
            if node.is_input:
                values[place, 0] = x
                continue
            result = self.made[_key(node.shares or node.path)](*(values[value] for value in node.inputs))
            for number, output in enumerate(result if isinstance(result, tuple) else (result,)):
                values[place, number] = output
        outputs = tuple(values[end] for end in self.ends)
        return outputs[0] if len(outputs) == 1 else outputs


def _key(path: str) -> str:
    return path.replace(".", "/")  # a ModuleDict takes no dots
