"""The clocks: the CPU's, and that of CUDA events by a fake torch.cuda."""

from __future__ import annotations

import pytest
import torch

from archprof.profiling.clocks import CpuClock, CudaClock
from tests.profiling.fakes import FakeCuda, FakeEvent, FakeStream


class Now:
    """The device's time, which a test turns."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize("name", ["record", "elapsed_time"])
def test_the_fake_event_has_only_methods_that_torch_has(name: str) -> None:
    assert callable(getattr(torch.cuda.Event, name))
    assert [each for each in vars(FakeEvent) if not each.startswith("_") and callable(getattr(FakeEvent, each))] == [
        "record",
        "elapsed_time",
    ]


def test_the_fake_stream_has_only_methods_that_torch_has() -> None:
    assert callable(torch.cuda.Stream.wait_stream)
    assert [each for each in vars(FakeStream) if not each.startswith("_")] == ["wait_stream"]


def test_the_cpu_clock_reads_seconds_from_the_first_stamp() -> None:
    assert CpuClock().read([5_000_000_000, 5_000_250_000, 7_500_000_000]) == [0.0, 0.00025, 2.5]


def test_the_cpu_clock_goes_forward() -> None:
    clock = CpuClock()
    clock.synchronise()
    zero, later = clock.read([clock.stamp(), clock.stamp()])
    assert zero == 0.0 <= later


def test_events_are_read_in_seconds_after_one_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    now = Now()
    cuda = FakeCuda(monkeypatch, now)
    clock = CudaClock(torch.device("cuda", 0))
    stamps = [clock.stamp()]
    now.seconds += 0.5
    stamps.append(clock.stamp())
    now.seconds += 0.25
    stamps.append(clock.stamp())
    assert cuda.waits == 0
    assert clock.read(stamps) == pytest.approx([0.0, 0.5, 0.75])
    assert cuda.waits == 1


def test_an_event_that_was_not_waited_for_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeCuda(monkeypatch)
    stamp = CudaClock(torch.device("cuda", 0)).stamp()
    with pytest.raises(RuntimeError, match="device not ready"):
        stamp.elapsed_time(stamp)


def test_events_that_were_read_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = Now()
    cuda = FakeCuda(monkeypatch, now)
    clock = CudaClock(torch.device("cuda", 0))
    for length in (0.1, 0.2, 0.3):
        stamps = [clock.stamp()]
        now.seconds += length
        stamps.append(clock.stamp())
        assert clock.read(stamps)[1] == pytest.approx(length)
    assert cuda.event.made == 2


def test_an_event_is_recorded_on_the_stream_that_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda(monkeypatch)
    clock = CudaClock(torch.device("cuda", 0))
    with cuda.stream(FakeStream()):
        clock.stamp()  # the fake event refuses any stream but this one
    clock.stamp()
