"""Whole processes side by side: `archprof table zf.yaml` and the peers printing a table of the same network.

    python benchmarks/startup.py [--rounds 9]

Each round runs every contestant once, in a rotated order; medians over the rounds, ratios of medians.
Peak memory is the process's own maximum resident set, from the kernel.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ARCHPROF = Path(sys.executable).parent / "archprof"

PEERS = {
    "torchinfo": "import torchinfo; from zf_torch import zf; torchinfo.summary(zf(), (1, 3, 220, 220))",
    "torchinfo, meta device": (
        "import torch, torchinfo; from zf_torch import zf\n"
        "with torch.device('meta'): net = zf()\n"
        "torchinfo.summary(net, (1, 3, 220, 220), device='meta')"
    ),
    "fvcore": (
        "import torch; from fvcore.nn import FlopCountAnalysis, flop_count_table; from zf_torch import zf\n"
        "print(flop_count_table(FlopCountAnalysis(zf().eval(), torch.zeros(1, 3, 220, 220))))"
    ),
    "ptflops": (
        "from ptflops import get_model_complexity_info; from zf_torch import zf\n"
        "get_model_complexity_info(zf(), (3, 220, 220), print_per_layer_stat=True)"
    ),
}
COMMANDS = {
    "bare interpreter": [sys.executable, "-c", "pass"],
    "archprof table zf.yaml": [str(ARCHPROF), "table", "zf.yaml"],
    **{name: [sys.executable, "-c", code] for name, code in PEERS.items()},
}


def run(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MiB of one process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"failed: {command}")
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    names = list(COMMANDS)
    times: dict[str, list[float]] = {name: [] for name in names}
    memory: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds, peak = run(COMMANDS[name])
            if number:  # the first round fills the disk's cache
                times[name].append(seconds)
                memory[name].append(peak)
    own = statistics.median(times["archprof table zf.yaml"])
    own_memory = statistics.median(memory["archprof table zf.yaml"])
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"medians of {rounds} whole processes")  # fmt: skip
    print(f"{'':26}{'median s':>10}{'min':>8}{'max':>8}{'x archprof':>12}{'peak MiB':>10}{'x archprof':>12}")
    for name in names:
        median, peak = statistics.median(times[name]), statistics.median(memory[name])
        print(f"{name:26}{median:10.3f}{min(times[name]):8.3f}{max(times[name]):8.3f}{median / own:12.1f}"
              f"{peak:10.0f}{peak / own_memory:12.1f}")  # fmt: skip
    peers = [statistics.median(times[name]) for name in PEERS]
    print(f"archprof is {min(peers) / own:.1f} times faster than the fastest of the peers")


if __name__ == "__main__":
    main()
