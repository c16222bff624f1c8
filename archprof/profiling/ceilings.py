"""Measures what a device attains: operations a second of large matrix products, bytes a second of copy and triad."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from archprof.building.device import available_memory, reason
from archprof.profiling import machine
from archprof.profiling.device import Device, has_tf32
from archprof.profiling.roofline import TF32, Attained, torch_version

DTYPES = ("float64", "float32", TF32, "bfloat16", "float16")
SIZES = (512, 1024, 2048, 4096, 8192, 16384)
BUDGET = 3.0  # seconds, of each figure
STRETCHES = 5
# seconds of a stretch, at least, so that what a stamp costs is nothing beside it; on a CPU no longer than the turn that
# a busy system gives, on a card long enough for its clock to settle
STRETCH = {"cpu": 0.004, "cuda": 0.05}
_LARGEST_ARRAY = 2**30  # bytes
_SMALLEST_ARRAY = 2**26


def attain(
    device: Device,
    *,
    budget: float = BUDGET,
    sizes: Sequence[int] = SIZES,
    array: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Attained:
    """Measure an open device; each figure takes `budget` seconds or little more.

    A product is that of two square matrices of normal numbers, into a third. Each of `sizes` that fits the budget is
    tried, then the best of them again: the best stretch counts. Bytes are those read and written: copy moves two
    arrays, triad (a = b + 3c, as McCalpin's STREAM has it) three, of `array` bytes each: by default four times the
    last-level cache, 64 MiB at least and 1 GiB at most.
    """
    operations: dict[str, float] = {}
    best_sizes: dict[str, int] = {}
    unsupported: dict[str, str] = {}
    device.warnings()  # of the time before
    with device.sensor():  # sees the card throttled, and other processes on it
        for dtype in DTYPES:
            if dtype == TF32 and not has_tf32(device.where):
                continue
            progress(f"matrix product, {dtype}")
            try:
                with _tf32(device, dtype == TF32):
                    operations[dtype], best_sizes[dtype] = _product(device, dtype, budget, sizes)
            except (RuntimeError, TypeError) as error:
                unsupported[dtype] = reason(error)
        size = _array_bytes(device) if array is None else array
        count = size // 4
        arrays = [torch.full((count,), float(value), device=device.where) for value in range(3)]
        progress("copy")
        copy = _best(device, lambda: arrays[0].copy_(arrays[1]), budget)
        progress("triad")
        triad = _best(device, lambda: torch.add(arrays[1], arrays[2], alpha=3.0, out=arrays[0]), budget)
    return Attained(
        hardware=device.hardware,
        device=str(device.where),
        threads=device.threads if device.where.type == "cpu" else None,
        torch=torch_version() or torch.__version__,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        operations=operations,
        sizes=best_sizes,
        unsupported=unsupported,
        copy=2 * 4 * count / copy,
        triad=3 * 4 * count / triad,
        array=4 * count,
        warnings=device.warnings(),
    )


def _product(device: Device, dtype: str, budget: float, sizes: Sequence[int]) -> tuple[float, int]:
    """Operations a second of square products, and the size that they were attained with.

    Each size has its part of the budget, and the best of them what is left: on a machine that others use too, the more
    often a product is tried, the nearer its best time comes to that of a quiet one.
    """
    kind: torch.dtype = getattr(torch, "float32" if dtype == TF32 else dtype)
    end = time.monotonic() + budget
    rates: dict[int, float] = {}
    expected = 0.0  # seconds of the next product, which takes eight times the operations of the one before
    for size in sizes:
        memory = available_memory(device.where)
        fits = memory is None or 4 * kind.itemsize * size**2 < memory
        if rates and (not fits or time.monotonic() + STRETCHES * expected > end):
            break
        seconds = _best(device, _multiplication(device, kind, size), budget / (len(sizes) + 1))
        rates[size] = 2 * size**3 / seconds
        expected = 8 * seconds
    best = max(rates, key=rates.__getitem__)
    seconds = _best(device, _multiplication(device, kind, best), end - time.monotonic())
    return max(rates[best], 2 * best**3 / seconds), best


def _multiplication(device: Device, kind: torch.dtype, size: int) -> Callable[[], object]:
    left, right = (torch.randn(size, size, device=device.where).to(kind) for _ in range(2))
    out = torch.empty(size, size, device=device.where, dtype=kind)
    return lambda: torch.mm(left, right, out=out)


def _best(device: Device, step: Callable[[], object], budget: float = 0.0) -> float:
    """Seconds of a step: the best of five stretches of repetitions, or of as many as fit the budget."""
    end = time.monotonic() + budget
    _stretch(device, step, 1)  # the first may set things up
    best = _stretch(device, step, 1)
    repeats = max(1, round(STRETCH[device.where.type] / best))
    count = 0
    while count < STRETCHES or time.monotonic() < end:
        best = min(best, _stretch(device, step, repeats))
        count += 1
    return best


def _stretch(device: Device, step: Callable[[], object], repeats: int) -> float:
    """Seconds of a step, of so many one after the other."""
    clock = device.clock
    clock.synchronise()
    stamps = [clock.stamp()]
    for _ in range(repeats):
        step()
    stamps.append(clock.stamp())
    return max(clock.read(stamps)[1] / repeats, 1e-9)


def _array_bytes(device: Device) -> int:
    cache = machine.last_level_cache() if device.where.type == "cpu" else _l2(device)
    wanted = min(max(4 * (cache or 0), _SMALLEST_ARRAY), _LARGEST_ARRAY)
    memory = available_memory(device.where)
    return wanted if memory is None else min(wanted, memory // 8)


def _l2(device: Device) -> int:
    size: int = torch.cuda.get_device_properties(device.where).L2_cache_size
    return size


@contextmanager
def _tf32(device: Device, wanted: bool) -> Iterator[None]:
    """float32 products in TF32 or not, whatever the setting was before; a CPU has no such choice."""
    if device.where.type != "cuda":
        yield
        return
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = wanted
    try:
        yield
    finally:
        matmul.allow_tf32 = before
