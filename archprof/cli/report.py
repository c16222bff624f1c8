"""`archprof report`: one HTML page of a network or several."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from archprof.analysis import DTYPES, analyse
from archprof.cli.common import (
    BatchOption,
    CountingOption,
    InputOption,
    MaxNodesOption,
    OutputOption,
    SetOption,
    TrainOption,
    fold_depth,
    put_out,
    whole_network,
)
from archprof.errors import UsageError
from archprof.extras import require
from archprof.operators import listed_and
from archprof.spec import MAX_NODES


def report(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK...",
            help="Spec files, FILE:VARIANT, shipped names (archprof list), package.module:callable, model.onnx. "
            "Two stand side by side, with their changes marked.",
        ),
    ],
    output: OutputOption = None,
    results: Annotated[
        list[str] | None,
        typer.Option("--results", metavar="RUN.json", help="What profile or bench measured; may be given again."),
    ] = None,
    depth_run: Annotated[
        str | None, typer.Option("--depth-run", metavar="FOLDER", help="A run of archprof depth.")
    ] = None,
    counting: CountingOption = None,
    batch: BatchOption = 1,
    set_: SetOption = None,
    input_: InputOption = None,
    train: TrainOption = False,
    dtype: Annotated[str, typer.Option(help=f"For bytes: {', '.join(DTYPES)}.")] = "float32",
    fold: Annotated[
        str | None, typer.Option(metavar="N|all", help="The depth at which tables are folded at first.")
    ] = None,
    max_nodes: MaxNodesOption = MAX_NODES,
) -> None:
    """Write one page that needs no server and no network: table, graph, measured figures."""
    require("report", "jinja2", "report")
    from archprof.profiling.results import read_run
    from archprof.report.page import compare, depth_charts, match_results, read_trials, render_page

    trials = read_trials(depth_run) if depth_run is not None else ()
    runs = {path: read_run(path) for path in results or ()}
    found = [whole_network(each, set_, input_, max_nodes, train=train) for each in networks]
    graphs = [each.graph for each in found]
    families = {each.document.name for each in found if each.document is not None}
    if trials and trials[0].network not in {*families, *(graph.name for graph in graphs)}:
        asked = listed_and(graph.name for graph in graphs)
        raise UsageError(f"{depth_run} is a run of {trials[0].network}, not of {asked}")
    convention = counting or (graphs[1].counting if len(graphs) == 2 else None)
    analyses = [analyse(each, batch=batch, counting=convention, train=train, dtype=dtype) for each in graphs]
    folds = [fold_depth(fold, each.fold) for each in graphs]
    changes = None
    if len(graphs) == 2:
        names = graphs[0].name, graphs[1].name
        changes = compare(
            analyses[0], analyses[1], names if names[0] != names[1] else (networks[0], networks[1]), folds[1]
        )
    page = render_page(
        analyses,
        results=match_results(runs, analyses),
        differences=changes,
        folds=folds,
        charts=depth_charts(trials) if trials else (),
        command=shlex.join(["archprof", *sys.argv[1:]]),
    )
    put_out(page, output)
