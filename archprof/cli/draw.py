"""`archprof draw`: a network as a static picture."""

from __future__ import annotations

from typing import Annotated

import typer

from archprof.analysis import analyse
from archprof.cli.common import (
    BatchOption,
    CountingOption,
    InputOption,
    MaxNodesOption,
    NetworkArgument,
    SetOption,
    fold_depth,
    one_of,
    put_out,
    whole_network,
)
from archprof.errors import UsageError
from archprof.report.drawing import DIRECTIONS, FORMATS
from archprof.spec import MAX_NODES


def draw(
    network: NetworkArgument,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help=f"By its ending: {', '.join(FORMATS)}. Without: mmd."),
    ] = None,
    fold: Annotated[
        str | None, typer.Option(metavar="N|all", help="Boxes at depth N of the node paths; all: every node.")
    ] = None,
    repeats: Annotated[
        bool, typer.Option("--repeats/--no-repeats", help="Equal neighbouring copies of a repeat in one box.")
    ] = True,
    color_by: Annotated[
        str, typer.Option(metavar="COLUMN", help="Darker: a larger share of params, FLOPs, activations, memory, ...")
    ] = "FLOPs",
    direction: Annotated[str, typer.Option(help=f"{', '.join(DIRECTIONS)}.")] = "down",
    counting: CountingOption = None,
    batch: BatchOption = 1,
    set_: SetOption = None,
    input_: InputOption = None,
    train: Annotated[
        bool, typer.Option("--train", help="The training graph, with the heads that only it has (dashed).")
    ] = False,
    max_nodes: MaxNodesOption = MAX_NODES,
) -> None:
    """Draw a network: boxes folded like the table's rows, coloured by a count."""
    from archprof.files import write_bytes
    from archprof.report.drawing import draw as draw_diagram
    from archprof.report.drawing import make_diagram

    kind = "mmd" if output is None else output.rpartition(".")[2].lower()
    if kind not in FORMATS:
        raise UsageError(f"--output {output}: write a file that ends in {', '.join(f'.{each}' for each in FORMATS)}")
    one_of(direction, DIRECTIONS, "direction")
    graph = whole_network(network, set_, input_, max_nodes, train=train).graph
    analysis = analyse(graph, batch=batch, counting=counting, train=train)
    content = draw_diagram(
        make_diagram(
            analysis, fold=fold_depth(fold, graph.fold), repeats=repeats, color_by=color_by, direction=direction
        ),
        kind,
    )
    if output is None:
        put_out(content.decode())
    else:
        write_bytes(content, output)
