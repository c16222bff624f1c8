"""Annotations of a GitHub Actions run, at the line of the spec or of the published file.

At most 10 errors are printed, and one notice that holds all.
"""

from __future__ import annotations

import os

from archprof.analysis.check import EXCEPTION, Report, shown_path
from archprof.report.annotations import MOST, annotation
from archprof.report.checks.terminal import counts, difference, said, summary
from archprof.report.markdown import escaped
from archprof.report.output import Surface


def render(report: Report, surface: Surface) -> str:
    """Errors (mistakes of specs first), then the notice."""
    errors = [
        annotation(
            "error",
            f"{mistake.message} [{mistake.code}]",
            file=_in_workspace(mistake.file),
            line=str(max(mistake.line, 1)),
            col=str(max(mistake.column, 1)),
            title="archprof check",
        )
        for mistake in report.mistakes
    ]
    errors.extend(
        annotation(
            "error",
            difference(each),
            file=_in_workspace(each.file),
            line=str(each.line),
            col=str(each.column),
            title=f"archprof check: {network.name}",
        )
        for network, each in report.failures
    )
    everything = "\n".join([summary(report), *_all(report)])
    return "\n".join([*errors[:MOST], annotation("notice", everything, title="archprof check")]) + "\n"


def step_summary(report: Report) -> str:
    """The job's page in Markdown (GITHUB_STEP_SUMMARY), which no limit cuts off."""
    lines = [f"### archprof check\n\n{escaped(summary(report))}\n"]
    if report.mistakes or report.failures:
        lines.extend(f"- {escaped(line)}" for line in _all(report))
        lines.append("")
    held = [network for network in report.networks if network.findings]
    lines.extend(["| network | checked |", "|---|---|"])
    lines.extend(f"| {escaped(network.name)} | {counts((network,))} |" for network in held)
    known = [each for network in held for each in network.findings if each.status == EXCEPTION]
    if known:
        lines.extend(["", "<details><summary>Published cells that do not follow, as recorded</summary>", ""])
        lines.extend(f"- {escaped(said(each))}" for each in known)
        lines.extend(["", "</details>"])
    return "\n".join(lines) + "\n\n"


def _all(report: Report) -> list[str]:
    """What is wrong, a line each."""
    return [*map(str, report.mistakes), *(f"{network.name}: {said(each)}" for network, each in report.failures)]


def _in_workspace(path: str) -> str:
    """A path from the root of the checkout, where the step runs in a folder of it: annotations need that."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if workspace:
        relative = os.path.relpath(path, workspace)
        if not relative.startswith(".."):
            return relative
    return shown_path(path)
