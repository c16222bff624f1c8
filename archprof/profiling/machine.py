"""What Linux tells of the machine: its processor, its clock, and who else uses it. Other systems tell less."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

ROOT = Path("/")

# of a window, above which a figure is worth a warning
MUCH_STEAL = 0.01  # of the processors' time, taken by the hypervisor for others
MUCH_OTHER = 0.05  # of the processors' time, used by other processes
SHORTEST = 1.0  # seconds: the kernel counts in ticks of 1/100 s


def _read(path: str) -> str | None:
    try:
        return (ROOT / path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def cpu_model() -> str:
    """The processor's name, as "AMD EPYC 9R14 96-Core Processor"."""
    for line in (_read("proc/cpuinfo") or "").splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() in ("model name", "Hardware", "cpu model") and value.strip():
            return " ".join(value.split())
    return platform.processor() or platform.machine() or "unknown CPU"


def usable_cores() -> int:
    """Processors that this process may run on: its affinity, and what its control group may use, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = (_read("sys/fs/cgroup/cpu.max") or "max").strip().partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        cores = min(cores, -(-int(quota) // int(period)))
    return max(cores, 1)


def cpu_hardware() -> str:
    """The processor and how many of its cores may be used: "AMD EPYC, 2 cores"."""
    cores = usable_cores()
    return f"{cpu_model()}, {cores} {'core' if cores == 1 else 'cores'}"


def governor() -> str | None:
    """How the kernel sets the processor's clock, as "powersave (intel_pstate)"; None where it does not tell."""
    found = _read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    driver = _read("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver")
    if found is None:
        return None
    return found.strip() if driver is None else f"{found.strip()} ({driver.strip()})"


def clock_mhz() -> float | None:
    """The mean clock of the processors now, in MHz; None where nobody tells."""
    values = []
    for line in (_read("proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "cpu MHz":
            values.append(float(value))
    return round(sum(values) / len(values), 1) if values else None


def last_level_cache() -> int | None:
    """Bytes of the largest cache of processor 0; None where nobody tells."""
    sizes = []
    for index in range(8):
        text = (_read(f"sys/devices/system/cpu/cpu0/cache/index{index}/size") or "").strip()
        if text.endswith("K") and text[:-1].isdigit():
            sizes.append(int(text[:-1]) * 1024)
        elif text.endswith("M") and text[:-1].isdigit():
            sizes.append(int(text[:-1]) * 1024**2)
    return max(sizes, default=None)


def load_average() -> float | None:
    """Of the last minute: how many processes ran or waited to run."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


class Usage(msgspec.Struct, frozen=True):
    """Seconds since the machine started, summed over its processors; `own` are this process's and its children's."""

    moment: float
    total: float
    busy: float
    steal: float
    own: float
    throttled: int  # periods in which the control group had used up its share


def usage() -> Usage | None:
    """The counters now; None where there is no /proc/stat."""
    first = (_read("proc/stat") or "").partition("\n")[0].split()
    if len(first) < 9 or first[0] != "cpu":
        return None
    # user, nice, system, idle, iowait, irq, softirq, steal; what follows is contained in these
    ticks = [int(text) for text in first[1:9]]
    second = os.sysconf("SC_CLK_TCK")
    own = os.times()
    throttled = [
        int(line.split()[1])
        for line in (_read("sys/fs/cgroup/cpu.stat") or "").splitlines()
        if line.startswith("nr_throttled ")
    ]
    return Usage(
        moment=time.monotonic(),
        total=sum(ticks) / second,
        busy=(sum(ticks) - ticks[3] - ticks[4] - ticks[7]) / second,
        steal=ticks[7] / second,
        own=own.user + own.system + own.children_user + own.children_system,
        throttled=throttled[0] if throttled else 0,
    )


def disturbances(before: Usage | None, after: Usage | None) -> Iterator[str]:
    """What disturbed this process between two readings, a line each."""
    if before is None or after is None or after.moment - before.moment < SHORTEST:
        return
    total = after.total - before.total
    if total <= 0:
        return
    steal = (after.steal - before.steal) / total
    if steal >= MUCH_STEAL:
        yield f"the hypervisor took {steal:.1%} of the processors' time for others (steal)"
    other = (after.busy - before.busy - after.own + before.own) / total
    if other >= MUCH_OTHER:
        yield f"other processes used {other:.0%} of the processors' time"
    throttled = after.throttled - before.throttled
    if throttled > 0:
        yield f"the control group's CPU limit stopped this process in {throttled} periods"


def key(hardware: str, torch_version: str, threads: int | None, places: int = 2) -> str:
    """A name for what may be compared: the device, torch's version in so many places, the threads of a CPU.

    `amd-epyc-2-cores_torch-2.13_2-threads`; more of the environment in a key would split a history at every update.
    """
    words = re.sub(r"[^a-z0-9.]+", "-", hardware.lower()).strip("-")
    parts = [words, "torch-" + ".".join(torch_version.split(".")[:places])]
    if threads is not None:
        parts.append("1-thread" if threads == 1 else f"{threads}-threads")
    return "_".join(parts)
