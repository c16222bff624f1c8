"""What a series of times says: plain arithmetic, no normality assumed, nothing dropped."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Sequence

import msgspec

from archprof.profiling.records import Timing

LEAST = 6  # samples: with fewer the widest order-statistic interval, lowest to highest, holds the median below 95 %
PERCENTILES = (50, 90, 95, 99)
_OUTSIDE = 0.025  # on either side of a 95 % interval
_DRIFT = 0.05  # of the median: no more than a quiet machine shows
_OUTLIERS = 0.05  # of the samples
_FAR = 3.0  # interquartile ranges beyond a quartile, where an outlier begins (Tukey's "far out")


class Ratio(msgspec.Struct, frozen=True):
    """Times of two runs that were taken in turns: the median of the rounds' ratios and its 95 % interval."""

    value: float
    low: float
    high: float


def summarise(stretches: Sequence[Sequence[float]], precision: float) -> Timing:
    """A Timing of samples in seconds, given in the order taken and in the stretches in which they were taken.

    `median` is the median of the stretches' medians. `low` and `high` are the order statistics that hold the median
    of all samples at 95 % (`interval`), or the lowest and highest stretch median where these lie further out. It is
    settled where both are within `precision` (a fraction) of the median. Under 6 samples there is no such interval:
    `low` and `high` are then the minimum and maximum, and it is not settled.
    """
    samples = [sample for stretch in stretches for sample in stretch]
    ordered = sorted(samples)
    medians = [statistics.median(stretch) for stretch in stretches]
    median = statistics.median(medians)
    low, high = interval(ordered)
    low, high = min(low, *medians), max(high, *medians)
    first, third = _quartiles(ordered)
    far = _FAR * (third - first)
    return Timing(
        median=median,
        low=low,
        high=high,
        quartile_1=first,
        quartile_3=third,
        minimum=ordered[0],
        maximum=ordered[-1],
        count=len(samples),
        spread=_relative(max(medians) - min(medians), median),
        drift=_drift(samples, median),
        outliers=sum(sample < first - far or sample > third + far for sample in samples),
        settled=len(samples) >= LEAST and high <= median * (1 + precision) and low >= median * (1 - precision),
        percentiles={f"p{each}": _percentile(ordered, each) for each in PERCENTILES if supports(len(samples), each)},
        stretches=tuple(map(tuple, stretches)),
    )


def interval(ordered: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the median by order statistics, of sorted samples: minimum and maximum under 6.

    The interval from the k-th lowest to the k-th highest misses the median with the probability 2 P(B < k), B being
    binomial of n and 1/2 (Conover, Practical Nonparametric Statistics, 3.2): the largest k that keeps it at 5 %.
    """
    outside = _beyond(len(ordered))
    return ordered[outside], ordered[len(ordered) - 1 - outside]


@functools.lru_cache(maxsize=4096)
def _beyond(count: int) -> int:
    """How many of the lowest samples lie outside the interval; as many of the highest do."""
    limit = int(_OUTSIDE * 2**64) << max(count - 64, 0) if count >= 64 else int(_OUTSIDE * 2**count)
    ways, cumulative = 1, 1  # of choosing no sample to lie below the median; P(B = 0) is 1 in 2^count
    below = 0
    while cumulative <= limit:
        below += 1
        ways = ways * (count - below + 1) // below
        cumulative += ways
    return max(below - 1, 0)


def supports(count: int, percent: int) -> bool:
    """Whether so many samples bound a percentile from above at 97.5 %: 6 do for the median, 36 for p90, 368 for p99."""
    return (percent / 100) ** count <= _OUTSIDE


def ratio(first: Timing, second: Timing) -> Ratio:
    """The first's times over the second's, round by round; the interval is minimum to maximum under 6 rounds.

    Raises ValueError for runs of different counts, which were not taken in turns.
    """
    ones, others = ([sample for stretch in each.stretches for sample in stretch] for each in (first, second))
    ratios = sorted(one / other for one, other in zip(ones, others, strict=True))
    return Ratio(statistics.median(ratios), *interval(ratios))


def doubts(part: str, timing: Timing, precision: float) -> list[str]:
    """Why a Timing should not be trusted as it stands, in words; nothing where it may be."""
    found = []
    if not timing.settled:
        width = max(timing.high - timing.median, timing.median - timing.low)
        few = f"{timing.count} {'sample' if timing.count == 1 else 'samples'}"
        why = f"after {few} the median is known to {_percent(_relative(width, timing.median))}"
        if timing.count < LEAST:
            why = f"{few}: a 95 % interval needs {LEAST}"
        found.append(f"{part}: the precision of {_percent(precision)} was not reached: {why}")
    return [*found, *unsteady(part, timing, precision)]


def unsteady(part: str, timing: Timing, precision: float) -> list[str]:
    """What a Timing tells of a machine that changed while it was taken, in words; nothing where it did not."""
    found = []
    if abs(timing.drift) > max(_DRIFT, precision):
        direction = "above" if timing.drift > 0 else "below"
        found.append(f"{part}: the last quarter's median lies {_percent(abs(timing.drift))} {direction} the first's")
    if timing.outliers > _OUTLIERS * timing.count:
        found.append(f"{part}: {timing.outliers} of {timing.count} samples lie far outside the others")
    return found


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 0.995 else f"{100 * fraction:.0f} %"


def _quartiles(ordered: Sequence[float]) -> tuple[float, float]:
    if len(ordered) == 1:
        return ordered[0], ordered[0]
    first, _, third = statistics.quantiles(ordered, n=4, method="inclusive")
    return first, third


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """By linear interpolation between the samples around it."""
    place, rest = divmod((len(ordered) - 1) * percent, 100)
    if not rest:
        return ordered[place]
    return ordered[place] + (ordered[place + 1] - ordered[place]) * rest / 100


def _drift(samples: Sequence[float], median: float) -> float:
    """What the last quarter's median lies above the first's, as a fraction of the median; 0 under 4 samples."""
    quarter = len(samples) // 4
    if not quarter:
        return 0.0
    return _relative(statistics.median(samples[-quarter:]) - statistics.median(samples[:quarter]), median)


def _relative(difference: float, median: float) -> float:
    """A clock that is too coarse gives times of 0."""
    return difference / median if median else 0.0
