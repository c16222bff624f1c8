"""The seam to devices: the CPU as it is, CUDA by fakes. No card was at hand."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pynvml
import pytest
import torch

from archprof.errors import UsageError
from archprof.profiling import device as module
from archprof.profiling import machine, nvml
from archprof.profiling.device import (
    CudaDevice,
    NoSensor,
    Unsupported,
    default_device,
    hardware_of,
    open_device,
    run_for_sensor,
)
from archprof.profiling.machine import Usage
from archprof.profiling.records import Device as DeviceRecord
from tests.profiling.fakes import FakeCard, FakeCuda, FakeNvml


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of which nothing is to be said."""
    monkeypatch.setattr(machine, "usage", lambda: None)
    monkeypatch.setattr(machine, "load_average", lambda: 0.0)
    monkeypatch.setattr(machine, "governor", lambda: "performance (acpi-cpufreq)")
    monkeypatch.setattr(machine, "usable_cores", lambda: 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "gpu"}, "device gpu: archprof measures on cpu and cuda"),
        ({"name": "cuda:x"}, "unknown device cuda:x: write cpu, cuda, cuda:0, mps, xpu or meta"),
        ({"name": "meta"}, "device meta: archprof measures on cpu and cuda"),
        ({"threads": 0}, "threads must be at least 1, not 0"),
        ({"tf32": True}, "TF32 is a setting of CUDA devices, and the device is cpu"),
        ({"tf32": False}, "TF32 is a setting of CUDA devices, and the device is cpu"),
        ({"cudnn_benchmark": True}, "cudnn.benchmark is a setting of CUDA devices, and the device is cpu"),
        ({"flush_l2": True}, "an L2 flush is a setting of CUDA devices, and the device is cpu"),
    ],
)
def test_what_cannot_be_opened_is_a_users_mistake(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_device(**arguments)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_a_device_is_named_without_opening_it(monkeypatch: pytest.MonkeyPatch, cuda: FakeCuda) -> None:
    monkeypatch.setattr(machine, "cpu_hardware", lambda: "AMD EPYC, 2 cores")
    assert hardware_of("cpu") == "AMD EPYC, 2 cores"
    assert hardware_of("cuda:0") == "NVIDIA GeForce RTX 3090"
    with pytest.raises(UsageError) as caught:
        hardware_of("meta")
    assert str(caught.value) == "device meta: archprof measures on cpu and cuda"


@pytest.mark.parametrize(("available", "expected"), [(True, "cuda"), (False, "cpu")])
def test_cuda_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch, available: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert default_device() == expected


# --- the CPU


def test_the_cpu_has_its_threads_within_the_block_only() -> None:
    before = torch.get_num_threads()
    with open_device("cpu", threads=before + 1) as device:
        assert device.threads == torch.get_num_threads() == before + 1
        assert device.settings == {"threads": before + 1}
    assert torch.get_num_threads() == before


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is Linux's to tell")
def test_the_cpus_peak_is_what_was_resident_since_the_reset() -> None:
    size = 64 * 2**20
    code = (  # in a process of its own: what other tests freed may be given back meanwhile
        "import torch\n"
        "from archprof.profiling.device import open_device\n"
        f"size = {size}\n"
        "with open_device('cpu') as device:\n"
        "    large = torch.ones(4 * size, dtype=torch.uint8)\n"
        "    del large  # of such a size, and so given back\n"
        "    device.reset_peak_memory()\n"
        "    small = torch.ones(size, dtype=torch.uint8)\n"
        "    del small\n"
        "    print(device.peak_memory())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.8 * size < int(done.stdout) < 2 * size


def test_a_peak_that_cannot_be_reset_is_not_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "status").write_text("VmHWM:\t 3000 kB\nVmRSS:\t 1000 kB\n")
    monkeypatch.setattr(module, "_PROCESS", tmp_path)
    with open_device("cpu") as device:
        assert device.peak_memory() == 2000 * 1024
        (tmp_path / "clear_refs").mkdir()
        device.reset_peak_memory()
        assert device.peak_memory() is None


def test_a_system_without_proc_tells_no_peak(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_PROCESS", tmp_path / "nowhere")
    with open_device("cpu") as device:
        assert device.peak_memory() is None


def test_the_cpu_has_no_graphs_and_its_sensor_tells_the_clock_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = iter((2400.0, 3100.0))
    monkeypatch.setattr(machine, "clock_mhz", lambda: next(clocks))
    with open_device("cpu") as device:
        with pytest.raises(Unsupported) as caught:
            device.capture(lambda: None)
        with device.sensor() as sensor:
            assert run_for_sensor(sensor, device, pytest.fail, limit=60) == 0
        assert sensor.reading(7) == DeviceRecord(
            clock_before=2400.0,
            clock_after=3100.0,
            notes=("power and energy are read of NVIDIA cards only",),
        )
    assert str(caught.value) == "a CUDA graph needs a CUDA device, and the device is cpu"


# --- warnings of the machine


def usages(monkeypatch: pytest.MonkeyPatch, *values: Usage | None) -> None:
    left: Iterator[Usage | None] = iter(values)
    monkeypatch.setattr(machine, "usage", lambda: next(left))


QUIET = Usage(moment=10.0, total=40.0, busy=20.0, steal=0.0, own=20.0, throttled=0)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(Usage(20.0, 60.0, 30.0, 0.0, 30.0, 0), (), id="only this process"),
        pytest.param(Usage(20.0, 60.0, 30.9, 0.0, 30.0, 0), (), id="a little of others"),
        pytest.param(
            Usage(20.0, 60.0, 35.0, 0.0, 30.0, 0),
            ("other processes used 25% of the processors' time",),
            id="others",
        ),
        pytest.param(
            Usage(20.0, 60.0, 30.0, 0.4, 30.0, 0),
            ("the hypervisor took 2.0% of the processors' time for others (steal)",),
            id="steal",
        ),
        pytest.param(
            Usage(20.0, 60.0, 30.0, 0.0, 30.0, 3),
            ("the control group's CPU limit stopped this process in 3 periods",),
            id="a control group's limit",
        ),
        pytest.param(Usage(10.5, 41.0, 21.0, 0.5, 20.0, 3), (), id="too short to tell"),
        pytest.param(None, (), id="no /proc/stat"),
    ],
)
def test_others_on_the_machine_are_said(
    monkeypatch: pytest.MonkeyPatch, after: Usage | None, expected: tuple[str, ...]
) -> None:
    usages(monkeypatch, QUIET, after)
    with open_device("cpu") as device:
        assert device.warnings() == expected


