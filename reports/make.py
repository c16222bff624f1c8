"""Write the table of every shipped network to this folder, in Markdown, a file a family.

python reports/make.py
"""

from __future__ import annotations

from pathlib import Path

from archprof.analysis import analyse, make_table
from archprof.analysis.check import networks
from archprof.analysis.published import column_styles, published_table
from archprof.report import render, write_output
from archprof.spec import expand
from archprof.spec.library import SHIPPED

HERE = Path(__file__).resolve().parent
HEADER = "<!-- made by: python reports/make.py -->\n\n"


def reports() -> dict[str, str]:
    """File name -> text, of every family."""
    texts: dict[str, list[str]] = {}
    for document, variant in networks([str(SHIPPED)]):
        graph = expand(document, variant)
        analysis = analyse(graph)
        published = published_table(document, variant)
        styles = column_styles(published, analysis) if published is not None else {}
        table = render(make_table(analysis, fold=graph.fold), "markdown", styles=styles)
        texts.setdefault(document.name, []).append(f"## {graph.name}\n\n{table}")
    return {f"{name}.md": f"{HEADER}# {name}\n\n" + "\n".join(tables) for name, tables in texts.items()}


def main() -> None:
    for name, text in reports().items():
        write_output(text, HERE / name)


if __name__ == "__main__":
    main()
