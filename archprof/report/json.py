"""A table for programs, in the schema archprof.table/1, which `table-1.schema.json` beside this file describes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archprof.analysis.analysis import Totals
from archprof.analysis.table import AtLeast, Cell, Share
from archprof.report.layout import Layout, TableLine
from archprof.report.output import Surface
from archprof.shape import Shape

SCHEMA = "archprof.table/1"
SCHEMA_FILE = Path(__file__).with_name("table-1.schema.json")


def render(layout: Layout, surface: Surface) -> str:
    """The document, keys in the order of the schema, a row a line."""
    table = layout.table
    analysis, graph = table.analysis, table.analysis.graph
    document = {
        "schema": SCHEMA,
        "network": graph.name,
        "title": graph.title,
        "year": graph.year,
        "source": graph.source,
        "settings": finite(graph.parameters),
        "counting": {"name": analysis.counting, "meaning": analysis.convention.caption},
        "mode": "training" if analysis.train else "inference",
        "passes": analysis.passes,
        "batch": analysis.batch,
        "dtype": analysis.dtype,
        "fold": table.fold,
        "columns": [{"name": column.name, "title": column.title, "meaning": column.help} for column in table.columns],
        "rows": [_row(layout, line) for line in layout.lines],
        "total": _row(layout, layout.total),
        "totals": {
            **_totals(analysis.total),
            "depth": analysis.depth,
            "training_heads": _totals(analysis.heads) if analysis.train else None,
        },
        "notes": list(layout.caption),
    }
    return "{\n" + ",\n".join(f"  {_text(key)}: {_lines(value)}" for key, value in document.items()) + "\n}\n"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _lines(value: Any) -> str:
    """A list with an item a line, anything else on one."""
    if isinstance(value, list) and value:
        return "[\n    " + ",\n    ".join(map(_text, value)) + "\n  ]"
    return _text(value)


def finite(value: Any) -> Any:
    """A setting as JSON has it: keys are text, and numbers are finite (.inf in YAML becomes a text)."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _row(layout: Layout, line: TableLine) -> dict[str, Any]:
    row = line.row
    cells = zip(layout.table.columns, line.cells, row.cells, strict=True)
    return {
        "path": row.path,
        "kind": row.kind,
        "copies": row.copies,
        "training_only": row.training_only,
        "cells": {column.name: {"printed": text, "exact": exact_value(cell)} for column, text, cell in cells},
    }


def exact_value(cell: Cell) -> Any:
    """A cell as the schema has exact ones: what is only known to be at least so much is a map."""
    if isinstance(cell, AtLeast):
        return {"at_least": cell.value}
    if isinstance(cell, Share):
        return {"part": cell.part, "whole": cell.whole}
    if isinstance(cell, tuple):
        return [_element(each) for each in cell]
    return cell


def _element(each: Any) -> Any:
    """A shape, or one dimension of a receptive field: a fraction is written "7/2"."""
    if isinstance(each, Shape):
        return {"dims": list(each.dims), "samples": each.samples, "dtype": each.dtype}
    return int(each) if each == int(each) else str(each)


def _totals(totals: Totals) -> dict[str, Any]:
    return {
        "params": totals.params,
        "buffers": totals.buffers,
        "flops": totals.flops,
        "lower_bound": totals.lower_bound,
        "activations": totals.activations,
        "memory_bytes": totals.output_bytes,
        "moved_bytes": totals.moved_bytes,
    }
