"""`archprof import`: a torch module or an ONNX file as a spec."""

from __future__ import annotations

from typing import Annotated

import typer

from archprof.cli.common import InputOption, OutputOption, SetOption, is_imported, put_out, whole_network
from archprof.errors import UsageError


def import_module(
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="package.module:callable, or model.onnx.")],
    input_: InputOption = None,
    set_: SetOption = None,
    train: Annotated[bool, typer.Option("--train", help="What the module computes in training mode.")] = False,
    output: OutputOption = None,
) -> None:
    """Write a torch module or an ONNX file as a spec of the same parameters and outputs, a layer a call."""
    from archprof.importer.spec import spec_text

    if not is_imported(network):
        raise UsageError(f"{network}: name a torch module, as package.module:callable, or an ONNX file")
    graph = whole_network(network, set_, input_, train=train).graph
    put_out(spec_text(graph, f"{network} ({', '.join(set_)})" if set_ else network), output)
