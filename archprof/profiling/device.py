"""The seam between what is measured and where it runs: `open_device` gives a CPU or a CUDA card with one interface."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from archprof.building.device import reason, usable_device
from archprof.errors import UsageError
from archprof.profiling import machine, nvml
from archprof.profiling.clocks import Clock, CpuClock, CudaClock
from archprof.profiling.records import Device as DeviceRecord

_PROCESS = Path("/proc/self")
_IDLE_POWER: dict[str, float | None] = {}  # watts by UUID: a process waits for each card once
_WARM_UPS = 3  # passes before a CUDA graph is captured, as torch's documentation asks for


class Unsupported(UsageError):
    """What a device, or this network on it, cannot do."""


class Sensor(Protocol):
    """Watches a device while the block that it guards runs: `with device.sensor() as sensor: ...`."""

    def __enter__(self) -> Sensor: ...
    def __exit__(self, *_: object) -> None: ...

    @property
    def wants_more(self) -> bool:
        """Whether running on inside the block would tell the energy, for which the window is too short yet."""

    def reading(self, images: int) -> DeviceRecord:
        """What was seen, asked for after the block; `images` went through the network while it ran."""


class NoSensor:
    """Where nothing can be told, and why."""

    wants_more = False

    def __init__(self, why: str) -> None:
        self.why = why

    def __enter__(self) -> NoSensor:
        return self

    def __exit__(self, *_: object) -> None: ...

    def reading(self, images: int) -> DeviceRecord:
        """Nothing but the reason."""
        return DeviceRecord(notes=(self.why,))


class CpuSensor:
    """The processors' clock before and behind the block; Linux lets nobody but root read their energy."""

    wants_more = False

    def __init__(self) -> None:
        self.clocks: list[float | None] = []

    def __enter__(self) -> CpuSensor:
        self.clocks = [machine.clock_mhz()]
        return self

    def __exit__(self, *_: object) -> None:
        self.clocks.append(machine.clock_mhz())

    def reading(self, images: int) -> DeviceRecord:
        """The two clocks."""
        before, after = self.clocks
        return DeviceRecord(
            clock_before=before, clock_after=after, notes=("power and energy are read of NVIDIA cards only",)
        )


class Device(Protocol):
    """Where a network is measured. A context manager, which puts torch's settings back at its end."""

    where: torch.device
    hardware: str  # as a person would say it
    threads: int  # of the CPU's operators
    clock: Clock
    settings: dict[str, Any]  # what a record says of the run

    def __enter__(self) -> Device: ...
    def __exit__(self, *_: object) -> None: ...

    def before_sample(self) -> None:
        """What must happen before each timed pass, outside its time: an L2 flush where one was asked for."""

    def reset_peak_memory(self) -> None:
        """Begin to watch for the peak anew."""

    def peak_memory(self) -> int | None:
        """The most bytes held at one time since the reset, weights included; None where nobody tells.

        On CUDA those of torch's allocator; on a CPU the resident memory beyond that of when the device was opened.
        """

    def capture(self, step: Callable[[], object]) -> Callable[[], object]:
        """A step as a CUDA graph: the function that replays it, and that keeps what the step holds.

        The peak of memory begins anew with the capture: a replay allocates nothing.

        Raises Unsupported on a device, or for a step, that cannot be captured.
        """

    def sensor(self) -> Sensor:
        """A new sensor, for one window."""

    def warnings(self) -> tuple[str, ...]:
        """What made the figures less trustworthy since the last call, or since the device was opened."""


def open_device(
    name: str | torch.device = "cpu",
    *,
    threads: int | None = None,
    tf32: bool | None = None,
    cudnn_benchmark: bool | None = None,
    flush_l2: bool = False,
) -> Device:
    """The device that torch calls by this name, ready to measure on; its settings hold until its `with` block ends.

    None leaves a setting as torch has it. `threads` are of the CPU's operators; `tf32` is whether float32 matrix
    products and convolutions may round their inputs to TF32, `cudnn_benchmark` whether cuDNN tries its algorithms and
    takes the fastest; `flush_l2` empties the card's cache before each timed pass. Raises UsageError.
    """
    where = _measurable(name)
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, not {threads}")
    if where.type == "cpu":
        for given, option in ((tf32, "TF32"), (cudnn_benchmark, "cudnn.benchmark"), (flush_l2 or None, "an L2 flush")):
            if given is not None:
                raise UsageError(f"{option} is a setting of CUDA devices, and the device is cpu")
        return CpuDevice(where, threads)
    return CudaDevice(where, threads, tf32=tf32, cudnn_benchmark=cudnn_benchmark, flush_l2=flush_l2)


