"""`archprof predict`: the least time of a network on a device, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from archprof.analysis import DTYPES, PASSES, analyse
from archprof.cli.common import (
    BatchOption,
    CountingOption,
    InputOption,
    MaxNodesOption,
    NetworkArgument,
    OutputOption,
    SetOption,
    TrainOption,
    fold_depth,
    one_of,
    put_out,
    surface,
    whole_network,
)
from archprof.errors import UsageError
from archprof.extras import require
from archprof.spec import MAX_NODES

if TYPE_CHECKING:
    from archprof.profiling.roofline import Roofline


def predict(
    network: NetworkArgument,
    on: Annotated[
        str | None, typer.Option(metavar="CARD", help="A card by its data sheet: RTX 3090 (archprof device --list).")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="A device that archprof device has measured here: cpu, cuda, cuda:1.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of the CPU. Default: the most that were measured.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", "-f", help="terminal, markdown, csv, json.")] = "terminal",
    output: OutputOption = None,
    counting: CountingOption = None,
    batch: BatchOption = 1,
    dtype: Annotated[str, typer.Option(help=f"{', '.join(DTYPES)}.")] = "float32",
    tf32: Annotated[bool, typer.Option("--tf32", help="float32 products in TF32, on tensor cores.")] = False,
    pass_: Annotated[str, typer.Option("--pass", help=f"Of which pass: {', '.join(PASSES)}.")] = "forward",
    train: TrainOption = False,
    set_: SetOption = None,
    input_: InputOption = None,
    fold: Annotated[
        str | None, typer.Option(metavar="N|all", help="Rows at depth N of the node paths; all: every node.")
    ] = None,
    max_nodes: MaxNodesOption = MAX_NODES,
) -> None:
    """Predict the least time of each layer, and of the network, from a roofline: no tensor is made.

    The roofline is a card's data sheet (--on), or what archprof device measured (--device).
    """
    from archprof.profiling.roofline import TF32
    from archprof.profiling.roofline import predict as predict_nodes
    from archprof.report.prediction import FORMATS, make_report, render

    one_of(format_, FORMATS, "format")
    one_of(pass_, PASSES, "pass")
    if tf32 and dtype != "float32":
        raise UsageError(f"--tf32 is of float32 products: leave it, or --dtype {dtype}, away")
    roofline = find_roofline(on, device, threads)
    graph = whole_network(network, set_, input_, max_nodes, train=train).graph
    analyses = [
        analyse(graph, batch=batch, counting=counting, train=train, dtype=dtype, passes=each)
        for each in (("forward", "backward") if pass_ == "both" else (pass_,))
    ]
    kind = TF32 if tf32 else dtype
    report = make_report(
        analyses[0],
        predict_nodes(analyses, roofline, kind),
        passes=pass_,
        roofline=roofline,
        dtype=kind,
        fold=fold_depth(fold, graph.fold),
    )
    put_out(render(report, format_, surface(output)), output)


def find_roofline(on: str | None, device: str | None, threads: int | None) -> Roofline:
    """The roofline that the options name. Raises UsageError where they name none, two, or one that is not known."""
    from archprof.profiling.peaks import find_peak
    from archprof.profiling.roofline import cached_cpu, data_sheet

    if on is not None and device is not None:
        raise UsageError(f"--on {on} and --device {device} are two devices: give one of them")
    if threads is not None and device != "cpu":
        raise UsageError("--threads is of --device cpu")
    if on is not None:
        return data_sheet(find_peak(on))
    if device is None:
        raise UsageError(
            'on what? --on "RTX 3090" (archprof device --list), or --device cpu (archprof device measures it)'
        )
    return cached_cpu(threads).roofline if device == "cpu" else _of_a_card(device)


def _of_a_card(device: str) -> Roofline:
    """Which card a number means, only torch can tell."""
    require(f"--device {device}", "torch", "torch")
    from archprof.profiling.device import hardware_of
    from archprof.profiling.roofline import known_roofline

    hardware = hardware_of(device)
    found = known_roofline(hardware)
    if found is None:
        raise UsageError(f"{hardware} is not measured yet: run archprof device --device {device}")
    return found
