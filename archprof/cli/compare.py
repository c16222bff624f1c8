"""`archprof compare`: networks side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from archprof.analysis import CONVENTIONS, DTYPES
from archprof.cli.common import (
    InputOption,
    MaxNodesOption,
    OutputOption,
    SetOption,
    is_imported,
    one_of,
    put_out,
    surface,
    whole_network,
)
from archprof.spec import MAX_NODES


def compare(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK...", help="Spec files, FILE:VARIANT, shipped names, or package.module:callable."
        ),
    ],
    format_: Annotated[str, typer.Option("--format", "-f", help="terminal, markdown, csv, json.")] = "terminal",
    output: OutputOption = None,
    exact: Annotated[bool, typer.Option("--exact", help="Whole numbers, not rounded.")] = False,
    counting: Annotated[str, typer.Option(help=f"What one FLOP is: {', '.join(CONVENTIONS)}.")] = "multiply_adds",
    batch: Annotated[int, typer.Option("--batch", "-b", min=1, help="Network inputs in a batch, for memory too.")] = 1,
    dtype: Annotated[str, typer.Option(help=f"For bytes: {', '.join(DTYPES)}.")] = "float32",
    set_: SetOption = None,
    input_: InputOption = None,
    plot: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Draw FLOPs against published top-5 error, area = params: .svg or .png."),
    ] = None,
    max_nodes: MaxNodesOption = MAX_NODES,
) -> None:
    """Compare any number of networks: params, FLOPs, activations, depth, memory, receptive field, published error."""
    from archprof.analysis.summary import summarise
    from archprof.report.summaries import COMPARE_COLUMNS, FORMATS, render

    one_of(format_, FORMATS, "format")
    summaries = []
    for name in networks:
        shapes = input_ if is_imported(name) else None  # a spec keeps its own
        graph, document, variant, _ = whole_network(name, set_, shapes, max_nodes)
        summaries.append(summarise(graph, document, variant, counting=counting, batch=batch, dtype=dtype))
    text = render(
        summaries,
        format_,
        surface(output),
        columns=COMPARE_COLUMNS,
        title=f"{len(summaries)} {'network' if len(summaries) == 1 else 'networks'}, batch {batch}, {dtype}",
        caption=(
            f"counting: {counting}: {CONVENTIONS[counting].caption}",
            "memory: peaks by liveness over the graph, of training with momentum (docs/memory.md)",
        ),
        exact_numbers=exact,
    )
    if plot is not None:
        from archprof.report.bubbles import draw

        draw(summaries, plot)
    put_out(text, output)
