"""`archprof build`: a network as a PyTorch module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from archprof.analysis import DTYPES
from archprof.building.initialise import INITIALISATIONS
from archprof.cli.common import (
    InputOption,
    MaxNodesOption,
    OutputOption,
    SetOption,
    SpecArgument,
    expansion,
    graph_of,
    is_imported,
    put_out,
)
from archprof.errors import UsageError
from archprof.extras import require
from archprof.spec import MAX_NODES, find_spec

if TYPE_CHECKING:
    from torch import Tensor


def build(
    spec: SpecArgument,
    output: OutputOption = None,
    batch: Annotated[int, typer.Option("--batch", "-b", min=1, help="Network inputs in the batch that is run.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps; meta: shapes alone, no memory.")] = "cpu",
    dtype: Annotated[str, typer.Option(help=f"{', '.join(DTYPES)}.")] = "float32",
    init: Annotated[str, typer.Option(help=f"Initial values: {', '.join(INITIALISATIONS)}.")] = "torch",
    seed: Annotated[int, typer.Option(min=0, help="Of the initial values and of the batch.")] = 0,
    train: Annotated[
        bool, typer.Option("--train", help="The training graph, with the heads that only it has, in training mode.")
    ] = False,
    set_: SetOption = None,
    input_: InputOption = None,
    code: Annotated[
        bool, typer.Option("--code", help="Print the source of the module, which needs no archprof, and nothing else.")
    ] = False,
    save: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the network as torch.export saves it (model.pt2).")
    ] = None,
    onnx: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the network as ONNX (needs archprof[onnx]).")
    ] = None,
    max_nodes: MaxNodesOption = MAX_NODES,
) -> None:
    """Build a network in PyTorch, run one batch, and say what was built; print its source, or write it as a file.

    Files have the weights that --init and --seed give, and the batch of --batch.
    """
    require("build", "torch", "torch")
    if is_imported(spec):
        raise UsageError(
            f"{spec} is a network already, which build does not make anew: archprof import writes it as a spec, which "
            "build takes"
        )
    document, variant = find_spec(spec)
    graph = graph_of(expansion(document, variant, set_, input_, max_nodes))
    if code:
        from archprof.building.code import source

        if save is not None or onnx is not None:
            raise UsageError("--code prints the source and builds nothing: leave --save and --onnx away")
        put_out(source(graph, train=train), output)
        return
    if onnx is not None:
        from archprof.building.exporting import require_onnx

        require_onnx()  # before anything takes time
    from archprof.building import build as build_module
    from archprof.building.device import float_dtype, require_forward, usable_device
    from archprof.building.running import example_inputs, run

    where, kind = usable_device(device), float_dtype(dtype)
    if where.type == "meta" and (save is not None or onnx is not None):
        raise UsageError("on the device meta there are no values to write: leave --save and --onnx away")
    require_forward(graph, where, kind, batch, train)
    module = build_module(graph, device=where, dtype=kind, init=init, seed=seed, train=train)
    inputs = example_inputs(graph, batch=batch, device=where, dtype=kind, seed=seed)
    outputs = run(module, graph, inputs)
    lines = [
        ("network", f"{graph.name}: {graph.title}" if graph.title else graph.name),
        ("nodes", f"{sum(call.op == 'call_module' for call in module.graph.nodes):,}"),
        ("parameters", _size(list(module.parameters()))),
        ("buffers", _size(list(module.buffers()))),
        ("device", f"{where}, {dtype}, {'training' if train else 'evaluation'} mode"),
        ("values", "none" if where.type == "meta" else f"init {init}, seed {seed}"),
        *(("input", _tensor(node.path, tensor)) for node, tensor in zip(graph.inputs, inputs, strict=True)),
        *(("output", _tensor(name, tensor)) for name, tensor in outputs.items()),
    ]
    if save is not None or onnx is not None:
        from archprof.building.exporting import exported_program, onnx_model
        from archprof.files import write_bytes

        if save is not None:
            write_bytes(exported_program(module, inputs), save)
            lines.append(("written", save))
        if onnx is not None:
            write_bytes(onnx_model(module, inputs, list(outputs)), onnx)
            lines.append(("written", onnx))
    put_out("".join(f"{label:<12}{text}\n" for label, text in lines), output)


def _size(tensors: list[Tensor]) -> str:
    count = sum(tensor.numel() for tensor in tensors)
    return f"{count:,}, {sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 2**20:,.1f} MiB"


def _tensor(name: str, tensor: Tensor) -> str:
    return f"{name}  {'x'.join(map(str, tensor.shape))}  {str(tensor.dtype).removeprefix('torch.')}"
