"""`archprof table`: the table that a paper would print."""

from __future__ import annotations

from typing import Annotated

import typer

from archprof.analysis import COLUMNS, DTYPES, PASSES, analyse, make_table
from archprof.analysis.published import column_styles, published_table
from archprof.cli.common import (
    BatchOption,
    CountingOption,
    InputOption,
    MaxNodesOption,
    NetworkArgument,
    OutputOption,
    SetOption,
    TrainOption,
    find_network,
    fold_depth,
    put_out,
    surface,
)
from archprof.report import FORMATS, render
from archprof.spec import MAX_NODES
from archprof.spec.errors import SpecError


def table(
    network: NetworkArgument,
    format_: Annotated[str, typer.Option("--format", "-f", help=f"{', '.join(FORMATS)}.")] = "terminal",
    output: OutputOption = None,
    exact: Annotated[bool, typer.Option("--exact", help="Whole numbers, not rounded.")] = False,
    counting: CountingOption = None,
    batch: BatchOption = 1,
    set_: SetOption = None,
    input_: InputOption = None,
    train: TrainOption = False,
    pass_: Annotated[str, typer.Option("--pass", help=f"Costs of which pass: {', '.join(PASSES)}.")] = "forward",
    dtype: Annotated[str, typer.Option(help=f"For bytes: {', '.join(DTYPES)}.")] = "float32",
    fold: Annotated[
        str | None, typer.Option(metavar="N|all", help="Rows at depth N of the node paths; all: every node.")
    ] = None,
    repeats: Annotated[
        bool, typer.Option("--repeats", help="Equal neighbouring copies of a repeat in one row.")
    ] = False,
    columns: Annotated[str | None, typer.Option(metavar="A,B,...", help=f"Of {', '.join(COLUMNS)}.")] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Of a spec with mistakes, the table as far as it goes.")
    ] = False,
    max_nodes: MaxNodesOption = MAX_NODES,
) -> None:
    """Print a network layer by layer: sizes, kernels, parameters, FLOPs."""
    found = find_network(network, set_, input_, max_nodes, train=train)
    if found.mistakes and not partial:
        raise SpecError(found.mistakes)
    graph = found.graph
    published = None if found.document is None else published_table(found.document, found.variant)
    analysis = analyse(graph, batch=batch, counting=counting, train=train, dtype=dtype, passes=pass_)
    text = render(
        make_table(analysis, fold=fold_depth(fold, graph.fold), columns=names(columns), repeats=repeats),
        format_,
        styles=column_styles(published, analysis) if published is not None else None,
        exact=exact,
        surface=surface(output),
    )
    put_out(text, output)
    if found.mistakes:
        raise SpecError(found.mistakes)


def names(given: str | None) -> list[str] | None:
    """The names of a comma-separated list."""
    return None if given is None else [name.strip() for name in given.split(",") if name.strip()]
