"""The roofline as a picture: layers by operations a byte and operations a second, under what the device can do."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from archprof.errors import UsageError
from archprof.extras import require
from archprof.files import write_bytes
from archprof.profiling.records import Layer
from archprof.profiling.roofline import Roofline
from archprof.report.boxes import Box

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

_NUMBERED = 12  # the heaviest layers
_AREAS = (12.0, 220.0)  # square points of a mark: the least, and that of the heaviest layer
# Okabe and Ito's colours and different shapes: told apart by those who see no red or green, and in print
_MARKS = {"forward": ("#0072b2", "o"), "backward": ("#e69f00", "^")}
_OTHER = ("#009e73", "s")
_DIRECTIONS = tuple((math.cos(turn * math.pi / 8), math.sin(turn * math.pi / 8)) for turn in range(16))
_GAPS = (1, 6, 14, 24, 36)  # points between a mark and its number
_LONGEST = 30  # characters of a path
_LINE_FROM = 8  # points: a number farther away has a line to its mark


class Point(NamedTuple):
    """One layer in one pass."""

    path: str
    pass_: str  # "forward" or "backward"
    operations: int | None
    moved: int  # bytes
    seconds: float  # measured


def check_plot(path: str) -> None:
    """Refuse what cannot be drawn before anything takes time. Raises UsageError."""
    if _ending(path) not in ("svg", "png"):
        raise UsageError(f"--plot {path}: write a file that ends in .svg or .png")
    require("--plot", "matplotlib", "plot")


def _ending(path: str) -> str:
    return path.rpartition(".")[2].lower()


def points_of(layers: Sequence[Layer]) -> list[Point]:
    """Measured layers, a point a pass."""
    points = []
    for layer in layers:
        points.append(Point(layer.path, "forward", layer.operations, layer.bytes or 0, layer.forward))
        if layer.backward is not None:
            moved = layer.bytes_backward or 0
            points.append(Point(layer.path, "backward", layer.operations_backward, moved, layer.backward))
    return points


def plot(points: Sequence[Point], roofline: Roofline, dtype: str, path: str, title: str) -> None:
    """Write the picture as SVG or PNG, by the file's ending.

    Layers without counted operations (copies, comparisons) have no place on it; how many, and their share of the time,
    is said below. Raises UsageError for another ending, where no layer is left, and without matplotlib.
    """
    check_plot(path)
    placed = [each for each in points if each.operations and each.moved and each.seconds > 0]
    if not placed:
        raise UsageError("--plot: no layer has counted operations, bytes and a time")
    peak = roofline.peak(dtype)
    import matplotlib
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

    # text stays text, and equal pictures are equal files
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "archprof"}):
        figure = Figure(figsize=(11, 6.5), dpi=150, layout="constrained")
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_yscale("log")
        whole = sum(each.seconds for each in points)
        longest = max(each.seconds for each in placed)
        for name in dict.fromkeys(each.pass_ for each in placed):
            colour, shape = _MARKS.get(name, _OTHER)
            mine = [each for each in placed if each.pass_ == name]
            axes.scatter(
                [_intensity(each) for each in mine],
                [_effective(each) for each in mine],
                s=[_area(each.seconds / longest) for each in mine],
                c=colour, marker=shape, alpha=0.55, edgecolors=colour, linewidths=0.8, label=name, zorder=3,
            )  # fmt: skip
        roof = _roof(axes, placed, peak, roofline.bandwidth, dtype)
        axes.set_xlabel("arithmetic intensity [operations a byte]")
        axes.set_ylabel("effective rate [operations a second]")
        axes.set_title(f"{title}\n{roofline.name}", loc="left", fontsize=11)
        axes.grid(which="major", alpha=0.25)
        beside: dict[str, Any] = {
            "loc": "upper left",
            "frameon": False,
            "fontsize": 9,
            "title_fontsize": 9,
            "alignment": "left",
        }
        marks, names = axes.get_legend_handles_labels()
        passes = axes.legend(marks, names, title="area: time", bbox_to_anchor=(1.01, 1.0), **beside)
        for handle in passes.legend_handles:
            if isinstance(handle, PathCollection):
                handle.set_sizes([60.0])
        heaviest = sorted(placed, key=lambda each: -each.seconds)[:_NUMBERED]
        axes.text(
            1.02,
            0.8,
            _list(heaviest, whole, several=len(names) > 1),
            transform=axes.transAxes,
            fontsize=8,
            va="top",
            linespacing=1.5,
        )
        figure.supxlabel(_caption(points, placed, roofline), fontsize=8, color="#444444")
        _number(figure, axes, placed, heaviest, roof)
        kind = _ending(path)
        stream = io.BytesIO()
        figure.savefig(stream, format=kind, metadata={"Date": None} if kind == "svg" else None)
    write_bytes(stream.getvalue(), path)


def _intensity(point: Point) -> float:
    return (point.operations or 0) / point.moved


def _effective(point: Point) -> float:
    return (point.operations or 0) / point.seconds


def _area(share: float) -> float:
    least, most = _AREAS
    return least + (most - least) * share


def _list(heaviest: Sequence[Point], whole: float, several: bool) -> str:
    """The names behind the numbers."""
    lines = [
        f"{number}  {_short(each.path)}{f', {each.pass_}' if several else ''}  {each.seconds / whole:.1%}"
        for number, each in enumerate(heaviest, 1)
    ]
    return "\n".join(["heaviest layers", *lines])


def _short(path: str) -> str:
    """A path that leaves the picture its room: its end."""
    return path if len(path) <= _LONGEST else f"...{path[-_LONGEST + 3 :]}"


def _roof(axes: Axes, placed: Sequence[Point], peak: float, bandwidth: float, dtype: str) -> list[Text]:
    """The two lines, from left of the leftmost layer to right of the rightmost; what they are called."""
    from archprof.report.device import rate

    ridge = peak / bandwidth
    left = min(ridge, *map(_intensity, placed)) / 3
    right = max(ridge, *map(_intensity, placed)) * 4
    axes.plot([left, ridge, right], [left * bandwidth, peak, peak], color="black", linewidth=1.4, zorder=2)
    axes.axvline(ridge, color="black", linewidth=0.6, linestyle=":", zorder=1)
    axes.set_xlim(left, right)
    rates = list(map(_effective, placed))
    low, high = min(left * bandwidth, *rates) / 2, max(peak, *rates) * 3
    axes.set_ylim(low, high)
    middle = math.sqrt(left * ridge)
    return [
        axes.annotate(
            f"{rate(peak, 'FLOP/s')} in {dtype}", (ridge, peak), xytext=(6, 4), textcoords="offset points", fontsize=9
        ),
        axes.annotate(
            rate(bandwidth, "B/s"), (middle, middle * bandwidth), xytext=(-6, 6), textcoords="offset points",
            fontsize=9, ha="right",
        ),
        axes.annotate(
            f"{ridge:.3g} operations a byte", (ridge, low), xytext=(4, 6), textcoords="offset points", fontsize=9,
            rotation=90,
        ),
    ]  # fmt: skip


def _caption(points: Sequence[Point], placed: Sequence[Point], roofline: Roofline) -> str:
    left_out = len(points) - len(placed)
    text = f"roofline: {roofline.source}"
    if left_out:
        share = 1 - sum(each.seconds for each in placed) / sum(each.seconds for each in points)
        layers = "1 layer" if left_out == 1 else f"{left_out} layers"
        text += f"\nnot drawn: {layers} without arithmetic operations, {share:.1%} of the time"
    return text


def _number(
    figure: Figure, axes: Axes, placed: Sequence[Point], heaviest: Sequence[Point], others: Sequence[Text]
) -> None:
    """The heaviest layers' numbers beside their marks, each where it hides the least of other numbers and marks."""
    scale = figure.dpi / 72
    notes = [
        axes.annotate(
            str(number), (_intensity(each), _effective(each)), xytext=(0, 0), textcoords="offset points",
            ha="center", va="center", fontsize=9, fontweight="bold", zorder=4,
        )
        for number, each in enumerate(heaviest, 1)
    ]  # fmt: skip
    figure.draw_without_rendering()  # the layout is made when it is drawn
    marks = {each: _mark_box(axes, each, heaviest[0].seconds, scale) for each in placed}
    taken = [_box_of(text) for text in others]
    for each, note in zip(heaviest, notes, strict=True):
        mark, extent = marks[each], _box_of(note)
        best, best_cost, best_gap = mark, math.inf, 0
        for gap in _GAPS:
            for across, up in _DIRECTIONS:
                box = Box(
                    mark.x + across * (mark.width + gap * scale + extent.width),
                    mark.y + up * (mark.height + gap * scale + extent.height),
                    extent.width,
                    extent.height,
                )
                cost = 4 * sum(map(box.overlap, taken)) + sum(map(box.overlap, marks.values())) + gap * scale
                if cost < best_cost:
                    best, best_cost, best_gap = box, cost, gap
        taken.append(best)
        offset = ((best.x - mark.x) / scale, (best.y - mark.y) / scale)
        note.set_position(offset)
        if best_gap > _LINE_FROM:
            axes.annotate(
                "", (_intensity(each), _effective(each)), xytext=offset, textcoords="offset points", zorder=2,
                arrowprops={"arrowstyle": "-", "color": "#888888", "lw": 0.6, "shrinkA": 6},
            )  # fmt: skip


def _mark_box(axes: Axes, point: Point, longest: float, scale: float) -> Box:
    x, y = axes.transData.transform((_intensity(point), _effective(point)))
    radius = math.sqrt(_area(point.seconds / longest)) / 2 * scale
    return Box(x, y, radius, radius)


def _box_of(text: Text) -> Box:
    extent = text.get_window_extent()
    return Box((extent.x0 + extent.x1) / 2, (extent.y0 + extent.y1) / 2, extent.width / 2 + 2, extent.height / 2)