def default_device() -> str:
    """cuda where torch can use one, else cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def hardware_of(name: str) -> str:
    """What a device is called, without opening it. Raises UsageError as `open_device` does."""
    where = _measurable(name)
    if where.type == "cpu":
        return machine.cpu_hardware()
    found: str = torch.cuda.get_device_properties(where).name
    return found


def _measurable(name: str | torch.device) -> torch.device:
    if str(name).partition(":")[0] not in ("cpu", "cuda"):
        raise UsageError(f"device {name}: archprof measures on cpu and cuda")
    return usable_device(name)


def run_for_sensor(sensor: Sensor, device: Device, step: Callable[[], object], limit: float) -> int:
    """Repeat a step inside a sensor's block until its window is long enough, or for `limit` seconds; how often it was.

    The device is waited for after every step, so that the window holds whole steps only.
    """
    end = time.monotonic() + limit
    steps = 0
    while sensor.wants_more and time.monotonic() < end:
        step()
        device.clock.synchronise()
        steps += 1
    return steps


class _Threads:
    """torch's threads for the CPU's operators, put back at the end."""

    def __init__(self, threads: int | None) -> None:
        self.before = torch.get_num_threads()
        if threads is not None and threads != self.before:
            torch.set_num_threads(threads)
        self.threads = torch.get_num_threads()

    def restore(self) -> None:
        if self.threads != self.before:
            torch.set_num_threads(self.before)


class CpuDevice:
    """The processor that this runs on."""

    def __init__(self, where: torch.device, threads: int | None = None) -> None:
        self.where = where
        self.hardware = machine.cpu_hardware()
        self.clock: Clock = CpuClock()
        self._threads = _Threads(threads)
        self.threads = self._threads.threads
        self.settings: dict[str, Any] = {"threads": self.threads}
        self._usage = machine.usage()
        self._base = _resident("VmRSS")
        self._resettable = True

    def __enter__(self) -> CpuDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.restore()

    def before_sample(self) -> None:
        """Nothing: a CPU's caches are left as the pass before left them."""

    def reset_peak_memory(self) -> None:
        """Let the kernel's high-water mark of this process fall back to what it holds now."""
        try:
            (_PROCESS / "clear_refs").write_text("5", encoding="ascii")
        except OSError:
            self._resettable = False

    def peak_memory(self) -> int | None:
        """Resident bytes at the high-water mark, beyond those of when the device was opened."""
        peak = _resident("VmHWM")
        if peak is None or self._base is None or not self._resettable:
            return None
        return max(peak - self._base, 0)

    def capture(self, step: Callable[[], object]) -> Callable[[], object]:
        """Raises Unsupported."""
        raise Unsupported("a CUDA graph needs a CUDA device, and the device is cpu")

    def sensor(self) -> Sensor:
        """One that tells the clock, and neither power nor energy."""
        return CpuSensor()

    def warnings(self) -> tuple[str, ...]:
        """Other users of the processors, a clock that is held low, more threads than processors."""
        before, self._usage = self._usage, machine.usage()
        return tuple(_machine_warnings(before, self._usage, self.threads))


