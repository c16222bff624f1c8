"""The seam to NVML, by a fake that has pynvml's names, units and exceptions. No card was at hand."""

from __future__ import annotations

import inspect
import sys
import time
from types import SimpleNamespace

import pynvml
import pytest

from archprof.profiling import nvml
from archprof.profiling.nvml import (
    Absent,
    Card,
    Probe,
    Sample,
    Sensor,
    idle_power,
    match,
    open_card,
    summarise,
    updates,
)
from archprof.profiling.records import Device
from tests.profiling.fakes import FAKE_NVML_FUNCTIONS, FakeCard, FakeNvml

ONE, TWO, THREE = "GPU-aaaa-1", "GPU-aabb-2", "GPU-cccc-3"
ALL = (ONE, TWO, THREE)


def card_of(fake: FakeNvml, place: int = 0) -> Card:
    return Card(fake, fake.cards[place], fake.cards[place].uuid)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FAKE_NVML_FUNCTIONS)
def test_the_fake_has_only_functions_that_pynvml_has_and_with_its_parameters(name: str) -> None:
    real = list(inspect.signature(getattr(pynvml, name)).parameters)
    assert list(inspect.signature(getattr(FakeNvml, name)).parameters)[1:] == real


@pytest.mark.parametrize("name", nvml.THROTTLE_REASONS)
def test_reasons_are_bits_that_pynvml_names(name: str) -> None:
    bit = getattr(pynvml, f"nvmlClocksEventReason{name}")
    assert bit == getattr(pynvml, f"nvmlClocksThrottleReason{name}")
    assert bit & (bit - 1) == 0 < bit


# --- which card


@pytest.mark.parametrize(
    ("index", "uuid", "environment", "expected"),
    [
        pytest.param(0, "aabb-2", {}, TWO, id="by UUID, whatever CUDA's order"),
        pytest.param(1, "GPU-aaaa-1", {"CUDA_VISIBLE_DEVICES": "2,0"}, ONE, id="by UUID, under numbers"),
        pytest.param(0, "cccc-3", {"CUDA_VISIBLE_DEVICES": "GPU-cc"}, THREE, id="by UUID, under UUIDs"),
        pytest.param(0, None, {"CUDA_VISIBLE_DEVICES": "GPU-cc,GPU-aaaa"}, THREE, id="a UUID's beginning"),
        pytest.param(1, None, {"CUDA_VISIBLE_DEVICES": "GPU-cc, GPU-aaaa-1"}, ONE, id="a whole UUID"),
        pytest.param(
            1, None, {"CUDA_VISIBLE_DEVICES": "2,1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, TWO, id="a number by the bus"
        ),
        pytest.param(2, None, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, THREE, id="torch's number by the bus"),
    ],
)
def test_a_card_is_found_by_uuid_or_by_what_cuda_visible_devices_says(
    index: int, uuid: str | None, environment: dict[str, str], expected: str
) -> None:
    assert match(index, uuid, ALL, environment) == expected


def test_of_one_card_the_order_does_not_matter() -> None:
    assert match(0, None, [ONE], {"CUDA_VISIBLE_DEVICES": "0"}) == ONE


@pytest.mark.parametrize(
    ("index", "uuid", "environment", "message"),
    [
        (0, "dddd-4", {}, "NVML does not list GPU-dddd-4, which torch uses"),
        (1, None, {"CUDA_VISIBLE_DEVICES": "0"}, "CUDA_VISIBLE_DEVICES=0 names no device 1"),
        (
            0,
            "aaaa-1",
            {"CUDA_VISIBLE_DEVICES": "MIG-b1"},
            "MIG-b1 is a MIG instance: NVML tells power and clocks of the whole card only",
        ),
        (
            0,
            None,
            {"CUDA_VISIBLE_DEVICES": "GPU-aa"},
            "CUDA_VISIBLE_DEVICES: GPU-aa fits 2 of the cards that NVML lists",
        ),
        (
            0,
            None,
            {"CUDA_VISIBLE_DEVICES": "7", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
            "NVML lists 3 cards and none of them is torch's device 0",
        ),
        (
            0,
            None,
            {"CUDA_VISIBLE_DEVICES": "1"},
            "several cards, and this torch does not tell a card's UUID: "
            "set CUDA_DEVICE_ORDER=PCI_BUS_ID to say which is which",
        ),
    ],
)
def test_a_card_that_cannot_be_told_is_said_why(
    index: int, uuid: str | None, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(Absent) as caught:
        match(index, uuid, ALL, environment)
    assert str(caught.value) == message


def test_open_card_takes_the_one_that_torch_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml(FakeCard(ONE), FakeCard(TWO, mig=None))
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert open_card(0, "aabb-2").handle is fake.cards[1]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "NVML: NVML Shared Library Not Found"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "NVML: Driver Not Loaded"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "NVML: Insufficient Permissions"),
    ],
)
def test_an_nvml_that_does_not_start_is_absent(monkeypatch: pytest.MonkeyPatch, code: int, message: str) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(init=code))
    with pytest.raises(Absent) as caught:
        open_card(0, "aaaa-1")
    assert str(caught.value) == message


