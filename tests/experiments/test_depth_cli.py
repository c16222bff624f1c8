"""`archprof depth`: runs, their folders, what is refused."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyarrow import parquet

from archprof.experiments import engines
from archprof.experiments.engines import WorkerDied
from archprof.experiments.records import Trial
from archprof.experiments.run_folder import RunFolder
from archprof.experiments.training import Task
from tests.conftest import COMMAND, Run

TINY = ["--depths", "8,14", "--seeds", "1", "--epochs", "2", "--set", "width=2", "--workers", "1", "--device", "cpu"]


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A run that ended: its folder, what was printed, and the messages."""
    place = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        return place / "run", *_called(patch, place, "depth", *TINY, "-o", "run", "--tensorboard")


def _called(patch: pytest.MonkeyPatch, place: Path, *arguments: str) -> tuple[str, str]:
    import contextlib
    import io
    import sys

    from archprof.cli import main

    patch.chdir(place)
    patch.setattr(sys, "argv", ["archprof", *arguments])
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as left:
        main()
    assert left.value.code in (0, None), errors.getvalue()
    return out.getvalue(), errors.getvalue()


# --- a run


def test_a_run_prints_nets_verdicts_and_how_it_was_trained(made: tuple[Path, str, str]) -> None:
    _, out, _ = made
    for text in (
        "resnet-cifar on digits\n",
        "plain-8 ",
        "residual-14 ",
        "(a) plain: training error rises with depth",
        "not shown (needs 5 seeds)",
        "Recipe digits: SGD 0.05, momentum 0.9, weight decay 0.0001, batch 64, 2 epochs, cosine; cpu.\n",
        "the training error over all 1,347 training images, the test error over 450.\n",
    ):
        assert text in out


def test_a_run_without_a_terminal_tells_a_line_an_epoch(made: tuple[Path, str, str]) -> None:
    *lines, last = made[2].splitlines()
    assert last == "written to run"
    names = [f"{depth}-{shortcut}-0" for depth in (14, 8) for shortcut in ("none", "identity")]
    assert [line.split("  ")[:3] for line in lines] == [
        [name, f"epoch {epoch}", f"iteration {21 * epoch}/42"] for name in names for epoch in (1, 2)
    ]


def test_a_runs_tables_are_tidy(made: tuple[Path, str, str]) -> None:
    folder = made[0]
    table = rows(folder / "trials.csv")
    assert len(table) == 8  # a row an epoch of each trial
    assert list(table[0]) == [
        "network", "depth", "shortcut", "seed", "status", "reason", "params", "epoch", "iteration", "train_loss",
        "train_error_running", "train_error", "test_error", "test_loss", "seconds", "learning_rate",
    ]  # fmt: skip
    again = parquet.read_table(folder / "trials.parquet").to_pylist()
    assert [{key: str(value) for key, value in row.items()} for row in again] == table
    layers = rows(folder / "responses.csv")
    assert [row["layer"] for row in layers if row["depth"] == "8" and row["shortcut"] == "none"] == list("1234567")


def test_a_runs_folder(made: tuple[Path, str, str]) -> None:
    folder = made[0]
    config = json.loads((folder / "config.json").read_text())
    assert (config["depths"], config["shortcuts"], config["seeds"]) == ([8, 14], ["none", "identity"], 1)
    assert (config["threads"], config["layout"], config["data"]["sha256"]) == (1, "channels_last", "21d4b83f95e783d7")
    assert config["cpu_capability"]
    assert config["recipe"]["epochs"] == 2
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["arguments"][:2] == ["depth", "--depths"]
    assert environment["cpu"]
    verdicts = json.loads((folder / "verdicts.json").read_text())
    assert verdicts["schema"] == "archprof.depth/1"
    for name in ("errors.svg", "errors.png", "responses.svg", "responses.png", "report.md", "spec.yaml"):
        assert (folder / name).stat().st_size > 0
    assert len(list((folder / "tensorboard").glob("8-none-0/events.*"))) == 1


def test_event_files_hold_the_tables_numbers(made: tuple[Path, str, str]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(made[0] / "tensorboard" / "14-none-0"))
    events.Reload()
    table = [row for row in rows(made[0] / "trials.csv") if row["depth"] == "14" and row["shortcut"] == "none"]
    assert [(event.step, event.value) for event in events.Scalars("train_error")] == [
        (int(row["iteration"]), pytest.approx(float(row["train_error"]))) for row in table
    ]


def test_a_run_is_drawn_again_without_training(made: tuple[Path, str, str], ok: Callable[..., str], run: Run) -> None:
    folder, out, _ = made
    (folder / "errors.svg").unlink()
    status, again, errors = run("depth", "--plot-only", str(folder))
    assert (status, errors) == (0, f"written to {folder}\n")
    assert again == out
    assert (folder / "errors.svg").exists()


def test_a_run_that_ended_is_resumed_without_training(made: tuple[Path, str, str], run: Run) -> None:
    status, _, errors = run("depth", "--resume", str(made[0]), "--format", "json")
    assert (status, errors) == (0, f"written to {made[0]}\n")


