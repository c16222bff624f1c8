"""Pictures of a depth experiment: errors over the training and layer responses (He et al. 2016, figures 6 and 7)."""

from __future__ import annotations

import io
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from archprof.errors import UsageError
from archprof.experiments.records import Trial
from archprof.experiments.verdicts import DIVERGED_ERROR, PLAIN, group_names
from archprof.extras import require
from archprof.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's colours, which people with any colour vision tell apart; from shallow to deep
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_GREY = "#444444"
_WIDE = 4  # responses that differ by more than this factor are drawn on a logarithmic axis
_WIDTH, _DPI = 8.0, 150  # inches and pixels an inch: 1200 pixels
_BOLD, _THIN = 2.4, 0.9
_STYLES = ("-", "-", "-.", ":")  # of residual nets by shortcut; plain ones are dashed


class _Curve(NamedTuple):
    """A value over x: the median of the seeds, and the lowest and highest."""

    x: list[int]
    middle: list[float]
    low: list[float]
    high: list[float]


def draw(trials: Sequence[Trial], folder: str | Path, *, title: str) -> tuple[Path, ...]:
    """Write errors and layer responses to a folder, each as SVG and as PNG; the paths.

    `title` says which nets on which data. Where no trial finished there is no picture of responses.
    Raises UsageError where no trial has finished an epoch, and without matplotlib.
    """
    require("the pictures", "matplotlib", "plot")
    if not any(trial.epochs for trial in trials):
        raise UsageError("there is nothing to draw: no trial has finished an epoch")
    import matplotlib

    written = []
    # text stays text, and equal pictures are equal files
    with matplotlib.rc_context(
        {
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "svg.fonttype": "none",
            "svg.hashsalt": "archprof",
        }
    ):
        pictures = {"errors": error_figure(trials, title)}
        if any(trial.responses for trial in trials):
            pictures["responses"] = response_figure(trials, title)
        for name, figure in pictures.items():
            for kind in ("svg", "png"):
                path = Path(folder) / f"{name}.{kind}"
                stream = io.BytesIO()
                figure.savefig(stream, format=kind, metadata={"Date": None} if kind == "svg" else None)
                write_bytes(stream.getvalue(), path)
                written.append(path)
    return tuple(written)


# --- errors


def error_figure(trials: Sequence[Trial], title: str) -> Figure:
    """Training error (bold) and test error (thin) against iterations, plain nets left and residual ones right."""
    from matplotlib.figure import Figure

    groups, colours = group_names(trials), _colours(trials)
    figure = Figure(figsize=(_WIDTH, 4.4), dpi=_DPI, layout="constrained")
    panels = figure.subplots(1, len(groups), sharex=True, sharey=True, squeeze=False)[0]
    ends: list[list[tuple[float, str, str]]] = []
    for axes, (shortcut, name) in zip(panels, groups.items(), strict=True):
        ends.append([])
        for depth, net in _nets(trials, shortcut).items():
            training, test = _error_curve(net, "train_error"), _error_curve(net, "test_error")
            if training.x:
                _draw(axes, test, colours[depth], _THIN, 0.12)
                _draw(axes, training, colours[depth], _BOLD, 0.22)
                ends[-1].append((training.middle[-1], f"{depth} layers", colours[depth]))
            _mark_divergence(axes, net, colours[depth])
        axes.set_title(name)
        axes.set_xlabel("iterations")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}")
        axes.margins(x=0)
        axes.grid(alpha=0.25)
    panels[0].set_xlim(left=0)
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("error [%]")
    for axes, names in zip(panels, ends, strict=True):  # the limits are known by now
        _label_ends(axes, names)
    _add_legend(panels[-1], any(trial.status == "diverged" for trial in trials))
    figure.suptitle(f"{title}: error over the training")
    figure.supxlabel(_seeds_text(trials), fontsize=8, color=_GREY)
    return figure


def _error_curve(net: Sequence[Trial], field: str) -> _Curve:
    """An error of one net over the iterations.

    A seed that diverged counts in the median from then on as wrong on every image; the band is that of the others.
    """
    values: dict[int, list[float]] = {}
    for trial in net:
        for each in trial.epochs:
            values.setdefault(each.iteration, []).append(getattr(each, field))
    ends = [trial.epochs[-1].iteration if trial.epochs else 0 for trial in net if trial.status == "diverged"]
    lost = {x: [DIVERGED_ERROR] * sum(x > end for end in ends) for x in values}
    return _curve(values, lost)


def _mark_divergence(axes: Axes, net: Sequence[Trial], colour: str) -> None:
    for trial in net:
        if trial.status == "diverged":
            x, y = (trial.epochs[-1].iteration, trial.epochs[-1].train_error) if trial.epochs else (0, DIVERGED_ERROR)
            axes.plot([x], [y], marker="x", markersize=8, color=colour, clip_on=False, zorder=4)