def test_without_pynvml_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(Absent) as caught:
        open_card(0, "aaaa-1")
    assert str(caught.value) == "power and clocks need nvidia-ml-py: pip install 'archprof[torch]'"


def test_a_card_in_mig_instances_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(FakeCard(ONE, mig=1)))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(Absent) as caught:
        open_card(0, "aaaa-1")
    assert (
        str(caught.value)
        == "GPU-aaaa-1 is split into MIG instances: NVML tells power and clocks of the whole card only"
    )


# --- what a card tells


def test_units_are_watts_joules_and_megahertz() -> None:
    probe = Probe(card_of(FakeNvml(FakeCard(ONE))))
    assert (probe.power(), probe.energy(), probe.clock(), probe.temperature()) == (50.0, 1000.0, 1500.0, 40.0)
    assert probe.power_limit() == 350.0
    assert probe.missing == {}


def test_an_older_pynvml_and_an_older_driver_are_asked_by_the_older_names() -> None:
    card = FakeCard(ONE)
    card.reasons = pynvml.nvmlClocksEventReasonSwPowerCap
    card.failing = {"nvmlDeviceGetCurrentClocksEventReasons": pynvml.NVML_ERROR_FUNCTION_NOT_FOUND}
    probe = Probe(card_of(FakeNvml(card, missing=("nvmlDeviceGetTemperatureV", "nvmlClocksEventReasonSwPowerCap"))))
    assert probe.temperature() == 40.0
    bits = probe.reasons()
    assert bits is not None
    assert probe.throttled(bits) == ("power cap",)
    assert probe.missing == {}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (pynvml.NVML_ERROR_NOT_SUPPORTED, "Not Supported"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "Insufficient Permissions"),
        (pynvml.NVML_ERROR_GPU_IS_LOST, "GPU is lost"),
    ],
)
def test_what_a_card_refuses_is_asked_once_and_said_why(code: int, words: str) -> None:
    card = FakeCard(ONE)
    card.failing = {"nvmlDeviceGetPowerUsage": code}
    probe = Probe(card_of(FakeNvml(card)))
    assert probe.power() is None
    card.failing = {}
    assert probe.power() is None
    assert probe.missing == {"power": f"power: {words}"}


def test_an_older_driver_is_asked_for_processes_by_an_older_version() -> None:
    class Older(FakeNvml):
        def nvmlDeviceGetComputeRunningProcesses(  # noqa: N802
            self, handle: FakeCard
        ) -> list[SimpleNamespace]:
            raise pynvml.NVMLLibraryMismatchError("Unversioned function called")

        def nvmlDeviceGetComputeRunningProcesses_v2(  # noqa: N802
            self, handle: FakeCard
        ) -> list[SimpleNamespace]:
            return [SimpleNamespace(pid=pid) for pid in handle.pids]

    assert Probe(card_of(Older(FakeCard(ONE, pids=(1, 2))))).processes() == 2
    probe = Probe(card_of(Older(FakeCard(ONE), missing=("nvmlDeviceGetComputeRunningProcesses_v2",))))
    assert probe.processes() is None
    assert probe.missing["other processes"] == "other processes: this pynvml lacks it"


