"""A profile as a sheet for the terminal and Markdown, and as CSV and JSON in seconds, FLOPs and bytes.

JSON is in the schema archprof.profile/1, which `profile-1.schema.json` beside this file describes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from archprof.analysis.numbers import BYTE_UNITS, column_style, decimal_text, percentages
from archprof.errors import UsageError
from archprof.operators.base import hint
from archprof.profiling.table import Ceiling, Row, ceiling_of, profile_rows, total_row
from archprof.report import markdown, terminal
from archprof.report.conditions import conditions
from archprof.report.output import Surface
from archprof.report.sheet import Line, Sheet

if TYPE_CHECKING:
    from archprof.profiling.records import Timing
    from archprof.profiling.runner import Profile
    from archprof.profiling.statistics import Ratio

SCHEMA = "archprof.profile/1"
SCHEMA_FILE = Path(__file__).with_name("profile-1.schema.json")
FORMATS = ("terminal", "markdown", "csv", "json")
NO_CEILING = "bound and roofline are empty: `archprof device` measures what this device attains"

_MILLISECONDS: Mapping[str, int] = {"ms": 10**6}  # in nanoseconds
_SHARE_DECIMALS = 1


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a profile: `number` gives what is printed in one unit a column, `text` anything else."""

    title: str
    help: str
    number: Callable[[Row], float | None] | None = None
    units: Mapping[str, int] | None = None  # None: SI
    scale: float = 1  # of the number, so that it is printed as an integer of the smallest unit
    text: Callable[[Row], str] | None = None
    right: bool = False  # of a text


def _label(row: Row) -> str:
    return row.path if row.copies == 1 else f"{row.path} x {row.copies}"


def _decimals(value: float | None, decimals: int, factor: float = 1) -> str:
    return "" if value is None else f"{value * factor:.{decimals}f}"


def _time(title: str, help_: str, number: Callable[[Row], float | None]) -> Column:
    return Column(title=title, help=help_, number=number, units=_MILLISECONDS, scale=1e9)


COLUMNS: Mapping[str, Column] = {
    "layer": Column(title="layer", help="path of the layer", text=_label),
    "operator": Column(title="operator", help="the operator, of a row of one node", text=lambda row: row.operator),
    "forward": _time("forward", "time of the forward pass", lambda row: row.forward),
    "backward": _time("backward", "time of the backward pass", lambda row: row.backward),
    "time": _time("time", "forward and backward", lambda row: row.seconds),
    "share": Column(title="share [%]", help="of the time of all layers", right=True),
    "operations": Column(title="FLOPs", help="operations, a multiply-add being two", number=lambda row: row.operations),
    "flops": Column(title="FLOP/s", help="effective: operations over time", number=lambda row: row.rate),
    "bytes": Column(title="bytes", help="read and written", number=lambda row: row.bytes, units=BYTE_UNITS),
    "intensity": Column(
        title="FLOPs/byte", help="operations over bytes", text=lambda row: _decimals(row.intensity, 1), right=True
    ),
    "bound": Column(title="bound", help="what takes longer on the roofline", text=lambda row: row.bound or ""),
    "predicted": _time("predicted", "least time on the roofline", lambda row: row.least),
    "ratio": Column(
        title="ratio",
        help="time measured over the least time on the roofline",
        text=lambda row: _decimals(row.ratio, 1),
        right=True,
    ),
    "roofline": Column(
        title="roofline [%]",
        help="least time on the roofline over the time measured",
        text=lambda row: _decimals(row.fraction, 0, 100),
        right=True,
    ),
}
DEFAULT_COLUMNS = ("layer", "forward", "backward", "share", "flops", "bytes", "intensity", "bound", "roofline")


def chosen_columns(names: Sequence[str] | None) -> tuple[str, ...]:
    """Names of COLUMNS in the order asked for, by default DEFAULT_COLUMNS. Raises UsageError."""
    if names is None:
        return DEFAULT_COLUMNS
    if not names:
        raise UsageError("a profile needs at least one column")
    for name in names:
        if name not in COLUMNS:
            raise UsageError(f"unknown column {name}: {hint(name, COLUMNS)}")
    return tuple(names)


