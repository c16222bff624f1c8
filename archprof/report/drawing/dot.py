"""DOT, the language of graphviz."""

from __future__ import annotations

from archprof.report.drawing.diagram import DARK, Diagram


def draw(diagram: Diagram, _kind: str) -> bytes:
    """The diagram as DOT."""
    return source(diagram).encode()


def source(diagram: Diagram) -> str:
    """The diagram as DOT; texts are quoted, so that a name is never markup."""
    lines = [
        "digraph network {",
        f"  graph [rankdir={diagram.direction}, labelloc=t, fontname=Helvetica, fontsize=12, nodesep=0.25, "
        f"ranksep=0.3, label={_quoted((diagram.title, diagram.caption))}]",
        "  node [shape=box, style=filled, fillcolor=white, color=gray40, fontname=Helvetica, fontsize=10, "
        'margin="0.12,0.06"]',
        "  edge [color=gray40, arrowsize=0.6]",
    ]
    for place, box in enumerate(diagram.boxes):
        style = [f"label={_quoted(box.lines)}"]
        if box.is_input:
            style.append("shape=ellipse")
        if box.shade != "#ffffff":
            style.append(f'fillcolor="{box.shade}"')
        if box.shade in DARK:
            style.append("fontcolor=white")
        if box.training_only:
            style.append('style="filled,dashed"')
        lines.append(f"  n{place} [{', '.join(style)}]")
    lines += [f"  n{source} -> n{target}" for source, target in diagram.arrows]
    return "\n".join([*lines, "}", ""])


def _quoted(lines: tuple[str, ...]) -> str:
    # graphviz reads a character reference even in a quoted text
    escaped = (line.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'
