"""Findings for programs, in the schema archprof.check/1, which `check-1.schema.json` beside this file describes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from archprof.analysis.check import EXCEPTION, FAILED, PASSED, Report
from archprof.report.output import Surface

SCHEMA = "archprof.check/1"
SCHEMA_FILE = Path(__file__).with_name("check-1.schema.json")


def render(report: Report, surface: Surface) -> str:
    """The sums, then each network with its findings, then the mistakes of specs that could not be checked."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        **{status: report.count(status) for status in (PASSED, FAILED, EXCEPTION)},
        "networks": [
            {
                "network": network.name,
                "file": network.file,
                "unlisted_rows": list(network.unlisted),
                "findings": [msgspec.structs.asdict(finding) for finding in network.findings],
            }
            for network in report.networks
        ],
        "mistakes": [msgspec.structs.asdict(mistake) for mistake in report.mistakes],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
