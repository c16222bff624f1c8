"""Many trials at once: the same bits whatever trains them, workers that die, GPUs that are shared out."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import torch

from archprof.errors import UsageError
from archprof.experiments import engines
from archprof.experiments.checkpoints import load_checkpoint
from archprof.experiments.engines import WorkerDied, local_workers, train_all, unfinished
from archprof.experiments.records import Epoch, Trial
from archprof.experiments.run_folder import Progress, RunFolder
from archprof.experiments.training import Task
from tests.experiments.small import RECIPE, images, task


def tasks(folder: RunFolder, seeds: int = 2, epochs: int = 2) -> list[Task]:
    recipe = msgspec.structs.replace(RECIPE, epochs=epochs)
    return [task(folder.checkpoints(f"8-identity-{seed}"), seed=seed, recipe=recipe) for seed in range(seeds)]


def without_seconds(trials: Iterator[Trial]) -> list[Trial]:
    found = sorted(trials, key=lambda trial: trial.name)
    return [
        msgspec.structs.replace(
            trial, epochs=tuple(msgspec.structs.replace(epoch, seconds=0.0) for epoch in trial.epochs)
        )
        for trial in found
    ]


def trained(place: Path, engine: str, workers: int | None) -> list[Trial]:
    folder = RunFolder(place)
    trials = without_seconds(train_all(tasks(folder), images(), folder, engine=engine, workers=workers))
    assert [trial.name for trial in trials] == ["8-identity-0", "8-identity-1"]
    assert without_seconds(filter(None, map(folder.trial, ["8-identity-0", "8-identity-1"]))) == trials
    return trials


def test_two_workers_give_the_bits_of_one(tmp_path: Path) -> None:
    assert trained(tmp_path / "two", "local", 2) == trained(tmp_path / "one", "local", 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # ray's and dask's own
def test_a_ray_cluster_of_two_nodes_gives_the_same_bits(tmp_path: Path) -> None:
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False)
        assert [node["Resources"]["CPU"] for node in ray.nodes()] == [1, 1]  # two workers are on two nodes
        assert trained(tmp_path / "ray", "ray", None) == trained(tmp_path / "one", "local", 1)
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_gives_the_same_bits(tmp_path: Path) -> None:
    assert trained(tmp_path / "dask", "dask", 2) == trained(tmp_path / "one", "local", 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_dask_workers_with_several_threads_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster:
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
        with pytest.raises(UsageError, match="its workers have several threads; start them with --nthreads 1"):
            trained(tmp_path, "dask", None)


# --- workers that die


def test_a_dead_worker_loses_no_whole_epoch(tmp_path: Path) -> None:
    folder, whole = RunFolder(tmp_path / "killed"), RunFolder(tmp_path / "whole")
    killed, spared = tasks(folder, epochs=20), tasks(whole, epochs=20)
    with pytest.raises(WorkerDied) as died:
        list(train_all(killed, images(), KillingAt(folder.path, 7), workers=2))
    assert str(died.value) == "a worker died: it was killed, or memory ran out"
    state = load_checkpoint(folder.checkpoints("8-identity-0"))
    assert state is not None
    assert 6 <= state["iteration"] < 60
    resumed = without_seconds(train_all(killed, images(), folder, workers=1))
    assert resumed == without_seconds(train_all(spared, images(), whole, workers=1))


class KillingAt(RunFolder):
    """A run whose first worker is killed once its trial is so far."""

    def __init__(self, path: Path, iteration: int) -> None:
        super().__init__(path)

        def kill() -> None:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                progress = self.progress("8-identity-0")
                if progress is not None and progress.iteration >= iteration:
                    os.kill(next(children()), signal.SIGKILL)
                    return
                time.sleep(0.01)

        threading.Thread(target=kill, daemon=True).start()


def children() -> Iterator[int]:
    """joblib's workers of this process."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            words = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == os.getpid() and b"popen_loky" in words:
            yield int(path.name)


def test_a_worker_whose_parent_is_gone_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    pulse = engines._Pulse(RunFolder(tmp_path), "8-none-0", parent=os.getppid())
    pulse(1, 9, ())
    assert left == []
    monkeypatch.setattr(os, "getppid", lambda: 1)
    pulse.told = -10.0
    pulse(2, 9, ())
    assert left == [1]


def test_a_card_of_another_kind_gives_other_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"a card, {device}")
    assert engines._bits("cuda:1")[1] == "a card, cuda:1"
    assert engines._bits("cpu")[1] == torch.backends.cpu.get_cpu_capability()


def test_of_two_errors_of_one_name_rays_is_a_death() -> None:
    class OutOfMemoryError(Exception):
        pass

    assert not engines._is_death(OutOfMemoryError)
    OutOfMemoryError.__module__ = "ray.exceptions"
    assert engines._is_death(OutOfMemoryError)


@pytest.mark.parametrize("name", ["KilledWorker", "RayActorError", "ActorDiedError"])
def test_a_dead_worker_of_a_cluster_is_told_as_one_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    base = type("RayActorError", (Exception,), {}) if name == "ActorDiedError" else Exception

    def die(*_: object) -> Trial:
        raise type(name, (base,), {})("on 10.0.0.7")

    monkeypatch.setattr(engines, "_work", die)
    folder = RunFolder(tmp_path)
    with pytest.raises(WorkerDied, match="a worker died: it was killed, or memory ran out"):
        list(train_all(tasks(folder), images(), folder, workers=1))


