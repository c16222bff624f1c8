"""An NVML and a CUDA that are not there: the names, units and exceptions of pynvml and torch.cuda, values of a test's.

What they imitate is checked against the real modules by test_nvml and test_clocks, so that a name that is not theirs
fails a test.
"""

# the names are pynvml's
# ruff: noqa: A002, N802
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch


class FakeCard:
    """One card: what its counters say. `failing` maps a function's name to the code of the error that it raises."""

    def __init__(self, uuid: str, *, pids: tuple[int, ...] = (100,), mig: int | None = 0) -> None:
        self.uuid = uuid
        self.milliwatts = 50_000
        self.millijoules = 1_000_000
        self.celsius = 40
        self.megahertz = {pynvml.NVML_CLOCK_SM: 1500, pynvml.NVML_CLOCK_MEM: 9500}
        self.reasons = 0
        self.pids = pids
        self.mig = mig  # None: it knows no MIG
        self.failing: dict[str, int] = {}


class FakeNvml:
    """pynvml with these cards. Constants and exceptions are the real ones; `missing` are functions it lacks."""

    def __init__(self, *cards: FakeCard, missing: tuple[str, ...] = (), init: int | None = None) -> None:
        self.cards = cards
        self.missing = missing
        self.init = init  # the code that nvmlInit fails with

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml") and name in object.__getattribute__(self, "missing"):
            raise AttributeError(name)
        return object.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        if name in self.missing or (name.startswith("nvml") and callable(getattr(pynvml, name))):
            raise AttributeError(name)  # a function that this fake does not have
        return getattr(pynvml, name)

    def check(self, card: FakeCard, function: str) -> None:
        if function in card.failing:
            raise pynvml.NVMLError(card.failing[function])

    def nvmlInit(self) -> None:
        if self.init is not None:
            raise pynvml.NVMLError(self.init)

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeCard:
        if not 0 <= index < len(self.cards):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return self.cards[index]

    def nvmlDeviceGetUUID(self, handle: FakeCard) -> str:
        self.check(handle, "nvmlDeviceGetUUID")
        return handle.uuid

    def nvmlDeviceGetMigMode(self, device: FakeCard) -> list[int]:
        if device.mig is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return [device.mig, device.mig]  # current and pending

    def nvmlDeviceGetPowerUsage(self, handle: FakeCard) -> int:
        self.check(handle, "nvmlDeviceGetPowerUsage")
        return handle.milliwatts

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: FakeCard) -> int:
        self.check(handle, "nvmlDeviceGetTotalEnergyConsumption")
        return handle.millijoules

    def nvmlDeviceGetTemperature(self, handle: FakeCard, sensor: int) -> int:
        self.check(handle, "nvmlDeviceGetTemperature")
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return handle.celsius

    def nvmlDeviceGetTemperatureV(self, handle: FakeCard, sensor: int, version: int = 0) -> int:
        self.check(handle, "nvmlDeviceGetTemperatureV")
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return handle.celsius

    def nvmlDeviceGetClockInfo(self, handle: FakeCard, type: int) -> int:
        self.check(handle, "nvmlDeviceGetClockInfo")
        return handle.megahertz[type]

    def nvmlDeviceGetMaxClockInfo(self, handle: FakeCard, type: int) -> int:
        self.check(handle, "nvmlDeviceGetMaxClockInfo")
        return 1980

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: FakeCard) -> int:
        self.check(handle, "nvmlDeviceGetCurrentClocksEventReasons")
        return handle.reasons

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: FakeCard) -> int:
        self.check(handle, "nvmlDeviceGetCurrentClocksThrottleReasons")
        return handle.reasons

    def nvmlDeviceGetComputeRunningProcesses(self, handle: FakeCard) -> list[SimpleNamespace]:
        self.check(handle, "nvmlDeviceGetComputeRunningProcesses")
        return [SimpleNamespace(pid=pid, usedGpuMemory=2**20) for pid in handle.pids]

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: FakeCard) -> int:
        self.check(handle, "nvmlDeviceGetEnforcedPowerLimit")
        return 350_000

    def nvmlDeviceGetPersistenceMode(self, handle: FakeCard) -> int:
        self.check(handle, "nvmlDeviceGetPersistenceMode")
        return 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return "550.54.15"


FAKE_NVML_FUNCTIONS = tuple(name for name in vars(FakeNvml) if name.startswith("nvml"))


class FakeStream:
    """A stream; a kernel put on it ends some time after those before."""

    def __init__(self, device: Any = None) -> None:
        self.waited_for: list[FakeStream] = []

    def wait_stream(self, stream: FakeStream) -> None:
        self.waited_for.append(stream)


