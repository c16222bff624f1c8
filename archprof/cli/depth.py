"""`archprof depth`: whether deeper networks train worse, with and without shortcuts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archprof.cli.common import SetOption, one_of, put_out, settings, surface
from archprof.errors import UsageError
from archprof.experiments.verdicts import MOST_SEEDS, PLAIN
from archprof.extras import require

if TYPE_CHECKING:
    from archprof.experiments.data import Images
    from archprof.experiments.records import Trial
    from archprof.experiments.run_folder import RunFolder
    from archprof.experiments.training import Task

ENGINES = ("local", "ray", "dask")


def depth(
    spec: Annotated[
        str | None,
        typer.Argument(metavar="[SPEC]", help="A spec with a parameter depth. Default: resnet-cifar."),
    ] = None,
    depths: Annotated[
        str | None, typer.Option(metavar="N,N", help="The depths that are compared. Default: 20,56.")
    ] = None,
    shortcuts: Annotated[
        str | None,
        typer.Option(metavar="WORD,WORD", help="Values of the spec's parameter shortcut. Default: none,identity."),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_SEEDS, help="Trainings of each network. Default: 5, the least that show anything."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="digits (no download), cifar10 or another image dataset of the Hugging Face hub, a folder of images "
            "or of train.parquet and test.parquet, one parquet file. Default: digits.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="digits, quick, paper, or a YAML file of one's own. Default: digits for digits, else quick."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="In place of the recipe's length.")] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="In place of the recipe's length.")] = None,
    set_: SetOption = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="RUN", help="The run's folder. Default: depth-DATA, a new one."),
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with a run, to the numbers it would have had in one go.")
    ] = None,
    plot_only: Annotated[
        str | None, typer.Option(metavar="RUN", help="Judge and draw a run again; train nothing.")
    ] = None,
    identity_insertion: Annotated[
        bool,
        typer.Option(
            "--identity-insertion",
            help="Train the shallowest nets alone, and show what becomes of them when they are made as deep as the "
            "deepest by blocks that compute the identity. Exit status 1 if a residual net changes.",
        ),
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", "-j", min=1, help="Trials at once. Default: one a core, or one a GPU.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of each trial. Default: 1.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps. Default: cuda where there is one.")] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="local, ray or dask: whose workers. RAY_ADDRESS and DASK_SCHEDULER_ADDRESS name a cluster; RUN must "
            "lie where all its machines see it, under the same path."
        ),
    ] = "local",
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write event files too, to RUN/tensorboard.")
    ] = False,
    format_: Annotated[str, typer.Option("--format", "-f", help="terminal, markdown, json.")] = "terminal",
) -> None:
    """Train a network at several depths, with and without shortcuts, and judge whether depth makes errors rise.

    RUN holds tables (csv, parquet), pictures (svg, png), verdicts, the configuration and the environment.
    Exit status: 0 all trained, 1 a trial could not be trained or a worker died, 2 a mistake, 130 stopped by Ctrl-C.
    """
    from archprof.report.depth import FORMATS, render_insertions

    one_of(engine, ENGINES, "engine")
    one_of(format_, FORMATS, "format")
    for package in ("torch", "joblib", "pyarrow", "matplotlib"):  # before anything takes time
        require("depth", package, "depth")
    if tensorboard:
        require("--tensorboard", "tensorboard", "tensorboard")
    from archprof.experiments.data import load_images
    from archprof.experiments.run_folder import RunFolder, distinct, free_folder
    from archprof.experiments.trials import Wishes, configuration, ended_trials, new_plan, planned_tasks, resumed_plan

    folders = {"--output": output, "--resume": resume, "--plot-only": plot_only}
    named = [option for option, given in folders.items() if given is not None]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} each name a run's folder: give one of them")
    wishes = Wishes(
        spec=spec,
        depths=None if depths is None else _numbers("--depths", depths),
        shortcuts=None if shortcuts is None else distinct("--shortcuts", shortcuts.split(",")),
        seeds=seeds,
        data=data,
        recipe=recipe,
        epochs=epochs,
        iterations=iterations,
        parameters=None if set_ is None else settings(set_),
        device=device,
        threads=threads,
    )
    if plot_only is not None:
        if wishes != Wishes() or identity_insertion or workers is not None or engine != "local":
            raise UsageError("--plot-only trains nothing: it goes with --format and --tensorboard alone")
        folder = RunFolder(plot_only)
        _report(folder, folder.config(), ended_trials(folder), format_, tensorboard)
        return
    plan = new_plan(wishes) if resume is None else resumed_plan(wishes, RunFolder(resume))
    images = load_images(plan.data)
    folder = RunFolder(resume or output or free_folder(f"depth-{Path(plan.data).stem}"))
    config = configuration(plan, images)
    tasks = planned_tasks(plan, images, folder)  # before a folder is made for what cannot be built
    if identity_insertion:
        from archprof.experiments.insertion import insert_all, require_insertable

        require_insertable(tasks)
    if resume is None:
        folder.create(config, plan.text, _environment(plan.device))
    else:
        folder.require(config)
    if identity_insertion:
        shallow = _train([task for task in tasks if task.depth == min(plan.depths)], images, folder, engine, workers)
        for trial in shallow:
            if trial.status == "unfinished":
                raise UsageError(f"{trial.name} could not be trained: {trial.reason}")
        insertions = tuple(insert_all(tasks, images))
        caption = _caption(config)[:1]
        shown = render_insertions(insertions, format_, surface(None), title=_title(config), caption=caption)
        put_out(shown)
        if not all(each.holds for each in insertions if each.shortcut != PLAIN):
            raise typer.Exit(1)
        return
    trials = _train(tasks, images, folder, engine, workers)
    _report(folder, config, trials, format_, tensorboard)
    if any(trial.status == "unfinished" for trial in trials):
        raise typer.Exit(1)


def _numbers(option: str, given: str) -> tuple[int, ...]:
    from archprof.experiments.run_folder import distinct

    words = given.split(",")
    if not all(word.isascii() and word.isdigit() and 0 < len(word) < 10 for word in words):
        raise UsageError(f"{option} {given}: write whole numbers, as 20,56")
    return distinct(option, [int(word) for word in words])


def _environment(device: str) -> dict[str, Any]:
    from archprof import __version__
    from archprof.profiling.environment import describe

    return {"archprof": __version__, "arguments": sys.argv[1:], **describe(device).environment}


def _train(tasks: Sequence[Task], images: Images, folder: RunFolder, engine: str, workers: int | None) -> list[Trial]:
    """Train what has not ended, showing how far it is; the trials in the order of their tasks."""
    from archprof.experiments.engines import WorkerDied, local_workers, train_all, unfinished
    from archprof.experiments.trials import ended_trials
    from archprof.report.depth_progress import Board, shown

    known = {task.name: trial for task in tasks if (trial := folder.trial(task.name)) is not None}
    ended = {name: trial for name, trial in known.items() if trial.status != "unfinished"}
    waiting = [task for task in tasks if task.name not in ended]
    for task in waiting:
        folder.forget_progress(task.name)
    board = Board([task.name for task in tasks], ended, folder.progress, workers or local_workers(tasks))
    try:
        with shown(board, sys.stderr, live=sys.stderr.isatty()):
            for trial in train_all(waiting, images, folder, engine=engine, workers=workers):
                board.end(trial)
    except (KeyboardInterrupt, WorkerDied) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        for task in waiting:
            if task.name not in board.ended:
                folder.write_trial(task.name, unfinished(task, folder, "stopped"))
        typer.echo(
            f"{'stopped' if interrupted else error}: {len(board.ended)} of {len(tasks)} trials are done, and the "
            f"others keep their whole epochs; archprof depth --resume {folder.path} goes on",
            err=True,
        )
        raise typer.Exit(130 if interrupted else 1) from None
    finally:
        try:
            folder.write_tables(ended_trials(folder))  # those of a resumed run, whichever were wanted
        except OSError as error:
            raise UsageError(f"cannot write {folder.path}: {error.strerror}") from None
    return [board.ended[task.name] for task in tasks]


def _report(
    folder: RunFolder, config: Mapping[str, Any], trials: Sequence[Trial], format_: str, tensorboard: bool
) -> None:
    """Judge and draw a run, and print it."""
    from archprof.report.depth import render
    from archprof.report.depth_figures import draw
    from archprof.report.output import PIPE, write_output

    if not trials:
        raise UsageError(f"{folder.path}: no trial has ended yet; archprof depth --resume {folder.path} goes on")
    title, caption = _title(config), _caption(config)
    for kind, name in (("json", "verdicts.json"), ("markdown", "report.md")):
        write_output(render(trials, kind, PIPE, title=title, caption=caption), folder.path / name)
    draw(trials, folder.path, title=title)
    if tensorboard:
        from archprof.experiments.events import write_events

        write_events(trials, folder.path / "tensorboard")
    put_out(render(trials, format_, surface(None), title=title, caption=caption))
    typer.echo(f"written to {folder.path}", err=True)


def _title(config: Mapping[str, Any]) -> str:
    return f"{config['network']['name']} on {Path(config['data']['name']).name}"


def _caption(config: Mapping[str, Any]) -> tuple[str, ...]:
    """How the nets were trained, and on what errors are measured."""
    recipe, data = config["recipe"], config["data"]
    length = f"{recipe['epochs']} epochs" if recipe["epochs"] else f"{recipe['iterations']:,} iterations"
    evaluated = min(recipe["evaluated_images"] or data["train"], data["train"])
    of = f"{evaluated:,} of the {data['train']:,}" if evaluated < data["train"] else f"all {evaluated:,}"
    threads = f", {config['threads']} CPU threads a trial" if config["threads"] > 1 else ""
    return (
        f"Recipe {Path(recipe['name']).stem}: SGD {recipe['learning_rate']:g}, momentum {recipe['momentum']:g}, weight "
        f"decay {recipe['weight_decay']:g}, batch {recipe['batch_size']}, {length}, {recipe['schedule']}; "
        f"{config['device']}{threads}.",
        f"Errors are in evaluation mode, with batch-norm statistics re-estimated: the training error over {of} "
        f"training images, the test error over {data['test']:,}.",
        *([f"{data['name']}: {data['note']}."] if "note" in data else []),
    )
