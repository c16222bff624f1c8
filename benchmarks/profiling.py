"""archprof's times beside those of torch's own tools, in one process, in turns.

    python benchmarks/profiling.py [--networks zf,vgg-d,googlenet,resnet-50] [--budget 8] [--passes 8] [--threads N]

1. Whole passes: archprof's against torch.utils.benchmark.Timer's, round by round in shuffled order, the same call in
   both, and behind two that are not timed, as Timer makes them, so that each finds the caches and the memory of its
   own kind; beside it the control, a second plain run of archprof's against the first; the instrumented run against the
   first, which is what the instruments cost; and the sums of its layers over the first, forward and backward.
2. Layers: the ten that take the longest, archprof's against torch.profiler's, in passes that alternate; beside each
   difference that between every other of archprof's own passes and the rest, which is noise. torch.profiler's time of
   a layer is that of its call in the forward pass, and in the backward pass of the autograd nodes that its calls made.
3. What profiling costs: wall time of as many passes, from the first to the layers' times.

A ratio is good where its 95 % interval lies within 3 % of 1, or else is about as wide as the control's: at most half
as wide again, as the width of an interval is a matter of chance too. Under 6 rounds it is minimum to maximum.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils.benchmark import Timer

import archprof
from archprof.building.running import example_inputs
from archprof.profiling.clocks import CpuClock
from archprof.profiling.layers import LayeredPass, Trace
from archprof.profiling.passes import TimedPass
from archprof.profiling.records import Pass
from archprof.profiling.sampling import collect_together
from archprof.profiling.statistics import Ratio, ratio

NETWORKS = "zf,vgg-d,googlenet,resnet-50"
HEAVIEST = 10
WITHIN = 0.15
WARM_UPS = 2  # calls before each that is timed, as in Timer.timeit


# --- whole passes


def timers(module: fx.GraphModule, inputs: tuple[Tensor, ...], pass_: Pass) -> Callable[[], dict[str, float]]:
    """The same pass by torch.utils.benchmark."""
    plain = TimedPass(module, inputs, pass_=pass_, clock=CpuClock())
    outputs = module(*inputs)
    gradients = [torch.randn_like(outputs)]
    held: dict[str, Any] = {"module": module, "inputs": inputs, "torch": torch, "gradients": gradients}
    # outputs are held until the time is taken, as TimedPass holds them: a graph of many nodes takes long to free
    call = "with torch.inference_mode():\n    outputs = module(*inputs)"
    if pass_ != "forward":
        call = "outputs = module(*inputs)\ntorch.autograd.backward([outputs], gradients)"
    timer = Timer(call, "module.zero_grad(set_to_none=True)", globals=held, num_threads=torch.get_num_threads())
    assert plain.module is module  # in the mode of the pass
    return lambda: {pass_: timer.timeit(1).median}


def warmed_up(run: TimedPass) -> Callable[[], dict[str, float]]:
    return lambda: [run() for _ in range(WARM_UPS + 1)][-1]


def whole_passes(module: fx.GraphModule, inputs: tuple[Tensor, ...], pass_: Pass, budget: float) -> str:
    clock = CpuClock()
    plain = TimedPass(module, inputs, pass_=pass_, clock=clock)
    layered = LayeredPass(module, inputs, pass_=pass_, clock=clock)
    runs = {
        "plain": warmed_up(plain),
        "control": warmed_up(plain),
        "timer": timers(module, inputs, pass_),
        "layers": warmed_up(layered),
    }
    timings = collect_together(runs, precision=0.01, budget=budget)
    parts = {name: times[pass_] for name, times in timings.items()}
    against, control, layers = (ratio(parts[name], parts["plain"]) for name in ("timer", "control", "layers"))
    flipped = Ratio(1 / against.value, 1 / against.high, 1 / against.low)  # archprof's over Timer's
    good = flipped.low >= 0.97 and flipped.high <= 1.03
    as_wide = width(flipped) <= 1.5 * width(control)
    verdict = "within 3 %" if good else "as wide as the control" if as_wide else "wider than the control"
    timing = parts["plain"]
    taken = layered.traces[:: -WARM_UPS - 1][: timing.count]
    sums = [
        f"{statistics.median(sum(trace.seconds(part).values()) for trace in taken) / timings['plain'][part].median:.3f}"
        for part in ("forward", "backward")
        if part in timings["plain"]
    ]
    return (
        f"{pass_:<17}{timing.median * 1e3:9.1f}{parts['timer'].median * 1e3:9.1f}{timing.count:5}   "
        f"{text(flipped)}   {text(control)}   {text(layers)}   {', '.join(sums):<14}{verdict}"
    )


def width(found: Ratio) -> float:
    return max(abs(found.low - 1), abs(found.high - 1))


def text(found: Ratio) -> str:
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


# --- layers


def by_torch(module: fx.GraphModule, run: TimedPass, passes: int) -> list[dict[str, float]]:
    """Seconds of each layer in each pass, forward and backward together, by torch.profiler."""
    names = {node.target: node.meta["path"] for node in module.graph.nodes if node.op == "call_module"}
    handles = []
    for target, path in names.items():
        part = module.get_submodule(str(target))
        open_: list[Any] = []

        def before(_module: Any, _given: Any, path: str = path, open_: list[Any] = open_) -> None:
            open_.append(torch.profiler.record_function(f"layer {path}"))
            open_[-1].__enter__()

        def behind(_module: Any, _given: Any, _made: Any, open_: list[Any] = open_) -> None:
            open_.pop().__exit__(None, None, None)

        handles += [part.register_forward_pre_hook(before), part.register_forward_hook(behind)]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        for _ in range(passes):
            with torch.profiler.record_function("pass"):
                run()
    for handle in handles:
        handle.remove()
    return list(_passes(profiler.events()))


def _passes(events: Sequence[Any]) -> Iterator[dict[str, float]]:
    """The events of each pass by layer. What accumulates gradients belongs to the layer that ran before it."""
    ordered = sorted(events, key=lambda event: (event.time_range.start, -event.time_range.end))
    starts = [event.time_range for event in ordered if event.name == "pass"]
    for stretch in starts:
        inside = [event for event in ordered if stretch.start <= event.time_range.start <= stretch.end]
        found: dict[str, float] = {}
        layer_of: dict[int, str] = {}  # by sequence number
        layer = last = ""
        until = 0.0
        for event in inside:
            if event.name.startswith("layer "):
                layer, until = event.name.removeprefix("layer "), event.time_range.end
                found[layer] = found.get(layer, 0.0) + event.cpu_time_total / 1e6
            elif event.name.startswith("autograd::engine::evaluate_function"):
                last = layer_of.get(event.sequence_nr, last)
                found[last] = found.get(last, 0.0) + event.cpu_time_total / 1e6
            elif event.time_range.start <= until and event.sequence_nr >= 0:
                layer_of[event.sequence_nr] = layer  # the last: what makes no node has the number of the next one
        yield found


def medians(passes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {path: statistics.median(each.get(path, 0.0) for each in passes) for path in passes[0]}


def layers(module: fx.GraphModule, inputs: tuple[Tensor, ...], passes: int) -> list[str]:
    clock = CpuClock()
    plain = TimedPass(module, inputs, pass_="forward+backward", clock=clock)
    layered = LayeredPass(module, inputs, pass_="forward+backward", clock=clock)
    for warm in (plain, layered, layered):
        warm()
    by_torch(module, plain, 1)  # the first use loads libraries
    layered.traces.clear()
    theirs: list[dict[str, float]] = []
    for _ in range(2 * passes):
        layered()
        theirs += by_torch(module, plain, 1)
    ours = [both_directions(trace) for trace in layered.traces]
    one, other, mine = (medians(each) for each in (ours[::2], ours[1::2], ours))
    torchs = medians(theirs)
    lines = []
    heaviest = sorted(mine, key=mine.__getitem__, reverse=True)[:HEAVIEST]
    for path in heaviest:
        difference = mine[path] / torchs[path] - 1
        noise = one[path] / other[path] - 1
        verdict = "" if abs(difference) <= WITHIN else _why(difference, noise, first=path == next(iter(mine)))
        lines.append(
            f"  {path:<38}{mine[path] * 1e3:9.2f}{torchs[path] * 1e3:9.2f}{difference:+9.1%}{noise:+9.1%}   {verdict}"
        )
    good = sum(abs(mine[path] / torchs[path] - 1) <= WITHIN for path in heaviest)
    lines.append(f"  {good} of {len(heaviest)} within {WITHIN:.0%}")
    costs = {
        "archprof": lambda: [both_directions(trace) for trace in passed(layered, passes)],
        "torch.profiler": lambda: by_torch(module, plain, passes),
        "plain passes": lambda: [plain() for _ in range(passes)],
    }
    said = ", ".join(f"{name} {wall_time(run):.2f} s" for name, run in costs.items())
    lines.append(f"  wall time of {passes} passes to the layers' times: {said}")
    return lines


def both_directions(trace: Trace) -> dict[str, float]:
    """Seconds of each layer in a pass, forward and backward together."""
    backward = trace.seconds("backward")
    return {path: seconds + backward.get(path, 0.0) for path, seconds in trace.seconds("forward").items()}


def passed(layered: LayeredPass, passes: int) -> list[Trace]:
    for _ in range(passes):
        layered()
    return layered.traces[-passes:]


def wall_time(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _why(difference: float, noise: float, first: bool) -> str:
    if first and difference > 0:
        return "the first layer: its time begins with the call, and that of its backward pass ends with the return"
    if abs(noise) >= abs(difference) / 2:
        return "archprof's own passes differ as much"
    return "not explained"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", default=NETWORKS)
    parser.add_argument(
        "--budget", type=float, default=8, help="seconds for the forward pass; three times with backward"
    )
    parser.add_argument("--passes", type=int, default=6, help="twice as many for the layers, as many for the cost")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    start = time.perf_counter()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}, batch 1"
    )
    print("\nwhole passes: medians in ms, ratios round by round with their 95 % intervals")
    ratios = "".join(f"   {title:<25}" for title in ("archprof / Timer", "control / archprof", "layered / archprof"))
    print(f"{'':31}{'archprof':>9}{'Timer':>9}{'n':>5}{ratios}   {'sums, fw, bw':<14}")
    networks = {}
    for name in options.networks.split(","):
        graph = archprof.load(name)
        inputs = example_inputs(graph, batch=1, device=torch.device("cpu"), dtype=torch.float32)
        networks[name] = module, inputs = archprof.build(graph), inputs
        for pass_, budget in (("forward", options.budget), ("forward+backward", 3 * options.budget)):
            print(f"{name:<14}{whole_passes(module, inputs, pass_, budget)}", flush=True)
    print("\nlayers, forward and backward together: medians in ms; noise: archprof's odd passes against its even ones")
    for name, (module, inputs) in networks.items():
        print(f"{name:<40}{'archprof':>9}{'profiler':>9}{'differ':>9}{'noise':>9}")
        print("\n".join(layers(module, inputs, options.passes)), flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s in all, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
