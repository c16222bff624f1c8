"""What a device attains beside what its data sheet says, and the list of known data sheets.

JSON is in the schema archprof.device/1, which `device-1.schema.json` beside this file describes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from archprof.profiling.peaks import Peak
from archprof.profiling.roofline import Attained
from archprof.report import markdown, terminal
from archprof.report.csv import records
from archprof.report.output import Surface
from archprof.report.sheet import Line, Sheet, parts

FORMATS = ("terminal", "markdown", "csv", "json")
SCHEMA = "archprof.device/1"
SCHEMA_FILE = Path(__file__).with_name("device-1.schema.json")

_DTYPES = ("float64", "float32", "tfloat32", "bfloat16", "float16")
_NOTE = "a multiply-add is two operations; data sheets' figures are dense, without sparsity, at the boost clock"


class _Figure(msgspec.Struct, frozen=True):
    """One line: what was measured and what is promised, a second."""

    name: str
    attained: float | None
    promised: float | None
    unit: str
    how: str


def render(attained: Attained | None, peak: Peak | None, format: str, surface: Surface) -> str:  # noqa: A002
    """A device as text in one of FORMATS; at least one of the two is known."""
    if format == "json":
        return _json(attained, [] if peak is None else [peak])
    figures = _figures(attained, peak)
    if format == "csv":
        return records(
            [
                {
                    "figure": each.name,
                    "unit": each.unit,
                    "attained": None if each.attained is None else round(each.attained),
                    "data_sheet": None if each.promised is None else round(each.promised),
                }
                for each in figures
            ]
        )
    sheet = _sheet(figures, attained, peak)
    return markdown.render(sheet, surface) if format == "markdown" else terminal.render(sheet, surface)


def render_list(peaks: Sequence[Peak], format: str, surface: Surface) -> str:  # noqa: A002
    """The known data sheets as text in one of FORMATS."""
    if format == "json":
        return _json(None, peaks)
    if format == "csv":
        return records(
            [
                {"card": peak.name, "form": peak.form, "memory": peak.memory}
                | {f"{dtype}_tflops": peak.tflops.get(dtype) for dtype in _DTYPES}
                | {"bandwidth_gb_s": peak.bandwidth, "source": peak.source}
                for peak in peaks
            ]
        )
    sources = list(dict.fromkeys(peak.source for peak in peaks))
    sheet = Sheet(
        title="Data sheets: TFLOP/s by dtype, GB/s of the memory",
        headers=("card", *_DTYPES, "GB/s", "form", "memory", "source"),
        right=(False, *(True for _ in _DTYPES), True, False, False, True),
        lines=tuple(
            Line(
                cells=(
                    peak.name,
                    *(f"{peak.tflops[dtype]:g}" if dtype in peak.tflops else "" for dtype in _DTYPES),
                    f"{peak.bandwidth:g}",
                    peak.form,
                    peak.memory,
                    f"[{sources.index(peak.source) + 1}]",
                )
            )
            for peak in peaks
        ),
        caption=(_NOTE, "", *(f"[{number}] {source}" for number, source in enumerate(sources, 1))),
    )
    if format == "markdown":
        return markdown.render(sheet, surface)
    several = [sheet] if surface.width is None else parts(sheet, surface.width)
    return "\n".join(terminal.render(each, surface) for each in several)


def _json(attained: Attained | None, peaks: Sequence[Peak]) -> str:
    document = {
        "schema": SCHEMA,
        "attained": None if attained is None else msgspec.to_builtins(attained),
        "data_sheets": msgspec.to_builtins(peaks),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def rate(value: float, unit: str) -> str:
    """A rate with three digits and its unit: 204 GFLOP/s, 22.5 GB/s."""
    prefixes = {"T": 1e12, "G": 1e9, "M": 1e6, "K": 1e3, "": 1.0}
    prefix = next((prefix for prefix, size in prefixes.items() if value >= 0.9995 * size), "")
    scaled = value / prefixes[prefix]
    decimals = 0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2
    return f"{scaled:.{decimals}f} {prefix}{unit}"


def _figures(attained: Attained | None, peak: Peak | None) -> list[_Figure]:
    found = []
    for dtype in _DTYPES:
        measured = None if attained is None else attained.operations.get(dtype)
        promised = None if peak is None else peak.tflops.get(dtype)
        if measured is None and promised is None:
            continue
        size = None if attained is None else attained.sizes.get(dtype)
        found.append(
            _Figure(
                f"matrix product, {dtype}",
                measured,
                None if promised is None else promised * 1e12,
                "FLOP/s",
                "" if size is None else f"{size} x {size}",
            )
        )
    bandwidth = None if peak is None else peak.bandwidth * 1e9
    if attained is None:
        found.append(_Figure("memory", None, bandwidth, "B/s", ""))
    else:
        arrays = f"arrays of {attained.array / 2**20:g} MiB"
        found.append(_Figure("memory, copy", attained.copy, bandwidth, "B/s", arrays))
        found.append(_Figure("memory, triad", attained.triad, bandwidth, "B/s", arrays))
    return found


def _sheet(figures: Sequence[_Figure], attained: Attained | None, peak: Peak | None) -> Sheet:
    columns: dict[str, tuple[list[str], bool]] = {"figure": ([each.name for each in figures], False)}
    if attained is not None:
        columns["attained"] = ([_rate(each.attained, each.unit) for each in figures], True)
    if peak is not None:
        columns["data sheet"] = ([_rate(each.promised, each.unit) for each in figures], True)
    if attained is not None and peak is not None:
        columns["share"] = ([_share(each) for each in figures], True)
    if attained is not None:
        columns["with"] = ([each.how for each in figures], False)
    caption = [_NOTE]
    if attained is not None:
        caption.append(f"attained: {attained.roofline.source}; the best of several stretches")
        caption.extend(f"{dtype} cannot be multiplied here: {why}" for dtype, why in attained.unsupported.items())
        caption.extend(f"while it was measured, {warning}" for warning in attained.warnings)
    if peak is not None:
        caption.append(f"data sheet: {peak.name}, {peak.form}, {peak.memory}: {peak.source}")
    return Sheet(
        title=attained.roofline.name if attained is not None else peak.name if peak is not None else "",
        headers=tuple(columns),
        right=tuple(right for _, right in columns.values()),
        lines=tuple(Line(cells=cells) for cells in zip(*(cells for cells, _ in columns.values()), strict=True)),
        caption=tuple(caption),
    )


def _rate(value: float | None, unit: str) -> str:
    return "" if value is None else rate(value, unit)


def _share(figure: _Figure) -> str:
    return "" if figure.attained is None or figure.promised is None else f"{figure.attained / figure.promised:.0%}"
