"""What is recorded of the machine: Linux by files of a test's, CUDA by fakes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pynvml
import pytest
import torch

from archprof.profiling import environment, machine
from archprof.profiling.environment import VARIABLES, commit, describe
from tests.profiling.fakes import FakeCard, FakeCuda, FakeNvml

CPUINFO = """processor\t: 0
model name\t: AMD EPYC 9R14   96-Core Processor
cpu MHz\t\t: 2600.000

processor\t: 1
model name\t: AMD EPYC 9R14   96-Core Processor
cpu MHz\t\t: 3700.000
"""


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty file system."""
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    return tmp_path


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_the_cpu_and_its_clock_are_read(root: Path) -> None:
    put(root, "proc/cpuinfo", CPUINFO)
    assert machine.cpu_model() == "AMD EPYC 9R14 96-Core Processor"
    assert machine.clock_mhz() == 3150.0


def test_where_linux_does_not_tell_nothing_is_told(root: Path) -> None:
    assert machine.clock_mhz() is None
    assert machine.governor() is None
    assert machine.last_level_cache() is None
    assert machine.usage() is None
    assert machine.cpu_model()


def test_the_governor_has_its_driver_where_there_is_one(root: Path) -> None:
    put(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
    assert machine.governor() == "powersave"
    put(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "intel_pstate\n")
    assert machine.governor() == "powersave (intel_pstate)"


def test_the_last_level_cache_is_the_largest(root: Path) -> None:
    for index, size in enumerate(("32K", "32K", "1024K", "32M")):
        put(root, f"sys/devices/system/cpu/cpu0/cache/index{index}/size", f"{size}\n")
    assert machine.last_level_cache() == 32 * 2**20


@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", 8), ("150000 100000", 2), ("1000 100000", 1), ("1600000 100000", 8), ("", 8)]
)
def test_a_control_group_limits_the_cores(
    monkeypatch: pytest.MonkeyPatch, root: Path, quota: str, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    put(root, "sys/fs/cgroup/cpu.max", f"{quota}\n")
    assert machine.usable_cores() == expected


def test_usage_is_in_seconds_and_counts_guests_once(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    put(root, "proc/stat", "cpu  1000 100 500 3000 200 10 20 70 900 90\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    put(root, "sys/fs/cgroup/cpu.stat", "usage_usec 5\nnr_periods 9\nnr_throttled 4\n")
    found = machine.usage()
    assert found is not None
    assert (found.total, found.busy, found.steal, found.throttled) == (49.0, 16.3, 0.7, 4)


@pytest.mark.parametrize(
    ("hardware", "version", "threads", "places", "expected"),
    [
        ("AMD EPYC, 2 cores", "2.13.0+cpu", 2, 2, "amd-epyc-2-cores_torch-2.13_2-threads"),
        ("AMD EPYC, 2 cores", "2.13.0+cpu", 1, 3, "amd-epyc-2-cores_torch-2.13.0+cpu_1-thread"),
        ("NVIDIA GeForce RTX 3090", "2.9.1", None, 2, "nvidia-geforce-rtx-3090_torch-2.9"),
        ("Intel(R) i9-10940X @ 3.30GHz", "2.4", 14, 2, "intel-r-i9-10940x-3.30ghz_torch-2.4_14-threads"),
    ],
)  # fmt: skip
def test_a_key_has_the_device_the_version_and_the_threads(
    hardware: str, version: str, threads: int | None, places: int, expected: str
) -> None:
    assert machine.key(hardware, version, threads, places) == expected


def test_the_cpu_is_described(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    put(root, "proc/cpuinfo", CPUINFO)
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("OMP_SECRET", "no setting of speed")
    found = describe("cpu")
    threads = torch.get_num_threads()
    version = ".".join(torch.__version__.split(".")[:2])
    suffix = "1-thread" if threads == 1 else f"{threads}-threads"
    assert found.machine == f"amd-epyc-9r14-96-core-processor-2-cores_torch-{version}_{suffix}"
    assert found.hardware == "AMD EPYC 9R14 96-Core Processor, 2 cores"
    seen = found.environment
    assert seen["variables"] == {"OMP_NUM_THREADS": "2"}
    assert (seen["device"], seen["threads"], seen["cpu_mhz"], seen["torch"]) == (
        "cpu",
        threads,
        3150.0,
        torch.__version__,
    )
    assert seen["cpu_instructions"] == torch.backends.cpu.get_cpu_capability()
    assert "cpu_governor" not in seen  # nobody told


def test_a_card_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda(monkeypatch)
    card = FakeCard("GPU-aaaa-1")
    card.failing = {"nvmlDeviceGetEnforcedPowerLimit": pynvml.NVML_ERROR_NOT_SUPPORTED}
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(card))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = describe("cuda")
    version = ".".join(torch.__version__.split(".")[:2])
    assert found.machine == f"nvidia-geforce-rtx-3090_torch-{version}"
    assert found.hardware == cuda.properties.name
    seen = found.environment
    expected = {
        "device": "cuda:0",
        "device_name": "NVIDIA GeForce RTX 3090",
        "device_uuid": "GPU-aaaa-1",
        "compute_capability": "8.6",
        "device_memory": 24 * 2**30,
        "driver": "550.54.15",
        "clock_sm_mhz": 1500.0,
        "throttle_reasons": [],
        "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }
    assert {name: seen[name] for name in expected} == expected
    assert "power_limit_watts" not in seen
    assert "nvml" not in seen


def test_a_card_without_nvml_is_described_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeCuda(monkeypatch)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(init=pynvml.NVML_ERROR_DRIVER_NOT_LOADED))
    seen = describe("cuda:0").environment
    assert seen["nvml"] == "NVML: Driver Not Loaded"
    assert seen["device_uuid"] == "aaaa-1"  # torch's
    assert "driver" not in seen


def test_the_commit_is_that_of_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert commit() is None
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    (tmp_path / "file").write_text("one")
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run(["git", "add", "file"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "one"], check=True)
    found = commit()
    assert found is not None
    assert len(found) == 40
    (tmp_path / "other").write_text("untracked")
    assert commit() == found
    (tmp_path / "file").write_text("two")
    assert commit() == f"{found}+"


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(environment.subprocess, "run", missing)
    assert commit() is None
