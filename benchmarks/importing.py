"""Importing a torch module's graph beside torch.export of the same module alone, in one process.

    python benchmarks/importing.py [--rounds 9] [--networks resnet-50 googlenet vit-b-16]

The modules are those written by hand in tests/handwritten, on the meta device. A round runs each of the two once, in
an order drawn anew, and gives a ratio. Printed are the median of the ratios with its 95 % interval by order statistics,
and the medians of the times. The target: a median of at most 2.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from archprof.importer.modules import import_module
from archprof.profiling.statistics import interval

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.handwritten import NETWORKS


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--networks", nargs="*", default=["resnet-50", "googlenet", "vit-b-16"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    random.seed(0)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"torch {torch.__version__}, load {os.getloadavg()[0]:.1f}, seconds are medians")  # fmt: skip
    print(f"{'':16}{'rounds':>7}{'nodes':>7}{'import':>10}{'export':>10}{'ratio':>9}  95 % interval")
    for name in options.networks:
        with torch.device("meta"):
            module = NETWORKS[name]().eval()
            x = torch.empty(1, *NETWORKS[name].input_shape)
        runs: tuple[Callable[[], object], ...] = (
            lambda module=module, x=x: import_module(module, x),  # type: ignore[misc]
            lambda module=module, x=x: torch.export.export(module, (x,), strict=False),  # type: ignore[misc]
        )
        nodes = len(import_module(module, x).nodes)
        times: list[list[float]] = [[], []]
        for number in range(options.rounds + 1):  # the first is a warm-up
            for place in random.sample((0, 1), 2):
                taken = seconds(runs[place])
                if number:
                    times[place].append(taken)
        ratios = sorted(own / other for own, other in zip(*times, strict=True))
        low, high = interval(ratios)
        own, other = map(statistics.median, times)
        print(f"{name:16}{options.rounds:7}{nodes:7}{own:10.3f}{other:10.3f}"
              f"{statistics.median(ratios):9.2f}  {low:.2f} to {high:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
