"""The pictures of a depth experiment: what is drawn, that it can be read, and that equal pictures are equal files."""

from __future__ import annotations

import itertools
import re
import struct
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from archprof.errors import UsageError
from archprof.experiments.records import Trial
from archprof.report.depth_figures import draw, error_figure, response_figure
from tests.experiments.made import replaced, run, trial

OKABE_ITO = {"#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"}
TITLE = "resnet-cifar on digits"


def lines(axes: Axes, width: float | None = None) -> dict[str, Line2D]:
    """The curves of a panel by colour, of those with a width if one is given."""
    return {
        to_hex(line.get_color()): line
        for line in axes.lines
        if line.get_marker() in ("None", None) and width in (None, line.get_linewidth())
    }


def words(figure: Figure) -> str:
    found = [axes.get_title() + axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes]
    found += [text.get_text() for axes in figure.axes for text in axes.texts]
    for axes in figure.axes:
        legend = axes.get_legend()
        found += [text.get_text() for text in legend.get_texts()] if legend else []
    for below in figure.legends:
        found += [below.get_title().get_text(), *(text.get_text() for text in below.get_texts())]
    return "\n".join([*found, figure.get_suptitle(), figure.get_supxlabel()])


BLUE, RED = "#0072b2", "#d55e00"


def test_errors_are_the_medians_of_the_seeds() -> None:
    plain, residual = error_figure(run(), TITLE).axes
    assert (plain.get_title(), residual.get_title()) == ("plain", "residual")
    training, test = lines(plain, 2.4), lines(plain, 0.9)
    assert list(training[BLUE].get_xdata()) == [22, 44]  # iterations
    assert list(training[BLUE].get_ydata()) == [90, 0.2]  # 20 layers
    assert list(test[BLUE].get_ydata()) == [91, 2.8]
    assert list(training[RED].get_ydata()) == [90, 59]  # 56 layers: 57 to 61
    assert list(test[RED].get_ydata()) == pytest.approx([91, 60.6])
    assert list(lines(residual, 2.4)[RED].get_ydata()) == [90, 0.01]


def test_bands_go_from_the_lowest_seed_to_the_highest() -> None:
    plain = error_figure(run(), TITLE).axes[0]
    bands = {to_hex(each.get_facecolor()[0]): each for each in plain.collections}  # training errors are drawn last
    ends = {float(y) for x, y in bands[RED].get_paths()[0].vertices if x == 44}
    assert (min(ends), max(ends)) == (57, 61)


def test_words_of_the_errors() -> None:
    text = words(error_figure(run(), TITLE))
    for word in (
        "resnet-cifar on digits: error over the training", "iterations", "error [%]", "training error", "test error",
        "20 layers", "56 layers", "lines: median of 5 seeds; bands: from the lowest to the highest",
    ):  # fmt: skip
        assert word in text
    assert "diverged" not in text


def test_one_seed_has_no_spread() -> None:
    for figure in (error_figure(run(seeds=1), TITLE), response_figure(run(seeds=1), TITLE)):
        assert "one seed a net" in words(figure)
        assert "median" not in words(figure)


def test_panels_have_one_scale() -> None:
    plain, residual = error_figure(run(), TITLE).axes
    assert plain.get_ylim() == residual.get_ylim()
    assert plain.get_ylim()[0] == 0
    assert plain.get_xlim() == residual.get_xlim() == (0, 44)


@pytest.mark.parametrize(
    ("shortcuts", "titles"),
    [
        (("identity",), ["residual"]),
        (("projection", "identity", "none"), ["plain", "residual (identity)", "residual (projection)"]),
        (("",), ["resnet-cifar"]),
    ],
)
def test_a_panel_for_each_shortcut(shortcuts: tuple[str, ...], titles: list[str]) -> None:
    assert [axes.get_title() for axes in error_figure(run(shortcuts=shortcuts), TITLE).axes] == titles


@pytest.mark.parametrize("error", [0.0, 90.0])
def test_several_depths(error: float) -> None:
    """Each has a colour of its own, and names that do not cover each other, in the axes."""
    depths = (20, 32, 44, 56, 110)
    trials = run(lambda depth, *_: (error, error, 0.5), depths=depths)
    for axes in error_figure(trials, TITLE).axes:
        assert len(lines(axes)) == 5
        assert set(lines(axes)) <= OKABE_ITO
        assert [text.get_text() for text in axes.texts] == sorted(f"{each} layers" for each in depths)
        heights = sorted(text.xyann[1] for text in axes.texts)  # type: ignore[attr-defined]
        assert all(after - before > 0.05 for before, after in itertools.pairwise(heights))
        assert 0 <= heights[0] <= heights[-1] <= 1


def test_a_diverged_seed_is_wrong_on_all_from_then_on() -> None:
    trials = replaced(run(seeds=3), 56, "none", 0, status="diverged", epochs=run()[0].epochs[:1], responses=())
    figure = error_figure(trials, TITLE)
    plain = figure.axes[0]
    assert list(lines(plain, 2.4)[RED].get_ydata()) == [90, 59]  # of 58, 59 and 100
    (mark,) = [line for line in plain.lines if line.get_marker() == "x"]
    assert (list(mark.get_xdata()), list(mark.get_ydata()), to_hex(mark.get_color())) == ([22], [90], RED)
    assert "diverged, then 100 %" in words(figure)
    assert plain.get_ylim()[1] < 100  # the band is that of the others


def test_a_net_that_diverged_at_once() -> None:
    trials = replaced(run(seeds=1), 56, "none", 0, status="diverged", epochs=(), responses=())
    plain = error_figure(trials, TITLE).axes[0]
    assert RED not in lines(plain)
    (mark,) = [line for line in plain.lines if line.get_marker() == "x"]
    assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([0], [100])
    assert len(response_figure(trials, TITLE).axes[0].lines) == 3


