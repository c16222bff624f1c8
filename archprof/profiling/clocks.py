"""Clocks: the seam between what is timed and the device that it runs on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol


class Clock(Protocol):
    """Takes stamps while work is put to a device, and reads them afterwards."""

    def stamp(self) -> Any:
        """This moment, on the device's own course: cheap, and without waiting for the device."""

    def read(self, stamps: Sequence[Any]) -> list[float]:
        """Seconds from the first stamp to each of them, after one wait for the device."""

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
