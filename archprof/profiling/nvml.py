"""What NVIDIA's driver tells of a card: power, energy, clocks, temperature, throttling, other processes.

NVML counts physical cards, torch those that CUDA_VISIBLE_DEVICES leaves, in an order of its own: they are matched by
UUID. Whatever NVML does not tell stays empty, with a line that says why.
"""

from __future__ import annotations

import importlib
import itertools
import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from archprof.profiling.records import Device

PERIOD = 0.02  # seconds between two samples
ENOUGH_UPDATES = 100  # of the energy counter: its first and last step are then at most 1 % of what it counted
PATIENCE = 5.0  # seconds, after which a counter that has not moved is given up
AVERAGED = 1.0  # seconds over which recent cards average the power that they tell

# bit of the clocks event (throttle) reasons -> as a person would say it. An idle card, and clocks that a user has set,
# are no reasons to distrust a figure; the latter are in the environment.
THROTTLE_REASONS: Mapping[str, str] = {
    "SwPowerCap": "power cap",
    "HwSlowdown": "hardware slowdown",
    "SyncBoost": "sync boost",
    "SwThermalSlowdown": "temperature (driver)",
    "HwThermalSlowdown": "temperature (hardware)",
    "HwPowerBrakeSlowdown": "power brake",
}


class Absent(Exception):
    """NVML, or the card in it, cannot be had; the message says why."""


class Card(NamedTuple):
    """One physical card in NVML."""

    nvml: ModuleType
    handle: Any
    uuid: str


def open_card(index: int, uuid: str | None) -> Card:
    """The card that torch calls cuda:`index`, whose UUID torch gives as `uuid` (None: this torch does not give it).

    Raises Absent.
    """
    try:
        pynvml = importlib.import_module("pynvml")
    except ImportError:
        raise Absent("power and clocks need nvidia-ml-py: pip install 'archprof[torch]'") from None
    try:
        pynvml.nvmlInit()
        handles = {}
        for number in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
            handles[_text(pynvml.nvmlDeviceGetUUID(handle))] = handle
    except pynvml.NVMLError as error:
        raise Absent(f"NVML: {error}") from None
    found = match(index, uuid, list(handles), os.environ)
    card = Card(pynvml, handles[found], found)
    if _mig_enabled(card):
        raise Absent(f"{found} is split into MIG instances: NVML tells power and clocks of the whole card only")
    return card


