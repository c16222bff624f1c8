"""`archprof bench`: networks by batch, pass, dtype, layout and mode, measured into one results file."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from archprof.cli.common import InputOption, MaxNodesOption, SetOption, one_of, put_out, surface, whole_network
from archprof.errors import UsageError
from archprof.extras import require
from archprof.profiling.comparison import differing
from archprof.profiling.matrix import AXES, NOT_YET, Matrix, Request, axis, batches, differences, expand, request_of
from archprof.profiling.messages import Described, Settings
from archprof.profiling.results import make_run, read_run, write_run
from archprof.profiling.sampling import BUDGET, PRECISION, check_settings
from archprof.profiling.scheduler import Listener, describe, measure
from archprof.profiling.suites import load_suite, suite_names
from archprof.report.bench import FORMATS, line, name, outcome, render, search_note
from archprof.spec import MAX_NODES

if TYPE_CHECKING:
    from rich.progress import Progress

    from archprof.graph import Graph
    from archprof.profiling.records import Cell, Run

_INTERRUPTED = 130  # what a shell gives a command that Ctrl-C ended
_RECORD = "bench"  # the key of a run's environment that holds what was asked for


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a command line asks for: a run keeps it in its environment, so that --resume can go on."""

    matrices: tuple[Matrix, ...]
    set_: tuple[str, ...] = msgspec.field(default=(), name="set")
    input_: tuple[str, ...] = msgspec.field(default=(), name="input")
    settings: Settings


def bench(
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NETWORK]...",
            help="Spec files, FILE:VARIANT, shipped names, package.module:callable, or model.onnx.",
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option("--batch", "-b", metavar="1,16,max", help="Batches; max: the largest that fits. Default: 1."),
    ] = None,
    pass_: Annotated[
        str | None, typer.Option("--pass", metavar="A,B", help=f"{', '.join(AXES['pass'])}. Default: forward.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="A,B", help=f"{', '.join(AXES['dtype'])}. Default: float32.")
    ] = None,
    amp: Annotated[
        str | None, typer.Option(metavar="A,B", help="Autocast: none, float16, bfloat16. Default: none.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(metavar="A,B", help="nchw, nhwc (torch.channels_last). Default: nchw.")
    ] = None,
    mode: Annotated[str | None, typer.Option(metavar="A,B", help=f"{', '.join(AXES['mode'])}. Default: eager.")] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help=f"{', '.join(suite_names())}: networks and batches that others published figures of."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1. Default: cpu.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of the CPU's operators. Default: as torch has it.")
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(metavar="FRACTION", help=f"Measure until the median is known so well. Default: {PRECISION:g}."),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="SECONDS", help=f"The most time for a cell's samples. Default: {BUDGET:g}.")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="4GiB", help="The most memory a network may take. Default: 90 % of what is free."),
    ] = None,
    tf32: Annotated[
        bool | None, typer.Option("--tf32/--no-tf32", help="Let float32 products round to TF32 (CUDA).")
    ] = None,
    cudnn_benchmark: Annotated[
        bool | None,
        typer.Option("--cudnn-benchmark/--no-cudnn-benchmark", help="Let cuDNN try its algorithms (CUDA)."),
    ] = None,
    flush_l2: Annotated[
        bool | None, typer.Option("--flush-l2", help="Empty the card's L2 cache before each sample.")
    ] = None,
    train: Annotated[
        bool | None, typer.Option("--train", help="The training graph, with the heads that only it has.")
    ] = None,
    set_: SetOption = None,
    input_: InputOption = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="RUN.json", help="The results file. Default: a new bench-DATE-TIME.json here."
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN.json", help="Go on with the cells that a run did not come to, with its options."),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", "-f", help=f"Of what is printed: {', '.join(FORMATS)}.")
    ] = "terminal",
    max_nodes: MaxNodesOption = MAX_NODES,
) -> None:
    """Measure networks: every combination of the options is a cell. Each is saved as soon as it is done.

    Exit status: 0 measured, 1 nothing measured or a cell failed, 2 a mistake. Cells that do not fit or that the device
    does not support say so, and are no failures.
    """
    one_of(format_, FORMATS, "format")
    require("bench", "torch", "torch")
    axes: dict[str, Any] = {
        "pass_" if option == "pass" else option: axis(option, given)
        for option, given in (("pass", pass_), ("dtype", dtype), ("amp", amp), ("layout", layout), ("mode", mode))
        if given is not None
    }
    if batch is not None:
        axes["batch"] = batches(batch)
    given_settings = {
        "device": device,
        "threads": threads,
        "precision": precision,
        "budget": budget,
        "memory": None if memory is None else _bytes(memory),
        "tf32": tf32,
        "cudnn_benchmark": cudnn_benchmark,
        "flush_l2": flush_l2,
        "train": train,
    }
    given_settings = {field: value for field, value in given_settings.items() if value is not None}
    matrices = _matrices(networks or (), suite, axes)
    before = None if resume is None else read_run(resume)
    if before is None:
        if not matrices:
            raise UsageError(f"nothing to measure: name networks, or a --suite: {', '.join(suite_names())}")
        asked = Asked(
            matrices=matrices,
            set_=tuple(set_ or ()),
            input_=tuple(input_ or ()),
            settings=msgspec.convert(given_settings, Settings),
        )
    else:
        asked = _asked_before(before, str(resume), given_settings)
        if matrices or axes or set_ or input_:
            if not matrices:
                raise UsageError("--resume takes the matrix of the file: name the networks too, or leave its axes away")
            asked = msgspec.structs.replace(
                asked, matrices=matrices, set_=tuple(set_ or ()), input_=tuple(input_ or ())
            )
    check_settings(asked.settings.precision, asked.settings.budget)
    graphs = _graphs(asked, max_nodes)
    requests = expand(asked.matrices, graphs, train=asked.settings.train)
    target = output or resume or _new_name()
    if before is None:
        _keep(target)
        cells = [request.cell("skipped", NOT_YET) for request in requests]
    else:
        cells = list(before.cells)
        known = [request_of(cell) for cell in cells]
        for difference in differences(known, requests):
            raise UsageError(f"{resume} holds another matrix: {difference}")
        requests = known
    machine = describe(next(iter(graphs.values())), asked.settings)
    if before is None:
        environment = {**machine.environment, _RECORD: msgspec.to_builtins(asked)}
        command = shlex.join(["archprof", *sys.argv[1:]])
        run = make_run(cells, environment, machine.machine, machine.hardware, command)
    elif before.machine == machine.machine:
        run = _resumed(before, machine, str(resume))
    else:
        raise UsageError(f"{resume} was measured on {before.machine}, and this is {machine.machine}: start a new run")
    write_run(run, target)  # a place that cannot be written to is found before anything is measured
    run, stopped = _measured(run, requests, graphs, asked.settings, machine.available, target)
    put_out(render(run, format_, surface(None)))
    _say(f"{target}: {outcome(run.cells)}")
    if stopped:
        _say(f"stopped: go on with archprof bench --resume {shlex.quote(target)}")
        raise typer.Exit(_INTERRUPTED)
    statuses = {cell.status for cell in run.cells}
    if "ok" not in statuses:
        _say("nothing was measured")
    if "ok" not in statuses or "failed" in statuses:
        raise typer.Exit(1)


