"""The least times of a network's layers under a roofline, without running it.

JSON is in the schema archprof.prediction/1, which `prediction-1.schema.json` beside this file describes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from archprof.analysis.analysis import Analysis
from archprof.analysis.numbers import BYTE_UNITS, ColumnStyle, column_style, decimal_text, percentages
from archprof.analysis.numbers import exact as exact_text
from archprof.analysis.table import fold_groups
from archprof.profiling.roofline import Prediction, Roofline, total
from archprof.report import markdown, terminal
from archprof.report.csv import records
from archprof.report.device import rate
from archprof.report.output import Surface
from archprof.report.sheet import Line, Sheet

FORMATS = ("terminal", "markdown", "csv", "json")
SCHEMA = "archprof.prediction/1"
SCHEMA_FILE = Path(__file__).with_name("prediction-1.schema.json")

_PICO = 10**12  # numbers are printed from whole ones: picoseconds
_TIME_UNITS = {"ps": 1, "ns": 10**3, "us": 10**6, "ms": 10**9, "s": _PICO}
_PASSES = {"forward": "forward pass", "backward": "backward pass", "both": "forward and backward pass"}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A predicted network: its rows in order of execution, and what they were predicted for."""

    analysis: Analysis  # of any of the passes
    passes: str
    roofline: Roofline
    dtype: str  # of the peak: tfloat32 for float32 products in TF32
    rows: tuple[Prediction, ...]
    whole: Prediction
    fold: int | None


def make_report(
    analysis: Analysis,
    nodes: Mapping[str, Prediction],
    *,
    passes: str,
    roofline: Roofline,
    dtype: str,
    fold: int | None,
) -> Report:
    """Fold the predictions of nodes as the table is folded. Raises UsageError for a fold below 1."""
    rows = tuple(
        total(group.label, [nodes[figures.node.path] for figures in group.figures])
        for group in fold_groups(analysis, fold=fold)
    )
    return Report(
        analysis=analysis,
        passes=passes,
        roofline=roofline,
        dtype=dtype,
        rows=rows,
        whole=total("total", nodes.values()),
        fold=fold,
    )


def render(report: Report, format: str, surface: Surface) -> str:  # noqa: A002
    """A prediction as text in one of FORMATS."""
    if format == "json":
        return json.dumps(_document(report), indent=2, ensure_ascii=False) + "\n"
    if format == "csv":
        return records([_record(each) for each in (*report.rows, report.whole)])
    sheet = _sheet(report)
    return markdown.render(sheet, surface) if format == "markdown" else terminal.render(sheet, surface)


def _sheet(report: Report) -> Sheet:
    every = (*report.rows, report.whole)
    times = [_picoseconds(each.seconds) for each in every]
    time = column_style(times[:-1], times[-1], _TIME_UNITS)
    flops = column_style([each.flops for each in report.rows], report.whole.flops)
    moved = column_style([each.moved for each in report.rows], report.whole.moved, BYTE_UNITS)
    shares = percentages(times[:-1])
    lines = [
        Line(
            cells=(
                each.path,
                _count(each, flops),
                moved.print(each.moved) if each.moved else "",
                "" if each.intensity is None else _three(each.intensity),
                _bound(each),
                time.print(picoseconds) if each.seconds else "",
                decimal_text(share, 1) if each.seconds else "",
            ),
            kind="total" if each is report.whole else "row",
        )
        for each, picoseconds, share in zip(every, times, [*shares, sum(shares)], strict=True)
    ]
    graph = report.analysis.graph
    return Sheet(
        title=graph.title or graph.name,
        headers=(
            "layer",
            f"FLOPs [{flops.unit}]" if flops.unit else "FLOPs",
            f"moved [{moved.unit}]",
            "operations a byte",
            "bound by",
            f"least time [{time.unit}]",
            "share [%]",
        ),
        right=(False, True, True, True, False, True, True),
        lines=tuple(lines[:-1]),
        total=lines[-1],
        caption=tuple(_captions(report)),
    )


def _captions(report: Report) -> list[str]:
    analysis, roofline, whole = report.analysis, report.roofline, report.whole
    peak = roofline.peak(report.dtype)
    mode = "training" if analysis.train else "inference"
    rows = "a row each node" if report.fold is None else f"rows at depth {report.fold} of the paths"
    least = "at least " if whole.uncounted else ""
    found = [
        f"on {roofline.name}: {rate(peak, 'FLOP/s')} in {report.dtype}, {rate(roofline.bandwidth, 'B/s')}",
        roofline.source,
        f"{mode}, {_PASSES[report.passes]}, batch {analysis.batch}, {analysis.dtype}; {rows}",
        f"counting: {analysis.counting}: {analysis.convention.caption}; times are of all arithmetic operations, "
        f"a multiply-add being two: {least}{exact_text(whole.operations)}",
    ]
    if whole.seconds:
        found.append(
            f"least time {_duration(whole.seconds)} a batch, at most {_three(analysis.batch / whole.seconds)} images/s"
        )
    found.append(
        "least time: the longer of operations / peak and bytes / bandwidth, layer after layer; a kernel that does less "
        "(Winograd, fusion, data still in a cache) can be faster"
    )
    if whole.uncounted:
        found.append(
            f"not counted: the operations of {whole.uncounted} {'node' if whole.uncounted == 1 else 'nodes'}, whose "
            "times are those of their bytes"
        )
    return found


def _bound(each: Prediction) -> str:
    """What bounds a row; of nodes that differ, the side with more of the time and its share."""
    share = each.compute_share
    if share is None:
        return ""
    if share in (0.0, 1.0):
        return "compute" if share else "memory"
    kind, part = ("compute", share) if share >= 0.5 else ("memory", 1 - share)
    return f"{kind} {min(part, 0.99):.0%}"


def _count(each: Prediction, style: ColumnStyle) -> str:
    text = style.print(each.flops) if each.flops else ""
    return f">= {text or 0}" if each.uncounted else text


def _picoseconds(seconds: float) -> int:
    return round(seconds * _PICO)


def _duration(seconds: float) -> str:
    unit = next((name for name, size in reversed(_TIME_UNITS.items()) if seconds * _PICO >= size), "ps")
    return f"{_three(seconds * _PICO / _TIME_UNITS[unit])} {unit}"


def _three(value: float) -> str:
    """Three digits, as 0.125, 26.1 or 1,234."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}" if value >= 0.9995 else f"{value:.3g}"


def _record(each: Prediction) -> dict[str, Any]:
    return {
        "path": each.path,
        "flops": each.flops,
        "operations": each.operations,
        "moved_bytes": each.moved,
        "operations_a_byte": each.intensity,
        "least_seconds": each.seconds,
        "compute_bound_seconds": each.compute_seconds,
        "memory_bound_seconds": each.memory_seconds,
        "uncounted_nodes": each.uncounted,
    }


def _document(report: Report) -> dict[str, Any]:
    analysis, roofline = report.analysis, report.roofline
    return {
        "schema": SCHEMA,
        "network": analysis.graph.name,
        "counting": analysis.counting,
        "mode": "training" if analysis.train else "inference",
        "passes": report.passes,
        "batch": analysis.batch,
        "dtype": analysis.dtype,
        "fold": report.fold,
        "roofline": {
            "name": roofline.name,
            "source": roofline.source,
            "dtype": report.dtype,
            "operations_a_second": roofline.peak(report.dtype),
            "bytes_a_second": roofline.bandwidth,
        },
        "rows": [_record(each) for each in report.rows],
        "total": _record(report.whole),
    }
