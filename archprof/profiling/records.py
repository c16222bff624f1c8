"""What a measurement leaves: typed, frozen records, the same for `profile` and `bench`, and for published figures.

A Run is one JSON file. Times are in seconds, memory in bytes, energy in joules, throughput in images a second.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

FORMAT = 1  # of the file; a reader refuses a newer one

Status = Literal["ok", "oom", "unsupported", "failed", "skipped"]
Pass = Literal["forward", "forward+backward", "step"]
PASSES: tuple[Pass, ...] = get_args(Pass)


class Key(msgspec.Struct, frozen=True, omit_defaults=True):
    """What two cells must share to be compared."""

    network: str  # the variant: resnet-50
    batch: int
    input: str  # the first input's shape without the batch: 3x224x224
    dtype: str = "float32"
    amp: str | None = None  # the dtype of autocast
    layout: str = "nchw"  # or nhwc
    mode: str = "eager"  # or compile, cuda-graph
    pass_: Pass = msgspec.field(default="forward", name="pass")
    multiply_adds: int | None = None  # an image, in the convention multiply_adds: what tells one variant from another


class Timing(msgspec.Struct, frozen=True, omit_defaults=True):
    """A time measured in several stretches; seconds.

    `median` is the median of the stretches' medians. `low` and `high` hold it at 95 %, by order statistics over all
    samples, widened to the spread between the stretches.
    """

    median: float
    low: float
    high: float
    quartile_1: float
    quartile_3: float
    minimum: float
    maximum: float
    count: int
    spread: float  # (highest - lowest stretch median) / median
    drift: float  # (median of the last quarter - of the first) / median
    outliers: int  # beyond 3 interquartile ranges; counted, never dropped
    settled: bool  # the interval reached the precision that was asked for
    percentiles: dict[str, float] = {}  # "p50", "p90", "p99": where the count supports them
    stretches: tuple[tuple[float, ...], ...] = ()  # the raw samples, in order


class Layer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One node's times from the instrumented run; seconds a pass."""

    path: str
    operator: str
    forward: float
    backward: float | None = None  # None: it has no backward pass
    operations: int | None = None  # one forward pass of the batch; None: not counted
    operations_backward: int | None = None
    bytes: int | None = None  # read and written by one forward pass, by the analysis
    bytes_backward: int | None = None


class Device(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the sensors of a device said during the timed window; None: it could not tell, and `notes` say why."""

    power: float | None = None  # watts, mean
    idle_power: float | None = None
    energy: float | None = None  # joules an image, by the counter
    temperature: float | None = None  # highest, Celsius
    clock: float | None = None  # MHz of the processor that was measured on: median
    clock_before: float | None = None  # when the window began, and at its end
    clock_after: float | None = None
    throttled: tuple[str, ...] = ()  # reasons seen
    other_processes: int | None = None
    notes: tuple[str, ...] = ()


class Cell(msgspec.Struct, frozen=True, omit_defaults=True):
    """One cell of a matrix: one network measured in one way."""

    key: Key
    status: Status
    reason: str = ""  # of every status but ok
    timings: dict[str, Timing] = {}  # "forward", "backward", "update", as far as the pass has them, and the key's pass
    control: float | None = None  # plain against plain, interleaved: ratio of medians
    layers_ratio: dict[str, float] = {}  # by pass: the layers' sum over the whole
    images_per_second: float | None = None
    peak_memory: int | None = None
    predicted_memory: int | None = None  # by the memory model
    params: int | None = None
    layers: tuple[Layer, ...] = ()
    device: Device | None = None
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = {}  # threads, warm-up, precision, budget, TF32, cudnn.benchmark
    figures: dict[str, float] = {}  # seconds by pass, of published cells: without samples there is no interval

    @property
    def seconds(self) -> float | None:
        """The time of the key's own pass: the median, or the published figure; None where there is none."""
        timing = self.timings.get(self.key.pass_)
        return self.figures.get(self.key.pass_) if timing is None else timing.median


class Run(msgspec.Struct, frozen=True, omit_defaults=True):
    """One results file."""

    version: int
    created: str  # ISO 8601, UTC
    archprof: str
    command: str
    machine: str  # the stable key: device, torch's major.minor, threads
    hardware: str  # as a person would say it: "GTX 1080 Ti"
    environment: dict[str, Any]  # everything that was seen; never compared as a whole
    cells: tuple[Cell, ...]
    published: str | None = None  # the source, of figures that archprof did not measure
