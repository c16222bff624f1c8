"""The spec language: from YAML text to a Graph."""

from archprof.spec.expand import MAX_NODES, Expansion, Origin, expand, expand_partly
from archprof.spec.library import find_spec, load_document, shipped_paths

__all__ = [
    "MAX_NODES",
    "Expansion",
    "Origin",
    "expand",
    "expand_partly",
    "find_spec",
    "load_document",
    "shipped_paths",
]
