"""`archprof check` over all shipped networks, and over ten of them beside torchinfo summarising the same ten by hand.

    python benchmarks/check.py [--rounds 7]

Each round runs every contestant once in a process of its own, in a rotated order; medians over the rounds, ratios of
medians. "Whole" is the process as its user waits for it; "in it" is what remains without the interpreter and imports.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ARCHPROF = Path(sys.executable).parent / "archprof"
TEN = (
    *("zf", "alexnet", "vgg-d", "googlenet", "resnet-50"),
    *("resnet-152", "densenet-121", "mobilenet-v2-1.0", "efficientnet-b0", "vit-b-16"),
)


def archprof(specs: Sequence[str]) -> float:
    """Seconds to read, expand, analyse, compare and print."""
    from archprof.analysis.check import check_all
    from archprof.report import surface_of
    from archprof.report.checks import render

    start = time.perf_counter()
    print(render(check_all(specs), "terminal", surface_of(sys.stdout)))
    return time.perf_counter() - start


def torchinfo(device: str) -> float:
    """Seconds to build the ten modules and to summarise them, batch 1."""
    sys.path.insert(0, str(ROOT))
    import torch
    from torchinfo import summary

    from tests.handwritten import NETWORKS

    start = time.perf_counter()
    for name in TEN:
        network = NETWORKS[name]
        with torch.device(device):
            module = network()
        summary(module, (1, *network.input_shape), device=device)
    return time.perf_counter() - start


CHILDREN = {
    "archprof, ten": lambda: archprof(TEN),
    "archprof, all": lambda: archprof(["specs"]),
    "torchinfo": lambda: torchinfo("cpu"),
    "torchinfo, meta device": lambda: torchinfo("meta"),
}
SCRIPT = str(Path(__file__).resolve())
COMMANDS = {
    "archprof check, ten": [str(ARCHPROF), "check", *TEN],
    "archprof check specs/": [str(ARCHPROF), "check", "specs/"],
    **{name: [sys.executable, SCRIPT, "--child", name] for name in CHILDREN},
}
TABLE = {  # row: the command that is timed whole, the child that times what is in it
    "archprof check specs/": ("archprof check specs/", "archprof, all"),
    "archprof check, ten": ("archprof check, ten", "archprof, ten"),
    "torchinfo": ("torchinfo", "torchinfo"),
    "torchinfo, meta device": ("torchinfo, meta device", "torchinfo, meta device"),
}


def run(command: Sequence[str]) -> tuple[float, float | None]:
    """Seconds of the whole process, and those that a child says it took itself (its last word on stderr)."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"failed: {command}\n{done.stderr}")
    return seconds, float(done.stderr.split()[-1]) if "--child" in command else None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--child", choices=list(CHILDREN))
    options = parser.parse_args()
    if options.child:
        print(CHILDREN[options.child](), file=sys.stderr)
        return
    whole: dict[str, list[float]] = {name: [] for name in COMMANDS}
    inside: dict[str, list[float]] = {name: [] for name in CHILDREN}
    names = list(COMMANDS)
    for number in range(options.rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds, own = run(COMMANDS[name])
            if number:  # the first round fills the disk's cache
                whole[name].append(seconds)
                if own is not None:
                    inside[name].append(own)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"load {os.getloadavg()[0]:.1f}, medians of {options.rounds} processes")  # fmt: skip
    print(f"{'':24}" + "".join(f"{what:>10}{'min':>8}{'max':>8}{'x archprof':>12}" for what in ("whole s", "in it s")))
    own_whole = statistics.median(whole["archprof check, ten"])
    own_inside = statistics.median(inside["archprof, ten"])
    for row, (command, child) in TABLE.items():
        outer, inner = whole[command], inside[child]
        print(f"{row:24}"
              f"{statistics.median(outer):10.3f}{min(outer):8.3f}{max(outer):8.3f}"
              f"{statistics.median(outer) / own_whole:12.1f}"
              f"{statistics.median(inner):10.3f}{min(inner):8.3f}{max(inner):8.3f}"
              f"{statistics.median(inner) / own_inside:12.1f}")  # fmt: skip
    for what, times, own in (("whole processes", whole, own_whole), ("in process", inside, own_inside)):
        fastest = min(statistics.median(times[name]) for name in ("torchinfo", "torchinfo, meta device"))
        print(f"ten networks, {what}: archprof takes 1/{fastest / own:.1f} of the faster torchinfo's time")


if __name__ == "__main__":
    main()