def test_a_run_that_goes_on() -> None:
    """Of trials that are not all equally far each epoch has those that are."""
    trials = replaced(run(seeds=2), 56, "none", 1, status="unfinished", epochs=run()[0].epochs[:1], responses=())
    plain = error_figure(trials, TITLE).axes[0]
    assert list(lines(plain, 2.4)[RED].get_ydata()) == [90, 57]


def test_one_epoch_is_a_point() -> None:
    (axes,) = error_figure([trial(20, "none", 0, 1, 2, epochs=1)], TITLE).axes
    assert [line.get_marker() for line in axes.lines] == ["o", "o"]


def test_thousands_of_iterations() -> None:
    figure = error_figure(run(), TITLE)
    formatter = figure.axes[0].xaxis.get_major_formatter()
    assert [formatter(value, 0) for value in (0, 500, 9_000, 10_000, 64_000)] == ["0", "500", "9000", "10k", "64k"]


# --- layer responses


def test_responses_in_both_orders() -> None:
    """made.trial has 0.1 below and 0.1 above, in this order."""
    ordered, residual, by_size, residual_by_size = response_figure(run(), TITLE).axes
    assert [axes.get_title() for axes in (ordered, residual, by_size, residual_by_size)] == [
        "all nets: layers in their order", "residual nets: layers in their order", "all nets: sorted by size",
        "residual nets: sorted by size",
    ]  # fmt: skip
    drawn = {
        (to_hex(line.get_color()), line.get_linestyle()): [list(line.get_xdata()), list(line.get_ydata())]
        for line in ordered.lines
    }
    assert drawn == {
        (BLUE, "--"): [[1, 2], pytest.approx([0.46, 0.66])],
        (RED, "--"): [[1, 2], pytest.approx([0.48, 0.68])],
        (BLUE, "-"): [[1, 2], pytest.approx([0.452, 0.652])],
        (RED, "-"): [[1, 2], pytest.approx([0.441, 0.641])],
    }
    for first, second in ((ordered, by_size), (residual, residual_by_size)):
        assert [list(line.get_ydata())[::-1] for line in second.lines] == [
            list(line.get_ydata()) for line in first.lines
        ]  # fmt: skip
    assert [list(line.get_ydata()) for line in residual.lines] == [
        list(line.get_ydata()) for line in ordered.lines[2:]
    ]  # fmt: skip
    assert ordered.get_yscale() == "linear"


def test_responses_of_many_sizes_have_a_logarithmic_axis() -> None:
    trials = run(lambda depth, shortcut, _: (0, 0, 9.0 if (depth, shortcut) == (56, "none") else 1.0))
    together, residual, *_ = response_figure(trials, TITLE).axes
    assert (together.get_yscale(), residual.get_yscale()) == ("log", "linear")
    assert together.yaxis.get_major_formatter()(0.5, 0) == "0.5"


@pytest.mark.parametrize("shortcuts", [("none",), ("identity",), ("",)])
def test_responses_of_nets_of_one_kind(shortcuts: tuple[str, ...]) -> None:
    titles = [axes.get_title() for axes in response_figure(run(shortcuts=shortcuts), TITLE).axes]
    assert titles == ["layers in their order", "layers sorted by size"]


def test_words_of_the_responses() -> None:
    text = words(response_figure(run(), TITLE))
    for word in (
        "resnet-cifar on digits: layer responses", "standard deviation", "layer", "plain, 20 layers",
        "plain, 56 layers", "residual, 20 layers", "residual, 56 layers",
    ):  # fmt: skip
        assert word in text


def test_colours_do_not_change_where_a_net_has_no_responses() -> None:
    shallow = replaced(run(depths=(8,), seeds=1, shortcuts=("none",)), 8, "none", 0, responses=())
    trials = [*shallow, *run(depths=(20,))]
    drawn = {to_hex(line.get_color()) for line in response_figure(trials, TITLE).axes[0].lines}
    assert drawn == {to_hex(error_figure(trials, TITLE).axes[1].lines[0].get_color())}


# --- files


def test_files(tmp_path: Path) -> None:
    written = draw(run(), tmp_path, title=TITLE)
    assert [path.name for path in written] == ["errors.svg", "errors.png", "responses.svg", "responses.png"]
    for path in written:
        content = path.read_bytes()
        if path.suffix == ".png":
            assert content.startswith(b"\x89PNG")
            assert struct.unpack(">I", content[16:20]) == (1200,)
        else:
            ElementTree.fromstring(content)
            assert not re.search(rb"<dc:date>", content)
            assert b">56 layers<" in content or b">plain, 56 layers<" in content  # text is text


def test_equal_pictures_are_equal_files(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in draw(run(), tmp_path, title=TITLE)]
    assert [path.read_bytes() for path in draw(run()[::-1], tmp_path, title=TITLE)] == first


def test_without_responses_there_is_no_picture_of_them(tmp_path: Path) -> None:
    trials: list[Trial] = replaced(run(seeds=1, depths=(20,), shortcuts=("none",)), 20, "none", 0, responses=())
    assert [path.name for path in draw(trials, tmp_path, title=TITLE)] == ["errors.svg", "errors.png"]


def test_nothing_to_draw(tmp_path: Path) -> None:
    trials = replaced(run(seeds=1, depths=(20,), shortcuts=("none",)), 20, "none", 0, epochs=(), responses=())
    with pytest.raises(UsageError, match=r"^there is nothing to draw: no trial has finished an epoch$"):
        draw(trials, tmp_path, title=TITLE)


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    found: Any = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"^the pictures needs? matplotlib: pip install 'archprof\[plot\]'$"):
        draw(run(), tmp_path, title=TITLE)
