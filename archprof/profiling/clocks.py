"""Clocks: the seam between what is timed and the device that it runs on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


class Clock(Protocol):
    """Takes stamps while work is put to a device, and reads them afterwards."""

    def stamp(self) -> Any:
        """This moment, on the device's own course: cheap, and without waiting for the device."""

    def read(self, stamps: Sequence[Any]) -> list[float]:
        """Seconds from the first stamp to each of them, after one wait for the device. A stamp is read once."""

    def synchronise(self) -> None:
        """Wait until the device has done all that it was given."""


class CpuClock:
    """perf_counter: on a CPU a call returns when its work is done."""

    def stamp(self) -> int:
        """Nanoseconds of the monotonic clock."""
        return time.perf_counter_ns()

    def read(self, stamps: Sequence[int]) -> list[float]:
        """Seconds from the first stamp to each."""
        return [(stamp - stamps[0]) / 1e9 for stamp in stamps]

    def synchronise(self) -> None:
        """Nothing: the work of a CPU is done when the call returns."""


class CudaClock:
    """CUDA events, recorded on the stream that is current where the stamp is taken.

    Autograd makes the forward pass's stream current while it runs a hook, so that a stamp in a hook stands between
    the kernels of two layers. Making an event takes longer than recording one, so those that were read are used again.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._pool: list[torch.cuda.Event] = []

    def stamp(self) -> torch.cuda.Event:
        """An event, recorded."""
        import torch

        event = self._pool.pop() if self._pool else torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return event

    def read(self, stamps: Sequence[torch.cuda.Event]) -> list[float]:
        """Seconds from the first stamp to each, after one wait; the events go back to the pool."""
        self.synchronise()
        seconds = [stamps[0].elapsed_time(stamp) / 1e3 for stamp in stamps]  # CUDA counts milliseconds
        self._pool.extend(stamps)
        return seconds

    def synchronise(self) -> None:
        """Wait until the device has done all that it was given."""
        import torch

        torch.cuda.synchronize(self.device)