def test_a_function_that_this_pynvml_lacks_is_said() -> None:
    probe = Probe(card_of(FakeNvml(FakeCard(ONE), missing=("nvmlDeviceGetTotalEnergyConsumption",))))
    assert probe.energy() is None
    assert probe.missing == {"energy": "energy: this pynvml lacks it"}


def test_a_card_describes_itself() -> None:
    card = FakeCard(ONE, pids=(1, 2))
    card.reasons = (
        pynvml.nvmlClocksEventReasonHwSlowdown | pynvml.nvmlClocksEventReasonHwThermalSlowdown
    ) | pynvml.nvmlClocksEventReasonApplicationsClocksSetting
    card.failing = {"nvmlDeviceGetPersistenceMode": pynvml.NVML_ERROR_NOT_SUPPORTED}
    assert Probe(card_of(FakeNvml(card))).description() == {
        "driver": "550.54.15",
        "power_limit_watts": 350.0,
        "clock_sm_mhz": 1500.0,
        "clock_memory_mhz": 9500,
        "clock_sm_highest_mhz": 1980,
        "temperature_celsius": 40.0,
        "throttle_reasons": ["hardware slowdown", "temperature (hardware)"],
        "application_clocks_set": True,
        "compute_processes": 2,
    }


@pytest.mark.parametrize("name", ["GpuIdle", "ApplicationsClocksSetting", "DisplayClockSetting"])
def test_an_idle_card_and_clocks_that_were_set_are_not_throttling(name: str) -> None:
    probe = Probe(card_of(FakeNvml(FakeCard(ONE))))
    assert probe.throttled(getattr(pynvml, f"nvmlClocksEventReason{name}")) == ()


def test_idle_power_is_that_of_the_later_half() -> None:
    card = FakeCard(ONE)
    fake = FakeNvml(card)
    seen = iter([90_000, 70_000, 20_000, 22_000])
    fake.nvmlDeviceGetPowerUsage = lambda handle: next(seen)  # type: ignore[method-assign]
    assert idle_power(card_of(fake), seconds=0.004, period=0.001) == 21.0


def test_idle_power_of_a_card_that_does_not_tell_is_none() -> None:
    card = FakeCard(ONE)
    card.failing = {"nvmlDeviceGetPowerUsage": pynvml.NVML_ERROR_NOT_SUPPORTED}
    assert idle_power(card_of(FakeNvml(card)), seconds=60) is None


# --- a window


