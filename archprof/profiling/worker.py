"""A process for one network: `python -m archprof.profiling.worker` reads a Setup and then Tasks, and writes Answers.

It computes nothing itself: every task is done by a fork of it. So each cell finds a process that has done nothing
before, a limit on memory ends with its cell, and what kills one leaves the next alone.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import torch

from archprof.building import build
from archprof.building.device import available_memory, reason, require_parameters
from archprof.building.running import example_inputs
from archprof.errors import ArchprofError, UsageError
from archprof.graph import Graph
from archprof.profiling.clocks import Clock
from archprof.profiling.device import Device, Sensor, Unsupported, open_device, run_for_sensor
from archprof.profiling.environment import describe
from archprof.profiling.messages import Answer, Described, Settings, Setup, Task, unpacked
from archprof.profiling.passes import TimedPass, laid_out
from archprof.profiling.records import Cell, Key, Status
from archprof.profiling.records import Device as DeviceRecord
from archprof.profiling.sampling import collect
from archprof.profiling.statistics import unsteady

_SHARE = 0.9  # of the free memory, where no limit was given
_MEMORY_PASSES = 3  # the first loads libraries, and what the C library keeps for later has settled with the third
_OUT_OF_MEMORY = (
    "out of memory",  # CUDA's allocator, and its libraries
    "can't allocate memory",  # torch's allocator on a CPU
    "std::bad_alloc",
    "could not create a memory",  # oneDNN, where an allocation was refused
    "ALLOC_FAILED",  # cuBLAS, cuDNN
    "ALLOCATION_FAILED",  # cuDNN 9
)
# oneDNN, where an allocation was refused; a primitive descriptor is what it does not have for the dtype or shape
_NO_PRIMITIVE = re.compile(r"could not create a primitive(?! descriptor)")
_NO_ENGINE = "unable to find an engine"  # cuDNN, where no algorithm ran; it does not tell of one that had no memory
_NO_KERNEL = (
    _NO_ENGINE,
    "could not create a primitive descriptor",
    "not implemented for",
    "is not supported on",
    "not currently supported",
    "no kernel image",
)
_NO_COMPILER = ("InvalidCxxCompiler", "TritonMissing", "GPUTooOldForTriton")


def main() -> None:
    """Answer tasks until standard input ends."""
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    _die_with_parent()
    setup = msgspec.json.decode(sys.stdin.buffer.readline(), type=Setup)
    if os.getppid() != setup.parent:
        return  # it ended while this one began
    graph = unpacked(setup.graph)
    for line in sys.stdin.buffer:
        task = msgspec.json.decode(line, type=Task)
        if setup.settings.device == "cpu":
            _load(task)
        answer = isolated(functools.partial(perform, graph, setup.settings, task))
        channel.write(msgspec.json.encode(answer) + b"\n")
        channel.flush()


def _load(task: Task) -> None:
    """Load, before the fork, what torch loads at its first backward pass or update: 2 s, and 30 to 70 MiB.

    Not for CUDA, which a fork of a process that has asked for it cannot use; its memory is the allocator's anyway.
    """
    if task.key is not None and (task.key.mode == "compile" or task.key.pass_ == "step"):
        importlib.import_module("torch._dynamo")
    elif task.key is not None and task.key.pass_ == "forward+backward":
        importlib.import_module("torch.fx.experimental.symbolic_shapes")


def isolated(work: Callable[[], Answer]) -> Answer:
    """Have a fork do something, and say how it died where it gave no answer."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            _die_with_parent()
            os.close(reading)
            with os.fdopen(writing, "wb") as stream:
                stream.write(msgspec.json.encode(work()))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)  # nothing of the parent's is this process's to do
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        content = stream.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Answer(died=signal.Signals(os.WTERMSIG(status)).name)
    if os.WEXITSTATUS(status) or not content:
        return Answer(died=f"exit status {os.WEXITSTATUS(status)}")
    return msgspec.json.decode(content, type=Answer)