def test_a_warning_is_of_the_time_since_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    usages(monkeypatch, QUIET, Usage(20.0, 60.0, 38.0, 0.0, 30.0, 0), Usage(30.0, 80.0, 48.0, 0.0, 40.0, 0))
    with open_device("cpu") as device:
        assert device.warnings() == ("other processes used 40% of the processors' time",)
        assert device.warnings() == ()


def test_a_slow_governor_too_many_threads_and_a_load_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "governor", lambda: "powersave (intel_pstate)")
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)
    monkeypatch.setattr(machine, "load_average", lambda: 3.21)
    with open_device("cpu", threads=2) as device:
        assert device.warnings() == (
            "2 threads on 1 usable core",
            "the CPU's governor is powersave (intel_pstate): its clock follows the load",
            "the load average is 3.2 on 1 usable core",
        )


# --- CUDA


def test_settings_of_cuda_are_stated_and_put_back(cuda: FakeCuda) -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark)
    with open_device("cuda") as device:
        assert (device.where, device.hardware) == (torch.device("cuda:0"), "NVIDIA GeForce RTX 3090")
        assert device.settings == {
            "threads": torch.get_num_threads(),
            "tf32_matmul": before[0],
            "tf32_convolutions": before[1],
            "cudnn_benchmark": before[2],
            "flush_l2": False,
        }
    for wanted in (True, False):
        with open_device("cuda:0", tf32=wanted, cudnn_benchmark=wanted) as device:
            assert (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark) == (wanted, wanted, wanted)
            assert device.settings["tf32_matmul"] is device.settings["tf32_convolutions"] is wanted
            assert device.settings["cudnn_benchmark"] is wanted
        assert (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark) == before


