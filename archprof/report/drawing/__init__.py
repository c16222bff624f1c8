"""A network as a static picture: boxes folded like the table's rows, coloured by a count; a format is one module."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from archprof.report.drawing.diagram import DIRECTIONS, Diagram, make_diagram

__all__ = ["DIRECTIONS", "FORMATS", "Diagram", "draw", "make_diagram"]

# ending of the file -> its module, which has `draw(diagram, kind) -> bytes`
FORMATS: Mapping[str, str] = {
    "svg": "archprof.report.drawing.graphviz",
    "png": "archprof.report.drawing.graphviz",
    "dot": "archprof.report.drawing.dot",
    "mmd": "archprof.report.drawing.mermaid",
}


def draw(diagram: Diagram, kind: str) -> bytes:
    """The picture as a file of one of FORMATS. Raises UsageError for svg and png without graphviz."""
    content: bytes = importlib.import_module(FORMATS[kind]).draw(diagram, kind)
    return content
