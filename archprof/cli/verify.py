"""`archprof verify`: hold the arithmetic against the network built in torch."""

from __future__ import annotations

from typing import Annotated

import typer

from archprof.cli.common import (
    InputOption,
    MaxNodesOption,
    OutputOption,
    SetOption,
    expansion,
    graph_of,
    is_imported,
    one_of,
    put_out,
    settings,
    surface,
)
from archprof.spec import MAX_NODES


def verify(
    specs: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK...",
            help="Spec files, folders, patterns, shipped names; package.module:callable, a torch module with its "
            "--input, or model.onnx.",
        ),
    ],
    set_: SetOption = None,
    input_: InputOption = None,
    train: Annotated[bool, typer.Option("--train", help="The training graph, in training mode.")] = False,
    device: Annotated[
        str, typer.Option(help="Where FlopCounterMode counts: meta (nothing is computed), cpu.")
    ] = "meta",
    format_: Annotated[str, typer.Option("--format", "-f", help="terminal, markdown, json.")] = "terminal",
    output: OutputOption = None,
    max_nodes: MaxNodesOption = MAX_NODES,
) -> None:
    """Compare every node's figures with torch's shapes and parameters, FlopCounterMode's and fvcore's counts.

    Of a file its base and all its variants are compared. Of a torch module or an ONNX file the trace that its graph is
    made of is, node by node, and the module itself: its totals by FlopCounterMode, its modules by fvcore.
    Exit status: 0 all agrees or differs for a known reason, 1 a difference is unexplained, 2 a mistake.
    """
    from archprof.analysis.check import networks
    from archprof.report.verification import FORMATS, render
    from archprof.verification import UNEXPLAINED, Verified, tools, verify_imported
    from archprof.verification import verify as compare

    one_of(format_, FORMATS, "format")
    compared_with = tools(device)
    verified = []
    for name in specs:
        if is_imported(name):
            verified.append(verify_imported(name, input_ or (), settings(set_), train=train, device=device))
    for document, variant in networks([name for name in specs if not is_imported(name)], settings(set_)):
        graph = graph_of(expansion(document, variant, set_, input_, max_nodes))
        verified.append(Verified(name=graph.name, findings=compare(graph, train=train, device=device)))
    put_out(render(verified, format_, tools=compared_with, surface=surface(output)), output)
    if any(network.count(UNEXPLAINED) for network in verified):
        raise typer.Exit(1)
