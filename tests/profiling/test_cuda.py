"""Whole measurements on a fake card: what is asked of it, in which order. Its tensors are the CPU's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

import archprof
from archprof.graph import Graph
from archprof.profiling import machine, nvml, worker
from archprof.profiling.device import CudaDevice
from archprof.profiling.messages import Settings
from archprof.profiling.passes import TimedPass
from archprof.profiling.records import Cell, Key
from archprof.profiling.statistics import summarise
from archprof.profiling.worker import measured
from tests.profiling.fakes import FakeCard, FakeCuda

SPEC = """
name: small
input: [3, 8, 8]
layers:
  - {op: conv2d, out_channels: 4, kernel_size: 3}
  - {op: flatten}
  - {name: head, op: linear, out_features: 5}
"""
KEY = Key(network="small", batch=2, input="3x8x8")
SETTINGS = Settings(device="cuda", budget=0.05)


@pytest.fixture(autouse=True)
def _without_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter that stands still is given up at once."""
    monkeypatch.setattr(nvml, "PATIENCE", 0.0)


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Graph:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "small.yaml").write_text(SPEC, encoding="utf-8")
    return archprof.load(str(tmp_path / "small.yaml"))


@pytest.mark.parametrize("pass_", ["forward", "step"])
def test_a_profile_is_timed_by_events_and_watched_by_nvml(
    graph: Graph, cuda: FakeCuda, card: FakeCard, pass_: str
) -> None:
    card.reasons = nvml.open_card(0, "aaaa-1").nvml.nvmlClocksEventReasonSwPowerCap
    found = archprof.profile(graph, batch=2, device="cuda", pass_=pass_, budget=0.1)
    cell, hardware = found.cell, found.description.hardware
    assert (cell.status, hardware) == ("ok", "NVIDIA GeForce RTX 3090")
    assert [layer.path for layer in cell.layers] == [node.path for node in graph.nodes if not node.is_input]
    assert cuda.event.made > 0
    assert cell.device is not None
    assert (cell.device.clock_before, cell.device.clock_after, cell.device.energy) == (1500.0, 1500.0, None)
    assert "the card was throttled: power cap" in cell.warnings
    assert found.description.environment["driver"] == "550.54.15"


def test_a_cell_of_a_benchmark(graph: Graph, cuda: FakeCuda, card: FakeCard) -> None:
    cell = measured(graph, SETTINGS, KEY, timed=True)
    assert (cell.status, cell.reason) == ("ok", "")
    assert cuda.fraction == pytest.approx(0.9 * 20 / 24)  # of the card; 20 GiB are free
    assert cell.device is not None
    assert cell.device.clock == 1500.0
    assert {"tf32_matmul", "tf32_convolutions", "cudnn_benchmark", "flush_l2"} <= set(cell.settings)
    measured(graph, Settings(device="cuda", budget=0.05, memory=6 * 2**30), KEY, timed=True)
    assert cuda.fraction == 0.25


def test_a_cell_says_that_the_card_was_throttled(
    graph: Graph, cuda: FakeCuda, card: FakeCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sensor is made before the passes of which the memory is told, and watches those that are timed."""
    card.reasons = nvml.open_card(0, "aaaa-1").nvml.nvmlClocksEventReasonSwPowerCap
    cell = measured(graph, SETTINGS, KEY, timed=True)
    assert "the card was throttled: power cap" in cell.warnings
    sensors: list[CudaDevice] = []
    monkeypatch.setattr(CudaDevice, "sensor", sensors.append)
    assert measured(graph, SETTINGS, KEY, timed=False).status == "ok"
    assert sensors == []  # a trial of a search does not wait for the power of the idle card


def test_a_cell_says_that_the_machine_changed_while_it_was_measured(
    graph: Graph, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing = summarise([[1.0] * 8, [1.2] * 8], 0.02)
    monkeypatch.setattr(worker, "collect", lambda once, **_: {"forward": timing})
    cell = measured(graph, SETTINGS, KEY, timed=True)
    assert cell.warnings == ("forward: the last quarter's median lies 18 % above the first's",)


@pytest.mark.parametrize("mode", ["eager", "cuda-graph"])
def test_the_peak_is_of_passes_that_are_like_those_timed(
    graph: Graph, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Not of the first, in which cuDNN may try algorithms; of a graph that of its capture."""
    passes = 0
    own = TimedPass.forward

    def forward(self: TimedPass) -> Any:
        nonlocal passes
        passes += 1
        cuda.peak = max(cuda.peak, 9000 if passes == 1 else 100)
        return own(self)

    monkeypatch.setattr(TimedPass, "forward", forward)
    cell = measured(graph, SETTINGS, msgspec.structs.replace(KEY, mode=mode), timed=True)
    assert (cell.status, cell.reason, cell.peak_memory) == ("ok", "", 100)
    if mode == "cuda-graph":
        assert passes == 4  # three to warm up, and the capture
        assert cuda.replays > worker._MEMORY_PASSES
        assert list(cell.timings) == ["forward"]


def test_the_cache_is_emptied_before_every_sample_and_energy_then_left_out(
    graph: Graph, cuda: FakeCuda, card: FakeCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "ENOUGH_UPDATES", 2)  # however slow the machine
    flushes = 0

    def before_sample(self: CudaDevice) -> None:
        nonlocal flushes
        flushes += 1
        card.millijoules += 100

    monkeypatch.setattr(CudaDevice, "before_sample", before_sample)
    found: dict[bool, Cell] = {}
    for flushed in (False, True):
        settings = Settings(device="cuda", budget=3, precision=0.001, flush_l2=flushed)
        flushes = 0
        found[flushed] = measured(graph, settings, KEY, timed=True)
        assert flushes >= found[flushed].timings["forward"].count
    devices = [cell.device for cell in found.values()]
    assert devices[0] is not None
    assert devices[1] is not None
    assert devices[0].energy is not None
    assert devices[1].energy is None
    assert devices[1].notes[-1] == "energy: that of emptying the L2 cache would be in it"


@pytest.mark.parametrize(("refusals", "status"), [(1, "oom"), (0, "unsupported")])
def test_cudnn_that_finds_no_engine_after_a_refusal_of_memory_is_out_of_memory(
    graph: Graph, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, refusals: int, status: str
) -> None:
    def forward(self: TimedPass) -> Any:
        cuda.refusals = refusals
        raise RuntimeError("GET was unable to find an engine to execute this computation")

    monkeypatch.setattr(TimedPass, "forward", forward)
    assert measured(graph, SETTINGS, KEY, timed=False).status == status


@pytest.mark.parametrize("disturbed", [False, True])
def test_a_card_throttled_while_its_roofline_is_measured_is_told(
    cuda: FakeCuda, card: FakeCard, monkeypatch: pytest.MonkeyPatch, disturbed: bool
) -> None:
    """A card that takes all the power it may is none that somebody disturbs."""
    monkeypatch.setattr(machine, "disturbances", lambda before, after: ["other processes"] if disturbed else [])
    from archprof.profiling.ceilings import attain
    from archprof.profiling.device import open_device

    card.reasons = nvml.open_card(0, "aaaa-1").nvml.nvmlClocksEventReasonSwPowerCap
    with open_device("cuda") as device:
        found = attain(device, budget=0.01, sizes=(16,), array=2**14)
    assert "the card was throttled: power cap" in found.warnings
    assert ("disturbed" in found.roofline.source) == disturbed
