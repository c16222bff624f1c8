"""`archprof results`: list, show, compare, export and record results files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from archprof.cli.common import OutputOption, append_step_summary, one_of, put_out, surface
from archprof.errors import UsageError

results = typer.Typer(
    help="Results files of bench and profile: list, show, compare, export, record.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A results file.")]
FormatOption = Annotated[str, typer.Option("--format", "-f", help="terminal, markdown, csv, json.")]


@results.command("list")
def list_runs(
    folder: Annotated[str, typer.Argument(metavar="[FOLDER]", help="Where the results files are.")] = ".",
    format_: FormatOption = "terminal",
    output: OutputOption = None,
) -> None:
    """List the results files of a folder: when, on what, which networks, how the cells ended."""
    from archprof.profiling.results import NotResults, read_run
    from archprof.report.results import FORMATS, render
    from archprof.report.results.listing import content

    one_of(format_, FORMATS, "format")
    if not Path(folder).is_dir():
        raise UsageError(f"{folder}: no such folder")
    found, refused = [], []
    for path in sorted(Path(folder).glob("*.json")):
        try:
            found.append((path.name, read_run(path)))
        except NotResults:
            continue  # any JSON may lie there
        except UsageError as error:
            refused.append(f"not read: {error}")
    if not found and not refused:
        raise UsageError(f"no results files in {folder}: archprof bench writes one")
    found.sort(key=lambda pair: pair[1].created)
    put_out(render(content(found, refused, folder), format_, surface(output)), output)


@results.command()
def show(run: RunArgument, format_: FormatOption = "terminal", output: OutputOption = None) -> None:
    """Show the cells of a results file as the table that bench prints."""
    from archprof.profiling.results import read_run
    from archprof.report.bench import FORMATS, render

    one_of(format_, FORMATS, "format")
    put_out(render(read_run(run), format_, surface(output)), output)


@results.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="A B", help="Two results files; one with --published.")],
    published: Annotated[
        bool, typer.Option("--published", help="One run beside what others published of the same networks.")
    ] = False,
    all_: Annotated[
        bool, typer.Option("--all", help="With --published: every software, not the fastest of each device alone.")
    ] = False,
    fail_if: Annotated[
        str | None,
        typer.Option(
            metavar="slower:N%",
            help="Exit 1 where a cell is slower by N % or more, or is measured no more; both runs of one machine.",
        ),
    ] = None,
    floor: Annotated[
        str, typer.Option(metavar="N%", help="Below it no difference is called one, whatever the interval.")
    ] = "3%",
    across: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY,...", help="What may differ: hardware, torch, threads, tf32_matmul, ..., or all."),
    ] = None,
    format_: Annotated[str, typer.Option("--format", "-f", help="terminal, markdown, csv, json, github.")] = "terminal",
    output: OutputOption = None,
) -> None:
    """Compare two runs cell by cell: faster, slower, same, unclear or not comparable; or one with published figures.

    Cells align by network, batch, input, dtype, layout, mode and pass. Two devices are compared as they are; on one
    device torch's version and threads must be the same, unless --across names them.
    """
    from archprof.report.results import FORMATS, render

    formats = FORMATS if published else (*FORMATS, "github")
    one_of(format_, formats, "format")
    if published:
        if fail_if is not None or across:
            raise UsageError("--published gives ratios and no verdict: leave --fail-if and --across away")
        if len(runs) != 1:
            raise UsageError(f"--published puts one run beside published figures, not {len(runs)}")
        _beside(runs[0], format_, every=all_, output=output)
        return
    if len(runs) != 2:
        raise UsageError(f"compare needs two results files, not {len(runs)}; one with --published")
    from archprof.profiling.comparison import JUDGED, failures
    from archprof.profiling.comparison import compare as compare_runs
    from archprof.profiling.results import read_run
    from archprof.report.results.comparing import content, counts

    limit = None if fail_if is None else _limit(fail_if)
    before, after = (read_run(run) for run in runs)
    keys = [key.strip() for each in across or () for key in each.split(",")]
    found = compare_runs(before, after, floor=_percent(floor, "--floor "), across=keys, one_machine=limit is not None)
    failed = [] if limit is None else failures(found, limit)
    made = content(found, (runs[0], runs[1]))
    if format_ == "github":
        from archprof.report.results.github import render as render_github
        from archprof.report.results.github import step_summary

        put_out(render_github(found, failed), output)
        append_step_summary(step_summary(made))
    else:
        put_out(render(made, format_, surface(output)), output)
    if failed:
        from archprof.report.results.github import told

        _say([f"{fail_if}: {len(failed)} of {len(found.cells)} cells fail", *map(told, failed)])
        raise typer.Exit(1)
    if limit is not None and not any(cell.verdict in JUDGED for cell in found.cells):
        raise UsageError(f"nothing was judged: {counts(found)}")


@results.command()
def export(
    run: RunArgument,
    to: Annotated[str, typer.Option(metavar="FORMAT", help="github-action-benchmark.")],
    output: OutputOption = None,
) -> None:
    """Write the measured cells of a run in another tool's format."""
    from archprof.profiling.results import read_run
    from archprof.report.bench import outcome
    from archprof.report.results.exports import EXPORTS
    from archprof.report.results.exports import export as export_run

    one_of(to, EXPORTS, "format of another tool")
    found = read_run(run)
    left_out = [cell for cell in found.cells if not cell.timings]
    if len(left_out) == len(found.cells):
        raise UsageError(f"{run}: nothing was measured: {outcome(found.cells) or 'no cells'}")
    put_out(export_run(found, to), output)
    if left_out:
        _say([f"{len(left_out)} of {len(found.cells)} cells are not in it: {outcome(left_out)}"])


@results.command()
def record(
    run: RunArgument,
    history: Annotated[str, typer.Option(metavar="FOLDER", help="Where the histories are.")] = "reports/history",
) -> None:
    """Append a run to the history of its machine, which `archprof trend` reads."""
    from archprof.profiling.history import record as append
    from archprof.profiling.results import read_run

    found, new = append(read_run(run), history)
    count = f"{len(found.runs)} {'run' if len(found.runs) == 1 else 'runs'}"
    put_out(f"{found.path}: {count}{'' if new else '; this one was there'}\n")
    _say(found.notes)


def _beside(run: str, format_: str, *, every: bool, output: str | None) -> None:
    from archprof.profiling.published import beside
    from archprof.profiling.results import read_run
    from archprof.report.results import render
    from archprof.report.results.beside import content

    found = beside(read_run(run))
    put_out(render(content(found, run, every=every), format_, surface(output)), output)


def _limit(text: str) -> float:
    what, _, amount = text.partition(":")
    if what != "slower":
        raise UsageError(f"--fail-if {text}: write slower:5%")
    return _percent(amount, "--fail-if slower:")


def _percent(text: str, option: str) -> float:
    number = text[:-1] if text.endswith("%") else ""
    try:
        value = float(number) / 100
    except ValueError:
        value = -1.0
    if not 0 <= value < 10:
        raise UsageError(f"{option}{text}: write a percentage, as 5%")
    return value


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        typer.echo(line, err=True)
