"""A comparison in a GitHub Actions run: annotations of what fails, and the job's page."""

from __future__ import annotations

from collections.abc import Sequence

from archprof.profiling.comparison import Compared, Comparison
from archprof.report import markdown
from archprof.report.annotations import MOST, annotation
from archprof.report.output import PIPE
from archprof.report.results import Content
from archprof.report.results.axes import label, three_digits
from archprof.report.results.comparing import counts, interval, verdict

_TITLE = "archprof results compare"


def render(comparison: Comparison, failed: Sequence[Compared]) -> str:
    """An error for each cell that fails, 10 at most, and a notice that holds all cells."""
    errors = [annotation("error", told(cell), title=f"{_TITLE}: {cell.key.network}") for cell in failed[:MOST]]
    everything = "\n".join([counts(comparison), *map(told, comparison.cells)])
    return "\n".join([*errors, annotation("notice", everything, title=_TITLE)]) + "\n"


def step_summary(content: Content) -> str:
    """The job's page in Markdown (GITHUB_STEP_SUMMARY)."""
    return f"### {_TITLE}\n\n{markdown.render(content.sheet, PIPE)}\n"


def told(cell: Compared) -> str:
    """A cell in one line: resnet-50, batch 8, 3x224x224, forward: slower, x 1.07 (1.05..1.09)."""
    ratio = "" if cell.ratio is None else f", x {three_digits(cell.ratio)}"
    known = interval(cell)
    return f"{label(cell.key)}: {verdict(cell)}{ratio}{f' ({known})' if known else ''}"
