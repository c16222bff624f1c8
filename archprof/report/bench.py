"""A benchmark's cells as one table; CSV has every figure, JSON is the results file itself."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence

import msgspec

from archprof.profiling.batch_search import MOST
from archprof.profiling.matrix import NOT_YET, request_of
from archprof.profiling.records import Cell, Device, Run, Timing
from archprof.report.conditions import conditions
from archprof.report.output import Surface
from archprof.report.sheet import Line, Sheet, parts

FORMATS = ("terminal", "markdown", "csv", "json")

_AXES = ("pass", "dtype", "amp", "layout", "mode", "input")  # in the caption where all cells have the same


class _Column(msgspec.Struct, frozen=True):
    header: str
    text: Callable[[Cell], str]
    right: bool = True


def render(run: Run, format: str, surface: Surface) -> str:  # noqa: A002
    """The cells of a run as text in one of FORMATS."""
    if format == "json":
        return msgspec.json.format(msgspec.json.encode(run), indent=1).decode() + "\n"
    if format == "csv":
        return _csv(run)
    from archprof.report import markdown, terminal

    sheet, keys = _sheet(run)
    if format == "markdown":
        return markdown.render(sheet, surface)
    if surface.width is None:
        return terminal.render(sheet, surface)
    return "\n".join(terminal.render(part, surface) for part in parts(sheet, surface.width, keys))


def line(cell: Cell) -> str:
    """A cell in one line, as it is told while a benchmark runs."""
    said = f"{name(cell)}: "
    timing = _own(cell)
    if cell.status != "ok" or timing is None:
        return f"{said}{cell.status}: {cell.reason}"
    figures = [f"{_milliseconds(timing.median)} ms" + (f" ± {_half_width(timing):.1f} %" if timing.count > 1 else "")]
    if cell.images_per_second is not None:
        figures.append(f"{_figure(cell.images_per_second)} images/s")
    if cell.peak_memory is not None:
        figures.append(f"peak {_mebibytes(cell.peak_memory)} MiB")
    return said + ", ".join(figures)


def name(cell: Cell) -> str:
    """What a cell measures, without what is usual: resnet-18, batch 8, forward, nhwc."""
    key = cell.key
    words = [key.network, f"batch {_batch(cell)}", key.pass_]
    words.extend(
        value
        for value, usual in (
            (key.dtype, "float32"),
            (key.amp and f"autocast {key.amp}", None),
            (key.layout, "nchw"),
            (key.mode, "eager"),
        )
        if value and value != usual
    )
    return ", ".join(words)


def search_note(cell: Cell) -> str | None:
    """What a search for the largest batch found, beside the memory model's prediction; None where it was none."""
    found = cell.settings.get("search")
    if found is None:
        return None
    largest, refused, limit, predicted = (found[field] for field in ("found", "refused", "limit", "predicted"))
    within = "" if limit is None else f" in {_bytes(limit)}"
    if not largest:
        text = f"{cell.key.network}, {cell.key.pass_}: not even a batch of 1 fits{within}"
    else:
        end = "the largest that is looked for" if refused is None else f"{refused} does not fit"
        text = f"{cell.key.network}, {cell.key.pass_}: the largest batch that fits{within} is {largest} ({end})"
    if predicted is None:
        return text
    model = f"the memory model says {'at least ' if predicted >= MOST else ''}{predicted}"
    if not largest:
        return f"{text}; {model}"
    return f"{text}; {model}, {100 * (predicted - largest) / largest:+,.1f} %"


