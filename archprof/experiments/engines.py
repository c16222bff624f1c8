"""Many trials at once: processes of this machine, or a Ray or Dask cluster, all through joblib."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from archprof.analysis import analyse
from archprof.building.device import reason
from archprof.errors import UsageError
from archprof.experiments.data import Images
from archprof.experiments.records import Epoch, Trial
from archprof.experiments.run_folder import Progress, RunFolder
from archprof.experiments.training import Task, train
from archprof.extras import require

ENGINES = ("local", "ray", "dask")
_PULSE = 0.5  # seconds between two words on a trial's progress
_DEATHS = frozenset(("TerminatedWorkerError", "RayActorError", "WorkerCrashedError", "NodeDiedError", "KilledWorker"))


class WorkerDied(UsageError):
    """A worker was killed, or the machine ran out of memory."""


def train_all(
    tasks: Sequence[Task], images: Images, folder: RunFolder, *, engine: str = "local", workers: int | None = None
) -> Iterator[Trial]:
    """Train every task, and give each trial when it is known; a trial ends with the same bits whatever the engine.

    `workers` None: a core or a GPU each, on a cluster all it has. The folder must be one that all workers see.
    Raises WorkerDied; checkpoints of whole epochs are then kept, as they are when a KeyboardInterrupt passes through.
    """
    if not tasks:
        return
    import joblib

    local = engine == "local"
    on_gpu = torch.device(tasks[0].device).type == "cuda"
    count = workers or (local_workers(tasks) if local else -1)
    in_process = local and min(count, len(tasks)) == 1
    parent = os.getpid() if local and not in_process else None
    place = str(folder.path.absolute())  # a cluster's workers have folders of their own to run in
    bits = _bits(tasks[0].device)
    calls = (joblib.delayed(_work)(task, images, place, parent, bits) for task in tasks)
    own: dict[str, Any] = {"ray_remote_args": {"num_gpus": 1}} if engine == "ray" and on_gpu else {}
    backend = "loky" if local else engine
    with _cluster(engine, count), joblib.parallel_config(backend, n_jobs=1 if in_process else count, **own):
        with _workers_without_interrupts():
            results = joblib.Parallel(
                batch_size=1,
                pre_dispatch="all" if engine == "ray" else "2*n_jobs",
                return_as="list" if engine == "ray" else "generator_unordered",
            )(calls)
        try:
            yield from results
        except Exception as error:
            if not any(_is_death(kind) for kind in type(error).__mro__):
                raise
            raise WorkerDied("a worker died: it was killed, or memory ran out") from None


def _is_death(kind: type) -> bool:
    # Ray's, of a worker that its memory monitor killed; torch has one of the same name
    killed = kind.__name__ == "OutOfMemoryError" and kind.__module__.startswith("ray.")
    return killed or kind.__name__ in _DEATHS


def _bits(device: str) -> tuple[str, str]:
    """What decides, beside a run's configuration, the last bits of what a device computes."""
    if torch.device(device).type == "cuda":
        return torch.__version__, torch.cuda.get_device_name(device)
    return torch.__version__, torch.backends.cpu.get_cpu_capability()


def local_workers(tasks: Sequence[Task]) -> int:
    """How many trials this machine trains at once: one a core, or one a GPU."""
    import joblib

    if torch.device(tasks[0].device).type == "cuda":
        return torch.cuda.device_count()
    return max(1, int(joblib.cpu_count()) // tasks[0].threads)


@contextlib.contextmanager
def _cluster(engine: str, workers: int) -> Iterator[None]:
    """Connect to what RAY_ADDRESS or DASK_SCHEDULER_ADDRESS names, or start one on this machine."""
    if engine == "ray":
        require("--engine ray", "ray", "ray")
        import ray
        from ray.util.joblib import register_ray

        register_ray()  # type: ignore[no-untyped-call]
        ours = not ray.is_initialized()
        if ours:
            own: dict[str, Any] = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False}
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **own)
        try:
            yield
        finally:
            if ours:
                ray.shutdown()
    elif engine == "dask":
        require("--engine dask", "distributed", "dask")
        from distributed import Client

        address = os.environ.get("DASK_SCHEDULER_ADDRESS")
        own = {"n_workers": workers if workers > 0 else None, "threads_per_worker": 1, "silence_logs": logging.ERROR}
        with Client(address, **({} if address else own)) as client:  # type: ignore[no-untyped-call]
            if any(count > 1 for count in client.nthreads().values()):  # they would share torch's random state
                raise UsageError("--engine dask: its workers have several threads; start them with --nthreads 1")
            yield
    else:
        yield


