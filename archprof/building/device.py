"""Devices, dtypes, and whether something fits before it is allocated."""

from __future__ import annotations

from pathlib import Path

import torch

from archprof.analysis.analysis import DTYPES, elements
from archprof.analysis.memory import memory
from archprof.errors import UsageError
from archprof.graph import Graph
from archprof.operators import hint

_CONTROL_GROUP = Path("/sys/fs/cgroup")  # version 2


def usable_device(device: str | torch.device) -> torch.device:
    """A device that tensors can be made on. Raises UsageError."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise UsageError(f"unknown device {device}: write cpu, cuda, cuda:0, mps, xpu or meta") from None
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, ImportError) as error:
        raise UsageError(f"device {device} cannot be used here: {reason(error)}") from None
    return found


def float_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """A floating-point type, itself or by torch's name for it. Raises UsageError."""
    name = dtype_name(dtype) if isinstance(dtype, torch.dtype) else dtype
    if name not in DTYPES:
        raise UsageError(f"unknown dtype {name}: {hint(name, DTYPES)}")
    found: torch.dtype = getattr(torch, name)
    return found


def dtype_name(dtype: torch.dtype) -> str:
    """torch's name for a dtype: float32."""
    return str(dtype).removeprefix("torch.")


def reason(error: BaseException) -> str:
    """The first line of what torch says."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip().rstrip(".") if lines else type(error).__name__


def available_memory(device: torch.device) -> int | None:
    """Bytes that can be had on a device now; None where nobody says."""
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    found = [bytes_left for bytes_left in (_of_the_machine(), _of_the_control_group()) if bytes_left is not None]
    return min(found, default=None)


def _of_the_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None)


def _of_the_control_group() -> int | None:
    """What a container may still take."""
    try:
        limit = (_CONTROL_GROUP / "memory.max").read_text(encoding="ascii").strip()
        used = int((_CONTROL_GROUP / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(int(limit) - used, 0)


def require_memory(needed: int, device: torch.device, what: str) -> None:
    """Refuse what does not fit before it is allocated. Raises UsageError with the estimate."""
    left = available_memory(device)
    if left is not None and needed > left:
        raise UsageError(f"{what} need {mebibytes(needed)}, and {device} has {mebibytes(left)} left")


def require_parameters(graph: Graph, device: torch.device, dtype: torch.dtype, train: bool) -> None:
    """Refuse a network whose parameters and buffers do not fit. Raises UsageError with the estimate."""
    count = 0
    for node in graph.nodes:
        if node.shares is None and (train or not node.training_only):
            inputs = node.input_shapes
            count += elements(node.operator.parameters(inputs)) + elements(node.operator.buffers(inputs))
    drawn, name = dtype_name(torch.get_default_dtype()), dtype_name(dtype)  # drawn on the CPU, whatever the device
    require_memory(count * DTYPES[drawn], torch.device("cpu"), f"the parameters of {graph.name}")
    require_memory(count * DTYPES[name], device, f"the parameters of {graph.name} in {name}")


def require_forward(graph: Graph, device: torch.device, dtype: torch.dtype, batch: int, train: bool) -> None:
    """Refuse a network that cannot run one batch. Raises UsageError with the estimate."""
    if device.type == "meta":
        return
    name = dtype_name(dtype)
    peak = memory(graph, batch=batch, dtype=name, train=train).inference_peak
    require_memory(peak, device, f"weights and activations of {graph.name} for batch {batch} in {name}")


def mebibytes(count: int) -> str:
    """Bytes as a message gives them."""
    return f"{count / 2**20:,.1f} MiB"