def _sheet(run: Run) -> tuple[Sheet, int]:
    """The table, and how many of its first columns say which cell a row is."""
    cells = run.cells
    notes: dict[str, str] = {}  # reason -> its mark

    def result(cell: Cell) -> str:
        if not cell.reason:
            return cell.status
        return f"{cell.status} {notes.setdefault(cell.reason, f'[{len(notes) + 1}]')}"

    common = _common(cells)
    columns = [_Column("network", lambda cell: cell.key.network, right=False)]
    columns.append(_Column("batch", _batch))
    columns.extend(
        _Column(axis, lambda cell, axis=axis: _axis(cell, axis), right=False)  # type: ignore[misc]
        for axis in _AXES
        if axis not in common
    )
    keys = len(columns)
    columns.append(_Column("time [ms]", _of_own(lambda timing: _milliseconds(timing.median))))
    columns.append(_Column("± [%]", _of_own(lambda timing: f"{_half_width(timing):.1f}" if timing.count > 1 else "")))
    own = dict.fromkeys(part for cell in cells for part in cell.timings if part != cell.key.pass_)
    columns.extend(_part(part) for part in own)
    told = {percent for cell in cells for percent in getattr(_own(cell), "percentiles", {})}
    columns.extend(_percentile(percent) for percent in ("p90", "p99") if percent in told)
    columns.append(
        _Column("images/s", lambda cell: "" if cell.images_per_second is None else _figure(cell.images_per_second))
    )
    optional = (
        _Column("peak [MiB]", lambda cell: "" if cell.peak_memory is None else _mebibytes(cell.peak_memory)),
        _Column("peak / model", _over_model),
        _Column("energy [J/image]", _energy),
        _Column("power [W]", _of_device(lambda device: device.power)),
        _Column("idle [W]", _of_device(lambda device: device.idle_power)),
    )
    columns.extend(column for column in optional if any(map(column.text, cells)))
    columns.append(_Column("result", result, right=False))
    lines = tuple(Line(cells=tuple(column.text(cell) for column in columns)) for cell in cells)
    sheet = Sheet(
        title=f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'} on {run.hardware}",
        headers=tuple(column.header for column in columns),
        right=tuple(column.right for column in columns),
        lines=lines,
        caption=tuple(_captions(run, common, notes, told)),
    )
    return sheet, keys


def _captions(run: Run, common: Mapping[str, str], notes: Mapping[str, str], told: set[str]) -> list[str]:
    cells = run.cells
    found = [f"{mark} {reason}" for reason, mark in notes.items()]
    if common:
        found.append(", ".join(f"{axis} {value}" for axis, value in common.items() if value != "none"))
    measured = [cell for cell in cells if cell.status == "ok"]
    found.extend(dict.fromkeys(text for cell in measured if (text := conditions(run.environment, cell.settings))))
    for each in run.environment.get("resumed", ()):
        changed = ", ".join(f"{what} {old} -> {new}" for what, (old, new) in each["changes"].items())
        found.append(f"resumed on {each['created'][:10]}, when some had changed: {changed}")
    found.extend(note for note in map(search_note, cells) if note is not None)
    if measured:
        found.append(
            "time: the median (p50), of the stretches' medians; "
            "±: its 95 % interval, or the spread of the stretches; under 6 samples, minimum to maximum"
        )
        if any(len(cell.timings) > 1 for cell in measured):
            found.append("forward, backward, update: parts of the time; a step's update is SGD with momentum")
    unsettled = [cell for cell in measured if not all(timing.settled for timing in cell.timings.values())]
    if unsettled:
        precision, budget = (unsettled[0].settings[field] for field in ("precision", "budget"))
        found.append(
            f"{len(unsettled)} of {len(measured)} did not settle within {100 * precision:g} % in {budget:g} s: "
            "± is what they reached"
        )
    missing = [percent for percent in ("p90", "p99") if percent not in told]
    if measured and missing:
        most = max(timing.count for timing in map(_own, measured) if timing is not None)
        samples = "1 sample" if most == 1 else f"{most} samples"
        found.append(f"no {' or '.join(missing)}: the most that a cell has is {samples}: too few")
    found.extend(_memory_captions(run, measured))
    dark = dict.fromkeys(note for cell in measured if cell.device is not None for note in cell.device.notes)
    found.extend(dark)
    found.extend(_warnings(measured))
    return found


def _memory_captions(run: Run, measured: Sequence[Cell]) -> list[str]:
    if not any(cell.peak_memory is not None for cell in measured):
        return []
    cpu = not str(run.environment.get("device", "cpu")).startswith("cuda")
    how = (
        "resident memory of the process above what it held before the network was built, without libraries' pages"
        if cpu
        else "of torch's allocator"
    )
    found = [f"peak: {how}, in passes of their own before those that are timed"]
    if any(map(_over_model, measured)):
        found.append(
            "peak / model: over the memory model's prediction, which knows neither workspaces nor what an allocator "
            "keeps for later (docs/memory.md)"
        )
    return found


def _warnings(measured: Sequence[Cell]) -> list[str]:
    """Each warning once without its figures, and how many cells had it."""
    by_text: dict[str, list[str]] = {}
    for cell in measured:
        for warning in cell.warnings:
            kind = "".join(char for char in warning if not char.isdigit())
            by_text.setdefault(kind, []).append(warning)
    return [
        f"warning, of {len(texts)} of {len(measured)}: {max(texts, key=len)}"
        if len(texts) > 1
        else f"warning: {texts[0]}"
        for texts in by_text.values()
    ]


def _common(cells: Sequence[Cell]) -> dict[str, str]:
    """The axes that all cells share."""
    found = {}
    for axis in _AXES:
        values = {_axis(cell, axis) for cell in cells}
        if len(values) == 1:
            found[axis] = values.pop()
    return found


