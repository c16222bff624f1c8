"""One batch through a built network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from archprof.building.builder import outputs_of, seeded
from archprof.building.device import dtype_name, reason
from archprof.errors import UsageError
from archprof.graph import Graph


def example_inputs(
    graph: Graph, *, batch: int, device: torch.device, dtype: torch.dtype, seed: int | None = 0
) -> tuple[Tensor, ...]:
    """A batch of normal numbers, and of zeros for indices, which every table has."""
    made = []
    with seeded(seed):
        for node in graph.inputs:
            shape = node.output_shapes[0]
            size = (batch * shape.samples, *shape.dims)
            if shape.dtype == "float":
                made.append(torch.randn(size, device="meta" if device.type == "meta" else "cpu").to(device, dtype))
            else:
                made.append(torch.zeros(size, dtype=getattr(torch, shape.dtype), device=device))
    return tuple(made)


def run(module: fx.GraphModule, graph: Graph, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The outputs by name, without gradients. Raises UsageError that names the node where torch refuses."""
    steps = _Steps(module)
    try:
        with torch.no_grad():
            result = steps.run(*inputs)
    except (RuntimeError, ValueError) as error:
        operators = {node.path: node.operator.op for node in graph.nodes}
        where = f"{steps.at} ({operators[steps.at]})" if steps.at in operators else graph.name
        given = f"{dtype_name(inputs[0].dtype)} on {inputs[0].device}, batch {len(inputs[0])}"
        raise UsageError(f"{where} cannot run in {given}: {reason(error)}") from None
    return result if isinstance(result, dict) else {next(iter(outputs_of(graph, train=False))): result}


class _Steps(fx.Interpreter):
    """Runs node by node, so that it knows where it is, and lets values go after their last use."""

    at = ""

    def run_node(self, n: fx.Node) -> Any:
        self.at = n.meta.get("path", self.at)
        return super().run_node(n)
