"""Courses as SVG, one chart each: a dot a run with its interval, the levels between the steps."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from archprof.profiling.history import Course
from archprof.report.results.axes import label, times
from archprof.report.results.trend import told_steps

_WIDTH, _HEIGHT = 720, 150  # of one chart
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 16, 34, 24
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#222}.name{font-weight:600}.small{font-size:11px;fill:#666}"
    ".axis{stroke:#bbb}.range{stroke:#7aa6d8}.run{fill:#1f6fb5}.level{stroke:#c2410c;stroke-width:2}"
    ".step{stroke:#c2410c;stroke-dasharray:3 3}"
    "@media (prefers-color-scheme:dark){text{fill:#ddd}.small{fill:#aaa}.axis{stroke:#555}.run{fill:#6cb2f0}"
    ".level,.step{stroke:#f59e5b}}"
)


def render(courses: Sequence[Course]) -> str:
    """One picture with all of the courses, one under the other."""
    height = _HEIGHT * len(courses)
    several = len({course.machine for course in courses}) > 1
    charts = [
        f'<g transform="translate(0 {_HEIGHT * place})">\n{"".join(_chart(course, several))}</g>\n'
        for place, course in enumerate(courses)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}">\n'
        f"<style>{_STYLE}</style>\n{''.join(charts)}</svg>\n"
    )


def _chart(course: Course, several: bool) -> Iterator[str]:
    points = course.points
    low = min(point.low for point in points)
    high = max(point.high for point in points)
    unit, printed = times([low, high])
    span = (high - low) or high

    def x(place: float) -> str:
        inside = _WIDTH - _LEFT - _RIGHT
        return f"{_LEFT + inside * (place + 0.5) / len(points):.1f}"

    def y(seconds: float) -> str:
        inside = _HEIGHT - _TOP - _BOTTOM
        return f"{_TOP + inside * (high - seconds) / span:.1f}"

    name = f"{label(course.key)}{f' on {course.machine}' if several else ''}"
    steps = "; ".join(told_steps(course)) or "no step"
    yield f"<title>{escape(f'{name}: {steps}')}</title>\n"
    yield f'<text class="name" x="{_LEFT}" y="14">{escape(name)}</text>\n'
    yield f'<text class="small" x="{_LEFT}" y="28">{escape(steps)}</text>\n'
    for value in dict.fromkeys((high, low)):
        yield f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value)}" y2="{y(value)}"/>\n'
        place = f'x="{_LEFT - 6}" y="{y(value)}" dy="4"'
        yield f'<text class="small" text-anchor="end" {place}>{printed(value)} {unit}</text>\n'
    bounds = [0, *(step.at for step in course.steps), len(points)]
    for start, end in itertools.pairwise(bounds):
        level = y(statistics.median(point.seconds for point in points[start:end]))
        if course.steps:
            yield f'<line class="level" x1="{x(start - 0.5)}" x2="{x(end - 0.5)}" y1="{level}" y2="{level}"/>\n'
        if start:
            across = f'x1="{x(start - 0.5)}" x2="{x(start - 0.5)}"'
            yield f'<line class="step" {across} y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>\n'
    for run, point in enumerate(points):
        yield f'<line class="range" x1="{x(run)}" x2="{x(run)}" y1="{y(point.low)}" y2="{y(point.high)}"/>\n'
        yield f'<circle class="run" cx="{x(run)}" cy="{y(point.seconds)}" r="2"/>\n'
    bottom = _HEIGHT - 8
    yield f'<text class="small" x="{_LEFT}" y="{bottom}">{escape(points[0].created[:10])}</text>\n'
    yield (
        f'<text class="small" text-anchor="end" x="{_WIDTH - _RIGHT}" y="{bottom}">'
        f"{escape(points[-1].created[:10])}, {len(points)} runs</text>\n"
    )
