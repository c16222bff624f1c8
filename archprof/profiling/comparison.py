"""Two runs cell by cell: faster, slower, same, unclear, or not comparable and why.

A cell is called faster or slower where the two 95 % intervals of the median leave a gap and the ratio of the medians is
at least the floor away from 1. The intervals hold every stretch's median (`statistics.summarise`), so all stretches of
one run then lie beyond all of the other: of two runs of one distribution, with five stretches each, at most 2 in 252
do, whatever the distribution. The gap must be 1/20 as wide as the two intervals together (in logarithms), which
simulations of noise within and between the stretches put at 1 in 200; of three or four stretches, where 2 in 20 lie
apart, it must be as wide as they are (1 in 300). Of fewer stretches nothing is said.

What differs from one run to the next and not within them (the layout of memory, a neighbour's load) no interval of two
runs can know; the floor is there for it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

import msgspec

from archprof.errors import UsageError
from archprof.operators import hint
from archprof.profiling.records import Cell, Key, Run, Timing

Verdict = Literal["faster", "slower", "same", "unclear", "not comparable"]
VERDICTS: tuple[Verdict, ...] = ("slower", "faster", "unclear", "same", "not comparable")
JUDGED: tuple[Verdict, ...] = ("slower", "faster", "same")

FLOOR = 0.03
_ENOUGH = 5  # stretches in each run
_LEAST = 3
_GAP, _GAP_OF_FEW = 0.05, 1.0  # of both intervals' widths together

# what the machine key is made of: on one device all must be equal, between devices they are what is compared
MACHINE = ("hardware", "torch", "threads")
# what a person chooses, on any device
CHOICES = ("tf32_matmul", "tf32_convolutions", "cudnn_benchmark", "flush_l2", "deterministic_algorithms")
ACROSS = (*MACHINE, *CHOICES, "multiply_adds")  # what --across takes, and all
# what is never twice the same, and no reason by itself
_MOMENTARY = frozenset(
    ("load_average", "cpu_mhz", "clock_sm_mhz", "clock_memory_mhz", "temperature_celsius", "compute_processes",
     "throttle_reasons", "device")
)  # fmt: skip
ABSENT = "unknown"


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One cell in both runs, or in one; times in seconds, ratios after over before."""

    key: Key
    verdict: Verdict
    before: float | None = None
    after: float | None = None
    ratio: float | None = None  # also of what is not comparable, where both have a time of the same cell
    low: float | None = None  # the interval of the ratio: the ends of the two intervals over each other
    high: float | None = None
    reason: str = ""  # of unclear and not comparable
    lost: bool = False  # measured before, and not now


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs compared; cells in the order of the second run, then those that only the first has."""

    before: Run
    after: Run
    floor: float
    cells: tuple[Compared, ...]
    differences: dict[str, tuple[Any, Any]]  # of the environments, by name, without what is momentary

    def count(self, verdict: Verdict) -> int:
        """How many cells have a verdict."""
        return sum(cell.verdict == verdict for cell in self.cells)


def compare(
    before: Run, after: Run, *, floor: float = FLOOR, across: Collection[str] = (), one_machine: bool = False
) -> Comparison:
    """Compare two runs cell by cell.

    Cells align by network, batch, input, dtype, amp, layout, mode and pass. On one device hardware, torch's
    major.minor and threads must be equal, with `one_machine` on any two; so must what a person chooses (TF32,
    cudnn.benchmark, ...), and a network's multiply-adds. `across` names what may differ; "all" is all of it.

    Raises UsageError for a name in `across` that is none of ACROSS.
    """
    for name in across:
        if name != "all" and name not in ACROSS:
            raise UsageError(f"unknown key {name} in --across: {hint(name, (*ACROSS, 'all'))}")
    held = [name for name in (*MACHINE, *CHOICES) if name not in across] if "all" not in across else []
    if before.hardware != after.hardware and not one_machine:
        held = [name for name in held if name not in MACHINE]
    any_count = "multiply_adds" in across or "all" in across
    old, new = _by_place(before), _by_place(after)
    cells = []
    for place, cell in new.items():
        other = old.get(place)
        cells.append(
            Compared(key=cell.key, verdict="not comparable", after=cell.seconds, reason="only in the second run")
            if other is None
            else _compared(other, cell, floor, _obstacles(before, other, after, cell, held, any_count))
        )
    cells.extend(
        Compared(key=cell.key, verdict="not comparable", before=cell.seconds, reason="only in the first run")
        for place, cell in old.items()
        if place not in new
    )
    return Comparison(
        before=before, after=after, floor=floor, cells=tuple(cells), differences=dict(differing(before, after))
    )


def failures(comparison: Comparison, slower: float) -> list[Compared]:
    """Cells that a gate stops at: slower by at least so much (0.05 is 5 %), or measured before and not now."""
    return [
        cell
        for cell in comparison.cells
        if cell.lost or (cell.verdict == "slower" and cell.ratio is not None and cell.ratio >= 1 + slower)
    ]


def judge(before: Timing, after: Timing, floor: float = FLOOR) -> tuple[Verdict, str]:
    """What two timings say, and of `unclear` why."""
    if before.low <= 0 or after.low <= 0:
        return "unclear", "the clock is too coarse for a time so short"
    ratio, low, high = _interval(before, after)
    stretches = min(len(before.stretches), len(after.stretches))
    if stretches < _LEAST:
        fewest = min(before.count, after.count)
        return "unclear", f"{fewest} {'sample is' if fewest == 1 else 'samples are'} too few: measure longer"
    gap = max(math.log(low), -math.log(high))  # above 0 where the intervals do not overlap
    widths = math.log(before.high / before.low) + math.log(after.high / after.low)
    if gap > widths * (_GAP if stretches >= _ENOUGH else _GAP_OF_FEW) and abs(ratio - 1) >= floor:
        return ("slower" if ratio > 1 else "faster"), ""
    if 1 - floor <= low and high <= 1 + floor:
        return "same", ""
    return "unclear", ""


def _interval(before: Timing, after: Timing) -> tuple[float, float, float]:
    """The ratio of medians, and its interval: the ends of the two intervals over each other."""
    return after.median / before.median, after.low / before.high, after.high / before.low


def _compared(before: Cell, after: Cell, floor: float, obstacles: list[str]) -> Compared:
    old, new = before.seconds, after.seconds
    if before.status != "ok" or after.status != "ok":
        states = " -> ".join(cell.status for cell in (before, after))
        why = after.reason if after.status != "ok" else before.reason
        lost = before.status == "ok"
        reason = f"{states}: {why}" if why else states
        return Compared(key=after.key, verdict="not comparable", before=old, after=new, reason=reason, lost=lost)
    ratio = new / old if old and new else None
    if obstacles:
        reason = "; ".join(obstacles)
        return Compared(key=after.key, verdict="not comparable", before=old, after=new, ratio=ratio, reason=reason)
    timings = [cell.timings.get(cell.key.pass_) for cell in (before, after)]
    if timings[0] is None or timings[1] is None:
        reason = "a published figure has no interval"
        return Compared(key=after.key, verdict="unclear", before=old, after=new, ratio=ratio, reason=reason)
    verdict, reason = judge(timings[0], timings[1], floor)
    _, low, high = _interval(timings[0], timings[1]) if timings[0].low > 0 else (None, None, None)
    return Compared(
        key=after.key, verdict=verdict, before=old, after=new, ratio=ratio, low=low, high=high, reason=reason
    )


def _obstacles(before: Run, cell: Cell, after: Run, other: Cell, held: Collection[str], any_count: bool) -> list[str]:
    """Why two cells cannot be compared, a reason each."""
    counts = cell.key.multiply_adds, other.key.multiply_adds
    found = []
    if not any_count and None not in counts and counts[0] != counts[1]:
        found.append(f"multiply_adds {counts[0]:,} -> {counts[1]:,}")
    old, new = ({**facts(run), **each.settings} for run, each in ((before, cell), (after, other)))
    for name in held:
        values = [_compared_as(name, each[name]) if name in each else None for each in (old, new)]
        if values[0] != values[1] and None not in values:
            found.append(f"{name} {values[0]} -> {values[1]}")
    return found


def facts(run: Run) -> dict[str, Any]:
    """What a run says of where it was measured, by name: hardware, and the single values of its environment."""
    flat: dict[str, Any] = {"hardware": run.hardware}
    for name, value in run.environment.items():
        if name == "variables" and isinstance(value, Mapping):
            flat.update({f"variables.{inner}": each for inner, each in value.items()})
        elif not isinstance(value, (Mapping, list, tuple)):
            flat[name] = value
    return flat


def _compared_as(name: str, value: Any) -> Any:
    return ".".join(str(value).split(".")[:2]) if name == "torch" else value


def differing(before: Run, after: Run) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """The facts of two runs that are not the same, without what never is twice."""
    old, new = facts(before), facts(after)
    for name in dict.fromkeys((*new, *old)):
        pair = old.get(name, ABSENT), new.get(name, ABSENT)
        if pair[0] != pair[1] and name not in _MOMENTARY:
            yield name, pair


def _by_place(run: Run) -> dict[Key, Cell]:
    """Cells by what aligns them: their key without the count, which tells whether the network is still the same."""
    return {msgspec.structs.replace(cell.key, multiply_adds=None): cell for cell in run.cells}
