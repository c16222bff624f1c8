"""A table for spreadsheets: the printed cells, and beside each count its exact integer as NAME_exact."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from archprof.analysis.table import AtLeast
from archprof.report.layout import Layout, TableLine
from archprof.report.output import Surface


def render(layout: Layout, surface: Surface) -> str:
    """Header, a line a row, the total last. An exact cell is empty where the printed one says "not counted"."""
    counted = [column.count is not None and column.form != "share" for column in layout.table.columns]

    def fields(line: TableLine) -> list[str | int]:
        found: list[str | int] = []
        for text, cell, has_exact in zip(line.cells, line.row.cells, counted, strict=True):
            found.append(text)
            if has_exact:
                known = cell.value if isinstance(cell, AtLeast) else cell
                found.append(known if isinstance(known, int) else "")
        return found

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    header: list[str] = []
    for name, has_exact in zip(layout.headers, counted, strict=True):
        header.extend((name, f"{name}_exact") if has_exact else (name,))
    writer.writerow(header)
    writer.writerows(fields(line) for line in (*layout.lines, layout.total))
    return stream.getvalue()


def records(rows: Sequence[Mapping[str, object]]) -> str:
    """Any records with the same fields, a line each under a header; None is an empty field. There is one at least."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