def match(index: int, uuid: str | None, known: Sequence[str], environment: Mapping[str, str]) -> str:
    """Which of NVML's UUIDs, in NVML's order (by PCI bus), torch's device number `index` is. Raises Absent."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    entries = None if visible is None else [entry.strip() for entry in visible.split(",")]
    entry = None
    if entries is not None:
        if index >= len(entries):
            raise Absent(f"CUDA_VISIBLE_DEVICES={visible} names no device {index}")
        entry = entries[index]
    if entry is not None and entry.startswith("MIG-"):
        raise Absent(f"{entry} is a MIG instance: NVML tells power and clocks of the whole card only")
    if uuid is not None:
        full = uuid if uuid.startswith("GPU-") else f"GPU-{uuid}"
        if full not in known:
            raise Absent(f"NVML does not list {full}, which torch uses")
        return full
    if entry is not None and entry.startswith("GPU-"):
        fitting = [each for each in known if each.startswith(entry)]
        if len(fitting) != 1:
            raise Absent(f"CUDA_VISIBLE_DEVICES: {entry} fits {len(fitting)} of the cards that NVML lists")
        return fitting[0]
    # by number: CUDA puts the fastest card first unless it is told to go by the bus, as NVML does
    number = index if entry is None else int(entry) if entry.isdigit() else -1
    if not 0 <= number < len(known):
        raise Absent(f"NVML lists {len(known)} cards and none of them is torch's device {index}")
    if len(known) > 1 and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        raise Absent(
            "several cards, and this torch does not tell a card's UUID: "
            "set CUDA_DEVICE_ORDER=PCI_BUS_ID to say which is which"
        )
    return known[number]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value  # pynvml before 11.5 gives bytes


def _mig_enabled(card: Card) -> bool:
    try:
        return bool(card.nvml.nvmlDeviceGetMigMode(card.handle)[0] == card.nvml.NVML_DEVICE_MIG_ENABLE)
    except card.nvml.NVMLError:  # a card that knows no MIG
        return False


class Probe:
    """Asks a card one thing at a time; what it cannot tell is remembered with the reason, and not asked again."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.missing: dict[str, str] = {}  # quantity -> why

    def ask(self, what: str, *calls: Callable[[], Any]) -> Any:
        """The answer of the first call that this driver and this pynvml have; None where none answers."""
        if what in self.missing:
            return None
        nvml = self.card.nvml
        # of functions with versions pynvml says so by an error of its own, which is no NVMLError
        lacking = (nvml.NVMLError_FunctionNotFound, getattr(nvml, "NVMLLibraryMismatchError", AttributeError))
        error: Exception | None = None
        for call in calls:
            try:
                return call()
            except (*lacking, AttributeError) as missing:
                error = missing
            except nvml.NVMLError as refusal:
                error = refusal
                break
        self.missing[what] = f"{what}: {'this pynvml lacks it' if isinstance(error, AttributeError) else error}"
        return None

    def power(self) -> float | None:
        """Watts."""
        nvml, handle = self.card.nvml, self.card.handle
        milliwatts = self.ask("power", lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        return None if milliwatts is None else milliwatts / 1e3

    def energy(self) -> float | None:
        """Joules since the driver was loaded."""
        nvml, handle = self.card.nvml, self.card.handle
        millijoules = self.ask("energy", lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        return None if millijoules is None else millijoules / 1e3

    def temperature(self) -> float | None:
        """Degrees Celsius."""
        nvml, handle = self.card.nvml, self.card.handle
        degrees = self.ask(
            "temperature",
            lambda: nvml.nvmlDeviceGetTemperatureV(handle, nvml.NVML_TEMPERATURE_GPU),
            lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
        )
        return None if degrees is None else float(degrees)

    def clock(self) -> float | None:
        """MHz of the multiprocessors."""
        nvml, handle = self.card.nvml, self.card.handle
        megahertz = self.ask("clock", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
        return None if megahertz is None else float(megahertz)

    def reasons(self) -> int | None:
        """The bits of what holds the clocks back."""
        nvml, handle = self.card.nvml, self.card.handle
        found: int | None = self.ask(
            "throttle reasons",
            lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
            lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
        )
        return found

    def processes(self) -> int | None:
        """How many processes compute on the card, this one among them."""
        nvml, handle = self.card.nvml, self.card.handle
        found = self.ask(
            "other processes",
            lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle),
            lambda: nvml.nvmlDeviceGetComputeRunningProcesses_v2(handle),
        )
        return None if found is None else len(found)

    def power_limit(self) -> float | None:
        """Watts that the card keeps to."""
        nvml, handle = self.card.nvml, self.card.handle
        milliwatts = self.ask("power limit", lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
        return None if milliwatts is None else milliwatts / 1e3

    def throttled(self, bits: int) -> tuple[str, ...]:
        """Bits of reasons in words."""
        nvml = self.card.nvml
        return tuple(words for name, words in THROTTLE_REASONS.items() if bits & _reason_bit(nvml, name))

    def description(self) -> dict[str, Any]:
        """What a record says of the card: driver, limits, clocks now, what holds them back."""
        nvml, handle = self.card.nvml, self.card.handle
        bits = self.reasons()
        found = {
            "driver": self.ask("driver", lambda: _text(nvml.nvmlSystemGetDriverVersion())),
            "power_limit_watts": self.power_limit(),
            "clock_sm_mhz": self.clock(),
            "clock_memory_mhz": self.ask(
                "memory clock", lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)
            ),
            "clock_sm_highest_mhz": self.ask(
                "highest clock", lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)
            ),
            "temperature_celsius": self.temperature(),
            "persistence_mode": self.ask("persistence mode", lambda: bool(nvml.nvmlDeviceGetPersistenceMode(handle))),
            "throttle_reasons": None if bits is None else list(self.throttled(bits)),
            "application_clocks_set": None
            if bits is None
            else bool(bits & _reason_bit(nvml, "ApplicationsClocksSetting")),
            "compute_processes": self.processes(),
        }
        return {name: value for name, value in found.items() if value is not None}


def _reason_bit(nvml: ModuleType, name: str) -> int:
    """Newer pynvml calls the reasons events, older ones throttle reasons."""
    for spelling in ("Event", "Throttle"):
        bit = getattr(nvml, f"nvmlClocks{spelling}Reason{name}", None)
        if bit is not None:
            return int(bit)
    return 0


class Sample(NamedTuple):
    """One look at a card; None: not told. Times are of the monotonic clock."""

    moment: float
    power: float | None
    energy: float | None
    temperature: float | None
    clock: float | None
    reasons: int | None
    processes: int | None


class Sensor:
    """Samples a card in a thread of its own while the block that it guards runs."""

    def __init__(
        self,
        card: Card,
        idle_power: float | None = None,
        period: float = PERIOD,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.probe = Probe(card)
        self.idle_power = idle_power
        self.period = period
        self.now = now
        self.samples: list[Sample] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="archprof-nvml", daemon=True)

    def __enter__(self) -> Sensor:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.look()

    def _run(self) -> None:
        while not self._stop.wait(self.period):
            self.look()

    def look(self) -> None:
        """Take a sample."""
        probe = self.probe
        self.samples.append(
            Sample(
                moment=self.now(),
                power=probe.power(),
                energy=probe.energy(),
                temperature=probe.temperature(),
                clock=probe.clock(),
                reasons=probe.reasons(),
                processes=probe.processes(),
            )
        )

    @property
    def wants_more(self) -> bool:
        """Whether a longer window would tell the energy: the counter moves, and has not moved often enough yet."""
        updates, seconds = self._updates()
        if self.samples[-1].energy is None or updates >= ENOUGH_UPDATES:
            return False
        return updates > 0 or seconds < PATIENCE

    def reading(self, images: int) -> Device:
        """What was seen, after the block; `images` went through the network while it ran."""
        return summarise(self.samples, images, self.idle_power, self.probe)

    def _updates(self) -> tuple[int, float]:
        return updates([each.energy for each in self.samples]), self.samples[-1].moment - self.samples[0].moment


def updates(counter: Sequence[float | None]) -> int:
    """How often a counter was seen to move."""
    known = [value for value in counter if value is not None]
    return sum(after != before for before, after in itertools.pairwise(known))


def summarise(samples: Sequence[Sample], images: int, idle_power: float | None, probe: Probe) -> Device:
    """The record of a window: mean power, energy an image by the counter, highest temperature, median clock."""
    notes = []
    start = samples[0].moment
    # the first second's power is, on recent cards, an average that reaches back before the window
    powers = [each.power for each in samples if each.power is not None and each.moment - start >= AVERAGED]
    if not powers and "power" not in probe.missing:
        notes.append(f"power: the window is shorter than the {AVERAGED:g} s over which cards average it")
    counter = [each.energy for each in samples if each.energy is not None]
    moves = updates(counter)
    energy = None
    if "energy" not in probe.missing:
        if moves == 0:
            notes.append("energy: the counter did not move")
        elif moves < ENOUGH_UPDATES:
            times = "1 time" if moves == 1 else f"{moves} times"
            notes.append(f"energy: the counter moved {times}, and {ENOUGH_UPDATES} are needed")
        elif images > 0:
            energy = (counter[-1] - counter[0]) / images
    processes = [each.processes for each in samples if each.processes is not None]
    most = max(processes, default=None)
    if most == 0:
        notes.append("other processes: NVML lists not even this one (in a container it may not see any)")
    bits = 0
    for each in samples:
        bits |= each.reasons or 0
    clocks = [each.clock for each in samples if each.clock is not None]
    return Device(
        power=statistics.fmean(powers) if powers else None,
        idle_power=idle_power,
        energy=energy,
        temperature=max((each.temperature for each in samples if each.temperature is not None), default=None),
        clock=statistics.median(clocks) if clocks else None,
        clock_before=samples[0].clock,
        clock_after=samples[-1].clock,
        throttled=probe.throttled(bits),
        # this process is one of them, though perhaps under another number: a container has its own
        other_processes=most - 1 if most else None,
        notes=(*probe.missing.values(), *notes),
    )


def idle_power(card: Card, seconds: float = 2 * AVERAGED, period: float = 0.1) -> float | None:
    """Watts while nothing runs: the mean of the latter half of a wait. None: not told."""
    probe = Probe(card)
    powers = []
    for step in range(max(int(seconds / period), 2)):
        if step:
            time.sleep(period)
        power = probe.power()
        if power is None:
            return None
        powers.append(power)
    return statistics.fmean(powers[len(powers) // 2 :])
