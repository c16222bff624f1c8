"""Tables in the formats that people and programs read; a format is one module, imported when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from archprof.analysis.numbers import Style
from archprof.analysis.table import Table
from archprof.errors import UsageError
from archprof.operators.base import hint
from archprof.report.output import PIPE, Surface, surface_of, write_output

__all__ = ["FORMATS", "PIPE", "Surface", "render", "surface_of", "write_output"]

# name -> its module, which has `render(layout, surface) -> str`
FORMATS: Mapping[str, str] = {
    "terminal": "archprof.report.terminal",
    "csv": "archprof.report.csv",
    "json": "archprof.report.json",
    "markdown": "archprof.report.markdown",
}
_DATA_FORMATS = ("csv", "json")  # for programs: cells with their unit, headers that do not change


def render(
    table: Table,
    format: str = "terminal",  # noqa: A002
    *,
    styles: Mapping[str, Style] | None = None,
    exact: bool = False,
    surface: Surface = PIPE,
) -> str:
    """A table as text in one of FORMATS.

    `styles` prints columns as a source does (analysis.published.column_styles), `exact` prints whole
    numbers, `surface` is what the text is written on (surface_of(sys.stdout)). Raises UsageError for an unknown format.
    """
    if format not in FORMATS:
        raise UsageError(f"unknown format {format}: {hint(format, FORMATS)}")
    from archprof.report.layout import lay_out

    layout = lay_out(table, styles=styles, exact=exact, data=format in _DATA_FORMATS)
    text: str = importlib.import_module(FORMATS[format]).render(layout, surface)
    return text
