"""The comparison itself: the figures of the analysis beside those of the tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from archprof.analysis.analysis import NodeFigures, analyse
from archprof.errors import UsageError
from archprof.extras import require
from archprof.graph import Graph
from archprof.operators import listed
from archprof.verification.findings import Finding
from archprof.verification.reasons import BACKWARD, COUNTER, FORWARD, FVCORE, IN_FVCORE, TORCH, Call, explain

if TYPE_CHECKING:
    from archprof.verification.measure import Measured, TensorShapes

DEVICES = ("meta", "cpu")  # where FlopCounterMode's counts are known


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A network and all that was compared of it."""

    name: str
    findings: tuple[Finding, ...]

    def count(self, status: str) -> int:
        """How many findings have a status."""
        return sum(finding.status == status for finding in self.findings)


def tools(device: str = "meta") -> dict[str, str]:
    """The tools with version and device, as a caption names them. Raises UsageError where one is missing."""
    _require_packages()
    from archprof.verification.measure import VERSIONS

    return {
        f"torch {VERSIONS['torch']}": f"shapes, parameters and FlopCounterMode on {device}",
        f"fvcore {VERSIONS['fvcore']}": "FlopCountAnalysis on cpu",
    }


def verify(graph: Graph, *, train: bool = False, batch: int = 2, device: str = "meta") -> tuple[Finding, ...]:
    """Compare the analysis of a graph with the network built in torch, node by node.

    Output shapes, parameters and buffers against torch's; multiply-adds, forward and backward, against
    FlopCounterMode's on `device` (half its figure); FLOPs in the fvcore convention against fvcore's, on a CPU. A node
    whose cost archprof does not know has only its shapes and tensors compared. Where torch cannot run a node, that is
    a finding, and what comes after the node is not compared.

    Raises UsageError where torch or fvcore is missing, for an unknown device, and where a node does not fit the memory.
    """
    if device not in DEVICES:
        raise UsageError(f"verify runs on {listed(DEVICES)}, not {device}")
    _require_packages()
    from archprof.verification.measure import VERSIONS, fvcore_counts, measure

    measured, failure = measure(graph, train=train, batch=batch, device=device)
    forward = analyse(graph, batch=batch, train=train, counting="fvcore")
    backward = analyse(graph, batch=batch, train=train, passes="backward")
    by_fvcore = fvcore_counts(graph, train=train, batch=batch) if failure is None else {}
    found: list[Finding] = []
    for figures, gradients in zip(forward.figures, backward.figures, strict=True):
        path = figures.node.path
        if path not in measured:
            break
        found.extend(_tensors(figures, measured[path], batch))
        for tool, quantity, where, ours, theirs in _counts(figures, gradients, measured[path], by_fvcore):
            finding = _finding(figures, quantity, ours, theirs, tool)
            if ours != theirs:
                node = figures.node
                call = Call(
                    operator=node.operator,
                    inputs=node.input_shapes,
                    outputs=node.output_shapes,
                    batch=batch,
                    ours=ours,
                )
                reason = explain(call, theirs, tool=tool, quantity=quantity, device=where or device, versions=VERSIONS)
                finding = msgspec.structs.replace(finding, reason=reason)
            found.append(finding)
    if failure is not None:
        op = next((node.operator.op for node in graph.nodes if node.path == failure.node), "")
        found.append(
            Finding(node=failure.node, op=op, quantity="the call", ours="runs", theirs=failure.message, tool=TORCH)
        )
    return tuple(found)


def _require_packages() -> None:
    for package in ("torch", "fvcore"):
        require("verify", package, "torch")


def _tensors(figures: NodeFigures, measured: Measured, batch: int) -> Iterator[Finding]:
    node = figures.node
    shapes = tuple(((batch * shape.samples, *shape.dims), shape.dtype) for shape in node.output_shapes)
    yield _finding(figures, "output shape", _shapes_text(shapes), _shapes_text(measured.outputs), TORCH)
    parameters, buffers = node.operator.parameters(node.input_shapes), node.operator.buffers(node.input_shapes)
    for quantity, own, other, count, numel in (
        ("parameter", parameters, measured.parameters, figures.params, measured.params),
        ("buffer", buffers, measured.buffers, figures.buffers, measured.buffer_elements),
    ):
        if own or other:
            yield _finding(figures, f"{quantity} shapes", _tensors_text(own), _tensors_text(other), TORCH)
            yield _finding(figures, f"{quantity} elements", count, numel, TORCH)


def _counts(
    figures: NodeFigures, gradients: NodeFigures, measured: Measured, by_fvcore: Mapping[str, int | str]
) -> Iterator[tuple[str, str, str | None, int, int | str]]:
    """(tool, quantity, the tool's device or None for the caller's, ours, theirs)."""
    if figures.cost is not None:
        yield COUNTER, FORWARD, None, figures.cost.multiply_adds, measured.forward
    if by_fvcore:  # else torch failed somewhere: there was no backward pass
        if gradients.cost is not None:
            yield COUNTER, BACKWARD, None, gradients.cost.multiply_adds, measured.backward
        if figures.flops is not None:
            yield FVCORE, IN_FVCORE, "cpu", figures.flops, by_fvcore[figures.node.path]


def _finding(figures: NodeFigures, quantity: str, ours: int | str, theirs: int | str, tool: str) -> Finding:
    node = figures.node
    return Finding(node=node.path, op=node.operator.op, quantity=quantity, ours=ours, theirs=theirs, tool=tool)


def _shapes_text(shapes: tuple[tuple[tuple[int, ...], str], ...]) -> str:
    """2x64x112x112, with its type where that is not float."""
    return ", ".join(_dims_text(dims) + ("" if dtype == "float" else f" {dtype}") for dims, dtype in shapes)


def _tensors_text(tensors: TensorShapes) -> str:
    return ", ".join(f"{name} {_dims_text(dims)}" for name, dims in sorted(tensors.items())) or "none"


def _dims_text(dims: tuple[int, ...]) -> str:
    return "x".join(map(str, dims)) or "scalar"
