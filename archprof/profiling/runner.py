"""A network measured: as a whole without instruments, and layer by layer, in turns."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec
import torch
from torch import Tensor, fx

from archprof.analysis.analysis import Analysis, analyse
from archprof.analysis.memory import memory
from archprof.building import build
from archprof.building.device import float_dtype, reason, require_memory
from archprof.building.running import example_inputs, run
from archprof.errors import UsageError
from archprof.graph import Graph
from archprof.operators import hint
from archprof.profiling.device import Device, open_device
from archprof.profiling.environment import Description, describe
from archprof.profiling.layers import BEFORE, LOSS, LayeredPass, Trace
from archprof.profiling.matrix import input_text, multiply_adds
from archprof.profiling.passes import AMP_DTYPES, MODES, TimedPass, laid_out
from archprof.profiling.records import PASSES, Cell, Key, Layer, Pass, Timing
from archprof.profiling.roofline import Roofline, attainable
from archprof.profiling.sampling import check_settings, collect_together
from archprof.profiling.statistics import Ratio, doubts, ratio

COUNTING = "operations"  # a multiply-add is two, as in the figures of devices


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A network's times, whole and by layer, and what they are worth.

    The times of whole passes are in `cell.timings`, those of the nodes in `cell.layers`, in order of execution: means
    over the middle half of the instrumented passes.
    """

    graph: Graph
    analysis: Analysis  # of the forward pass, in the convention "operations"
    cell: Cell
    control: Mapping[str, Ratio]  # by part: a second plain run over the first, round by round
    description: Description  # of the machine
    roofline: Roofline | None  # of the device, as far as one is known
    trace: Trace | None = None  # the instrumented pass whose time is nearest to their median; None without layers


def measure(
    graph: Graph,
    *,
    module: fx.GraphModule | None,
    inputs: tuple[Tensor, ...] | None,
    batch: int,
    device: str,
    dtype: str,
    amp: str | None,
    layout: str,
    mode: str,
    pass_: str,
    train: bool,
    threads: int | None,
    tf32: bool | None,
    cudnn_benchmark: bool | None,
    precision: float,
    budget: float,
    seed: int,
) -> Profile:
    """What `archprof.profile` says of it."""
    check_settings(precision, budget)
    for given, known, what in (
        (pass_, PASSES, "pass"),
        (mode, MODES, "mode"),
        (amp or AMP_DTYPES[0], AMP_DTYPES, "amp"),
    ):
        if given not in known:
            raise UsageError(f"unknown {what} {given}: {hint(given, known)}")
    chosen: Pass = next(each for each in PASSES if each == pass_)
    kind = float_dtype(dtype)
    analysis = analyse(graph, batch=batch, train=train, dtype=dtype, counting=COUNTING)
    with (
        open_device(device, threads=threads, tf32=tf32, cudnn_benchmark=cudnn_benchmark) as opened,
        _own_random_state(opened.where, seed),
    ):
        require_pass(graph, opened.where, batch=batch, dtype=dtype, pass_=chosen, train=train)
        if module is None:
            module = build(graph, device=opened.where, dtype=kind, seed=seed, train=train)
        if inputs is None:
            inputs = example_inputs(graph, batch=batch, device=opened.where, dtype=kind, seed=seed)
        module, inputs = laid_out(module, inputs, layout)
        description, roofline = describe(opened.where), attainable(opened)
        runs = _runs(module, inputs, opened, chosen, amp, mode, seed)
        with _told(module, graph, inputs), opened.sensor() as sensor:
            timings = collect_together(runs, precision=precision, budget=budget, watched=("plain",), seed=seed)
        layered = runs.get("layers")
        traces: Sequence[Trace] = ()
        if isinstance(layered, LayeredPass):  # the passes that were no warm-up
            traces = layered.traces[-timings["layers"][chosen].count :]
        whole = timings["plain"]
        layers = tuple(_layers(analysis, traces))
        settings = {
            **opened.settings,
            "precision": precision,
            "budget": budget,
            "train": train,
            "seed": seed,
        }
        cell = Cell(
            key=Key(
                network=graph.name,
                batch=batch,
                input=input_text(graph),
                dtype=dtype,
                amp=amp,
                layout=layout,
                mode=mode,
                pass_=chosen,
                multiply_adds=multiply_adds(graph, train),
            ),
            status="ok",
            timings=whole,
            control=ratio(timings["control"][chosen], whole[chosen]).value,
            layers_ratio=_layers_ratio(layers, whole),
            images_per_second=batch / whole[chosen].median,
            params=analysis.params,
            layers=layers,
            device=sensor.reading(0),  # no energy an image: three kinds of passes were in the window
            warnings=(*doubts(chosen, whole[chosen], precision), *opened.warnings()),
            settings=settings,
        )
    return Profile(
        graph=graph,
        analysis=analysis,
        cell=cell,
        control={part: ratio(timings["control"][part], timing) for part, timing in whole.items()},
        description=description,
        roofline=roofline,
        trace=_representative(traces, chosen),
    )


