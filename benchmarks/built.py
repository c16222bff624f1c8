"""The built network beside the same network written by hand in plain PyTorch, with the same weights, in one process.

    python benchmarks/built.py [--rounds 25] [--networks resnet-50 googlenet vgg-d] [--batch 1] [--threads N]

A round runs each of the two once, in an order drawn anew, and gives a ratio: the built network's time over the other's.
Printed are the median of these ratios with its 95 % interval by order statistics, and the medians of the times. Both
modules are in evaluation mode, and have given equal outputs before. Last comes building ResNet-152 beside constructing
the module written by hand. The targets: intervals that reach below 1.02, and a median of at most 2 for building.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import archprof
from archprof.profiling.statistics import interval

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.handwritten import NETWORKS
from tests.handwritten.weights import order_of_use

BUILT = "resnet-152"


def paired(name: str, batch: int) -> tuple[nn.Module, nn.Module, Tensor]:
    """The built module, the one written by hand with its weights, and a batch of which both make the same."""
    built = archprof.build(archprof.load(name))
    by_hand = NETWORKS[name]().eval()
    x = torch.randn(batch, *NETWORKS[name].input_shape)
    with torch.no_grad():
        own, other = built.state_dict(), by_hand.state_dict()
        for mine, theirs in zip(order_of_use(built, x), order_of_use(by_hand, x), strict=True):
            other[theirs].copy_(own[mine])
        torch.testing.assert_close(built(x), by_hand(x))
    return built, by_hand, x


def forward(module: nn.Module, x: Tensor) -> Callable[[], float]:
    def run() -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            module(x)
        return time.perf_counter() - start

    return run


def both(module: nn.Module, x: Tensor) -> Callable[[], float]:
    def run() -> float:
        module.zero_grad(set_to_none=True)
        start = time.perf_counter()
        module(x).sum().backward()
        return time.perf_counter() - start

    return run


def timed(make: Callable[[], nn.Module]) -> Callable[[], float]:
    def run() -> float:
        start = time.perf_counter()
        make()
        return time.perf_counter() - start

    return run


def compare(what: str, runs: Sequence[Callable[[], float]], rounds: int) -> None:
    """Print the paired ratio of the first run to the second."""
    times: list[list[float]] = [[], []]
    for run in runs:  # a warm-up
        run()
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for place in random.sample((0, 1), 2):
                times[place].append(runs[place]())
    finally:
        gc.enable()
    ratios = sorted(own / other for own, other in zip(*times, strict=True))
    low, high = interval(ratios)
    own, other = (statistics.median(each) for each in times)
    print(f"{what:34}{rounds:7}{own:10.4f}{other:10.4f}{statistics.median(ratios):9.3f}  {low:.3f} to {high:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--networks", nargs="*", default=["resnet-50", "googlenet", "vgg-d"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    random.seed(0)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {options.threads} threads, "
          f"Python {platform.python_version()}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}, "
          f"batch {options.batch}, seconds are medians")  # fmt: skip
    print(f"{'':34}{'rounds':>7}{'built':>10}{'by hand':>10}{'ratio':>9}  95 % interval")
    for name in options.networks:
        built, by_hand, x = paired(name, options.batch)
        for label, kind in (("forward", forward), ("forward and backward", both)):
            compare(f"{name}, {label}", [kind(built, x), kind(by_hand, x)], options.rounds)
        del built, by_hand
    graph = archprof.load(BUILT)
    runs = [timed(lambda: archprof.build(graph)), timed(NETWORKS[BUILT].make)]
    compare(f"{BUILT}, building", runs, options.rounds)


if __name__ == "__main__":
    main()