class CudaDevice:
    """One NVIDIA card."""

    def __init__(
        self,
        where: torch.device,
        threads: int | None = None,
        *,
        tf32: bool | None = None,
        cudnn_benchmark: bool | None = None,
        flush_l2: bool = False,
    ) -> None:
        index = torch.cuda.current_device() if where.index is None else where.index
        self.where = torch.device("cuda", index)
        properties = torch.cuda.get_device_properties(self.where)
        self.hardware: str = properties.name
        self.clock: Clock = CudaClock(self.where)
        tf32_settings(self.where)  # refused before anything is changed
        self._threads = _Threads(threads)
        self.threads = self._threads.threads
        cudnn = torch.backends.cudnn
        self._before: list[tuple[object, str, bool]] = []
        if tf32 is not None:
            self._set(torch.backends.cuda.matmul, "allow_tf32", tf32)
            self._set(cudnn, "allow_tf32", tf32)
        if cudnn_benchmark is not None:
            self._set(cudnn, "benchmark", cudnn_benchmark)
        self._flush = _flush_buffer(properties, self.where) if flush_l2 else None
        self.settings: dict[str, Any] = {
            "threads": self.threads,
            **tf32_settings(self.where),
            "cudnn_benchmark": cudnn.benchmark,
            "flush_l2": flush_l2,
        }
        self._usage = machine.usage()
        self._sensors: list[nvml.Sensor] = []
        self._card: nvml.Card | None = None
        self._why = ""
        try:
            self._card = nvml.open_card(index, uuid_of(properties))
        except nvml.Absent as error:
            self._why = str(error)

    def __enter__(self) -> CudaDevice:
        return self

    def __exit__(self, *_: object) -> None:
        for holder, name, value in reversed(self._before):
            setattr(holder, name, value)
        self._threads.restore()

    def _set(self, holder: object, name: str, value: bool) -> None:
        self._before.append((holder, name, getattr(holder, name)))
        setattr(holder, name, value)

    def before_sample(self) -> None:
        """Write over the L2 cache, where that was asked for."""
        if self._flush is not None:
            self._flush.zero_()

    def reset_peak_memory(self) -> None:
        """Let the allocator's peak fall back to what it holds now."""
        torch.cuda.reset_peak_memory_stats(self.where)

    def peak_memory(self) -> int | None:
        """The most bytes that the allocator had given out; the flush buffer is not the network's."""
        peak: int = torch.cuda.max_memory_allocated(self.where)
        return peak - (0 if self._flush is None else self._flush.numel())

    def capture(self, step: Callable[[], object]) -> Callable[[], object]:
        """Warm up on a stream of its own, capture one step, and give the function that replays it."""
        current = torch.cuda.current_stream(self.where)
        aside = torch.cuda.Stream(self.where)  # type: ignore[no-untyped-call]
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                step()
        current.wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        self.reset_peak_memory()
        try:
            with torch.cuda.device(self.where), torch.cuda.graph(graph, stream=aside):
                step()
        except RuntimeError as error:
            raise Unsupported(f"this network cannot be captured in a CUDA graph: {reason(error)}") from None
        return functools.partial(_replay, graph, step)

    def sensor(self) -> Sensor:
        """NVML's, or one that says why there is none. The first waits 2 s for the power of the idle card."""
        if self._card is None:
            return NoSensor(self._why)
        if self._card.uuid not in _IDLE_POWER:
            torch.cuda.synchronize(self.where)
            _IDLE_POWER[self._card.uuid] = nvml.idle_power(self._card)
        sensor = nvml.Sensor(self._card, _IDLE_POWER[self._card.uuid])
        self._sensors.append(sensor)
        return sensor

    def warnings(self) -> tuple[str, ...]:
        """Throttling and other processes on the card, and the machine's, since the last call."""
        found = []
        readings = [sensor.reading(0) for sensor in self._sensors if sensor.samples]
        self._sensors = [sensor for sensor in self._sensors if not sensor.samples]  # those of a time to come
        throttled = dict.fromkeys(words for each in readings for words in each.throttled)
        if throttled:
            found.append(f"the card was throttled: {', '.join(throttled)}")
        others = max((each.other_processes or 0 for each in readings), default=0)
        if others:
            found.append(f"{others} other {'process' if others == 1 else 'processes'} computed on the card")
        before, self._usage = self._usage, machine.usage()
        return (*found, *_machine_warnings(before, self._usage, self.threads))


def has_tf32(where: torch.device) -> bool:
    """Whether a device multiplies in TF32 where it is let: cards of compute capability 8.0 and later do."""
    return where.type == "cuda" and torch.cuda.get_device_capability(where)[0] >= 8


def tf32_settings(where: torch.device) -> dict[str, bool]:
    """Whether float32 products of matrices, and convolutions, may round to TF32 on a card.

    Raises UsageError in a program that has set fp32_precision, torch's newer name for it: torch then tells neither.
    """
    try:
        found = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    except RuntimeError as error:
        raise UsageError(f"TF32: {reason(error)}") from None
    able = has_tf32(where)
    return {"tf32_matmul": able and found[0], "tf32_convolutions": able and found[1]}


def uuid_of(properties: Any) -> str | None:
    """A card's UUID, where this torch gives it."""
    found = getattr(properties, "uuid", None)
    return None if found is None else str(found)


def _replay(graph: torch.cuda.CUDAGraph, _step: object) -> None:
    """A graph reads and writes the tensors that its step holds, and so the step is kept."""
    graph.replay()


def _flush_buffer(properties: Any, where: torch.device) -> torch.Tensor:
    """Bytes to write over an L2 cache with: twice its size, so that none of it survives."""
    return torch.empty(2 * properties.L2_cache_size, dtype=torch.uint8, device=where)


def _resident(field: str) -> int | None:
    """A figure of this process's memory, in bytes; None where the system is not Linux."""
    try:
        status = (_PROCESS / "status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def _machine_warnings(before: machine.Usage | None, after: machine.Usage | None, threads: int) -> list[str]:
    found = list(machine.disturbances(before, after))
    cores = machine.usable_cores()
    there = f"{cores} usable {'core' if cores == 1 else 'cores'}"
    if threads > cores:
        found.append(f"{threads} threads on {there}")
    governor = machine.governor()
    if governor is not None and governor.startswith("powersave"):
        found.append(f"the CPU's governor is {governor}: its clock follows the load")
    load = machine.load_average()
    if after is None and load is not None and load > cores:
        found.append(f"the load average is {load:.1f} on {there}")
    return found