def test_what_a_worker_raises_otherwise_goes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Trial:
        raise ZeroDivisionError

    monkeypatch.setattr(engines, "_work", fail)
    folder = RunFolder(tmp_path)
    with pytest.raises(ZeroDivisionError):
        list(train_all(tasks(folder), images(), folder, workers=1))


def test_workers_are_told_the_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a cluster run in other folders."""
    seen: list[tuple[str, str]] = []

    def look(given: Task, _images: object, path: str, *_: object) -> Trial:
        seen.append((path, given.checkpoints))
        return unfinished(given, RunFolder(path), "stopped")

    monkeypatch.setattr(engines, "_work", look)
    monkeypatch.chdir(tmp_path)
    folder = RunFolder("run")
    list(train_all(tasks(folder, seeds=1), images(), folder, workers=1))
    assert seen == [(str(tmp_path / "run"), str(tmp_path / "run" / "checkpoints" / "8-identity-0"))]


def test_a_worker_of_another_torch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bits = iter([("2.13.0", "AVX512"), ("2.12.1", "AVX2")])  # here, and in the worker
    monkeypatch.setattr(engines, "_bits", lambda device: next(bits))
    monkeypatch.setattr("platform.node", lambda: "node-7")
    folder = RunFolder(tmp_path)
    with pytest.raises(UsageError) as refused:
        list(train_all(tasks(folder, seeds=1), images(), folder, workers=1))
    assert str(refused.value) == (
        "the worker on node-7 has torch 2.12.1 with AVX2, and this machine torch 2.13.0 with AVX512: results would "
        "differ"
    )


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Trial:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engines, "train", full)
    folder = RunFolder(tmp_path)
    with pytest.raises(UsageError) as refused:
        list(train_all(tasks(folder, seeds=1), images(), folder, workers=1))
    assert str(refused.value) == f"8-identity-0: {tmp_path}: No space left on device"


# --- what a run's folder is told


def test_progress_is_told_at_once_after_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 100.1, 100.2, 100.9])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    folder = RunFolder(tmp_path)
    pulse = engines._Pulse(folder, "8-none-0", None)
    epoch = Epoch(1, 6, 1.0, 50.0, 40.0, 45.0, 1.1, 0.5, 0.05)
    told = []
    for iteration, epochs in ((5, ()), (6, ()), (7, (epoch,)), (8, (epoch,))):
        pulse(iteration, 9, epochs)
        told.append(folder.progress("8-none-0"))
    assert told[0] == told[1] == Progress(5, 9, 0.0, 5, ())
    assert told[2] is not None
    assert (told[2].iteration, told[2].epochs) == (7, (epoch,))
    assert told[3] is not None
    assert (told[3].iteration, told[3].elapsed) == (8, pytest.approx(0.9))


def test_a_trial_that_torch_cannot_train_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = engines.train

    def scarce(given: Task, *rest: object) -> Trial:
        if given.seed == 0:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")
        return real(given, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(engines, "train", scarce)
    folder = RunFolder(tmp_path)
    first, second = train_all(tasks(folder), images(), folder, workers=1)
    assert (first.status, first.reason) == ("unfinished", "CUDA out of memory. Tried to allocate 2 GiB")
    assert second.status == "finished"


def test_what_is_known_of_an_unfinished_trial(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (given,) = tasks(folder, seeds=1)
    epoch = Epoch(1, 6, 1.0, 50.0, 40.0, 45.0, 1.1, 0.5, 0.05)
    assert unfinished(given, folder, "stopped").epochs == ()
    folder.write_progress(given.name, Progress(7, 9, 1.0, 1, (epoch,)))
    trial = unfinished(given, folder, "stopped")
    assert (trial.status, trial.reason, trial.epochs) == ("unfinished", "stopped", (epoch,))
    assert trial.params > 0


# --- GPUs


def test_trials_take_a_gpu_each_and_then_share(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    with engines._device("cuda") as first, engines._device("cuda") as second, engines._device("cuda") as third:
        assert [first, second, third] == ["cuda:0", "cuda:1", "cuda:0"]
    with engines._device("cuda") as again:
        assert again == "cuda:0"


@pytest.mark.parametrize(("device", "count"), [("cpu", 2), ("cuda", 1), ("cuda:1", 2)])
def test_a_device_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch, device: str, count: int) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    with engines._device(device) as taken:
        assert taken == device


@pytest.mark.parametrize(
    ("device", "threads", "expected"), [("cpu", 1, 6), ("cpu", 4, 1), ("cpu", 9, 1), ("cuda", 1, 3)]
)
def test_a_machine_trains_a_trial_a_core_or_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, device: str, threads: int, expected: int
) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 6)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    given = msgspec.structs.replace(task(tmp_path), device=device, threads=threads)
    assert local_workers([given]) == expected


def test_nothing_to_train_starts_nothing(tmp_path: Path) -> None:
    assert list(train_all([], images(), RunFolder(tmp_path), engine="ray")) == []
