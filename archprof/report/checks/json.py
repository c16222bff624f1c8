"""Findings for programs, in the schema archprof.check/1."""

from __future__ import annotations

import json
from collections.abc import Sequence

from archprof.analysis.check import EXCEPTION, FAILED, PASSED, Checked
from archprof.report.output import Surface

SCHEMA = "archprof.check/1"


def render(checked: Sequence[Checked], surface: Surface) -> str:
    """The sums, then each network with its findings."""
    document = {
        "schema": SCHEMA,
        **{status: sum(network.count(status) for network in checked) for status in (PASSED, FAILED, EXCEPTION)},
        "networks": [
            {
                "network": network.name,
                "file": network.file,
                "unlisted_rows": list(network.unlisted),
                "findings": [
                    {name: getattr(finding, name) for name in finding.__struct_fields__} for finding in network.findings
                ],
            }
            for network in checked
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
