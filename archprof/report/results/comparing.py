"""Two runs side by side."""

from __future__ import annotations

from collections.abc import Iterator

from archprof.profiling.comparison import MACHINE, VERDICTS, Compared, Comparison, Verdict
from archprof.profiling.records import Run
from archprof.report.results import Content
from archprof.report.results.axes import axis, fields, three_digits, times, varying
from archprof.report.sheet import Line, Sheet

SCHEMA = "archprof.comparison/1"


def content(comparison: Comparison, names: tuple[str, str]) -> Content:
    """A comparison of the results files of these names."""
    cells = comparison.cells
    axes, shared = varying([cell.key for cell in cells])
    unit, printed = times(each for cell in cells for each in (cell.before, cell.after))
    marks: dict[str, str] = {}  # of the reasons, which stand below the table
    for cell in cells:
        if cell.reason:
            marks.setdefault(cell.reason, f"[{len(marks) + 1}]")
    lines = tuple(
        Line(
            cells=(
                *(axis(cell.key, name) for name in axes),
                printed(cell.before),
                printed(cell.after),
                "" if cell.ratio is None else three_digits(cell.ratio),
                interval(cell),
                f"{cell.verdict} {marks[cell.reason]}" if cell.reason else cell.verdict,
            )
        )
        for cell in cells
    )
    sheet = Sheet(
        title=f"{names[0]} -> {names[1]}: {counts(comparison)}",
        headers=(*axes, f"before [{unit}]", f"after [{unit}]", "ratio", "interval", "verdict"),
        right=(*(name == "batch" for name in axes), True, True, True, True, False),
        lines=lines,
        caption=(*(f"{mark} {reason}" for reason, mark in marks.items()), *_captions(comparison, shared)),
    )
    records = tuple(record(cell) for cell in cells)
    document = {
        "schema": SCHEMA,
        "before": _place(comparison.before, names[0]),
        "after": _place(comparison.after, names[1]),
        "floor": comparison.floor,
        "counts": {each: comparison.count(each) for each in VERDICTS},
        "cells": records,
        "differences": {name: list(pair) for name, pair in comparison.differences.items()},
    }
    return Content(sheet, records, document)


def counts(comparison: Comparison) -> str:
    """How many cells have which verdict, those without any left out: 2 slower, 5 same."""
    found = {each: comparison.count(each) for each in VERDICTS}
    return ", ".join(f"{count} {each}" for each, count in found.items() if count) or "no cells"


def verdict(cell: Compared) -> str:
    """What is said of a cell, and why where nothing is."""
    return f"{cell.verdict}: {cell.reason}" if cell.reason else cell.verdict


def interval(cell: Compared) -> str:
    """The interval of the ratio."""
    if cell.low is None or cell.high is None:
        return ""
    return f"{three_digits(cell.low)}..{three_digits(cell.high)}"


def record(cell: Compared) -> dict[str, object]:
    """A cell for programs; seconds."""
    found: dict[str, object] = fields(cell.key)
    names: tuple[str, ...] = ("verdict", "before", "after", "ratio", "low", "high", "reason", "lost")
    return found | {name: getattr(cell, name) for name in names}


def _captions(comparison: Comparison, shared: str) -> Iterator[str]:
    if shared:
        yield shared
    before, after = comparison.before, comparison.after
    yield before.hardware if before.hardware == after.hardware else f"{before.hardware} -> {after.hardware}"
    different = [f"{name} {old} -> {new}" for name, (old, new) in comparison.differences.items() if name != "hardware"]
    if different:
        yield f"the environments differ: {'; '.join(different)}"
    judged: tuple[Verdict, ...] = ("faster", "slower", "same", "unclear")
    if any(comparison.count(each) for each in judged):
        yield (
            "faster or slower: the 95 % intervals of the medians lie apart, and the ratio after / before is "
            f"{100 * comparison.floor:g} % or more from 1"
        )
    held = [name for name in MACHINE if any(f"{name} " in cell.reason for cell in comparison.cells)]
    if held:
        yield f"--across {','.join(held)} compares them all the same"


def _place(run: Run, name: str) -> dict[str, object]:
    return {"file": name, "hardware": run.hardware, "machine": run.machine, "created": run.created}