def render(
    profile: Profile,
    format_: str = "terminal",
    *,
    fold: int | None,
    repeats: bool = False,
    columns: Sequence[str] | None = None,
    surface: Surface,
) -> str:
    """A profile as text in one of FORMATS.

    CSV and JSON have every column, in seconds, FLOPs and bytes. Raises UsageError for an unknown column, or a fold
    below 1.
    """
    chosen = chosen_columns(columns)
    rows = profile_rows(profile, fold=fold, repeats=repeats)
    if format_ == "csv":
        return _csv(rows)
    caption = tuple(captions(profile))
    if format_ == "json":
        return _json(profile, rows, fold, caption)
    sheet = _sheet(profile, rows, total_row(profile) if rows else None, chosen, caption)
    if rows:
        return markdown.render(sheet, surface) if format_ == "markdown" else terminal.render(sheet, surface)
    notes = [f"- {markdown.escaped(note)}" for note in caption] if format_ == "markdown" else caption
    return "\n".join((sheet.title, "", *notes)) + "\n"


def captions(profile: Profile) -> Iterator[str]:
    """What a reader must know to use the figures, a line each."""
    cell = profile.cell
    key = cell.key
    for part, timing in cell.timings.items():
        yield f"{part}: {timing_text(timing)}"
    between = "; passes between them timed the layers" if cell.layers else ""
    yield f"these are medians (95 % intervals) of whole passes without instruments{between}"
    if cell.layers_ratio:
        sums = ", ".join(f"{part} {value:.2f}" for part, value in cell.layers_ratio.items())
        yield f"sum of the layers over the whole: {sums}"
    controls = ", ".join(f"{part} {ratio_text(control)}" for part, control in profile.control.items())
    yield f"control, a second plain run over the first: {controls}"
    if not cell.layers:
        yield "no layers: a compiled network runs as one"
    mode = "evaluation mode" if key.pass_ == "forward" else "training mode"
    precisions = [key.dtype, *([f"autocast to {key.amp}"] if key.amp else []), key.layout, key.mode, mode]
    yield f"batch {key.batch}, {', '.join(precisions)}; {cell.images_per_second:.4g} images a second"
    yield f"{profile.description.hardware}, {conditions(profile.description.environment, cell.settings)}"
    if cell.layers:
        yield (
            f"counting: {profile.analysis.counting}: {profile.analysis.convention.caption}; FLOP/s are effective, "
            "counted FLOPs over time, and can exceed the device's peak"
        )
        ceiling = ceiling_of(profile)
        yield NO_CEILING if ceiling is None else ceiling_text(ceiling, total_row(profile))
    yield from (f"note: {warning}" for warning in cell.warnings)


def timing_text(timing: Timing) -> str:
    """31.2 ms (30.9 to 31.9), 36 passes; half of them 31 to 31.7, shortest 30.5; and so on."""
    passes = "1 pass" if timing.count == 1 else f"{timing.count} passes"
    median, low, high, first, third, least = (
        f"{value * 1e3:.4g}"
        for value in (
            timing.median, timing.low, timing.high, timing.quartile_1, timing.quartile_3, timing.minimum,
        )
    )  # fmt: skip
    found = f"{median} ms ({low} to {high}), {passes}"
    if timing.count == 1:
        return found
    found += f"; half of them {first} to {third}, shortest {least}"
    if len(timing.stretches) > 1:
        found += f"; stretches within {100 * timing.spread:.1f} %"
    if timing.outliers:
        found += f"; {timing.outliers} far {'outlier' if timing.outliers == 1 else 'outliers'}"
    return found


def ceiling_text(ceiling: Ceiling, total: Row) -> str:
    """What the device attains, where that is from, and what the layers take of it."""
    roofline = ceiling.roofline
    products, convolutions = ceiling.arithmetic
    peaks = f"{roofline.peak(products) / 1e9:.4g} GFLOP/s in {products}"
    if convolutions != products:
        peaks += f" ({roofline.peak(convolutions) / 1e9:.4g} in {convolutions}, of convolutions)"
    found = f"roofline: {peaks}, {roofline.bandwidth / 1e9:.4g} GB/s: {roofline.source}"
    if total.least is None or total.ratio is None:
        return found
    return f"{found}; the layers take {total.ratio:.1f} times their least time on it, {total.least * 1e3:.4g} ms"


