"""The comparison itself: the figures of the analysis beside those of the tools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from archprof.analysis.analysis import NodeFigures, analyse
from archprof.errors import UsageError
from archprof.extras import require
from archprof.graph import Graph, Node
from archprof.importer import runnable
from archprof.importer.operators import Variant
from archprof.operators import listed
from archprof.shape import Shape
from archprof.verification.findings import Finding
from archprof.verification.reasons import (
    BACKWARD,
    COUNTER,
    FORWARD,
    FVCORE,
    IN_FVCORE,
    TORCH,
    Call,
    expected,
    explain,
)

if TYPE_CHECKING:
    from archprof.verification.measure import Measured, TensorShapes

Versions = Mapping[str, str]
DEVICES = ("meta", "cpu")  # where FlopCounterMode's counts are known


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A network and all that was compared of it."""

    name: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()  # what could not be compared, and why

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
    _require_device(device)
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
                call = _call(figures.node, batch, ours)
                reason = explain(call, theirs, tool=tool, quantity=quantity, device=where or device, versions=VERSIONS)
                finding = msgspec.structs.replace(finding, reason=reason)
            found.append(finding)
    if failure is not None:
        op = next((node.operator.op for node in graph.nodes if node.path == failure.node), "")
        found.append(
            Finding(node=failure.node, op=op, quantity="the call", ours="runs", theirs=failure.message, tool=TORCH)
        )
    return tuple(found)


def verify_imported(
    name: str, inputs: Sequence[str], settings: Mapping[str, Any], *, train: bool = False, device: str = "meta"
) -> Verified:
    """Compare the analysis of an imported network with what torch and fvcore say of the module itself.

    Node by node the traced calls are run in torch: output shapes, elements of parameters and buffers, and
    FlopCounterMode's multiply-adds on `device`. The user's own module is run by FlopCounterMode on the device meta, for
    its totals, and by fvcore on a CPU, for its FLOPs by module. Arguments are those of `archprof.importer.runnable`.
    The batch is one of 2, or of 1 where the network takes no other.

    Raises UsageError where torch or fvcore is missing, for an unknown device, and for all that `runnable` refuses.
    """
    _require_device(device)
    _require_packages()
    from archprof.importer.modules import BatchError
    from archprof.verification.measure import VERSIONS, fvcore_by_module, homes_of, measure_imported, own_counts

    batch = 2
    try:
        network = runnable(name, inputs, settings, batch=batch, train=train)
    except BatchError:
        batch = 1
        network = runnable(name, inputs, settings, batch=batch, train=train)
    graph = network.graph
    measured, failure = measure_imported(network, device=device)
    if failure is not None and device == "meta":  # what needs values, or another mode on a CPU
        device = "cpu"
        measured, failure = measure_imported(network, device=device)
    forward = analyse(graph, batch=batch, train=train, counting="fvcore")
    backward = analyse(graph, batch=batch, train=train, passes="backward")
    found: list[Finding] = []
    notes: list[str] = []
    for figures, gradients in zip(forward.figures, backward.figures, strict=True):
        counts = measured[figures.node.path]
        found.extend(_tensors_of_imported(figures, counts, batch))
        if failure is not None:
            continue
        for quantity, figure, theirs in (
            (FORWARD, figures.cost, counts.forward),
            (BACKWARD, gradients.cost, counts.backward),
        ):
            if figure is not None:
                finding = _finding(figures, quantity, figure.multiply_adds, theirs, COUNTER)
                call = _call(figures.node, batch, figure.multiply_adds)
                reason = explain(call, theirs, tool=COUNTER, quantity=quantity, device=device, versions=VERSIONS)
                found.append(msgspec.structs.replace(finding, reason=reason))
    if failure is not None:
        op = next((node.operator.op for node in graph.nodes if node.path == failure.node), "")
        found.append(
            Finding(node=failure.node, op=op, quantity="the call", ours="runs", theirs=failure.message, tool=TORCH)
        )
    own = network.own
    whole = Finding(
        node="(network)",
        op=type(own).__name__,
        quantity="parameter elements",
        ours=forward.params,
        theirs=sum(parameter.numel() for parameter in own.parameters()),
        tool=TORCH,
    )
    totals = [whole]
    for where in ("meta", "cpu"):
        counted = own_counts(network, train=train, device=where)
        if not isinstance(counted, str):
            for quantity, analysis, theirs in ((FORWARD, forward, counted[0]), (BACKWARD, backward, counted[1])):
                about = msgspec.structs.replace(whole, quantity=quantity, tool=COUNTER)
                parts = [
                    (each.node, None if each.cost is None else each.cost.multiply_adds) for each in analysis.figures
                ]
                totals.extend(_together(about, parts, theirs, batch, where, VERSIONS))
            break
    else:
        notes.append(f"{graph.name}: its own code does not run, its trace alone is compared: {counted}")
    by_fvcore = fvcore_by_module(network, train=train)
    if isinstance(by_fvcore, str):
        notes.append(f"{graph.name}: fvcore cannot count it: {by_fvcore}")
    else:
        total, by_module = by_fvcore
        homes = homes_of(network)
        about = msgspec.structs.replace(whole, quantity=IN_FVCORE, tool=FVCORE)
        parts = [(each.node, each.flops) for each in forward.figures]
        for home, theirs in by_module.items():
            inside = [(node, own_flops) for node, own_flops in parts if homes.get(node.path, "") == home]
            kind = type(own.get_submodule(home)).__name__
            at = msgspec.structs.replace(about, node=home or "(its own code)", op=kind)
            found.extend(_together(at, inside, theirs, batch, "cpu", VERSIONS))
        totals.extend(_together(about, parts, total, batch, "cpu", VERSIONS))
    return Verified(name=graph.name, findings=(*found, *totals), notes=tuple(notes))


