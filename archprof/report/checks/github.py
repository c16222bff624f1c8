"""Annotations of a GitHub Actions run, at the line of the spec or of the published file.

GitHub shows 10 annotations of a kind a step: at most 10 errors are printed, and one notice that holds all.
The form of a workflow command and its escapes are GitHub's (docs.github.com, workflow commands).
"""

from __future__ import annotations

from collections.abc import Sequence

from archprof.analysis.check import FAILED, Checked
from archprof.report.checks.terminal import difference, said, summary
from archprof.report.output import Surface

MOST = 10


def render(checked: Sequence[Checked], surface: Surface) -> str:
    """Errors, then the notice."""
    failed = [(network, each) for network in checked for each in network.findings if each.status == FAILED]
    lines = [
        _command(
            "error",
            f"{network.name}: {difference(each)}",
            file=each.file,
            line=str(each.line),
            col=str(each.column),
            title=f"archprof check: {network.name}",
        )
        for network, each in failed[:MOST]
    ]
    everything = "\n".join([summary(checked), *(said(each) for _, each in failed)])
    lines.append(_command("notice", everything, title="archprof check"))
    return "\n".join(lines) + "\n"


def _command(kind: str, message: str, **properties: str) -> str:
    given = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items())
    return f"::{kind} {given}::{_escaped(message)}"


def _escaped(text: str, more: str = "") -> str:
    for char in "%\r\n" + more:
        text = text.replace(char, f"%{ord(char):02X}")
    return text
