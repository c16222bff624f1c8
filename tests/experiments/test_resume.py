"""Trials that are stopped: checkpoints that a kill cannot spoil, and resuming to the last bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from archprof.experiments import training
from archprof.experiments.checkpoints import load_checkpoint, save_checkpoint
from archprof.experiments.data import load_images
from archprof.experiments.records import Epoch, Trial
from archprof.experiments.run_folder import RunFolder
from archprof.experiments.training import Task, train
from archprof.experiments.trials import Wishes, new_plan, planned_tasks
from tests.conftest import Run
from tests.experiments.small import RECIPE, images, task, task_with_dropout

# --- checkpoints


def two_checkpoints(folder: Path) -> None:
    for step in (1, 2):
        save_checkpoint(folder, {"step": step, "tensor": torch.full((3,), float(step))})


def torn(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize("spoil", [torn, flipped, lambda content: b"", lambda content: b"not a checkpoint"])
def test_a_spoilt_checkpoint_is_never_read(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    two_checkpoints(tmp_path)
    latest, previous = tmp_path / "latest.ckpt", tmp_path / "previous.ckpt"
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert (state["step"], state["tensor"].tolist()) == (2, [2.0] * 3)
    latest.write_bytes(spoil(latest.read_bytes()))
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert (state["step"], state["tensor"].tolist()) == (1, [1.0] * 3)
    previous.write_bytes(spoil(previous.read_bytes()))
    assert load_checkpoint(tmp_path) is None


def test_a_kill_between_the_two_renames_leaves_the_previous_one(tmp_path: Path) -> None:
    two_checkpoints(tmp_path)
    (tmp_path / "latest.ckpt").unlink()
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 1


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    two_checkpoints(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, {"step": 3})
    monkeypatch.undo()
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 2


def test_no_checkpoint_is_no_mistake(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "nowhere") is None


# --- resuming in one process


class Stop(Exception):
    """In the place of a kill."""


def stopping_at(step: int) -> training.Watch:
    def watch(iteration: int, iterations: int, epochs: tuple[Epoch, ...]) -> None:
        if iteration == step:
            raise Stop

    return watch


def never(iteration: int, iterations: int, epochs: tuple[Epoch, ...]) -> None:
    """Watch nothing."""


def without_seconds(trial: Trial) -> Trial:
    epochs = tuple(msgspec.structs.replace(epoch, seconds=0.0) for epoch in trial.epochs)
    return msgspec.structs.replace(trial, epochs=epochs)


def last_state(given: Task) -> dict[str, Any]:
    state = load_checkpoint(Path(given.checkpoints))
    assert state is not None
    return state


def assert_same(first: tuple[Trial, Task], second: tuple[Trial, Task]) -> None:
    assert without_seconds(first[0]) == without_seconds(second[0])
    states = [last_state(given) for _, given in (first, second)]
    for name, value in states[0]["module"].items():
        assert torch.equal(value, states[1]["module"][name]), name
    momenta = [state["optimiser"]["state"] for state in states]
    assert all(
        torch.equal(each["momentum_buffer"], momenta[1][number]["momentum_buffer"])
        for number, each in momenta[0].items()
    )


@pytest.mark.parametrize("make", [task, task_with_dropout])
@pytest.mark.parametrize("step", [1, 3, 4, 6, 8])
def test_a_stopped_trial_resumes_to_the_last_bit(tmp_path: Path, make: Callable[[Path], Task], step: int) -> None:
    data = images()
    whole = make(tmp_path / "whole")
    stopped = make(tmp_path / "stopped")
    with pytest.raises(Stop):
        train(stopped, data, stopping_at(step))
    torch.rand(7)  # another process has another random state
    seen: list[int] = []
    resumed = train(stopped, data, lambda iteration, *_: seen.append(iteration))
    assert seen[0] == (step - 1) // 3 * 3 + 1  # at most the epoch that was under way is done again
    assert_same((train(whole, data, never), whole), (resumed, stopped))


def test_a_trial_that_ended_trains_no_more(tmp_path: Path) -> None:
    given, data = task(tmp_path), images()
    first = train(given, data, never)
    assert train(given, data, stopping_at(1)) == first


@pytest.mark.parametrize("part", ["module", "optimiser", "order", "draws", "torch"])
def test_every_part_of_a_checkpoint_is_needed(tmp_path: Path, part: str) -> None:
    make = task_with_dropout if part == "torch" else task
    data, first, second = images(), make(tmp_path / "first"), make(tmp_path / "second")
    whole = train(first, data, never)
    with pytest.raises(Stop):
        train(second, data, stopping_at(4))
    state = last_state(second)
    fresh = training._Training(second, data)._state()
    shutil.rmtree(second.checkpoints)
    save_checkpoint(Path(second.checkpoints), {**state, part: fresh[part]})
    assert without_seconds(train(second, data, never)) != without_seconds(whole)


def test_a_torn_checkpoint_costs_one_more_epoch_and_no_bit(tmp_path: Path) -> None:
    data, first, second = images(), task(tmp_path / "first"), task(tmp_path / "second")
    with pytest.raises(Stop):
        train(second, data, stopping_at(8))
    latest = Path(second.checkpoints) / "latest.ckpt"
    latest.write_bytes(torn(latest.read_bytes()))
    seen: list[int] = []
    resumed = train(second, data, lambda iteration, *_: seen.append(iteration))
    assert seen[0] == 4
    assert_same((train(first, data, never), first), (resumed, second))


# --- killing for real


def test_a_run_killed_in_the_middle_of_an_epoch_resumes_to_the_same_numbers(run: Run, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from archprof.cli import main; main()", "depth", "--depths", "8", "--seeds", "1"]
    command += ["--shortcuts", "none", "--epochs", "12", "--set", "width=2", "--workers", "1", "-o", "killed"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    progress = tmp_path / "killed" / "progress" / "8-none-0.json"
    deadline = time.monotonic() + 120
    at = 0
    while at <= 21 and time.monotonic() < deadline:  # the second epoch of twelve, of 21 steps each
        time.sleep(0.01)
        at = json.loads(progress.read_bytes())["iteration"] if progress.exists() else 0
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    result = tmp_path / "killed" / "trials" / "8-none-0.json"
    assert 21 < at < 12 * 21
    assert not result.exists()

    wishes = Wishes(depths=(8,), shortcuts=("none",), seeds=1, epochs=12, parameters={"width": 2}, device="cpu")
    data = load_images("digits")
    (whole,) = planned_tasks(new_plan(wishes), data, RunFolder(tmp_path / "whole"))
    status, _, errors = run("depth", "--resume", "killed", "--workers", "1")
    assert status == 0
    assert "epoch 12  iteration 252/252" in errors
    assert "epoch 1  " not in errors  # at least one epoch was not trained again
    resumed = msgspec.json.decode(result.read_bytes(), type=Trial)
    assert without_seconds(resumed) == without_seconds(train(whole, data, never))


def test_the_small_trainings_have_nine_steps() -> None:
    assert (RECIPE.epochs, len(images().train_labels) // RECIPE.batch_size) == (3, 3)