def _measured(
    run: Run,
    requests: Sequence[Request],
    graphs: Mapping[str, Graph],
    settings: Settings,
    available: int | None,
    target: str,
) -> tuple[Run, bool]:
    """A run with the cells that it lacked, each written as soon as it is done; and whether Ctrl-C ended it."""
    places = [place for place, cell in enumerate(run.cells) if cell.reason == NOT_YET]
    cells = list(run.cells)
    with _Progress(len(cells), len(cells) - len(places)) as progress:
        measuring = measure(
            [requests[place] for place in places],
            {graph.name: graph for graph in graphs.values()},
            settings,
            available=available,
            finished=[cell for cell in cells if cell.reason != NOT_YET],
            listener=progress,
        )
        with contextlib.closing(measuring):
            try:
                for place, cell in zip(places, measuring, strict=True):
                    cells[place] = cell
                    run = msgspec.structs.replace(run, cells=tuple(cells))
                    write_run(run, target)
                    progress.ends(cell)
            except KeyboardInterrupt:
                run = msgspec.structs.replace(run, cells=tuple(cells))
                write_run(run, target)
                return run, True
    return run, False


class _Progress(Listener):
    """Tells on standard error how far a benchmark is: live on a terminal, else one line a cell."""

    def __init__(self, cells: int, finished: int) -> None:
        self.cells = cells
        self.finished = finished
        self.bar: Progress | None = None

    def __enter__(self) -> _Progress:
        if sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            self.bar = Progress(
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.description}", markup=False),
                console=Console(stderr=True),
                transient=True,
                refresh_per_second=1,  # drawing takes time from what is measured
            )
            self.task = self.bar.add_task("", total=self.cells, completed=self.finished)
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def starts(self, request: Request) -> None:
        """Show what is measured now."""
        if self.bar is not None:
            self.bar.update(self.task, description=name(request.cell("skipped", NOT_YET)))

    def tried(self, request: Request, batch: int, fitted: bool) -> None:
        """Show the trial of a search."""
        self.tell(f"  batch {batch} {'fits' if fitted else 'does not fit'}")

    def ends(self, cell: Cell) -> None:
        """Say what a cell came to."""
        self.finished += 1
        self.tell(f"[{self.finished}/{self.cells}] {line(cell)}")
        note = search_note(cell)
        if note is not None:
            self.tell(f"  {note}")
        if self.bar is not None:
            self.bar.update(self.task, completed=self.finished)

    def tell(self, text: str) -> None:
        if self.bar is not None:
            self.bar.console.print(text, markup=False, highlight=False)
        else:
            _say(text)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _matrices(networks: Sequence[str], suite: str | None, axes: dict[str, Any]) -> tuple[Matrix, ...]:
    """What the options ask for; nothing where they name no network."""
    if suite is None:
        return (Matrix(networks=tuple(networks), **axes),) if networks else ()
    if networks:
        raise UsageError(f"--suite {suite} names its networks itself: leave {', '.join(networks)} away")
    return tuple(msgspec.structs.replace(matrix, **axes) for matrix in load_suite(suite).matrices)


