"""`archprof list`: the shipped specs and their variants."""

from __future__ import annotations

from typing import Annotated

import typer

from archprof.cli.common import OutputOption, one_of, put_out, surface


def list_specs(
    format_: Annotated[str, typer.Option("--format", "-f", help="terminal, markdown, csv, json.")] = "terminal",
    output: OutputOption = None,
) -> None:
    """List the shipped networks: year, parameters, FLOPs, depth, source."""
    from archprof.analysis.check import networks
    from archprof.analysis.summary import summarise
    from archprof.report.summaries import FORMATS, LIST_COLUMNS, render
    from archprof.spec import expand
    from archprof.spec.library import SHIPPED

    one_of(format_, FORMATS, "format")
    shipped = [
        summarise(expand(document, variant), document, variant, counting="multiply_adds")
        for document, variant in networks([str(SHIPPED)])
    ]
    text = render(
        shipped,
        format_,
        surface(output),
        columns=LIST_COLUMNS,
        title="Shipped networks",
        caption=("FLOPs are multiply-adds, biases not counted; depth is weight layers on the longest path",),
    )
    put_out(text, output)
