"""`archprof device`: what a device attains, beside its data sheet."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from archprof.cli.common import OutputOption, one_of, put_out, surface
from archprof.errors import UsageError
from archprof.extras import require


def device(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A card whose data sheet is shown: RTX 3090. Not measured.")
    ] = None,
    device_: Annotated[
        str | None,
        typer.Option("--device", help="What is measured: cpu, cuda, cuda:1. Default: cuda where there is one."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of a CPU. Default: torch's own.")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Measure again what was measured before.")] = False,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="How long each figure is measured.")] = 3.0,
    list_: Annotated[bool, typer.Option("--list", help="The cards whose data sheets are known.")] = False,
    format_: Annotated[str, typer.Option("--format", "-f", help="terminal, markdown, csv, json.")] = "terminal",
    output: OutputOption = None,
) -> None:
    """Measure a device's roofline: operations a second of matrix products, bytes a second of copy and triad.

    What is measured is kept (~/.cache/archprof) by device, torch version and threads; profile and predict use it.
    """
    from archprof.profiling.peaks import find_peak, known_peaks, peak_of
    from archprof.report.device import FORMATS, render, render_list

    one_of(format_, FORMATS, "format")
    if list_ or name is not None:
        if list_ and name is not None:
            raise UsageError(f"--list shows all cards: leave {name} away")
        if device_ is not None or threads is not None or refresh:
            raise UsageError("a data sheet is not measured: leave --device, --threads and --refresh away")
        where = surface(output)
        put_out(
            render_list(known_peaks(), format_, where)
            if name is None
            else render(None, find_peak(name), format_, where),
            output,
        )
        return
    require("device", "torch", "torch")
    from archprof.profiling.ceilings import attain
    from archprof.profiling.device import default_device, open_device
    from archprof.profiling.roofline import cached, keep

    with open_device(device_ or default_device(), threads=threads) as opened:
        known = None if refresh else cached(opened.hardware, opened.threads if opened.where.type == "cpu" else None)
        attained = known or attain(opened, budget=seconds, progress=_progress)
    if known is None:
        _progress("")
        keep(attained)
    put_out(render(attained, peak_of(attained.hardware), format_, surface(output)), output)


def _progress(what: str) -> None:
    """What is being measured, on a terminal: a line that the next one replaces."""
    if sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        typer.echo(f"\r\x1b[K{what and f'measuring: {what}'}", nl=False, err=True)
