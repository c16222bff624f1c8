"""Mermaid, which GitHub and many documentation sites draw in a page."""

from __future__ import annotations

import json

from archprof.report.drawing.diagram import DARK, SHADES, Diagram

# its texts are HTML: what could be markup, or end the text, is written as a character's name
_ESCAPES = str.maketrans(
    {'"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "#": "#35;", "`": "#96;", "\\": "#92;"}
)

# a title is plain text in YAML, where such names would show as written
_BRACKETS = str.maketrans({"<": "\u2039", ">": "\u203a"})


def draw(diagram: Diagram, _kind: str) -> bytes:
    """The diagram as a Mermaid flowchart."""
    lines = [
        "---",
        f"title: {json.dumps(diagram.title.translate(_BRACKETS), ensure_ascii=False)}",
        "---",
        f"%% {diagram.caption.replace('%%', '% %')}",
        f"flowchart {diagram.direction}",
    ]
    for place, box in enumerate(diagram.boxes):
        start, end = ("([", "])") if box.is_input else ("[", "]")
        text = "<br/>".join(line.translate(_ESCAPES) for line in box.lines)
        lines.append(f'  n{place}{start}"{text}"{end}')
    lines += [f"  n{source} --> n{target}" for source, target in diagram.arrows]
    for number, (_, shade) in enumerate(SHADES):
        members = [f"n{place}" for place, box in enumerate(diagram.boxes) if box.shade == shade and not box.is_input]
        if members:
            text = "#ffffff" if shade in DARK else "#1f2328"  # readable in dark pages too
            lines.append(f"  classDef shade{number} fill:{shade},stroke:#57606a,color:{text}")
            lines.append(f"  class {','.join(members)} shade{number}")
    dashed = [f"n{place}" for place, box in enumerate(diagram.boxes) if box.training_only]
    if dashed:
        lines.append("  classDef training stroke-dasharray:4 3")
        lines.append(f"  class {','.join(dashed)} training")
    return ("\n".join(lines) + "\n").encode()