def _die_with_parent() -> None:
    """Have Linux kill this process when the one that started it ends, however that ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def perform(graph: Graph, settings: Settings, task: Task) -> Answer:
    """Do a task."""
    if task.do == "describe":
        return _describe(settings)
    assert task.key is not None
    return Answer(cell=measured(graph, settings, task.key, timed=task.do == "measure"))


def _describe(settings: Settings) -> Answer:
    try:
        with _opened(settings) as device:
            found = describe(device.where)
            available = available_memory(device.where)
            return Answer(described=Described(found.machine, found.hardware, found.environment, available))
    except ArchprofError as error:
        return Answer(mistake=str(error))


def _opened(settings: Settings) -> Device:
    return open_device(
        settings.device,
        threads=settings.threads,
        tf32=settings.tf32,
        cudnn_benchmark=settings.cudnn_benchmark,
        flush_l2=settings.flush_l2,
    )


def measured(graph: Graph, settings: Settings, key: Key, *, timed: bool) -> Cell:
    """A cell, measured, or with the reason why it is not; without its times unless `timed`."""
    refused = False
    try:
        with _opened(settings) as device:
            _limit(device, settings.memory)
            if not timed and device.where.type == "cpu" and _status("VmSize") is None:
                raise Unsupported("the search for the largest batch needs Linux's limit on addresses, or a CUDA device")
            try:
                return _measured(graph, settings, key, device, timed)
            except Exception:
                refused = _refused_memory(device)
                raise
    except Exception as error:
        status, why = judged(error, refused)
        return Cell(key=key, status=status, reason=why)


def _measured(graph: Graph, settings: Settings, key: Key, device: Device, timed: bool) -> Cell:
    files = _mapped()
    try:
        require_parameters(graph, device.where, getattr(torch, key.dtype), settings.train)
    except UsageError as error:
        raise MemoryError(str(error)) from None
    module = build(graph, device=device.where, dtype=key.dtype, train=settings.train)
    params = sum(parameter.numel() for parameter in module.parameters())
    inputs = example_inputs(graph, batch=key.batch, device=device.where, dtype=getattr(torch, key.dtype))
    laid, batch = laid_out(module, inputs, key.layout)
    sensor = device.sensor() if timed else None  # before anything runs: it may wait for the power of the idle card
    once = timed_pass(laid, batch, key, device)
    if key.mode != "cuda-graph":  # a graph has what it needs since its capture
        if device.where.type == "cuda":
            once()  # cuDNN may try algorithms in it, whose workspaces no other pass has
        device.reset_peak_memory()
    for _ in range(_MEMORY_PASSES):
        once()
    peak = _peak(device, key, _mapped() - files)
    if sensor is None:
        return Cell(key=key, status="ok", peak_memory=peak)
    device.warnings()  # of the time before
    passes = 0

    def sample() -> dict[str, float]:
        nonlocal passes
        passes += 1
        device.before_sample()
        return once()

    with sensor:
        timings = collect(sample, precision=settings.precision, budget=settings.budget)
        if not settings.flush_l2:
            run_for_sensor(sensor, device, sample, settings.budget)
    timing = timings[key.pass_]
    return Cell(
        key=key,
        status="ok",
        timings=timings,
        images_per_second=key.batch / timing.median if timing.median else None,
        peak_memory=peak,
        params=params,
        device=_reading(sensor, passes * key.batch, settings.flush_l2),
        warnings=(*unsteady(key.pass_, timing, settings.precision), *device.warnings()),
        settings={**device.settings, "precision": settings.precision, "budget": settings.budget},
    )


def _reading(sensor: Sensor, images: int, flushed: bool) -> DeviceRecord:
    found = sensor.reading(images)
    if found.energy is None or not flushed:
        return found
    return msgspec.structs.replace(
        found, energy=None, notes=(*found.notes, "energy: that of emptying the L2 cache would be in it")
    )


def timed_pass(
    module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], key: Key, device: Device
) -> Callable[[], dict[str, float]]:
    """A pass that gives its seconds by part; as a CUDA graph it has one part, the whole."""
    mode = "eager" if key.mode == "cuda-graph" else key.mode
    timed = TimedPass(module, inputs, pass_=key.pass_, clock=device.clock, amp=key.amp, mode=mode)
    if key.mode != "cuda-graph":
        return timed

    def step() -> None:
        timed.module.zero_grad(set_to_none=True)
        outputs = timed.forward()
        if key.pass_ != "forward":
            torch.autograd.backward(timed.ends(outputs), timed.gradients)
        if timed.optimiser is not None:
            timed.optimiser.step()

    replay = device.capture(step)
    clock: Clock = device.clock

    def once() -> dict[str, float]:
        clock.synchronise()
        stamps = [clock.stamp()]
        replay()
        stamps.append(clock.stamp())
        return {key.pass_: clock.read(stamps)[1]}

    return once


# --- memory


def _limit(device: Device, limit: int | None) -> None:
    """Let this process take so many bytes more on a device, by default 90 % of those that are free.

    On a CPU it is a limit on addresses, for Linux would not refuse memory but kill. It is never lifted: a fork ends.
    """
    if limit is None:
        free = available_memory(device.where)
        if free is None:
            return
        limit = int(free * _SHARE)
    if device.where.type == "cuda":
        total = torch.cuda.get_device_properties(device.where).total_memory
        torch.cuda.set_per_process_memory_fraction(min(limit / total, 1.0), device.where)
        return
    torch.ones(torch.get_num_threads() << 16).add_(1)  # starts the threads, whose stacks are not the network's
    size = _status("VmSize")
    if size is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = size + limit
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _refused_memory(device: Device) -> bool:
    """Whether torch's allocator has refused memory on a card, if only to a library that went on without it."""
    return device.where.type == "cuda" and torch.cuda.memory_stats(device.where).get("num_ooms", 0) > 0


