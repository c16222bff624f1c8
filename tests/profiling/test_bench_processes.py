"""`archprof bench` with real workers: memory that ends, Ctrl-C, kill -9 of the command and of its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import archprof
from archprof.errors import UsageError
from archprof.profiling.device import Unsupported
from archprof.profiling.matrix import Matrix, expand
from archprof.profiling.messages import Answer, Settings, Task
from archprof.profiling.passes import TimedPass
from archprof.profiling.records import Cell, Key, Run
from archprof.profiling.results import read_run
from archprof.profiling.scheduler import Process, WorkerDied, measure
from archprof.profiling.worker import isolated, judged, timed_pass
from tests.conftest import COMMAND
from tests.profiling.test_bench import TINY

WIDE = """\
name: wide
input: [3, 64, 64]
layers:
  - {name: conv, op: conv2d, out_channels: 64, kernel_size: 3, padding: 1, activation: relu}
"""  # 2 MiB of outputs an image
SETTINGS = Settings(threads=1, budget=0.2, memory=128 * 2**20)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY, encoding="utf-8")
    (tmp_path / "wide.yaml").write_text(WIDE, encoding="utf-8")
    return tmp_path


def _measured(path: Path, settings: Settings, **axes: object) -> list[Cell]:
    graph = archprof.load(str(path))
    requests = expand([Matrix(networks=("it",), **axes)], {"it": graph})  # type: ignore[arg-type]
    return list(measure(requests, {graph.name: graph}, settings))


def test_memory_ends_with_its_cell_and_other_cells_are_measured(here: Path) -> None:
    cells = _measured(here / "wide.yaml", SETTINGS, batch=(4, 200, "max"), mode=("eager", "cuda-graph"))
    small, large, largest, graph = cells[:4]
    assert (small.status, small.key.batch, small.params) == ("ok", 4, 1792)
    assert small.timings["forward"].count >= 1
    assert small.images_per_second == pytest.approx(4 / small.timings["forward"].median)
    assert large.status == "oom"
    assert "allocate" in large.reason or "primitive" in large.reason
    assert (graph.status, graph.reason) == ("unsupported", "a CUDA graph needs a CUDA device, and the device is cpu")
    # 128 MiB hold the outputs of conv and relu, 1 MiB each, of 64 images, and the images; oneDNN takes more
    search = largest.settings["search"]
    assert largest.status == "ok"
    assert 16 <= largest.key.batch == search["found"] < search["refused"] <= 64
    assert largest.peak_memory is not None
    assert small.peak_memory is not None
    assert 4 * 2**20 < small.peak_memory < largest.peak_memory < 140 * 2**20  # some pages had addresses before


@pytest.mark.slow
def test_passes_and_dtypes_on_a_real_worker(here: Path) -> None:
    (cell,) = _measured(here / "tiny.yaml", SETTINGS, pass_=("step",), dtype=("bfloat16",), layout=("nhwc",))
    assert cell.status == "ok"
    assert list(cell.timings) == ["forward", "backward", "update", "step"]
    assert cell.settings["precision"] == SETTINGS.precision
    assert cell.device is not None
    assert cell.device.notes == ("power and energy are read of NVIDIA cards only",)


def _command(here: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, "bench", *arguments],
        cwd=here,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wait(path: Path, measured: int) -> Run:
    """The run in a file, once so many of its cells are measured."""
    for _ in range(1200):
        if path.exists():
            run = read_run(path)  # whole at any moment
            if sum(cell.status == "ok" for cell in run.cells) >= measured:
                return run
        time.sleep(0.05)
    raise AssertionError(f"{path} never held {measured} measured cells")


def _workers() -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"archprof.profiling.worker" in line and (entry / "cwd").exists():
                found.add(int(entry.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="workers end with the command on Linux alone")
def test_ctrl_c_and_kill_9_lose_nothing_that_is_finished(here: Path) -> None:
    path = here / "run.json"
    arguments = ("--batch", "1,2,3,4", "--threads", "1", "--budget", "0.4", "--precision", "0.0001")
    first = _command(here, "tiny.yaml", *arguments, "-o", "run.json")
    _wait(path, 1)
    first.send_signal(signal.SIGINT)
    assert first.wait(60) == 130
    stopped = read_run(path)
    done = [cell for cell in stopped.cells if cell.status == "ok"]
    assert 1 <= len(done) < 4

    second = _command(here, "--resume", "run.json")
    _wait(path, len(done) + 1)
    own = {pid for pid in _workers() if _parent(pid) == second.pid}
    second.kill()
    assert second.wait(60) == -signal.SIGKILL
    killed = read_run(path)
    assert len(own) == 1
    for _ in range(200):
        if not own & _workers():
            break
        time.sleep(0.05)
    assert not own & _workers()  # nothing measures on

    third = _command(here, "--resume", "run.json")
    assert third.wait(120) == 0
    whole = read_run(path)
    assert [(cell.status, cell.key.batch) for cell in whole.cells] == [("ok", batch) for batch in (1, 2, 3, 4)]
    before = [cell for cell in killed.cells if cell.status == "ok"]
    assert [cell for cell in whole.cells if cell in before] == before
    assert len(before) > len(done)
    assert [cell for cell in before if cell in done] == done
    assert not list(here.glob(".*.tmp"))


def _parent(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:"))


def test_a_worker_killed_by_hand_says_so(here: Path) -> None:
    worker = Process(archprof.load(str(here / "tiny.yaml")), SETTINGS)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerDied) as death:
        worker.ask(Task("describe"))
    worker.close()
    assert death.value.reason == "its process was ended by SIGKILL"


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 of forks beside threads
def test_a_fork_that_dies_leaves_the_worker() -> None:
    def killed() -> Answer:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def broken() -> Answer:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        raise ZeroDivisionError

    assert isolated(killed) == Answer(died="SIGKILL")
    assert isolated(broken) == Answer(died="exit status 1")
    cell = Cell(key=Key(network="a", batch=1, input="3"), status="ok")
    assert isolated(lambda: Answer(cell=cell)) == Answer(cell=cell)


class BackendCompilerFailed(RuntimeError):
    """As torch._dynamo.exc has it: what a backend raised lies in inner_exception."""

    def __init__(self, inner: Exception) -> None:
        super().__init__(f"backend='inductor' raised:\n{type(inner).__name__}: {inner}")
        self.inner_exception = inner


class InvalidCxxCompiler(RuntimeError):
    """torch._inductor.exc has one of this name."""


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (MemoryError(), "oom", "Python could not allocate memory"),
        (
            torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            "oom",
            "CUDA out of memory. Tried",
        ),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
            "oom",
            "[enforce fail at alloc_cpu.cpp:127]",
        ),
        (RuntimeError("could not create a primitive"), "oom", "could not create a primitive"),
        (
            RuntimeError("could not create a primitive descriptor for a convolution forward propagation primitive"),
            "unsupported",
            "could not create a primitive descriptor",
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "oom", "CUDA error: CUBLAS_STATUS"),
        (RuntimeError("CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), "oom", "CUDNN_STATUS_INTERNAL"),
        (
            RuntimeError("GET was unable to find an engine to execute this computation"),
            "unsupported",
            "GET was unable",
        ),
        (
            NotImplementedError("\"slow_conv2d_cpu\" not implemented for 'Half'"),
            "unsupported",
            "\"slow_conv2d_cpu\" not implemented for 'Half'",
        ),
        (RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'"), "unsupported", '"addmm_impl_cpu_" not'),
        (UsageError("conv cannot be built: archprof has no module for x"), "unsupported", "conv cannot be built: "),
        (Unsupported("a CUDA graph needs a CUDA device"), "unsupported", "a CUDA graph needs"),
        (
            BackendCompilerFailed(InvalidCxxCompiler("No working C++ compiler found in config.cpp.cxx")),
            "unsupported",
            "torch.compile has no compiler here: No working C++ compiler found",
        ),
        (ValueError("expected 3 channels"), "failed", "ValueError: expected 3 channels"),
        (RuntimeError("shape mismatch"), "failed", "RuntimeError: shape mismatch"),
    ],
)
def test_what_an_error_makes_of_a_cell(error: Exception, status: str, reason: str) -> None:
    found, why = judged(error)
    assert found == status
    assert why.startswith(reason)


def test_cudnn_without_memory_finds_no_engine() -> None:
    error = RuntimeError("GET was unable to find an engine to execute this computation")
    assert judged(error, refused=True)[0] == "oom"
    assert judged(RuntimeError("shape mismatch"), refused=True)[0] == "failed"


@pytest.mark.slow
def test_names_that_torch_gives_its_compilers_errors() -> None:
    from torch._dynamo import exc as dynamo
    from torch._inductor import exc as inductor

    assert issubclass(dynamo.BackendCompilerFailed, Exception)
    assert issubclass(inductor.InvalidCxxCompiler, RuntimeError)


class Replaying:
    """A device that captures by remembering the step."""

    def __init__(self) -> None:
        from archprof.profiling.clocks import CpuClock

        self.clock = CpuClock()
        self.captured = 0
        self.replayed = 0

    def capture(self, step: object) -> object:
        assert callable(step)
        self.captured += 1
        step()

        def replay() -> None:
            self.replayed += 1
            step()

        return replay


@pytest.mark.parametrize("pass_", ["forward", "forward+backward", "step"])
def test_a_cuda_graph_is_captured_once_and_timed_as_a_whole(pass_: str) -> None:
    device = Replaying()
    module = torch.nn.Linear(3, 2)
    before = module.weight.detach().clone()
    key = Key(network="a", batch=1, input="3", mode="cuda-graph", pass_=pass_)  # type: ignore[arg-type]
    once = timed_pass(module, (torch.ones(1, 3),), key, device)  # type: ignore[arg-type]
    times = [once() for _ in range(3)]
    assert all(list(parts) == [pass_] and parts[pass_] > 0 for parts in times)
    assert (device.captured, device.replayed) == (1, 3)
    assert (module.weight.grad is not None) == (pass_ != "forward")
    assert torch.equal(module.weight, before)


def test_an_eager_pass_is_passes_own() -> None:
    key = Key(network="a", batch=1, input="3", pass_="step")
    once = timed_pass(torch.nn.Linear(3, 2), (torch.ones(1, 3),), key, Replaying())  # type: ignore[arg-type]
    assert isinstance(once, TimedPass)