def test_a_setting_that_nobody_asked_for_is_not_written_back(cuda: FakeCuda) -> None:
    """Writing TF32's own value turns torch's "medium" precision into "high"."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark)
    with open_device("cuda"):
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = (not value for value in before)
    after = (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark)
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before
    assert after == tuple(not value for value in before)


def test_a_program_that_set_torchs_newer_precision_is_told(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mixed:
        @property
        def allow_tf32(self) -> bool:
            raise RuntimeError("PyTorch is checking whether allow_tf32 is used with the new API.\nMore")

    monkeypatch.setattr(torch.backends.cuda, "matmul", Mixed())
    with pytest.raises(UsageError) as caught:
        open_device("cuda")
    assert str(caught.value) == "TF32: PyTorch is checking whether allow_tf32 is used with the new API"


def test_the_l2_cache_is_written_over_before_a_sample_where_that_is_asked_for(cuda: FakeCuda) -> None:
    with open_device("cuda", flush_l2=True) as device:
        assert isinstance(device, CudaDevice)
        assert device.settings["flush_l2"]
        assert device._flush is not None
        assert device._flush.nbytes == 12 * 2**20  # twice the cache
        device._flush.fill_(7)
        device.before_sample()
        assert not device._flush.any()
    with open_device("cuda") as plain:
        plain.before_sample()


def test_the_peak_is_the_allocators_without_the_flush_buffer(cuda: FakeCuda) -> None:
    with open_device("cuda", flush_l2=True) as device:
        cuda.peak = 1
        device.reset_peak_memory()
        assert cuda.peak == 0
        cuda.peak = 100 * 2**20
        assert device.peak_memory() == 88 * 2**20
    with open_device("cuda") as plain:
        assert plain.peak_memory() == 100 * 2**20


def test_a_step_is_warmed_up_aside_and_captured_once(cuda: FakeCuda) -> None:
    streams = []

    def step() -> None:
        streams.append(cuda.stream_now)
        cuda.peak += 100

    with open_device("cuda:1") as device:
        usual = cuda.stream_now
        replay = device.capture(step)
        replay()
        assert device.peak_memory() == 100  # of the capture; the warm-up tries algorithms, and a replay takes nothing
    aside = streams[0]
    assert [stream is aside for stream in streams] == [True] * 4
    assert cuda.captures == [(1, aside)]  # of the card that is measured, whatever the current one is
    assert cuda.replays == 1
    assert aside.waited_for == [usual]
    assert usual.waited_for == [aside]


def test_a_captured_step_is_kept_for_its_tensors(cuda: FakeCuda) -> None:
    class Step:
        def __call__(self) -> None:
            """Do nothing."""

    with open_device("cuda") as device:
        step = Step()
        seen = weakref.ref(step)
        replay = device.capture(step)
        del step
        gc.collect()
        assert seen() is not None
        del replay
        gc.collect()
        assert seen() is None


def test_a_step_that_cannot_be_captured_is_unsupported(cuda: FakeCuda) -> None:
    cuda.capture_error = "CUDA error: operation not permitted when stream is capturing\nCUDA kernel errors might be\n"
    with open_device("cuda") as device, pytest.raises(Unsupported) as caught:
        device.capture(lambda: None)
    assert (
        str(caught.value) == "this network cannot be captured in a CUDA graph: "
        "CUDA error: operation not permitted when stream is capturing"
    )


def test_a_step_runs_until_the_sensor_has_enough(cuda: FakeCuda, card: FakeCard) -> None:
    with open_device("cuda") as device, device.sensor() as sensor:
        assert isinstance(sensor, nvml.Sensor)

        def step() -> None:
            card.millijoules += 3_000
            sensor.look()

        waits = cuda.waits
        assert run_for_sensor(sensor, device, step, limit=60) >= nvml.ENOUGH_UPDATES
        assert cuda.waits > waits  # each step is waited for
    found = sensor.reading(300)
    assert found.energy is not None
    assert found.idle_power == 21.0


def test_idle_power_is_waited_for_when_a_sensor_is_made_and_once(
    monkeypatch: pytest.MonkeyPatch, cuda: FakeCuda
) -> None:
    waits: list[int] = []

    def idle_power(card: nvml.Card) -> float | None:
        waits.append(cuda.waits)
        return 21.0

    monkeypatch.setattr(nvml, "idle_power", idle_power)
    with open_device("cuda") as device:
        assert waits == []
        with device.sensor() as first:
            pass
        with device.sensor() as second:
            pass
    with open_device("cuda") as again, again.sensor() as third:
        pass
    assert waits == [1]  # after what ran on the card
    assert [sensor.reading(1).idle_power for sensor in (first, second, third)] == [21.0] * 3


def test_the_limit_ends_a_step_that_never_has_enough(cuda: FakeCuda) -> None:
    with open_device("cuda") as device, device.sensor() as sensor:
        assert run_for_sensor(sensor, device, lambda: None, limit=0.0) == 0


def test_throttling_and_other_processes_are_warned_of_once(cuda: FakeCuda, card: FakeCard) -> None:
    with open_device("cuda") as device:
        assert device.warnings() == ()
        with device.sensor() as sensor:
            assert isinstance(sensor, nvml.Sensor)
            card.reasons = pynvml.nvmlClocksEventReasonSwPowerCap
            card.pids = (100, 200)
            sensor.look()
        assert device.warnings() == (
            "the card was throttled: power cap",
            "1 other process computed on the card",
        )
        assert device.warnings() == ()


@pytest.mark.parametrize(
    ("fake", "why"),
    [
        (FakeNvml(init=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND), "NVML: NVML Shared Library Not Found"),
        (FakeNvml(FakeCard("GPU-zzzz-9")), "NVML does not list GPU-aaaa-1, which torch uses"),
        (None, "power and clocks need nvidia-ml-py: pip install 'archprof[torch]'"),
    ],
)
def test_without_nvml_a_card_is_measured_and_the_reason_said(
    monkeypatch: pytest.MonkeyPatch, cuda: FakeCuda, fake: FakeNvml | None, why: str
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    with open_device("cuda") as device, device.sensor() as sensor:
        assert isinstance(sensor, NoSensor)
    assert sensor.reading(1) == DeviceRecord(notes=(why,))
    assert device.warnings() == ()


def test_an_older_torch_gives_no_uuid_and_one_card_is_found_nonetheless(cuda: FakeCuda, card: FakeCard) -> None:
    del cuda.properties.uuid
    with open_device("cuda") as device, device.sensor() as sensor:
        pass
    assert sensor.reading(1).clock == 1500.0
    assert device.hardware == "NVIDIA GeForce RTX 3090"
