"""What was compared with torch and fvcore: the disagreements as a sheet for the terminal and Markdown, and as JSON.

JSON is in the schema archprof.verification/1, which `verification-1.schema.json` beside this file describes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archprof.analysis.numbers import exact
from archprof.report import markdown, terminal
from archprof.report.output import Surface
from archprof.report.sheet import Line, Sheet
from archprof.verification import AGREES, EXPLAINED, UNEXPLAINED, Finding, Reason, Verified
from archprof.verification.reasons import FVCORE

SCHEMA = "archprof.verification/1"
SCHEMA_FILE = Path(__file__).with_name("verification-1.schema.json")
FORMATS = ("terminal", "markdown", "json")


def render(
    networks: Sequence[Verified],
    format: str,  # noqa: A002
    *,
    tools: Mapping[str, str],
    surface: Surface,
) -> str:
    """Disagreements as text, the unexplained ones first. `tools` are those compared with, by name and version."""
    if format == "json":
        return json.dumps(_document(networks, tools), indent=2, ensure_ascii=False) + "\n"
    sheet = _sheet(networks, tools)
    if not sheet.lines:
        notes = sheet.caption if format == "terminal" else [f"- {markdown.escaped(note)}" for note in sheet.caption]
        return "\n".join((sheet.title, "", *notes)) + "\n"
    return markdown.render(sheet, surface) if format == "markdown" else terminal.render(sheet, surface)


def _differences(networks: Sequence[Verified]) -> list[tuple[Verified, Finding]]:
    found = [(network, each) for network in networks for each in network.findings if each.status != AGREES]
    return sorted(found, key=lambda pair: pair[1].status != UNEXPLAINED)


def _reasons(networks: Sequence[Verified]) -> list[Reason]:
    named = {each.reason.name: each.reason for _, each in _differences(networks) if each.reason is not None}
    return list(named.values())


def _sheet(networks: Sequence[Verified], tools: Mapping[str, str]) -> Sheet:
    caption = [
        f"{reason.name}: {reason.text} (measured with {_measured(reason)}; {reason.source})"
        for reason in _reasons(networks)
    ]
    caption.extend(note for network in networks for note in network.notes)
    caption.extend(f"{tool}: {what}" for tool, what in tools.items())
    return Sheet(
        title=summary(networks),
        headers=("network", "node", "operator", "quantity", "archprof", "theirs", "tool", "reason"),
        right=(False, False, False, False, True, True, False, False),
        lines=tuple(_line(network, each) for network, each in _differences(networks)),
        caption=tuple(caption),
    )


def _measured(reason: Reason) -> str:
    return f"fvcore {reason.measured_fvcore}" if reason.tool == FVCORE else f"torch {reason.measured_torch}"


def _line(network: Verified, finding: Finding) -> Line:
    ours, theirs = (figure if isinstance(figure, str) else exact(figure) for figure in (finding.ours, finding.theirs))
    reason = UNEXPLAINED if finding.reason is None else finding.reason.name
    return Line(cells=(network.name, finding.node, finding.op, finding.quantity, ours, theirs, finding.tool, reason))


def summary(networks: Sequence[Verified]) -> str:
    """All networks in one line."""
    compared = sum(len(network.findings) for network in networks)
    agree, explained, unexplained = (
        sum(network.count(status) for network in networks) for status in (AGREES, EXPLAINED, UNEXPLAINED)
    )
    what = networks[0].name if len(networks) == 1 else f"{len(networks)} networks"
    parts = [f"{exact(agree)} of {exact(compared)} figures agree"]
    if explained:
        parts.append(f"{exact(explained)} {'differs' if explained == 1 else 'differ'} for a known reason")
    if unexplained:
        parts.append(f"{exact(unexplained)} {'differs' if unexplained == 1 else 'differ'} unexplained")
    return f"{what}: {', '.join(parts)}"


def _document(networks: Sequence[Verified], tools: Mapping[str, str]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "tools": dict(tools),
        **{status: sum(network.count(status) for network in networks) for status in (AGREES, EXPLAINED, UNEXPLAINED)},
        "networks": [
            {
                "network": network.name,
                **{status: network.count(status) for status in (AGREES, EXPLAINED, UNEXPLAINED)},
                "notes": list(network.notes),
                "differences": [_record(each) for _, each in _differences([network])],
            }
            for network in networks
        ],
        "reasons": [
            {
                "name": reason.name,
                "text": reason.text,
                "source": reason.source,
                "devices": list(reason.devices),
                "torch": _span(reason.torch),
                "fvcore": _span(reason.fvcore),
                "measured": {"torch": reason.measured_torch, "fvcore": reason.measured_fvcore},
            }
            for reason in _reasons(networks)
        ],
    }


def _record(finding: Finding) -> dict[str, Any]:
    return {
        "node": finding.node,
        "op": finding.op,
        "quantity": finding.quantity,
        "ours": finding.ours,
        "theirs": finding.theirs,
        "tool": finding.tool,
        "reason": None if finding.reason is None else finding.reason.name,
    }


def _span(versions: tuple[str, str | None]) -> dict[str, str | None]:
    since, until = versions
    return {"since": since, "until": until}
