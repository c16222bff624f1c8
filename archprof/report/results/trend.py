"""Courses over the runs of a history: one a line, as a line of bars and the steps that were found."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from archprof.profiling.changes import FLOOR
from archprof.profiling.history import Course
from archprof.report.output import Surface
from archprof.report.results import Content
from archprof.report.results.axes import axis, fields, label, times, varying
from archprof.report.sheet import Line, Sheet

SCHEMA = "archprof.trend/1"
METHOD = (
    f"a step: a level that holds for 3 runs or more, {100 * FLOOR:g} % or more from the one before, at which a "
    "permutation test gives p <= 0.002"
)
_BARS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-=+*#@"
_WIDEST = 32


def content(courses: Sequence[Course], notes: Sequence[str], surface: Surface) -> Content:
    """Courses as a table; `notes` say what of the histories could not be read."""
    axes, shared = varying([course.key for course in courses])
    machines = dict.fromkeys(course.machine for course in courses)
    several = len(machines) > 1
    unit, printed = times(each for course in courses for each in (course.points[0].seconds, course.points[-1].seconds))
    lines = tuple(
        Line(
            cells=(
                *((course.machine,) if several else ()),
                *(axis(course.key, name) for name in axes),
                str(len(course.points)),
                bars([point.seconds for point in course.points], surface.unicode),
                printed(course.points[0].seconds),
                printed(course.points[-1].seconds),
                f"{_percent(course.steps[-1].change)}" if course.steps else "none",
            )
        )
        for course in courses
    )
    headers = (*(("machine",) if several else ()), *axes, "runs", "course", f"first [{unit}]", f"last [{unit}]")
    stepped = sum(bool(course.steps) for course in courses)
    sheet = Sheet(
        title=f"{len(courses)} {'course' if len(courses) == 1 else 'courses'}, {stepped} with a step",
        headers=(*headers, "last step"),
        right=(*((False,) if several else ()), *(name == "batch" for name in axes), True, False, True, True, True),
        lines=lines,
        caption=tuple(_captions(courses, shared, notes)),
    )
    records = tuple(record(course) for course in courses)
    return Content(sheet, records, {"schema": SCHEMA, "courses": [_whole(each) for each in courses], "notes": [*notes]})


def bars(values: Sequence[float], unicode: bool = True) -> str:
    """A series as bars from its lowest to its highest value, at least 10 % apart: noise is not to look like a course.

    Of a long one a bar is the median of several runs.
    """
    size = -(-len(values) // _WIDEST)
    levels = [statistics.median(values[start : start + size]) for start in range(0, len(values), size)]
    glyphs = _BARS if unicode else _ASCII
    low = min(levels)
    high = max(*levels, 1.1 * low)
    return "".join(glyphs[min(int((level - low) / (high - low) * len(glyphs)), len(glyphs) - 1)] for level in levels)


def told_steps(course: Course) -> Iterator[str]:
    """Each step in words: +6.1 % at run 41 (2026-11-24, a198f59)."""
    for step in course.steps:
        point = course.points[step.at]
        commit = "" if point.commit is None else f", {point.commit[:7]}{'+' if point.commit.endswith('+') else ''}"
        yield f"{_percent(step.change)} at run {step.at + 1} ({point.created[:10]}{commit})"


def _percent(change: float) -> str:
    return f"{100 * change:+.1f} %"


def record(course: Course) -> dict[str, object]:
    """A course for a spreadsheet."""
    return {
        "machine": course.machine,
        **fields(course.key),
        "runs": len(course.points),
        "first": course.points[0].seconds,
        "last": course.points[-1].seconds,
        "steps": "; ".join(told_steps(course)),
    }


def _whole(course: Course) -> dict[str, object]:
    return {
        "machine": course.machine,
        "hardware": course.hardware,
        **fields(course.key),
        "points": course.points,
        "steps": [{"run": step.at + 1, "before": step.before, "after": step.after} for step in course.steps],
    }


def _captions(courses: Sequence[Course], shared: str, notes: Sequence[str]) -> Iterator[str]:
    several = len({course.machine for course in courses}) > 1
    for course in courses:
        place = f" on {course.machine}" if several else ""
        yield from (f"step: {label(course.key)}{place}: {told}" for told in told_steps(course))
    if shared:
        yield shared
    yield ", ".join(dict.fromkeys(f"{course.hardware} ({course.machine})" for course in courses))
    yield METHOD
    yield from notes
