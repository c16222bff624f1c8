"""The roofline of a device, and the least time that a layer takes under it.

A layer of n operations that moves b bytes takes at least max(n / peak, b / bandwidth) (Williams, Waterman and
Patterson, Roofline: an insightful visual performance model, CACM 52(4), 2009): it is bound by compute or by memory.
Operations are those of the counting convention `operations`, a multiply-add being two; bytes are what a layer reads
and writes once. Kernels can be faster than this where they do less (Winograd's convolutions multiply less) or where
caches keep what a layer would fetch; fused layers move less.

Nothing here imports torch: `ceilings` measures, this module computes and keeps what was measured.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from archprof.analysis.analysis import Analysis, NodeFigures
from archprof.analysis.counting import CONVENTIONS
from archprof.errors import UsageError
from archprof.files import write_bytes
from archprof.operators.base import listed
from archprof.profiling import machine
from archprof.profiling.peaks import Peak, peak_of
from archprof.profiling.records import Cell, Layer

if TYPE_CHECKING:
    from archprof.profiling.device import Device

FORMAT = 1  # of the cache's files
TF32 = "tfloat32"
_POWER_CAP = "the card was throttled: power cap"  # as large products do to a card that nobody disturbs
Kind = Literal["compute", "memory", ""]  # "": nothing to do


class Roofline(msgspec.Struct, frozen=True):
    """What a device can do at most: operations a second by dtype, bytes a second of its memory."""

    name: str
    peaks: dict[str, float]
    bandwidth: float
    source: str  # the data sheet, or what measured it

    def peak(self, dtype: str) -> float:
        """Operations a second in a dtype. Raises UsageError where none is known."""
        found = self.peaks.get(dtype)
        if found is None:
            raise UsageError(f"no peak of {self.name} in {dtype} is known: take {listed(self.peaks)}")
        return found


class Attained(msgspec.Struct, frozen=True, kw_only=True):
    """What `archprof device` measured: a file of the cache. Rates are a second."""

    version: int = FORMAT
    hardware: str
    device: str  # torch's name: cpu, cuda:0
    threads: int | None  # of a CPU
    torch: str
    created: str  # ISO 8601, UTC
    operations: dict[str, float]  # by dtype, of a matrix product
    sizes: dict[str, int]  # of the square matrices that it was attained with
    unsupported: dict[str, str] = {}  # dtype -> why
    copy: float  # bytes, read and written
    triad: float
    array: int  # bytes of each array that was copied
    warnings: tuple[str, ...] = ()

    @property
    def roofline(self) -> Roofline:
        """The roofline that these are."""
        disturbed = any(warning != _POWER_CAP for warning in self.warnings)
        threads = "" if self.threads is None else f", {self.threads} {'thread' if self.threads == 1 else 'threads'}"
        return Roofline(
            name=f"{self.hardware}{threads}",
            peaks=self.operations,
            bandwidth=max(self.copy, self.triad),
            source=f"measured by archprof device, torch {self.torch}, {self.created[:10]}"
            + (" (on a disturbed machine: measure again with --refresh)" if disturbed else ""),
        )


def data_sheet(peak: Peak) -> Roofline:
    """The roofline that a card's data sheet promises."""
    return Roofline(
        name=f"{peak.name} ({peak.form}, {peak.memory})",
        peaks={dtype: value * 1e12 for dtype, value in peak.tflops.items()},
        bandwidth=peak.bandwidth * 1e9,
        source=f"data sheet, dense: {peak.source}",
    )


# --- what was measured before


def cache_folder() -> Path:
    """Where measured rooflines are kept: archprof in XDG_CACHE_HOME, which is ~/.cache unless it is set."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".cache") / "archprof"


def keep(attained: Attained) -> Path:
    """Write what was measured to the cache; the file. Raises UsageError where it cannot be written."""
    path = _cache_file(attained.hardware, attained.threads, attained.torch)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
    write_bytes(msgspec.json.format(msgspec.json.encode(attained)) + b"\n", path)
    return path


def cached(hardware: str, threads: int | None) -> Attained | None:
    """What was measured on this hardware with the installed torch and these threads; None where nothing was."""
    version = torch_version()
    return None if version is None else _read(_cache_file(hardware, threads, version))


def cached_cpu(threads: int | None = None) -> Attained:
    """What was measured on this CPU with the installed torch; of several numbers of threads, the largest.

    Raises UsageError where nothing was.
    """
    version, hardware = torch_version() or "", machine.cpu_hardware()
    found = [each for each in map(_read, sorted(cache_folder().glob("roofline_*.json"))) if each is not None]
    fitting = [each for each in found if each.hardware == hardware and each.torch == version and each.threads]
    exact = [each for each in fitting if threads is None or each.threads == threads]
    if not exact:
        what = hardware if threads is None else f"{hardware} with {threads} {'thread' if threads == 1 else 'threads'}"
        option = "" if threads is None else f" --threads {threads}"
        raise UsageError(f"{what} is not measured yet: run archprof device --device cpu{option}")
    return max(exact, key=lambda each: each.threads or 0)


def attainable(device: Device) -> Roofline | None:
    """The roofline of an open device: measured before, else its data sheet's; None where neither is known."""
    return known_roofline(device.hardware, device.threads if device.where.type == "cpu" else None)


def known_roofline(hardware: str, threads: int | None = None) -> Roofline | None:
    """The same by name; `threads` are of a CPU."""
    measured = cached(hardware, threads)
    if measured is not None:
        return measured.roofline
    peak = peak_of(hardware)
    return None if peak is None else data_sheet(peak)


