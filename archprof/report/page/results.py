"""Measured results beside the networks of a page: which cell is whose, each layer's times, and its roofline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from archprof import profiling
from archprof.analysis import Analysis, analyse
from archprof.errors import UsageError
from archprof.profiling.peaks import peak_of
from archprof.profiling.records import Cell, Key, Run
from archprof.profiling.results import read_run
from archprof.profiling.roofline import Least, Roofline, arithmetic, cached, data_sheet, layer_least


class LayerTimes(msgspec.Struct, frozen=True, kw_only=True):
    """One network's layers as one run timed them; seconds by path."""

    label: str
    forward: Mapping[str, float]
    backward: Mapping[str, float] = {}
    least: Mapping[str, Least] = {}  # empty without a roofline


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A network's layers in one cell of a run, and the device's roofline."""

    network: int  # its place among the networks of the page
    run: Run
    cell: Cell
    roofline: Roofline | None  # None: neither measured here nor known of this hardware

    @property
    def dtype(self) -> str:
        """The arithmetic with the higher peak, as the roofline names it."""
        kinds = arithmetic(self.cell)
        return kinds.convolutions if self.roofline is None else kinds.highest(self.roofline)

    @property
    def times(self) -> LayerTimes:
        """The times for the tree."""
        layers = self.cell.layers
        return LayerTimes(
            label=f"{self.run.hardware}, {key_text(self.cell.key)}",
            forward={layer.path: layer.forward for layer in layers},
            backward={layer.path: layer.backward for layer in layers if layer.backward is not None},
            least={}
            if self.roofline is None
            else {layer.path: layer_least(layer, self.roofline, arithmetic(self.cell)) for layer in layers},
        )


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that hold results of a page's networks."""

    runs: tuple[Run, ...] = ()
    measured: tuple[Measured, ...] = ()


def match_results(runs: Mapping[str, Run], analyses: Sequence[Analysis]) -> Results:
    """Find the cells of the page's networks in runs, by the names of their files.

    Raises UsageError for a run that holds none of a network, or one of the same name that computes something else.
    """
    names = [analysis.graph.name for analysis in analyses]
    measured: list[Measured] = []
    for file, run in runs.items():
        cells = [cell for cell in run.cells if cell.key.network in names]
        if not cells:
            there = ", ".join(dict.fromkeys(cell.key.network for cell in run.cells)) or "no network"
            raise UsageError(f"{file}: results of {there}, not of {' or '.join(names)}")
        for cell in cells:
            place = names.index(cell.key.network)
            _require_same(file, cell, analyses[place])
            if cell.layers:
                measured.append(Measured(network=place, run=run, cell=cell, roofline=_roofline(run, cell)))
    return Results(runs=tuple(runs.values()), measured=tuple(measured))


def published_runs() -> list[Run]:
    """The shipped figures that others published, a run each device and software."""
    return [read_run(path) for path in sorted((Path(profiling.__file__).parent / "published").glob("*.json"))]


def _require_same(file: str, cell: Cell, analysis: Analysis) -> None:
    """Refuse results of another variant or input under the same name."""
    there = cell.key.multiply_adds
    if there is None:
        return
    counted = analyse(analysis.graph, counting="multiply_adds", train=analysis.train)
    if not counted.lower_bound and counted.flops != there:
        raise UsageError(
            f"{file}: results of a {cell.key.network} with {there:,} multiply-adds an image (input {cell.key.input}), "
            f"and {analysis.graph.name} has {counted.flops:,} here: another variant, input or setting"
        )


def _roofline(run: Run, cell: Cell) -> Roofline | None:
    """What this device attained, else its data sheet, where that has a peak for the arithmetic."""
    threads = run.environment.get("threads") if str(run.environment.get("device")) == "cpu" else None
    attained = cached(run.hardware, threads)
    peak = peak_of(run.hardware) if attained is None else None
    found = attained.roofline if attained is not None else data_sheet(peak) if peak is not None else None
    return found if found is not None and arithmetic(cell).known(found) else None


def key_text(key: Key) -> str:
    """How a cell was measured, in words, without its network: batch 16, 3x224x224, float32, forward."""
    dtype = key.dtype if key.amp is None else f"autocast {key.amp}"
    usual = ("nchw", "eager")
    extra = [each for each in (key.layout, key.mode) if each not in usual]
    return ", ".join((f"batch {key.batch}", key.input, dtype, *extra, key.pass_))