class FakeEvent:
    """torch.cuda.Event: recorded on a stream, and readable only when the device has been waited for."""

    made = 0
    cuda: FakeCuda

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        assert enable_timing
        type(self).made += 1
        self.moment: float | None = None
        self.done = False

    def record(self, stream: Any = None) -> None:
        assert stream is self.cuda.stream_now
        self.moment, self.done = self.cuda.now(), False
        self.cuda.pending.append(self)

    def elapsed_time(self, end_event: FakeEvent) -> float:
        if not (self.done and end_event.done):
            raise RuntimeError("CUDA error: device not ready")
        assert self.moment is not None
        assert end_event.moment is not None
        return (end_event.moment - self.moment) * 1e3


class FakeCuda:
    """torch.cuda with one card, put in place of the real one for a test. `now` tells the device's time in seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: Callable[[], float] = time.perf_counter) -> None:
        self.now = now
        self.stream_now = FakeStream()
        self.pending: list[FakeEvent] = []
        self.waits = 0
        self.peak = 0
        self.refusals = 0
        self.fraction: float | None = None
        self.current = 0
        self.captures: list[tuple[int, FakeStream]] = []  # the current device and the stream of each
        self.replays = 0
        self.capture_error: str | None = None
        self.properties = SimpleNamespace(
            name="NVIDIA GeForce RTX 3090", uuid="aaaa-1", L2_cache_size=6 * 2**20, major=8, minor=6,
            total_memory=24 * 2**30,
        )  # fmt: skip
        event = type("Event", (FakeEvent,), {"made": 0, "cuda": self})
        self.event = event
        places = {
            "Event": event,
            "Stream": FakeStream,
            "stream": self.stream,
            "current_stream": lambda device=None: self.stream_now,
            "current_device": lambda: self.current,
            "device_count": lambda: 1,
            "get_device_properties": lambda device=None: self.properties,
            "get_device_capability": lambda device=None: (self.properties.major, self.properties.minor),
            "synchronize": self.synchronize,
            "max_memory_allocated": lambda device=None: self.peak,
            "reset_peak_memory_stats": self.reset_peak_memory_stats,
            "mem_get_info": lambda device=None: (20 * 2**30, 24 * 2**30),
            "memory_reserved": lambda device=None: 0,
            "memory_allocated": lambda device=None: 0,
            "get_rng_state": lambda device="cuda": torch.zeros(8, dtype=torch.uint8),
            "set_rng_state": lambda new_state, device="cuda": None,
            "memory_stats": lambda device=None: {"num_ooms": self.refusals} if self.refusals else {},
            "set_per_process_memory_fraction": self.set_per_process_memory_fraction,
            "device": self.device,
            "CUDAGraph": lambda: SimpleNamespace(replay=self.replay),
            "graph": self.graph,
        }
        for name, fake in places.items():
            monkeypatch.setattr(torch.cuda, name, fake)  # raises for a name that torch.cuda lacks
        for name in ("empty", "full", "randn", "zeros"):  # tensors of the card are the CPU's here
            monkeypatch.setattr(torch, name, self.on_cpu(getattr(torch, name)))
        for kind in (torch.Tensor, torch.nn.Module):
            monkeypatch.setattr(kind, "to", self.stays(kind.to))

    def on_cpu(self, make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def made(*arguments: Any, **options: Any) -> torch.Tensor:
            if str(options.get("device")).startswith("cuda"):
                del options["device"]
            return make(*arguments, **options)

        return made

    def stays(self, to: Callable[..., Any]) -> Callable[..., Any]:
        def moved(this: Any, *arguments: Any, **options: Any) -> Any:
            arguments = tuple(each for each in arguments if not str(each).startswith("cuda"))
            if str(options.get("device")).startswith("cuda"):
                del options["device"]
            return to(this, *arguments, **options) if arguments or options else this

        return moved

    def synchronize(self, device: Any = None) -> None:
        self.waits += 1
        for event in self.pending:
            event.done = True
        self.pending.clear()

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        self.peak = 0

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        before, self.stream_now = self.stream_now, stream
        yield
        self.stream_now = before

    def set_per_process_memory_fraction(self, fraction: float, device: Any = None) -> None:
        assert 0 <= fraction <= 1
        self.fraction = fraction

    @contextmanager
    def device(self, device: Any) -> Iterator[None]:
        before, self.current = self.current, torch.device(device).index
        yield
        self.current = before

    @contextmanager
    def graph(self, cuda_graph: Any, pool: Any = None, stream: Any = None) -> Iterator[None]:
        if self.capture_error is not None:
            raise RuntimeError(self.capture_error)
        self.captures.append((self.current, stream))
        with self.stream(stream):
            yield

    def replay(self) -> None:
        self.replays += 1
