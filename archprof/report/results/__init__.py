"""What results files say: a list of them, two compared, one beside published figures, courses over a history.

Each content is one module, which makes of it a sheet for people and records for programs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from archprof.report.output import Surface
from archprof.report.sheet import Sheet, printable

FORMATS = ("terminal", "markdown", "csv", "json")
RUN_SCHEMA_FILE = Path(__file__).with_name("run-1.schema.json")  # of a results file itself


class Content(msgspec.Struct, frozen=True):
    """What is to be told: as a table, as records of equal fields, and as a JSON document with the records in it."""

    sheet: Sheet
    records: tuple[dict[str, Any], ...]
    document: dict[str, Any]


def render(content: Content, format: str, surface: Surface) -> str:  # noqa: A002
    """A content as text in one of FORMATS."""
    if format == "json":
        return msgspec.json.format(msgspec.json.encode(content.document), indent=1).decode() + "\n"
    if format == "csv":
        return _csv(content.records)
    from archprof.report import markdown, terminal

    sheet = printable(content.sheet)
    if not sheet.lines:
        notes = sheet.caption
        lines = [f"- {markdown.escaped(note)}" for note in notes] if format == "markdown" else list(notes)
        return "\n".join((sheet.title, "", *lines)) + "\n"
    return markdown.render(sheet, surface) if format == "markdown" else terminal.render(sheet, surface)


def _csv(records: tuple[dict[str, Any], ...]) -> str:
    import csv
    import io

    stream = io.StringIO()
    if records:
        writer = csv.DictWriter(stream, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    return stream.getvalue()
