"""The well-known picture of networks: FLOPs against published error, the area of a bubble being the parameters."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from archprof.analysis.summary import Summary
from archprof.errors import UsageError
from archprof.files import write_bytes
from archprof.report.boxes import Box

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AREA = 1500 / 138_000_000  # square points a parameter: VGG-16 has 1,500
_BLUE = "#0072b2"
_LEGEND = (5_000_000, 50_000_000, 150_000_000)
_WIDE = 30  # FLOPs that differ by more than this factor are drawn on a logarithmic axis
# where a label may stand, as steps from the bubble's edge; the first that meets nothing is taken
_DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7))
_GAPS = (3, 12, 24, 40, 60)  # points
_LINE_FROM = 10  # points: a label farther away has a line to its bubble


def draw(summaries: Sequence[Summary], path: str) -> None:
    """Write the picture as SVG or PNG, by the file's ending. Networks without a published top-5 error are left out.

    Raises UsageError for another ending, where no network has an error, and without matplotlib.
    """
    kind = path.rpartition(".")[2].lower()
    if kind not in ("svg", "png"):
        raise UsageError(f"--plot {path}: write a file that ends in .svg or .png")
    points = [
        (summary, summary.flops / 1e9, summary.errors.top5)
        for summary in summaries
        if summary.flops is not None and summary.errors is not None and summary.errors.top5 is not None
    ]
    if not points:
        raise UsageError("--plot: none of these networks has a published top-5 error (published_errors in the spec)")
    try:
        import matplotlib
        from matplotlib import ticker
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("--plot needs matplotlib: pip install 'archprof[plot]'") from None

    # text stays text, and equal pictures are equal files
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "archprof"}):
        figure = Figure(figsize=(10, 6), dpi=150, layout="constrained")
        axes = figure.add_subplot()
        # the large ones first, so that they hide none
        for summary, flops, error in sorted(points, key=lambda point: -point[0].params):
            _bubble(axes, [flops], [error], summary.params)
        for params in _LEGEND:
            _bubble(axes, [], [], params, label=f"{params // 10**6}M")
        axes.legend(
            title="parameters", labelspacing=2.4, handletextpad=1.8, borderpad=1, loc="upper left",
            bbox_to_anchor=(1.01, 1), frameon=False,
        )  # fmt: skip
        if 0 < _WIDE * min(flops for _, flops, _ in points) < max(flops for _, flops, _ in points):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_formatter(ticker.NullFormatter())
        axes.set_xlabel(f"FLOPs [G] ({points[0][0].counting})")
        axes.set_ylabel("top-5 error [%], ImageNet validation, as published")
        axes.margins(x=0.12)
        axes.set_ylim(0, 1.15 * max(error for _, _, error in points))
        axes.grid(alpha=0.25)
        _label(figure, axes, points)
        stream = io.BytesIO()
        figure.savefig(stream, format=kind, metadata={"Date": None} if kind == "svg" else None)
    write_bytes(stream.getvalue(), path)


def _bubble(axes: Axes, x: list[float], y: list[float], params: int, label: str | None = None) -> None:
    axes.scatter(x, y, s=max(params * _AREA, 4), color=_BLUE, alpha=0.35, edgecolors=_BLUE, label=label, zorder=2)


def _label(figure: Figure, axes: Axes, points: Sequence[tuple[Summary, float, float]]) -> None:
    """Names beside the bubbles, each where it meets the least of other names and bubbles, and of the frame."""
    figure.draw_without_rendering()  # the layout is made when it is drawn
    to_points = 72 / figure.dpi
    bubbles = []
    for summary, flops, error in points:
        x, y = axes.transData.transform((flops, error)) * to_points
        radius = max(summary.params * _AREA, 4) ** 0.5 / 2
        bubbles.append(Box(x, y, radius, radius))
    frame = axes.get_window_extent()
    left, right, low, high = (edge * to_points for edge in (frame.x0, frame.x1, frame.y0, frame.y1))
    labels: list[Box] = []
    for (summary, flops, error), bubble in zip(points, bubbles, strict=True):
        note = axes.annotate(
            summary.name,
            (flops, error),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9,
        )
        extent = note.get_window_extent()
        half_width, half_height = extent.width * to_points / 2, extent.height * to_points / 2
        best, best_cost, best_gap = bubble, float("inf"), 0
        for gap in _GAPS:
            for across, up in _DIRECTIONS:
                box = Box(
                    bubble.x + across * (bubble.width + gap + half_width),
                    bubble.y + up * (bubble.height + gap + half_height),
                    half_width,
                    half_height,
                )
                outside = max(left - box.x + half_width, box.x + half_width - right, 0) + max(
                    low - box.y + half_height, box.y + half_height - high, 0
                )
                cost = 4 * sum(map(box.overlap, labels)) + sum(map(box.overlap, bubbles)) + 1000 * outside + gap
                if cost < best_cost:
                    best, best_cost, best_gap = box, cost, gap
        labels.append(best)
        note.set_position((best.x - bubble.x, best.y - bubble.y))
        if best_gap > _LINE_FROM:
            edge = (  # of the name, nearest to the bubble
                min(max(0, best.x - best.width - bubble.x), best.x + best.width - bubble.x),
                min(max(0, best.y - best.height - bubble.y), best.y + best.height - bubble.y),
            )
            line = {"arrowstyle": "-", "color": "#888888", "lw": 0.6, "shrinkA": 0, "shrinkB": bubble.width}
            axes.annotate("", (flops, error), xytext=edge, textcoords="offset points", arrowprops=line, zorder=1)
