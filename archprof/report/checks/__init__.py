"""What was checked of networks, in the formats that people and CI systems read; a format is one module."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence

from archprof.analysis.check import Checked
from archprof.report.output import Surface

# name -> its module, which has `render(checked, surface) -> str`
FORMATS: Mapping[str, str] = {
    "terminal": "archprof.report.checks.terminal",
    "github": "archprof.report.checks.github",
    "junit": "archprof.report.checks.junit",
    "json": "archprof.report.checks.json",
}


def render(checked: Sequence[Checked], format: str, surface: Surface) -> str:  # noqa: A002
    """Findings as text in one of FORMATS."""
    text: str = importlib.import_module(FORMATS[format]).render(checked, surface)
    return text
