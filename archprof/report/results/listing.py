"""The results files of a folder."""

from __future__ import annotations

from collections.abc import Sequence

from archprof.profiling.records import Run
from archprof.report.bench import outcome
from archprof.report.results import Content
from archprof.report.sheet import Line, Sheet

SCHEMA = "archprof.results/1"


def content(found: Sequence[tuple[str, Run]], refused: Sequence[str], folder: str) -> Content:
    """Runs by the name of their file, newest last; `refused` says of other files why they are not read."""
    lines = tuple(
        Line(cells=(name, run.created, run.hardware, ", ".join(_networks(run)), outcome(run.cells) or "no cells"))
        for name, run in found
    )
    records = tuple(
        {
            "file": name,
            "created": run.created,
            "hardware": run.hardware,
            "machine": run.machine,
            "networks": " ".join(_networks(run)),
            "cells": len(run.cells),
            "ok": sum(cell.status == "ok" for cell in run.cells),
            "command": run.command,
        }
        for name, run in found
    )
    sheet = Sheet(
        title=f"{len(found)} results {'file' if len(found) == 1 else 'files'} in {folder}",
        headers=("file", "created", "hardware", "networks", "cells"),
        right=(False,) * 5,
        lines=lines,
        caption=tuple(refused),
    )
    return Content(sheet, records, {"schema": SCHEMA, "folder": folder, "files": records, "not_read": list(refused)})


def _networks(run: Run) -> list[str]:
    return list(dict.fromkeys(cell.key.network for cell in run.cells))