def torch_version() -> str | None:
    """Of the installed torch, without importing it."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None


def _cache_file(hardware: str, threads: int | None, version: str) -> Path:
    return cache_folder() / f"roofline_{machine.key(hardware, version, threads, places=3)}.json"


def _read(path: Path) -> Attained | None:
    """A file of the cache; None where there is none that this version reads."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Attained)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.version == FORMAT else None


# --- layers under a roofline


class Bound(NamedTuple):
    """The least time of some work under a roofline, in seconds, and what bounds it."""

    seconds: float
    kind: Kind
    intensity: float | None  # operations a byte; None: no bytes are moved, or the operations are not counted


def bound(operations: int | None, moved: int, roofline: Roofline, dtype: str) -> Bound:
    """The least time of one kernel; of operations that are not counted (None), that of its bytes alone.

    Raises UsageError where the roofline has no peak for the dtype.
    """
    compute = (operations or 0) / roofline.peak(dtype)
    memory = moved / roofline.bandwidth
    kind: Kind = "" if compute == memory == 0 else "compute" if compute >= memory else "memory"
    return Bound(max(compute, memory), kind, operations / moved if moved and operations is not None else None)


class Arithmetic(NamedTuple):
    """In what the operators of a measured network computed, as a roofline names it."""

    products: str  # of matrices, and all else
    convolutions: str  # and recurrent layers: cuDNN's, which has a setting of its own for TF32

    def of(self, operator: str) -> str:
        """That of an operator."""
        return self.convolutions if operator.startswith(("conv", "lstm", "gru")) else self.products

    def known(self, roofline: Roofline) -> bool:
        """Whether a roofline has a peak for all of it."""
        return roofline.peaks.keys() >= set(self)

    def highest(self, roofline: Roofline) -> str:
        """The one with the higher peak, which nothing exceeds."""
        return max(self, key=roofline.peak)


def arithmetic(cell: Cell) -> Arithmetic:
    """Autocast's dtype or the network's; TF32 in the place of float32 where the device was let round to it."""
    dtype = cell.key.amp or cell.key.dtype
    settings = ("tf32_matmul", "tf32_convolutions")
    return Arithmetic(*(TF32 if dtype == "float32" and cell.settings.get(setting) else dtype for setting in settings))


class Least(NamedTuple):
    """The least time of kernels under a roofline, in seconds, by what bounds each of them."""

    compute: float
    memory: float


def layer_least(layer: Layer, roofline: Roofline, kinds: Arithmetic) -> Least:
    """The least time of a measured layer: the passes that were timed are kernels of their own."""
    seconds = {"compute": 0.0, "memory": 0.0, "": 0.0}
    passes = [(layer.operations, layer.bytes)]
    if layer.backward is not None:
        passes.append((layer.operations_backward, layer.bytes_backward))
    for operations, moved in passes:
        found = bound(operations, moved or 0, roofline, kinds.of(layer.operator))
        seconds[found.kind] += found.seconds
    return Least(seconds["compute"], seconds["memory"])


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """Some nodes under a roofline: one, those of a folded row, or a network's."""

    path: str
    operations: int  # of those that are counted
    flops: int  # the same in the convention of the analysis
    moved: int  # bytes
    compute_seconds: float = 0.0  # least time of the nodes that are bound by compute
    memory_seconds: float = 0.0  # of those that are bound by memory
    uncounted: int = 0  # nodes whose operations are not known

    @property
    def seconds(self) -> float:
        """The least time of all."""
        return self.compute_seconds + self.memory_seconds

    @property
    def intensity(self) -> float | None:
        """Operations a byte; None where nothing is moved, or not all is counted."""
        return None if not self.moved or self.uncounted else self.operations / self.moved

    @property
    def compute_share(self) -> float | None:
        """The part of the least time that is bound by compute; None where there is no time."""
        return self.compute_seconds / self.seconds if self.seconds else None


def predict(analyses: Sequence[Analysis], roofline: Roofline, dtype: str) -> dict[str, Prediction]:
    """The least time of every node, by path, summed over the analyses of one network: a pass each.

    A layer's forward and backward pass are kernels of their own, so that each has its own bound. Raises UsageError
    where the roofline has no peak for the dtype.
    """
    found: dict[str, Prediction] = {}
    for analysis in analyses:
        for figures in analysis.figures:
            path = figures.node.path
            new = _prediction(figures, roofline, dtype)
            found[path] = total(path, [found[path], new]) if path in found else new
    return found


def total(path: str, parts: Iterable[Prediction]) -> Prediction:
    """Several predictions as one: the parts run one after another."""
    parts = list(parts)
    return Prediction(
        path=path,
        operations=sum(each.operations for each in parts),
        flops=sum(each.flops for each in parts),
        moved=sum(each.moved for each in parts),
        compute_seconds=sum(each.compute_seconds for each in parts),
        memory_seconds=sum(each.memory_seconds for each in parts),
        uncounted=sum(each.uncounted for each in parts),
    )


def _prediction(figures: NodeFigures, roofline: Roofline, dtype: str) -> Prediction:
    operations = None if figures.cost is None else CONVENTIONS["operations"].count(figures.cost)
    least = bound(operations, figures.moved_bytes, roofline, dtype)
    return Prediction(
        path=figures.node.path,
        operations=operations or 0,
        flops=figures.flops or 0,
        moved=figures.moved_bytes,
        compute_seconds=least.seconds if least.kind == "compute" else 0.0,
        memory_seconds=least.seconds if least.kind == "memory" else 0.0,
        uncounted=int(operations is None),
    )
