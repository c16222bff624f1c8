"""ResNet-1202 analysed in one process: archprof from the name on, and fvcore and torchinfo on the module built by hand.

    python benchmarks/deep.py [--rounds 5] [--own-rounds 3]

Building the module is not timed, importing is not, and everything has run once before; the contestants run in a
rotated order. Medians over the rounds, ratios of medians. All must count the same parameters.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from fvcore.nn import FlopCountAnalysis
from torchinfo import summary

import archprof

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.handwritten import NETWORKS

NAME = "resnet-1202"


def contestants() -> dict[str, Callable[[], int]]:
    """What is timed; each returns the multiply-adds it counts."""
    module = NETWORKS[NAME]().eval()
    shape = (1, *NETWORKS[NAME].input_shape)
    with torch.device("meta"):
        on_meta = NETWORKS[NAME]().eval()
    graph = archprof.load(NAME)
    params = sum(parameter.numel() for parameter in module.parameters())
    assert archprof.analyse(graph).params == params

    def fvcore() -> int:
        count = FlopCountAnalysis(module, torch.zeros(shape))
        count.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return int(count.total())

    def torchinfo(module: torch.nn.Module, device: str) -> int:
        found = summary(module, shape, device=device, verbose=0)
        assert found.total_params == params
        return int(found.total_mult_adds)

    return {
        "archprof, load and analyse": lambda: archprof.analyse(archprof.load(NAME)).flops,
        "archprof, analyse": lambda: archprof.analyse(graph).flops,
        "fvcore": fvcore,
        "torchinfo": lambda: torchinfo(module, "cpu"),
        "torchinfo, meta device": lambda: torchinfo(on_meta, "meta"),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5, help="of the peers, which take long")
    parser.add_argument("--own-rounds", type=int, default=3, help="of archprof within a round of all")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    runs = contestants()
    names = list(runs)
    counts = {name: run() for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(options.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            for _ in range(options.own_rounds if name.startswith("archprof") else 1):
                start = time.perf_counter()
                runs[name]()
                times[name].append(time.perf_counter() - start)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"torch {torch.__version__}, load {os.getloadavg()[0]:.1f}, {NAME}, medians")  # fmt: skip
    own = statistics.median(times[names[0]])
    print(f"{'':28}{'rounds':>7}{'median s':>10}{'min':>9}{'max':>9}{'x archprof':>12}{'counts':>16}")
    for name, each in times.items():
        median = statistics.median(each)
        print(f"{name:28}{len(each):7}{median:10.4f}{min(each):9.4f}{max(each):9.4f}"
              f"{median / own:12.1f}{counts[name]:16,}")  # fmt: skip
    for own_name in names[:2]:
        own = statistics.median(times[own_name])
        ratios = ", ".join(f"{statistics.median(times[name]) / own:.0f} times {name}'s" for name in names[2:])
        print(f"{own_name}: the speed is {ratios}")


if __name__ == "__main__":
    main()