def window(
    *,
    seconds: float = 10.0,
    count: int = 201,
    power: float | None = 200.0,
    joules: float | None = 2000.0,
    moves: int = 200,
    processes: int | None = 1,
) -> list[Sample]:
    """Samples at equal distances; the counter rises to `joules` in so many moves."""
    last = count - 1
    return [
        Sample(
            moment=5.0 + seconds * place / last,
            power=power,
            energy=None if joules is None else 1e6 + joules * (place * moves // last) / max(moves, 1),
            temperature=60.0 + place / last,
            clock=1400.0 + place,
            reasons=0,
            processes=processes,
        )
        for place in range(count)
    ]


def read(samples: list[Sample], images: int = 100, idle: float | None = 21.0) -> Device:
    return summarise(samples, images, idle, Probe(card_of(FakeNvml(FakeCard(ONE)))))


def test_a_long_window_tells_all() -> None:
    assert read(window()) == Device(
        power=200.0,
        idle_power=21.0,
        energy=2000 / 100,
        temperature=61.0,
        clock=1500.0,
        clock_before=1400.0,
        clock_after=1600.0,
        other_processes=0,
    )


def test_the_first_second_of_power_reaches_back_before_the_window_and_is_left_out() -> None:
    samples = [each._replace(power=30.0 if each.moment < 6.0 else 200.0) for each in window()]
    assert read(samples).power == 200.0


def test_a_window_shorter_than_the_cards_average_has_no_power() -> None:
    found = read(window(seconds=0.9))
    assert found.power is None
    assert found.notes == ("power: the window is shorter than the 1 s over which cards average it",)


@pytest.mark.parametrize(
    ("moves", "note"),
    [
        (0, "energy: the counter did not move"),
        (1, "energy: the counter moved 1 time, and 100 are needed"),
        (99, "energy: the counter moved 99 times, and 100 are needed"),
    ],
)
def test_energy_needs_a_hundred_moves_of_the_counter(moves: int, note: str) -> None:
    found = read(window(moves=moves))
    assert found.energy is None
    assert found.notes == (note,)
    assert read(window(moves=100)).energy == 20.0


def test_energy_of_no_images_is_none() -> None:
    assert read(window(), images=0).energy is None


def test_other_processes_are_all_but_this_one_at_the_worst_moment() -> None:
    samples = window()
    samples[7] = samples[7]._replace(processes=4)
    assert read(samples).other_processes == 3


def test_a_container_that_sees_no_processes_tells_none() -> None:
    found = read(window(processes=0))
    assert found.other_processes is None
    assert found.notes == ("other processes: NVML lists not even this one (in a container it may not see any)",)


def test_reasons_are_gathered_over_the_window() -> None:
    samples = window()
    samples[3] = samples[3]._replace(reasons=pynvml.nvmlClocksEventReasonSwPowerCap)
    samples[9] = samples[9]._replace(reasons=pynvml.nvmlClocksEventReasonHwThermalSlowdown)
    assert read(samples).throttled == ("power cap", "temperature (hardware)")


def test_a_card_that_refuses_everything_leaves_all_empty_with_the_reasons() -> None:
    card = FakeCard(ONE)
    for name in FAKE_NVML_FUNCTIONS:
        card.failing[name] = pynvml.NVML_ERROR_NOT_SUPPORTED
    sensor = Sensor(card_of(FakeNvml(card)), period=60)
    with sensor:
        assert not sensor.wants_more
    assert sensor.reading(8) == Device(
        notes=(
            "power: Not Supported",
            "energy: Not Supported",
            "temperature: Not Supported",
            "clock: Not Supported",
            "throttle reasons: Not Supported",
            "other processes: Not Supported",
        )
    )


def test_updates_counts_moves_among_what_was_told() -> None:
    assert updates([1.0, 1.0, None, 2.0, 2.0, 3.0]) == 2
    assert updates([None, None]) == 0


class Moments:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_sensor_wants_more_until_the_counter_has_moved_often_enough() -> None:
    card = FakeCard(ONE)
    moments = Moments()
    with Sensor(card_of(FakeNvml(card)), period=60, now=moments) as sensor:
        for _ in range(99):
            assert sensor.wants_more
            moments.seconds += 0.1
            card.millijoules += 5_000
            sensor.look()
        assert sensor.wants_more
        card.millijoules += 5_000
        sensor.look()
        assert not sensor.wants_more
    found = sensor.reading(10)
    assert found.energy == pytest.approx(50.0)  # 100 x 5 J over 10 images
    assert found.power == 50.0


def test_a_counter_that_stands_still_is_given_up_after_five_seconds() -> None:
    moments = Moments()
    with Sensor(card_of(FakeNvml(FakeCard(ONE))), period=60, now=moments) as sensor:
        moments.seconds = 4.9
        sensor.look()
        assert sensor.wants_more
        moments.seconds = 5.0
        sensor.look()
        assert not sensor.wants_more
    assert "energy: the counter did not move" in sensor.reading(1).notes


def test_the_thread_samples_while_the_block_runs_and_ends_with_it() -> None:
    sensor = Sensor(card_of(FakeNvml(FakeCard(ONE))), period=0.001)

    def block() -> None:
        with sensor:
            end = time.monotonic() + 20
            while len(sensor.samples) < 5 and time.monotonic() < end:
                time.sleep(0.001)
            raise KeyError

    with pytest.raises(KeyError):
        block()
    assert not sensor._thread.is_alive()
    seen = len(sensor.samples)
    assert seen >= 6  # those of the thread, and one at the end
    time.sleep(0.01)
    assert len(sensor.samples) == seen
