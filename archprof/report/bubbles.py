"""The well-known picture of networks: FLOPs against published error, the area of a bubble being the parameters."""

from __future__ import annotations

import io
from collections.abc import Sequence

from archprof.analysis.summary import Summary
from archprof.errors import UsageError
from archprof.report.output import write_bytes

_POINTS_PER_PARAMETER = 1500 / 138_000_000  # VGG-16 has an area of 1,500 square points


def draw(summaries: Sequence[Summary], path: str) -> None:
    """Write the picture as SVG or PNG, by the file's ending. Networks without a published top-5 error are left out.

    Raises UsageError for another ending, where no network has an error, and without matplotlib.
    """
    kind = path.rpartition(".")[2].lower()
    if kind not in ("svg", "png"):
        raise UsageError(f"--plot {path}: write a file that ends in .svg or .png")
    points = [
        (summary, summary.flops, summary.errors.top5)
        for summary in summaries
        if summary.flops is not None and summary.errors is not None and summary.errors.top5 is not None
    ]
    if not points:
        raise UsageError("--plot: none of these networks has a published top-5 error (published_errors in the spec)")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("--plot needs matplotlib: pip install 'archprof[plot]'") from None
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    for summary, flops, error in points:
        area = max(summary.params * _POINTS_PER_PARAMETER, 4)
        axes.scatter(flops / 1e9, error, s=area, color="#0072b2", alpha=0.35, edgecolors="#0072b2")
        axes.annotate(
            summary.name,
            (flops / 1e9, error),
            xytext=(0, area**0.5 / 2 + 4),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    for params in (5_000_000, 50_000_000, 150_000_000):
        axes.scatter([], [], s=params * _POINTS_PER_PARAMETER, color="#0072b2", alpha=0.35, label=f"{params // 10**6}M")
    axes.legend(title="parameters", labelspacing=1.6, borderpad=1.2, loc="upper right", frameon=False)
    counting = points[0][0].counting.replace("_", " ")
    axes.set_xlabel(f"FLOPs [G] ({counting})")
    axes.set_ylabel("top-5 error [%], ImageNet validation, as published")
    axes.margins(x=0.12)
    axes.set_ylim(0, 1.15 * max(error for _, _, error in points))
    axes.grid(alpha=0.25)
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    write_bytes(stream.getvalue(), path)