def ratio_text(ratio: Ratio) -> str:
    """1.00 (0.98 to 1.02)."""
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


# --- sheet


def _sheet(
    profile: Profile, rows: Sequence[Row], total: Row | None, columns: Sequence[str], caption: tuple[str, ...]
) -> Sheet:
    graph = profile.graph
    everything = [*rows, *([] if total is None else [total])]
    headers, cells, right = [], [], []
    for name in columns:
        column = COLUMNS[name]
        right.append(column.right or column.number is not None)
        header, texts = _printed(column, everything)
        headers.append(header)
        cells.append(texts)
    lines = [Line(cells=each) for each in zip(*cells, strict=True)]
    title = graph.title or graph.name
    return Sheet(
        title="".join(char if char.isprintable() else " " for char in title),
        headers=tuple(headers),
        right=tuple(right),
        lines=tuple(lines[: len(rows)]),
        total=None if total is None else lines[-1],
        caption=caption,
    )


def _printed(column: Column, rows: Sequence[Row]) -> tuple[str, list[str]]:
    """The header of a column and its cells; the last row is the total."""
    if column.text is not None:
        return column.title, [column.text(row) for row in rows]
    if column.number is None:
        parts = percentages([round(row.seconds * 1e9) for row in rows[:-1]], _SHARE_DECIMALS)
        whole = 100 * 10**_SHARE_DECIMALS
        return column.title, [decimal_text(part, _SHARE_DECIMALS) for part in (*parts, whole)] if rows else []
    numbers = [column.number(row) for row in rows]
    counts = [None if number is None else round(number * column.scale) for number in numbers]
    known = [count for count in counts if count is not None]
    style = column_style(known[:-1], known[-1] if known else 0, column.units)
    header = f"{column.title} [{style.unit}]" if style.unit else column.title
    return header, ["" if count is None else style.print(count) for count in counts]


# --- data


def _record(row: Row) -> dict[str, Any]:
    return {
        "path": row.path,
        "copies": row.copies,
        "operator": row.operator,
        "forward_seconds": row.forward,
        "backward_seconds": row.backward,
        "flops": row.operations,
        "bytes": row.bytes,
        "flops_per_second": row.rate,
        "flops_per_byte": row.intensity,
        "bound": row.bound,
        "roofline_seconds": row.least,
        "roofline_fraction": row.fraction,
    }


def _ceiling(ceiling: Ceiling) -> dict[str, Any]:
    return {
        "name": ceiling.roofline.name,
        "dtype": ceiling.arithmetic.convolutions,
        "flops_per_second": ceiling.roofline.peak(ceiling.arithmetic.convolutions),
        "dtype_of_products": ceiling.arithmetic.products,
        "flops_per_second_of_products": ceiling.roofline.peak(ceiling.arithmetic.products),
        "bytes_per_second": ceiling.roofline.bandwidth,
        "source": ceiling.roofline.source,
    }


def _csv(rows: Sequence[Row]) -> str:
    stream = io.StringIO()
    names = list(_record(Row(path="", forward=0.0)))
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_record(row) for row in rows)
    return stream.getvalue()


def _json(profile: Profile, rows: Sequence[Row], fold: int | None, caption: Sequence[str]) -> str:
    cell, ceiling = profile.cell, ceiling_of(profile)
    document = {
        "schema": SCHEMA,
        "network": profile.graph.name,
        "title": profile.graph.title,
        "key": msgspec.to_builtins(cell.key),
        "machine": profile.description.machine,
        "hardware": profile.description.hardware,
        "settings": cell.settings,
        "counting": {"name": profile.analysis.counting, "meaning": profile.analysis.convention.caption},
        "timings": {part: _timing(timing) for part, timing in cell.timings.items()},
        "control": {part: msgspec.to_builtins(control) for part, control in profile.control.items()},
        "layers_ratio": cell.layers_ratio,
        "images_per_second": cell.images_per_second,
        "roofline": None if ceiling is None else _ceiling(ceiling),
        "fold": fold,
        "rows": [_record(row) for row in rows],
        "notes": list(caption),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _timing(timing: Timing) -> dict[str, Any]:
    """All but the raw samples, which `--save` writes."""
    return {name: getattr(timing, name) for name in timing.__struct_fields__ if name != "stretches"}
