"""A generated file of 10,000 and of 100,000 layers: read, expanded and analysed, each in a process of its own.

    python benchmarks/analysis.py [--rounds 7]

Prints medians of the time of each step, the ratio of the two sizes, and peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

SIZES = (10_000, 100_000)


def generate(layers: int) -> str:
    lines = ["name: generated", "input: [16, 32, 32]", "layers:"]
    for number in range(layers):
        lines.append(
            f"  - {{name: conv{number}, op: conv2d, out_channels: 16, kernel_size: 3, padding: 1}}"
            if number % 2 == 0
            else f"  - {{name: relu{number}, op: relu}}"
        )
    return "\n".join(lines) + "\n"


def measure(path: str) -> dict[str, float]:
    """Seconds of each step and peak MiB, in this process."""
    from archprof.analysis import analyse
    from archprof.spec import expand, load_document

    marks = [time.perf_counter()]
    document = load_document(path)
    marks.append(time.perf_counter())
    graph = expand(document)
    marks.append(time.perf_counter())
    analysis = analyse(graph)
    marks.append(time.perf_counter())
    layers = len(graph.nodes) - 1
    assert analysis.total.params == (layers - layers // 2) * (16 * 16 * 9 + 16)
    read, expanded, analysed = (after - before for before, after in pairwise(marks))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"read": read, "expand": expanded, "analyse": analysed, "total": marks[-1] - marks[0], "MiB": peak}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--child", metavar="FILE")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child)))
        return
    results: dict[int, list[dict[str, float]]] = {size: [] for size in SIZES}
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            Path(folder, f"{size}.yaml").write_text(generate(size), encoding="utf-8")
        for _ in range(options.rounds):
            for size in SIZES:
                command = [sys.executable, __file__, "--child", str(Path(folder, f"{size}.yaml"))]
                results[size].append(json.loads(subprocess.check_output(command)))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"medians of {options.rounds} processes")  # fmt: skip
    medians = {
        size: {key: statistics.median(each[key] for each in results[size]) for key in results[size][0]}
        for size in SIZES
    }
    print(f"{'layers':>8}" + "".join(f"{key:>10}" for key in medians[SIZES[0]]))
    for size in SIZES:
        row = medians[size]
        print(
            f"{size:8}" + "".join(f"{value:10.0f}" if key == "MiB" else f"{value:8.2f} s" for key, value in row.items())
        )
    print(f"100,000 layers take {medians[SIZES[1]]['total'] / medians[SIZES[0]]['total']:.1f} times as long as 10,000")


if __name__ == "__main__":
    main()