@contextlib.contextmanager
def _workers_without_interrupts() -> Iterator[None]:
    """Processes that are started here inherit that Ctrl-C is for this one alone, which then stops them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(task: Task, images: Images, path: str, parent: int | None, bits: tuple[str, str]) -> Trial:
    """One trial, in a worker: its progress and its result are written to the run's folder.

    Raises UsageError where the worker would not give the `bits` of the others, and where nothing can be written.
    """
    own = _bits(task.device)
    if own != bits:
        there, here = (f"torch {version} with {kind}" for version, kind in (own, bits))
        raise UsageError(f"the worker on {platform.node()} has {there}, and this machine {here}: results would differ")
    folder = RunFolder(path)
    pulse = _Pulse(folder, task.name, parent)
    try:
        try:
            with _device(task.device) as device:
                trial = train(msgspec.structs.replace(task, device=device), images, pulse)
        except RuntimeError as error:  # torch's: no memory on the device
            trial = unfinished(task, folder, reason(error))
        folder.write_trial(task.name, trial)
    except OSError as error:
        raise UsageError(f"{task.name}: {error.filename or path}: {error.strerror or error}") from None
    return trial


def unfinished(task: Task, folder: RunFolder, why: str) -> Trial:
    """What is known of a trial that was stopped or that could not be trained; a resumed run goes on with it."""
    progress = folder.progress(task.name)
    return Trial(
        network=task.graph.name,
        depth=task.depth,
        shortcut=task.shortcut,
        seed=task.seed,
        status="unfinished",
        reason=why,
        epochs=progress.epochs if progress is not None else (),
        responses=(),
        params=analyse(task.graph).params,
    )


class _Pulse:
    """Writes a trial's progress twice a second and at each epoch's end, and leaves when the parent process is gone."""

    def __init__(self, folder: RunFolder, name: str, parent: int | None) -> None:
        self.folder, self.name, self.parent = folder, name, parent
        self.begun: float | None = None
        self.told = 0.0
        self.first = 0
        self.epochs = -1

    def __call__(self, iteration: int, iterations: int, epochs: tuple[Epoch, ...]) -> None:
        now = time.monotonic()
        if self.begun is None:
            self.begun, self.first = now, iteration
        if now - self.told < _PULSE and len(epochs) == self.epochs:
            return
        if self.parent is not None and os.getppid() != self.parent:
            os._exit(1)  # nobody waits for the result; the checkpoint is for whoever resumes
        self.told, self.epochs = now, len(epochs)
        self.folder.write_progress(self.name, Progress(iteration, iterations, now - self.begun, self.first, epochs))


@contextlib.contextmanager
def _device(device: str) -> Iterator[str]:
    """The device itself; of several GPUs the first that no other worker of this machine holds.

    A lock goes when its process does, however it ends.
    """
    count = torch.cuda.device_count() if device == "cuda" else 0
    if count < 2:
        yield device
        return
    import fcntl

    with contextlib.ExitStack() as held:
        for round_ in range(1000):  # more workers than GPUs share them
            for index in range(count):
                path = Path(tempfile.gettempdir()) / f"archprof-{os.getuid()}-gpu-{index}-{round_}.lock"
                lock = held.enter_context(open(path, "a"))
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    yield f"cuda:{index}"
                    return
    raise UsageError("no GPU is free: every one has 1,000 workers")