def _require_device(device: str) -> None:
    if device not in DEVICES:
        raise UsageError(
            f"verify runs on {listed(DEVICES)}, not {device}: what FlopCounterMode counts of other devices' kernels "
            "has not been measured"
        )


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


def _tensors_of_imported(figures: NodeFigures, measured: Measured, batch: int) -> Iterator[Finding]:
    shapes = figures.node.output_shapes
    if measured.outputs:
        theirs = [
            _as_ours(dims, shape, batch) if dtype == shape.dtype else (dims, dtype)
            for shape, (dims, dtype) in zip(shapes, measured.outputs, strict=False)
        ]
        ours = tuple(((batch * shape.samples, *shape.dims), shape.dtype) for shape in shapes[: len(theirs)])
        yield _finding(figures, "output shape", _shapes_text(ours), _shapes_text(tuple(theirs)), TORCH)
    for quantity, count, numel in (
        ("parameter elements", figures.params, measured.params),
        ("buffer elements", figures.buffers, measured.buffer_elements),
    ):
        if count or numel:
            yield _finding(figures, quantity, count, numel, TORCH)


def _as_ours(dims: tuple[int, ...], shape: Shape, batch: int) -> tuple[tuple[int, ...], str]:
    """Dimensions of a traced tensor, those of a batch first: it may be elsewhere, or not there."""
    samples = batch * shape.samples
    if dims == shape.dims or dims == (1, *shape.dims):
        return (samples, *shape.dims), shape.dtype
    for place, size in enumerate(dims):
        if size == samples and (*dims[:place], *dims[place + 1 :]) == shape.dims:
            return (samples, *shape.dims), shape.dtype
    return dims, shape.dtype


def _together(
    whole: Finding, parts: Iterable[tuple[Node, int | None]], theirs: int, batch: int, device: str, versions: Versions
) -> Iterator[Finding]:
    """A figure of several nodes: where it differs as their known reasons say, for the first of these.

    Nothing where a part is None, not known.
    """
    ours = known = 0
    reasons = []
    for node, own in parts:
        if own is None:
            return
        call = _call(node, batch, own)
        reason = expected(call, tool=whole.tool, quantity=whole.quantity, device=device, versions=versions)
        figure = own if reason is None else reason.predicts(call)
        ours += own
        known += figure if isinstance(figure, int) else own
        if reason is not None and figure != own:
            reasons.append(reason)
    if ours or theirs:
        reason = reasons[0] if reasons and known == theirs else None
        yield msgspec.structs.replace(whole, ours=ours, theirs=theirs, reason=reason)


def _call(node: Node, batch: int, ours: int) -> Call:
    inputs, outputs, operator = node.input_shapes, node.output_shapes, node.operator
    if isinstance(operator, Variant):
        inputs = operator.inner_inputs(inputs)
        return Call(operator=operator.inner, inputs=inputs, outputs=outputs, batch=batch, ours=ours)
    return Call(operator=operator, inputs=inputs, outputs=outputs, batch=batch, ours=ours)


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
