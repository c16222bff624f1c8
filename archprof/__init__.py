"""Neural-network architectures as tables: parameters and FLOPs from a YAML spec, without importing torch.

>>> import archprof
>>> graph = archprof.load("zf")
>>> analysis = archprof.analyse(graph)
>>> analysis.params, analysis.flops, analysis.counting
(140025664, 1608287104, 'multiply_adds_with_bias')
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archprof.errors import ArchprofError, UsageError

if TYPE_CHECKING:
    from archprof.analysis import Analysis, analyse
    from archprof.building import build
    from archprof.graph import Graph, Node, Value
    from archprof.profiling import profile
    from archprof.shape import Shape
    from archprof.spec.errors import Mistake, SpecError

__version__ = "0.1.0"

__all__ = [
    "Analysis",
    "ArchprofError",
    "Graph",
    "Mistake",
    "Node",
    "Shape",
    "SpecError",
    "UsageError",
    "Value",
    "analyse",
    "build",
    "load",
    "profile",
]

_HOMES = {
    "Analysis": "archprof.analysis",
    "Graph": "archprof.graph",
    "Mistake": "archprof.spec.errors",
    "Node": "archprof.graph",
    "Shape": "archprof.shape",
    "SpecError": "archprof.spec.errors",
    "Value": "archprof.graph",
    "analyse": "archprof.analysis",
    "build": "archprof.building",
    "profile": "archprof.profiling",
}  # imported when first asked for


def load(path: str, /, **parameters: Any) -> Graph:
    """The graph of a network.

    `path` is a spec file, `FILE:VARIANT`, or the name of a shipped spec or variant ("zf", "resnet-50");
    `parameters` are the spec's own (`archprof.load("resnet", depth=34)`).

    Raises SpecError, which lists every mistake with file, line and column.
    """
    from archprof.spec import expand, find_spec

    document, variant = find_spec(str(path))
    return expand(document, variant, parameters)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'archprof' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
