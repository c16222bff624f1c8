"""A line a network; what differs, and the published cells that are known not to follow, below it."""

from __future__ import annotations

from collections.abc import Sequence

from archprof.analysis.check import EXCEPTION, FAILED, PASSED, Checked, Finding
from archprof.report.output import Surface


def render(checked: Sequence[Checked], surface: Surface) -> str:
    """Networks in the order checked, and the sums at the end."""
    lines: list[str] = []
    for network in checked:
        if not network.findings:
            continue
        failed = network.count(FAILED)
        lines.append(f"{'FAIL' if failed else 'ok  '}  {network.name}: {counts((network,))}")
        lines.extend(f"      {said(each)}" for each in network.findings if each.status == FAILED)
        lines.extend(f"      {said(each)}" for each in network.findings if each.status == EXCEPTION)
        if network.unlisted:
            lines.append(f"      published rows that the spec has no node for: {', '.join(network.unlisted)}")
    lines.append(f"{summary(checked)}")
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
    parts = [f"{sums[PASSED]} agree"]
    if sums[FAILED]:
        parts.append(f"{sums[FAILED]} {'differs' if sums[FAILED] == 1 else 'differ'}")
    if sums[EXCEPTION]:
        one = sums[EXCEPTION] == 1
        parts.append(f"{sums[EXCEPTION]} published {'cell does' if one else 'cells do'} not follow, as recorded")
    return ", ".join(parts)


def summary(checked: Sequence[Checked]) -> str:
    """All networks in one line, those without anything to hold named."""
    held = [network for network in checked if network.findings]
    without = [network.name for network in checked if not network.findings]
    text = f"{len(held)} {'network' if len(held) == 1 else 'networks'}: {counts(checked)}"
    return text + (f"; nothing is expected of {', '.join(without)}" if without else "")