def _axis(cell: Cell, axis: str) -> str:
    value = getattr(cell.key, "pass_" if axis == "pass" else axis)
    return "none" if value is None else str(value)


def _batch(cell: Cell) -> str:
    if not request_of(cell).search:
        return str(cell.key.batch)
    return f"max: {cell.key.batch}" if cell.key.batch else "max"


def _own(cell: Cell) -> Timing | None:
    return cell.timings.get(cell.key.pass_)


def _of_own(text: Callable[[Timing], str]) -> Callable[[Cell], str]:
    def own(cell: Cell) -> str:
        timing = _own(cell)
        return "" if timing is None else text(timing)

    return own


def _part(part: str) -> _Column:
    def text(cell: Cell) -> str:
        return "" if part == cell.key.pass_ or part not in cell.timings else _milliseconds(cell.timings[part].median)

    return _Column(f"{part} [ms]", text)


def _percentile(percent: str) -> _Column:
    return _Column(
        f"{percent} [ms]",
        _of_own(lambda timing: _milliseconds(timing.percentiles[percent]) if percent in timing.percentiles else ""),
    )


def _half_width(timing: Timing) -> float:
    """Of the interval, in percent of the median: the wider side."""
    if not timing.median:
        return 0.0
    return 100 * max(timing.high - timing.median, timing.median - timing.low) / timing.median


def _over_model(cell: Cell) -> str:
    if cell.peak_memory is None or not cell.predicted_memory:
        return ""
    return f"{cell.peak_memory / cell.predicted_memory:.2f}"


def _energy(cell: Cell) -> str:
    energy = None if cell.device is None else cell.device.energy
    return "" if energy is None else f"{energy:.3g}"


def _of_device(number: Callable[[Device], float | None]) -> Callable[[Cell], str]:
    """A figure of the device's, to the whole number."""

    def text(cell: Cell) -> str:
        value = None if cell.device is None else number(cell.device)
        return "" if value is None else f"{value:.0f}"

    return text


def _milliseconds(seconds: float) -> str:
    return _figure(seconds * 1e3)


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.1f}"


def _bytes(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"


def _figure(value: float) -> str:
    """Four significant digits, at least the whole number."""
    if value >= 1000:
        return f"{value:,.0f}"
    for decimals, least in ((1, 100), (2, 10), (3, 1)):
        if value >= least:
            return f"{value:.{decimals}f}"
    return f"{value:.4f}"


# --- CSV


def _csv(run: Run) -> str:
    stream = io.StringIO()
    records = [_record(cell) for cell in run.cells]
    writer = csv.DictWriter(stream, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


def _record(cell: Cell) -> dict[str, object]:
    """Seconds, bytes, joules; empty where there is none."""
    key, timing, device = cell.key, _own(cell), cell.device
    return {
        "network": key.network,
        "batch_asked_for": "max" if request_of(cell).search else key.batch,
        "batch": key.batch or "",
        "input": key.input,
        "pass": key.pass_,
        "dtype": key.dtype,
        "amp": key.amp or "",
        "layout": key.layout,
        "mode": key.mode,
        "status": cell.status,
        "reason": cell.reason,
        **{
            field: "" if timing is None else getattr(timing, field)
            for field in (
                "median",
                "low",
                "high",
                "quartile_1",
                "quartile_3",
                "minimum",
                "maximum",
                "count",
                "spread",
                "drift",
                "outliers",
            )
        },
        **{
            percent: "" if timing is None else timing.percentiles.get(percent, "")
            for percent in ("p50", "p90", "p95", "p99")
        },
        "settled": "" if timing is None else timing.settled,
        **{
            part: cell.timings[part].median if part in cell.timings else ""
            for part in ("forward", "backward", "update")
        },
        "images_per_second": cell.images_per_second,
        "peak_memory": cell.peak_memory,
        "predicted_memory": cell.predicted_memory,
        "params": cell.params,
        "multiply_adds": key.multiply_adds,
        "energy_an_image": None if device is None else device.energy,
        **{
            field: None if device is None else getattr(device, field)
            for field in ("power", "idle_power", "temperature", "clock", "clock_before", "clock_after")
        },
        "warnings": "; ".join(cell.warnings),
    }


def outcome(cells: Sequence[Cell]) -> str:
    """How many cells ended how: 3 ok, 1 oom."""
    counts: dict[str, int] = {}
    for cell in cells:
        kind = "not measured" if cell.reason == NOT_YET else cell.status
        counts[kind] = counts.get(kind, 0) + 1
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())
