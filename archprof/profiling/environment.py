"""What a record says of where it was measured: everything that makes two runs incomparable, where it can be told."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import Any, NamedTuple

import torch

from archprof.profiling import machine, nvml
from archprof.profiling.device import tf32_settings, uuid_of

# settings that libraries take from the environment and that change how fast a network runs
VARIABLES = (
    "ATEN_CPU_CAPABILITY", "CUBLAS_WORKSPACE_CONFIG", "CUDA_DEVICE_MAX_CONNECTIONS", "CUDA_DEVICE_ORDER",
    "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING", "CUDA_VISIBLE_DEVICES", "DNNL_MAX_CPU_ISA", "GOMP_CPU_AFFINITY",
    "KMP_AFFINITY", "KMP_BLOCKTIME", "LD_PRELOAD", "MALLOC_ARENA_MAX", "MALLOC_CONF", "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS", "MKL_NUM_THREADS", "NVIDIA_TF32_OVERRIDE", "OMP_DYNAMIC", "OMP_NUM_THREADS",
    "OMP_PLACES", "OMP_PROC_BIND", "OMP_SCHEDULE", "OMP_WAIT_POLICY", "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF", "TORCHDYNAMO_DISABLE", "TORCHINDUCTOR_MAX_AUTOTUNE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_CUDNN_V8_API_DISABLED", "TORCH_CUDNN_V8_API_LRU_CACHE_LIMIT",
)  # fmt: skip


class Description(NamedTuple):
    """What a Run records: the stable key, the hardware in words, and everything that was seen."""

    machine: str
    hardware: str
    environment: dict[str, Any]


def describe(device: str | torch.device) -> Description:
    """The machine as it is now, for measurements on a device that can be used (cpu, cuda, cuda:1).

    What cannot be told is left out, and of a card that NVML does not tell of, `nvml` says why.
    """
    where = torch.device(device)
    environment: dict[str, Any] = {
        "device": str(where),
        "os": platform.platform(),
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "torch": str(torch.__version__),  # TorchVersion is no JSON
        "cpu": machine.cpu_model(),
        "cpu_cores": machine.usable_cores(),
        "cpu_count": os.cpu_count(),
        "cpu_instructions": torch.backends.cpu.get_cpu_capability(),
        "cpu_governor": machine.governor(),
        "cpu_mhz": machine.clock_mhz(),
        "load_average": machine.load_average(),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "mkldnn": torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "commit": commit(),
    }
    if where.type == "cuda":
        environment |= _cuda(where)
        hardware = environment["device_name"]
    else:
        hardware = machine.cpu_hardware()
    key = machine.key(hardware, torch.__version__, None if where.type == "cuda" else torch.get_num_threads())
    return Description(key, hardware, {name: value for name, value in environment.items() if value is not None})


def commit() -> str | None:
    """The commit of the working directory, with "+" behind it where tracked files differ; None outside of git."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        if found.returncode:
            return None
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD"], capture_output=True, timeout=30).returncode == 1
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() + ("+" if changed else "")


def _cuda(where: torch.device) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(where)
    index = torch.cuda.current_device() if where.index is None else where.index
    uuid = uuid_of(properties)
    cudnn = torch.backends.cudnn
    found: dict[str, Any] = {
        "device": f"cuda:{index}",
        "device_name": properties.name,
        "device_uuid": uuid,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "device_memory": properties.total_memory,
        "devices_visible": torch.cuda.device_count(),
        "cuda": torch.version.cuda,
        "cudnn": cudnn.version(),  # type: ignore[no-untyped-call]
        **tf32_settings(where),
        "cudnn_benchmark": cudnn.benchmark,
        "cudnn_deterministic": cudnn.deterministic,
    }
    try:
        card = nvml.open_card(index, uuid)
    except nvml.Absent as error:
        return found | {"nvml": str(error)}
    return found | {"device_uuid": card.uuid} | nvml.Probe(card).description()