def require_pass(
    graph: Graph,
    where: torch.device,
    *,
    batch: int,
    dtype: str,
    pass_: Pass,
    train: bool,
) -> None:
    """Refuse a pass that does not fit the memory, by the memory model. Raises UsageError with the estimate."""
    needed = memory(
        graph,
        batch=batch,
        dtype=dtype,
        optimiser="momentum" if pass_ == "step" else "sgd",
        train=train,
    )
    peak = needed.inference_peak if pass_ == "forward" else needed.training_peak
    require_memory(
        peak,
        where,
        f"weights and activations of {graph.name} for a {pass_} pass of batch {batch} in {dtype}",
    )


def _runs(
    module: fx.GraphModule,
    inputs: tuple[Tensor, ...],
    device: Device,
    pass_: Pass,
    amp: str | None,
    mode: str,
    seed: int,
) -> dict[str, TimedPass]:
    plain = TimedPass(module, inputs, pass_=pass_, clock=device.clock, amp=amp, mode=mode, seed=seed)
    runs = {"plain": plain, "control": plain}
    if mode == "eager":  # compiled, a whole network is one node of autograd
        layered = LayeredPass(module, inputs, pass_=pass_, clock=device.clock, amp=amp, seed=seed)
        layered.optimiser = plain.optimiser  # one momentum for all
        runs["layers"] = layered
    return runs


@contextmanager
def _own_random_state(where: torch.device, seed: int) -> Iterator[None]:
    """What the passes draw (dropout) comes from a seed."""
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def _told(module: fx.GraphModule, graph: Graph, inputs: tuple[Tensor, ...]) -> Iterator[None]:
    """What torch refuses, told as a mistake of the user's, with the node if it is one's forward pass."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise UsageError(f"{graph.name} does not fit: {reason(error)}") from None
    except (RuntimeError, ValueError, NotImplementedError) as error:
        run(module, graph, inputs)
        raise UsageError(f"{graph.name} cannot be measured: {reason(error)}") from None


def _layers(analysis: Analysis, traces: Sequence[Trace]) -> Iterator[Layer]:
    if not traces:
        return
    forward, backward = _middle(traces, "forward"), _middle(traces, "backward")
    back = analyse(
        analysis.graph,
        batch=analysis.batch,
        train=analysis.train,
        dtype=analysis.dtype,
        counting=analysis.counting,
        passes="backward",
    )
    for figures, gradients in zip(analysis.figures, back.figures, strict=True):
        path = figures.node.path
        if path in forward:
            yield Layer(
                path=path,
                operator=figures.node.operator.op,
                forward=forward[path],
                backward=backward.get(path),
                operations=figures.flops,
                operations_backward=gradients.flops,
                bytes=figures.moved_bytes,
                bytes_backward=gradients.moved_bytes,
            )
    for path in (BEFORE, LOSS):
        if path in backward:
            yield Layer(path=path, operator="", forward=0.0, backward=backward[path])


def _middle(traces: Sequence[Trace], direction: str) -> dict[str, float]:
    """Seconds by path: the mean over the middle half of the passes, by how long they took.

    So the layers add up to a typical pass, where medians of each would leave out what disturbs now one, now another.
    """
    ordered = sorted(traces, key=lambda trace: trace.parts.get(direction, 0.0))
    quarter = len(ordered) // 4
    middle = [trace.seconds(direction) for trace in ordered[quarter : len(ordered) - quarter]]
    paths = dict.fromkeys(path for each in middle for path in each)
    return {path: statistics.fmean(each.get(path, 0.0) for each in middle) for path in paths}


def _layers_ratio(layers: Sequence[Layer], whole: Mapping[str, Timing]) -> dict[str, float]:
    if not layers:
        return {}
    sums = {
        "forward": sum(each.forward for each in layers),
        "backward": sum(each.backward or 0 for each in layers),
    }
    return {part: sums[part] / whole[part].median for part in sums if part in whole}


def _representative(traces: Sequence[Trace], part: str) -> Trace | None:
    """The pass whose time is nearest to the median of all."""
    if not traces:
        return None
    median = statistics.median(trace.parts[part] for trace in traces)
    return min(traces, key=lambda trace: abs(trace.parts[part] - median))
