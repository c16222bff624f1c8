"""A line a network; what differs, and the published cells that are known not to follow, below it.

Mistakes are not in it: the command line tells them as it does everywhere, on standard error.
"""

from __future__ import annotations

from collections.abc import Sequence

from archprof.analysis.check import EXCEPTION, FAILED, PASSED, Checked, Finding, Report
from archprof.report.output import Surface


def render(report: Report, surface: Surface) -> str:
    """Networks in the order checked, and the sums at the end."""
    strong, plain = ("\x1b[1m", "\x1b[0m") if surface.colour else ("", "")
    lines: list[str] = []
    for network in report.networks:
        if not network.findings:
            continue
        failed = network.count(FAILED)
        line = f"{'FAIL' if failed else 'ok  '}  {network.name}: {counts((network,))}"
        lines.append(f"{strong}{line}{plain}" if failed else line)
        lines.extend(f"      {said(each)}" for each in network.findings if each.status == FAILED)
        lines.extend(f"      {said(each)}" for each in network.findings if each.status == EXCEPTION)
        if network.unlisted:
            lines.append(f"      published rows that the spec has no node for: {', '.join(network.unlisted)}")
    lines.append(f"{strong}{summary(report)}{plain}")
    return "\n".join(lines) + "\n"


def difference(finding: Finding) -> str:
    """What is found and what was expected, without a place."""
    note = f" ({finding.note})" if finding.note else ""
    return f"{finding.what} is {finding.found}, not {finding.expected}{note}"


def said(finding: Finding) -> str:
    """A finding with its place, as one line."""
    known = "does not follow, as recorded: " if finding.status == EXCEPTION else ""
    return f"{finding.file}:{finding.line}:{finding.column}: {known}{difference(finding)}"


def counts(checked: Sequence[Checked]) -> str:
    """How many findings of each kind."""
    sums = {status: sum(network.count(status) for network in checked) for status in (PASSED, FAILED, EXCEPTION)}
    parts = [f"{sums[PASSED]} {'agrees' if sums[PASSED] == 1 else 'agree'}"]
    if sums[FAILED]:
        parts.append(f"{sums[FAILED]} {'differs' if sums[FAILED] == 1 else 'differ'}")
    if sums[EXCEPTION]:
        one = sums[EXCEPTION] == 1
        parts.append(f"{sums[EXCEPTION]} published {'cell does' if one else 'cells do'} not follow, as recorded")
    return ", ".join(parts)


def summary(report: Report) -> str:
    """All networks in one line; those named of which nothing is expected (of a family its variants say it)."""
    held = [network for network in report.networks if network.findings]
    without = [network.name for network in report.networks if not network.findings and not network.family]
    text = f"{len(held)} {'network' if len(held) == 1 else 'networks'}: {counts(report.networks)}"
    if report.mistakes:
        files = len({mistake.file for mistake in report.mistakes})
        text += f"; {files} {'file' if files == 1 else 'files'} with mistakes"
    return text + (f"; nothing is expected of {', '.join(without)}" if without else "")
