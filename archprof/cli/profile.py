"""`archprof profile`: where the time of a network goes."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from archprof.analysis import DTYPES
from archprof.cli.common import (
    InputOption,
    MaxNodesOption,
    NetworkArgument,
    OutputOption,
    SetOption,
    fold_depth,
    is_imported,
    one_of,
    put_out,
    settings,
    surface,
    whole_network,
)
from archprof.cli.table import names
from archprof.errors import UsageError
from archprof.extras import require
from archprof.files import require_writable
from archprof.profiling.records import PASSES
from archprof.profiling.sampling import BUDGET, PRECISION, check_settings
from archprof.profiling.table import ceiling_of
from archprof.report import write_output
from archprof.report.profile import COLUMNS, FORMATS, chosen_columns, render
from archprof.report.roofline import check_plot, points_of
from archprof.report.roofline import plot as draw
from archprof.report.trace import trace as write_trace
from archprof.spec import MAX_NODES


def profile(
    network: NetworkArgument,
    format_: Annotated[str, typer.Option("--format", "-f", help=f"{', '.join(FORMATS)}.")] = "terminal",
    output: OutputOption = None,
    pass_: Annotated[
        str,
        typer.Option("--pass", help="forward (evaluation), forward+backward, or step: these and an update by SGD."),
    ] = "forward+backward",
    batch: Annotated[int, typer.Option("--batch", "-b", min=1, help="Network inputs in a batch.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1.")] = "cpu",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of the CPU's operators. Default: what torch takes.")
    ] = None,
    dtype: Annotated[str, typer.Option(help=f"{', '.join(DTYPES)}.")] = "float32",
    amp: Annotated[str | None, typer.Option(help="Autocast to float16 or bfloat16.")] = None,
    layout: Annotated[str, typer.Option(help="nchw, or nhwc: torch.channels_last.")] = "nchw",
    mode: Annotated[str, typer.Option(help="eager, or compile: torch.compile, without layers.")] = "eager",
    tf32: Annotated[
        bool | None, typer.Option("--tf32/--no-tf32", help="On CUDA, let float32 products round to TF32.")
    ] = None,
    cudnn_benchmark: Annotated[
        bool | None,
        typer.Option("--cudnn-benchmark/--no-cudnn-benchmark", help="On CUDA, let cuDNN try its algorithms."),
    ] = None,
    precision: Annotated[
        float, typer.Option(help="Stop when the medians' 95 % intervals lie within this fraction.")
    ] = PRECISION,
    budget: Annotated[float, typer.Option(metavar="SECONDS", help="Stop after so long at the latest.")] = BUDGET,
    set_: SetOption = None,
    input_: InputOption = None,
    train: Annotated[
        bool, typer.Option("--train", help="The training graph, with the heads that only it has.")
    ] = False,
    fold: Annotated[
        str | None, typer.Option(metavar="N|all", help="Rows at depth N of the node paths; all: every node.")
    ] = None,
    repeats: Annotated[
        bool, typer.Option("--repeats", help="Equal neighbouring copies of a repeat in one row.")
    ] = False,
    columns: Annotated[str | None, typer.Option(metavar="A,B,...", help=f"Of {', '.join(COLUMNS)}.")] = None,
    save: Annotated[
        str | None, typer.Option(metavar="RUN.json", help="Write a results file, with every sample.")
    ] = None,
    trace: Annotated[
        str | None,
        typer.Option(metavar="TRACE.json", help="Write one pass layer by layer, for chrome://tracing or Perfetto."),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Draw the layers on the device's roofline: .svg or .png."),
    ] = None,
    max_nodes: MaxNodesOption = MAX_NODES,
) -> None:
    """Time a network's passes as a whole, and find where the time goes, layer by layer."""
    one_of(format_, FORMATS, "format")
    check_settings(precision, budget)
    chosen_columns(names(columns))
    for path in (save, output, trace, plot):
        if path is not None:
            require_writable(path)
    if plot is not None:
        check_plot(plot)
    if mode != "eager" and (trace is not None or plot is not None):
        raise UsageError("a compiled network runs as one: it has no layers for --trace or --plot")
    require("profile", "torch", "torch")
    if plot is not None:
        _require_roofline(device, threads)
    for given, known, what in ((dtype, DTYPES, "dtype"), (pass_, PASSES, "pass")):
        one_of(given, known, what)
    module, inputs = None, None
    if is_imported(network):
        from archprof.importer import runnable

        graph, module, inputs, *_ = runnable(
            network,
            input_ or (),
            settings(set_),
            batch=batch,
            train=train or pass_ != "forward",
            device=device,
            dtype=dtype,
        )
    else:
        graph = whole_network(network, set_, input_, max_nodes).graph
    depth = fold_depth(fold, graph.fold)
    from archprof.profiling import profile as measure

    measured = measure(
        graph,
        module=module,
        inputs=inputs,
        batch=batch,
        device=device,
        dtype=dtype,
        amp=amp,
        layout=layout,
        mode=mode,
        pass_=pass_,
        train=train,
        threads=threads,
        tf32=tf32,
        cudnn_benchmark=cudnn_benchmark,
        precision=precision,
        budget=budget,
    )
    if save is not None:
        from archprof.profiling.results import make_run, write_run

        machine, hardware, environment = measured.description
        command = shlex.join(["archprof", *sys.argv[1:]])
        write_run(make_run([measured.cell], environment, machine, hardware, command), save)
    if trace is not None and measured.trace is not None:
        spans = measured.trace
        text = write_trace(graph.name, spans.forward, spans.backward, measured.cell.layers)
        write_output(text, trace)
    put_out(
        render(
            measured,
            format_,
            fold=depth,
            repeats=repeats,
            columns=names(columns),
            surface=surface(output),
        ),
        output,
    )
    if plot is not None:
        ceiling = ceiling_of(measured)
        if ceiling is None:
            raise UsageError(f"--plot: the roofline of this device has no peak for {amp or dtype}")
        title = f"{graph.title or graph.name}, batch {batch}, {ceiling.dtype}"
        draw(points_of(measured.cell.layers), ceiling.roofline, ceiling.dtype, plot, title)


def _require_roofline(device: str, threads: int | None) -> None:
    """Refuse to draw on a roofline that is not known, before anything takes time. Raises UsageError."""
    from archprof.profiling.device import open_device
    from archprof.profiling.roofline import attainable

    with open_device(device, threads=threads) as opened:
        if attainable(opened) is None:
            option = "" if threads is None else f" --threads {threads}"
            raise UsageError(f"--plot needs the roofline of {opened.hardware}: run archprof device{option} first")
