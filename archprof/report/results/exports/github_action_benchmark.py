"""What benchmark-action/github-action-benchmark reads with `tool: customSmallerIsBetter`.

A list of {name, unit, value, range, extra}: `name` tells one chart from another, `range` and `extra` are shown in a
tooltip (its README, "Custom benchmarks", and BenchmarkResult in src/extract.ts).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from archprof.profiling.records import Cell, Run
from archprof.report.results.axes import label


def render(run: Run) -> str:
    """A time in milliseconds for each measured cell, and for the parts of its pass."""
    entries = [entry for cell in run.cells if cell.status == "ok" for entry in _entries(cell, run)]
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"


def _entries(cell: Cell, run: Run) -> Iterator[dict[str, object]]:
    for part, timing in cell.timings.items():
        name = label(cell.key)
        half = max(timing.high - timing.median, timing.median - timing.low)
        extra = [f"median of {timing.count} samples, 95 % interval {_ms(timing.low)} to {_ms(timing.high)} ms"]
        extra.extend(f"{name} {_ms(value)} ms" for name, value in timing.percentiles.items())
        if part == cell.key.pass_:
            if cell.images_per_second is not None:
                extra.append(f"{cell.images_per_second:.4g} images/s")
            if cell.peak_memory is not None:
                extra.append(f"peak memory {cell.peak_memory / 2**20:.1f} MiB")
        extra.append(run.hardware)
        yield {
            "name": name if part == cell.key.pass_ else f"{name}: {part}",
            "unit": "ms",
            "value": float(_ms(timing.median)),
            "range": f"± {_ms(half)}",
            "extra": "\n".join(extra),
        }


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.6g}"