def test_any_spec_with_a_depth_is_trained(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "name: mine\ninput: [3, 32, 32]\nparameters: {depth: {default: 1, minimum: 1}, classes: {default: 2}}\n"
        "layers:\n"
        "  - {name: conv, op: conv2d, out_channels: 2, kernel_size: 3, padding: 1, repeat: =depth}\n"
        "  - {name: flatten, op: flatten}\n"
        "  - {name: fc, op: linear, out_features: =classes}\n"
    )
    options = ["--depths", "1,2", "--seeds", "1", "--epochs", "1", "-j", "1", "--device", "cpu", "-o", "run"]
    assert run("depth", "mine.yaml", *options)[0] == 0
    assert [row["shortcut"] for row in rows(tmp_path / "run" / "trials.csv")] == ["", ""]
    assert (tmp_path / "run" / "checkpoints" / "2-0" / "latest.ckpt").exists()


def test_a_folder_is_made_for_each_run(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> Iterator[Trial]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(engines, "train_all", none)
    for _ in range(2):
        run("depth", *TINY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["depth-digits", "depth-digits-2"]


def test_a_run_whose_worker_dies_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> Iterator[Trial]:
        raise WorkerDied("a worker died: why")
        yield

    monkeypatch.setattr(engines, "train_all", none)
    assert run("depth", *TINY, "-o", "run") == (
        1,
        "",
        "a worker died: why: 0 of 4 trials are done, and the others keep their whole epochs; archprof depth --resume "
        "run goes on\n",
    )


def test_a_run_that_is_stopped_keeps_what_is_done(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = engines.train_all

    def one(*arguments: object, **options: object) -> Iterator[Trial]:
        yield next(whole(*arguments, **options))  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(engines, "train_all", one)
    status, out, errors = run("depth", *TINY, "-o", "run")
    assert (status, out) == (130, "")
    assert errors.splitlines()[-1] == (
        "stopped: 1 of 4 trials are done, and the others keep their whole epochs; archprof depth --resume run goes on"
    )
    table = rows(tmp_path / "run" / "trials.csv")
    assert [(row["depth"], row["shortcut"], row["status"]) for row in table] == [
        ("14", "none", "finished"),
        ("14", "none", "finished"),
        ("14", "identity", "unfinished"),
        ("8", "none", "unfinished"),
        ("8", "identity", "unfinished"),
    ]
    assert run("depth", "--plot-only", "run")[0] == 0
    monkeypatch.setattr(engines, "train_all", whole)
    assert run("depth", "--resume", "run", "-j", "1")[0] == 0
    assert {row["status"] for row in rows(tmp_path / "run" / "trials.csv")} == {"finished"}


def test_a_trial_that_cannot_be_trained_is_told_and_the_exit_status_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = engines.train

    def scarce(given: Task, *rest: object) -> Trial:
        if given.name == "14-none-0":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.")
        return real(given, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(engines, "train", scarce)
    status, out, _ = run("depth", *TINY, "-o", "run")
    assert status == 1
    assert "left out: plain-14 seed 0 (CUDA out of memory. Tried to allocate 2 GiB)." in " ".join(out.split())

    status, out, errors = run("depth", *TINY, "--depths", "14,20", "--identity-insertion", "-o", "inserted")
    assert (status, out) == (2, "")
    assert errors.splitlines()[-1] == ("14-none-0 could not be trained: CUDA out of memory. Tried to allocate 2 GiB")


def test_a_full_disk_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("archprof.experiments.run_folder.RunFolder.write_tables", full)
    status, out, errors = run("depth", *TINY, "-o", "run")
    assert (status, out) == (2, "")
    assert errors.splitlines()[-1] == "cannot write run: No space left on device"


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_two_workers_end_with_their_parent_and_lose_no_whole_epoch(run: Run, tmp_path: Path, sent: int) -> None:
    arguments = ["depth", "--depths", "8", "--seeds", "1", "--epochs", "12", "--set", "width=2", "--workers", "2"]
    arguments += ["--device", "cpu", "-o"]
    process = subprocess.Popen([*COMMAND, *arguments, "run"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    folder = RunFolder(tmp_path / "run")
    names = ("8-none-0", "8-identity-0")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        seen = [folder.progress(name) for name in names]
        if all(each is not None and each.iteration > 21 for each in seen):  # the second epoch of twelve
            break
        time.sleep(0.01)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    if sent == signal.SIGINT:
        assert process.returncode == 130
        assert "stopped: 0 of 2 trials are done" in errors
        assert "Traceback" not in errors
    else:
        assert process.returncode == -signal.SIGKILL
    left = [folder.progress(name) for name in names]
    time.sleep(2)
    assert [folder.progress(name) for name in names] == left  # nobody trains on
    status, _, errors = run("depth", "--resume", "run", "--workers", "2")
    assert status == 0
    assert "epoch 1  " not in errors
    assert {row["status"] for row in rows(tmp_path / "run" / "trials.csv")} == {"finished"}
    assert run(*arguments, "whole")[0] == 0
    resumed, whole = (without_seconds(rows(tmp_path / place / "trials.csv")) for place in ("run", "whole"))
    assert resumed == whole


def without_seconds(table: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in table]


# --- what is refused

SHIPPED = Path(__file__).parents[2] / "specs"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "--depths 20,21",
            f"{SHIPPED}/resnet-cifar.yaml:7:3: parameter depth must be 8 + a multiple of 6, not 21: the nearest are 20 "
            "and 26 [not-a-choice]",
        ),
        ("--depths 20,x", "--depths 20,x: write whole numbers, as 20,56"),
        ("--depths 20,20", "--depths: 20 is given twice"),
        (
            "vgg",
            f"{SHIPPED}/vgg.yaml has no parameter depth, so there is nothing to compare: its parameters are config",
        ),
        ("zf", f"{SHIPPED}/zf.yaml has no parameter depth, so there is nothing to compare: it has no parameters"),
        ("densenet --shortcuts none", f"--shortcuts: {SHIPPED}/densenet.yaml has no parameter shortcut"),
        (
            "--shortcuts ident",
            f"{SHIPPED}/resnet-cifar.yaml:8:3: parameter shortcut must be identity, projection or none, not the word "
            '"ident" [not-a-choice]',
        ),
        ("--recipe papper", "unknown recipe papper: did you mean paper?; one of your own is a YAML file"),
        ("--set depth=8", "--set depth: give --depths"),
        ("--set shortcut=none", "--set shortcut: give --shortcuts"),
        ("--engine slurm", "unknown engine slurm: take local, ray or dask"),
        ("--format csv", "unknown format csv: take terminal, markdown or json"),
        ("--epochs 2 --iterations 2", "give --epochs or --iterations, one of both"),
        ("--resume nowhere", "nowhere holds no run: it has no config.json"),
        (
            "--plot-only nowhere --seeds 3",
            "--plot-only trains nothing: it goes with --format and --tensorboard alone",
        ),
        (
            "--plot-only nowhere --identity-insertion",
            "--plot-only trains nothing: it goes with --format and --tensorboard alone",
        ),
        ("--plot-only nowhere", "nowhere holds no run: it has no config.json"),
        ("--resume a --output b", "--output and --resume each name a run's folder: give one of them"),
        ("-", "a run keeps its spec: give a file instead of -"),
        ("--data ./nowhere", "--data ./nowhere: no such file or folder"),
        ("--device tpu", "unknown device tpu: write cpu, cuda, cuda:0, mps, xpu or meta"),
    ],
)
def test_what_cannot_be_served_is_refused(refused: Callable[..., str], arguments: str, message: str) -> None:
    assert refused("depth", *arguments.split()) == message + "\n"


def test_a_net_that_tells_fewer_classes_apart_is_refused(refused: Callable[..., str]) -> None:
    assert refused("depth", *TINY, "--set", "classes=4") == (
        "resnet-cifar at depth 14 puts out 4, and digits has 10 classes: give the parameter that says how many with "
        "--set\n"
    )


def test_a_folder_of_another_configuration_is_refused(made: tuple[Path, str, str], refused: Callable[..., str]) -> None:
    folder = made[0]
    there = f"{folder} holds a run of another configuration: "
    assert refused("depth", *TINY, "--seeds", "3", "-o", str(folder)) == f"{there}seeds is 1 there and 3 here\n"
    assert refused("depth", "--resume", str(folder), "--threads", "2", "--depths", "8,20", "--epochs", "5") == (
        f"{there}depths is 8,14 there and 8,20 here; recipe.epochs is 2 there and 5 here; threads is 1 there and 2 "
        "here\n"
    )
    assert refused("depth", "--resume", str(folder), "--recipe", "paper").startswith(f"{there}recipe.name is digits ")
    assert refused("depth", *TINY, "--set", "classes=12", "-o", str(folder)) == (
        f"{there}network.parameters.classes is not given there and 12 here\n"
    )


def test_a_folder_that_holds_this_run_is_resumed_by_name(
    made: tuple[Path, str, str], refused: Callable[..., str]
) -> None:
    assert refused("depth", *TINY, "-o", str(made[0])) == (
        f"{made[0]} holds this run: archprof depth --resume {made[0]} goes on with it\n"
    )


def test_a_folder_of_other_things_is_left_alone(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert refused("depth", *TINY, "-o", ".") == ". is not empty and holds no run: give another folder\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "cannot read run/config.json: "), ("{}", "run/config.json is not one that archprof wrote: ")],
)
def test_a_spoilt_configuration_is_refused(
    refused: Callable[..., str], tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(content)
    assert refused("depth", "--resume", "run").startswith(message)


def test_what_is_missing_is_said_before_anything_is_trained(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    missing = {"joblib", "tensorboard"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in missing else real(name, *rest))
    assert refused("depth") == "depth needs joblib: pip install 'archprof[depth]'\n"
    missing.remove("joblib")
    assert refused("depth", "--tensorboard") == (
        "--tensorboard needs tensorboard: pip install 'archprof[tensorboard]'\n"
    )