def _asked_before(run: Run, path: str, given: Mapping[str, Any]) -> Asked:
    """What a run's command line asked for. Raises UsageError where it was none of bench's, or a setting differs."""
    try:
        asked = msgspec.convert(run.environment[_RECORD], Asked)
    except (KeyError, msgspec.ValidationError):
        raise UsageError(f"{path} was not written by archprof bench: there is nothing to go on with") from None
    for field, value in given.items():
        there = getattr(asked.settings, field)
        if value != there:
            raise UsageError(
                f"{path} was measured with {field} {'as the default is' if there is None else there}, not {value}: "
                "start a new run"
            )
    return asked


def _resumed(run: Run, machine: Described, path: str) -> Run:
    """A run that is gone on with: what has changed on the machine since is said, and kept in its environment."""
    now = make_run((), machine.environment, machine.machine, machine.hardware, run.command)
    changes = dict(differing(run, now))
    if run.archprof != now.archprof:
        changes["archprof"] = (run.archprof, now.archprof)
    if not changes or all(cell.reason != NOT_YET for cell in run.cells):
        return run
    for name_, (old, new) in changes.items():
        _say(f"{path}: {name_} was {old} and is {new}")
    earlier = run.environment.get("resumed", [])
    environment = {**run.environment, "resumed": [*earlier, {"created": now.created, "changes": changes}]}
    return msgspec.structs.replace(run, environment=environment)


def _graphs(asked: Asked, max_nodes: int) -> dict[str, Graph]:
    """The graphs by the names that were given. Raises UsageError where two networks have one name of their own."""
    found: dict[str, Graph] = {}
    for each in dict.fromkeys(network for matrix in asked.matrices for network in matrix.networks):
        graph = whole_network(each, asked.set_, asked.input_, max_nodes, train=asked.settings.train).graph
        for other, known in found.items():
            if known.name == graph.name and known != graph:
                raise UsageError(f"{other} and {each} are both called {graph.name}: give one of them another name")
        found[each] = graph
    return found


def _bytes(text: str) -> int:
    from archprof.analysis.numbers import is_printed, parse_printed

    if not is_printed(text) or parse_printed(text).value < 1:
        raise UsageError(f"--memory {text}: write an amount as 4GiB or 500MiB")
    return int(parse_printed(text).value)


def _new_name() -> str:
    return datetime.now(timezone.utc).strftime("bench-%Y%m%d-%H%M%S.json")


def _keep(target: str) -> None:
    """Refuse to write over a run, or to what is no file: it is written anew after each cell."""
    path = Path(target)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UsageError(f"--output {target}: the results file is written after each cell: give a regular file")
    try:
        there = read_run(target)
    except UsageError:
        return  # nothing, or no results: as any command, this one replaces a file
    if any(cell.status != "skipped" for cell in there.cells):
        raise UsageError(
            f"{target} holds results already: go on with --resume {shlex.quote(target)}, delete it, or name another"
        )
