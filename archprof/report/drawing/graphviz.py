"""SVG and PNG by graphviz's own program, which no Python package brings."""

from __future__ import annotations

import shutil
import subprocess

from archprof.errors import UsageError
from archprof.report.drawing.diagram import Diagram
from archprof.report.drawing.dot import source


def draw(diagram: Diagram, kind: str) -> bytes:
    """The diagram as `svg` or `png`. Raises UsageError without graphviz's `dot`, with what works without it."""
    program = shutil.which("dot")
    if program is None:
        raise UsageError(
            f"a picture as {kind} needs graphviz's dot, which is not installed (apt install graphviz, brew install "
            "graphviz); --output net.mmd (Mermaid) and net.dot need nothing"
        )
    dots = ["-Gdpi=144"] if kind == "png" else []
    done = subprocess.run(
        [program, f"-T{kind}", *dots], input=source(diagram).encode(), capture_output=True, check=False
    )
    if done.returncode:
        raise UsageError(f"graphviz failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
