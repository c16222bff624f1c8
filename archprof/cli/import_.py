"""`archprof import`: a torch module as a spec."""

from __future__ import annotations

from typing import Annotated

import typer

from archprof.cli.common import InputOption, OutputOption, SetOption, is_module, put_out, whole_network
from archprof.errors import UsageError


def import_module(
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="package.module:callable, a torch module.")],
    input_: InputOption = None,
    set_: SetOption = None,
    train: Annotated[bool, typer.Option("--train", help="What the module computes in training mode.")] = False,
    output: OutputOption = None,
) -> None:
    """Write a torch module as a spec: a layer a call, named by its path, of the same parameters and outputs."""
    from archprof.importer.spec import spec_text

    if not is_module(network):
        raise UsageError(f"{network}: name a torch module, as package.module:callable")
    graph = whole_network(network, set_, input_, train=train).graph
    put_out(spec_text(graph, network), output)
