"""What was checked of networks, in the formats that people and CI systems read; a format is one module."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from archprof.analysis.check import Report
from archprof.report.output import Surface

# name -> its module, which has `render(report, surface) -> str`
FORMATS: Mapping[str, str] = {
    "terminal": "archprof.report.checks.terminal",
    "github": "archprof.report.checks.github",
    "junit": "archprof.report.checks.junit",
    "json": "archprof.report.checks.json",
}


def render(report: Report, format: str, surface: Surface) -> str:  # noqa: A002
    """Findings as text in one of FORMATS."""
    text: str = importlib.import_module(FORMATS[format]).render(report, surface)
    return text
