"""Results in the formats of other tools; a format is one module."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from archprof.profiling.records import Run

# name -> its module, which has `render(run) -> str`
EXPORTS: Mapping[str, str] = {
    "github-action-benchmark": "archprof.report.results.exports.github_action_benchmark",
}


def export(run: Run, to: str) -> str:
    """A run as the text of one of EXPORTS; cells that were not measured are not in it."""
    text: str = importlib.import_module(EXPORTS[to]).render(run)
    return text