def _label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Names at the right ends of the curves, moved apart where these end close together, with a line to each."""
    apart = 0.06  # of the axes' height
    ordered = sorted(ends)
    places: list[float] = []
    for value, _, _ in ordered:
        places.append(max(value / axes.get_ylim()[1], places[-1] + apart if places else 0.0))
    for place in range(len(places) - 1, -1, -1):  # back into the axes from above
        places[place] = min(places[place], places[place + 1] - apart if place + 1 < len(places) else 1.0)
    for at, (value, text, colour) in zip(places, ordered, strict=True):
        axes.annotate(
            text,
            (1, value / axes.get_ylim()[1]),
            xytext=(1.045, at),
            xycoords="axes fraction",
            color=colour,
            fontsize=9,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.7, "shrinkA": 1, "shrinkB": 0, "relpos": (0, 0.5)},
        )


def _add_legend(axes: Axes, with_divergence: bool) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=_GREY, linewidth=_BOLD, label="training error"),
        Line2D([], [], color=_GREY, linewidth=_THIN, label="test error"),
    ]
    if with_divergence:
        text = f"diverged, then {DIVERGED_ERROR:.0f} %"
        handles.append(Line2D([], [], color=_GREY, marker="x", linestyle="", label=text))
    axes.legend(handles=handles, loc="upper right", frameon=False, fontsize=9)


# --- layer responses


def response_figure(trials: Sequence[Trial], title: str) -> Figure:
    """The standard deviation of every layer's response, in the order of the layers and sorted by size.

    All nets together on the left; where there are plain ones, whose responses can be many times larger, the residual
    ones alone on the right.
    """
    from matplotlib.figure import Figure

    names = group_names(trials)
    residual = [shortcut for shortcut in names if shortcut != PLAIN]
    columns = (
        {"all nets": list(names), "residual nets": residual} if 0 < len(residual) < len(names) else {"": list(names)}
    )
    figure = Figure(figsize=(_WIDTH, 6.4), dpi=_DPI, layout="constrained")
    panels = figure.subplots(2, len(columns), sharex=True, sharey="col", squeeze=False)
    for (which, shortcuts), upper, lower in zip(columns.items(), *panels, strict=True):
        _draw_responses(trials, shortcuts, upper, lower)
        upper.set_title(f"{which}: layers in their order" if which else "layers in their order")
        lower.set_title(f"{which}: sorted by size" if which else "layers sorted by size")
        lower.set_xlabel("layer")
    for axes, *_ in panels:
        axes.set_ylabel("standard deviation")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(labels), 4),
        frameon=False,
        fontsize=9,
        title=_seeds_text([trial for trial in trials if trial.responses]),
        title_fontproperties={"size": 8},
    )
    figure.suptitle(f"{title}: layer responses")
    return figure


def _draw_responses(trials: Sequence[Trial], shortcuts: Sequence[str], upper: Axes, lower: Axes) -> None:
    from matplotlib import ticker

    names, colours = group_names(trials), _colours(trials)
    lowest, highest = float("inf"), 0.0
    for shortcut in shortcuts:
        style = "--" if shortcut == PLAIN else _STYLES[list(names).index(shortcut) % len(_STYLES)]
        for depth, net in _nets([trial for trial in trials if trial.responses], shortcut).items():
            profiles = [[each.std for each in trial.responses] for trial in net]
            lowest = min(lowest, *map(min, profiles))
            highest = max(highest, *map(max, profiles))
            for axes, rows in ((upper, profiles), (lower, [sorted(each, reverse=True) for each in profiles])):
                curve = _curve({layer: list(values) for layer, values in enumerate(zip(*rows, strict=True), 1)})
                _draw(axes, curve, colours[depth], 1.6, 0.18, style=style, label=f"{names[shortcut]}, {depth} layers")
    for axes in (upper, lower):
        if 0 < _WIDE * lowest < highest:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter(ticker.NullFormatter())
        axes.margins(x=0.01)
        axes.grid(alpha=0.25)


# --- both


def _nets(trials: Sequence[Trial], shortcut: str) -> dict[int, list[Trial]]:
    """The trials of the nets with a shortcut, by depth."""
    nets: dict[int, list[Trial]] = {}
    for trial in sorted(trials, key=lambda each: each.depth):
        if trial.shortcut == shortcut:
            nets.setdefault(trial.depth, []).append(trial)
    return nets


def _colours(trials: Sequence[Trial]) -> dict[int, str]:
    depths = sorted({trial.depth for trial in trials})
    return {depth: _COLOURS[place % len(_COLOURS)] for place, depth in enumerate(depths)}


def _curve(values: Mapping[int, list[float]], lost: Mapping[int, list[float]] | None = None) -> _Curve:
    """The curve through values by x; those `lost` count in the median alone."""
    x = sorted(values)
    return _Curve(
        x,
        [statistics.median([*values[each], *(lost[each] if lost else ())]) for each in x],
        [min(values[each]) for each in x],
        [max(values[each]) for each in x],
    )


def _draw(
    axes: Axes, curve: _Curve, colour: str, width: float, opacity: float, *, style: str = "-", label: str | None = None
) -> None:
    axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=opacity, linewidth=0)
    marker = "o" if len(curve.x) == 1 else None  # a line of one point is not seen
    axes.plot(curve.x, curve.middle, style, color=colour, linewidth=width, marker=marker, label=label, zorder=3)


def _seeds_text(trials: Sequence[Trial]) -> str:
    seeds = len({trial.seed for trial in trials})
    if seeds == 1:
        return "one seed a net"
    return f"lines: median of {seeds} seeds; bands: from the lowest to the highest"
