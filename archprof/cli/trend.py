"""`archprof trend`: the course of each network over the runs of a history."""

from __future__ import annotations

from typing import Annotated

import typer

from archprof.cli.common import OutputOption, one_of, put_out, surface
from archprof.errors import UsageError
from archprof.operators import hint


def trend(
    networks: Annotated[
        list[str] | None, typer.Argument(metavar="[NETWORK...]", help="As the runs call them; all without one.")
    ] = None,
    history: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where archprof results record put them.")
    ] = "reports/history",
    machine: Annotated[str | None, typer.Option(help="One machine's alone: the name of its file.")] = None,
    last: Annotated[int, typer.Option(min=1, help="The most runs of a course.")] = 200,
    format_: Annotated[str, typer.Option("--format", "-f", help="terminal, markdown, csv, json, svg.")] = "terminal",
    output: OutputOption = None,
) -> None:
    """Show how times went from run to run, and the steps in them."""
    from archprof.profiling.history import courses, read_histories
    from archprof.report.results import FORMATS, render
    from archprof.report.results.trend import content

    one_of(format_, (*FORMATS, "svg"), "format")
    histories = read_histories(history)
    if machine is not None:
        one_of(machine, [each.path.stem for each in histories], f"machine in {history}:")
        histories = tuple(each for each in histories if each.path.stem == machine)
    notes = [note for each in histories for note in each.notes]
    known = dict.fromkeys(cell.key.network for each in histories for run in each.runs for cell in run.cells)
    for name in networks or ():
        if name not in known:
            raise UsageError(f"no network {name} in {history}: {hint(name, known)}")
    found = courses(histories, last, networks or None)
    if not found:
        raise UsageError("; ".join([f"nothing was measured in {history}", *notes]))
    if format_ == "svg":
        from archprof.report.results.svg import render as render_svg

        put_out(render_svg(found), output)
        for note in notes:
            typer.echo(note, err=True)
        return
    where = surface(output)
    put_out(render(content(found, notes, where), format_, where), output)