def _peak(device: Device, key: Key, files: int) -> int | None:
    """The peak of the passes; on a CPU without `files`, the bytes of libraries that were read in meanwhile."""
    if device.where.type == "cpu" and key.mode == "compile":
        return None  # the compiler's own memory is in the process
    peak = device.peak_memory()
    return peak if peak is None or device.where.type != "cpu" else max(peak - files, 0)


def _mapped() -> int:
    return _status("RssFile") or 0


def _status(field: str) -> int | None:
    """A figure of this process's memory, in bytes; None where the system is not Linux."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


# --- what went wrong


def judged(error: BaseException, refused: bool = False) -> tuple[Status, str]:
    """The status of a cell that an error ended, and its reason; `refused`: the allocator has refused memory before."""
    chain = [error, *_causes(error)]
    text = "\n".join(f"{type(each).__name__}: {each}" for each in chain)
    if (
        any(isinstance(each, (MemoryError, torch.cuda.OutOfMemoryError)) for each in chain)
        or any(words in text for words in _OUT_OF_MEMORY)
        or _NO_PRIMITIVE.search(text)
        or (refused and _NO_ENGINE in text)
    ):
        return "oom", reason(error) if str(error).strip() else "Python could not allocate memory"
    names = [kind.__name__ for each in chain for kind in type(each).__mro__]
    if any(name in names or name in text for name in _NO_COMPILER):
        return "unsupported", f"torch.compile has no compiler here: {reason(chain[-1])}"
    if isinstance(error, (UsageError, Unsupported)):
        return "unsupported", str(error)
    if isinstance(error, NotImplementedError) or any(words in text for words in _NO_KERNEL):
        return "unsupported", reason(error)
    return "failed", f"{type(error).__name__}: {reason(error)}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What an error was raised from, as torch's compiler tells it too."""
    seen = {id(error)}
    following: BaseException | None = error
    while following is not None:
        following = getattr(following, "inner_exception", None) or following.__cause__ or following.__context__
        if following is None or id(following) in seen:
            return
        seen.add(id(following))
        yield following


if __name__ == "__main__":
    main()
