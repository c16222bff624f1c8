"""Steps in a series of times: where its level changed, and by how much.

Candidates are the ends of the segments of constant level that fit the logarithms best at a price for each (optimal
partitioning, Jackson et al. 2005; the price is 2 ln n times the variance that neighbours show). One holds where the
runs between its neighbours, in 1,999 random orders, show as large a difference of two levels, at whatever place, at
most 3 times (a permutation test of the standardised CUSUM statistic, p <= 0.002); the weakest goes first.

One wild run makes no step: values are pulled in to three standard deviations of their neighbours' median, in the test
to three scaled median absolute deviations. The test assumes nothing of the noise but that without a step every order
of the runs is as likely as every other: a course that wanders is told in steps.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Sequence

import msgspec

SHORTEST = 3  # runs on either side of a step
FLOOR = 0.03  # steps below it are not told
_ORDERS = 1999
_ALLOWED = 3  # of them: p is then at most (1 + 3) / (1 + 1999)
_SCALE = 1.4826  # of a median absolute deviation to the standard deviation of normal noise
_FAR = 3.0  # standard deviations
_NEIGHBOURS = 3  # on either side


class Step(msgspec.Struct, frozen=True):
    """The level before and after; `at` is the place of the first run on the new level, counted from 0."""

    at: int
    before: float  # medians
    after: float

    @property
    def change(self) -> float:
        """Of the level, as a fraction: 0.06 is 6 % up."""
        return self.after / self.before - 1


def steps(series: Sequence[float], *, floor: float = FLOOR, seed: int = 0) -> tuple[Step, ...]:
    """The steps of a series of times above 0, in order; the same for the same series and seed."""
    logs = [math.log(value) for value in series]
    rng = random.Random(seed)
    places = _candidates(logs)
    while places:
        bounds = [0, *places, len(logs)]
        around = [_pulled_in(logs[start:end]) for start, end in zip(bounds, bounds[2:], strict=False)]
        sizes = [_largest(window) for window in around]
        weakest = min(range(len(places)), key=sizes.__getitem__)
        if _holds(around[weakest], sizes[weakest], rng):
            break
        del places[weakest]
    found = []
    bounds = [0, *places, len(series)]
    for start, at, end in zip(bounds, places, bounds[2:], strict=False):
        before, after = statistics.median(series[start:at]), statistics.median(series[at:end])
        if abs(after / before - 1) >= floor:
            found.append(Step(at, before, after))
    return tuple(found)


def _candidates(logs: Sequence[float]) -> list[int]:
    """The places at which the best segments begin, but the first."""
    count = len(logs)
    noise = _noise(logs)
    if count < 2 * SHORTEST or not noise:
        return []
    values = _without_wild(logs, noise)
    price = 2 * math.log(count) * noise**2
    sums = [0.0, *itertools.accumulate(values)]
    squares = [0.0, *itertools.accumulate(value * value for value in values)]
    best = [-price] + [math.inf] * count  # what the first so many runs cost at least
    begin = [0] * (count + 1)  # of the last segment then
    for end in range(SHORTEST, count + 1):
        for start in range(end - SHORTEST + 1):
            total = sums[end] - sums[start]
            cost = best[start] + price + squares[end] - squares[start] - total * total / (end - start)
            if cost < best[end]:
                best[end], begin[end] = cost, start
    places = []
    end = begin[count]
    while end:
        places.append(end)
        end = begin[end]
    return places[::-1]


def _noise(logs: Sequence[float]) -> float:
    """The standard deviation of the runs about their level, by the differences of neighbours, which few steps touch."""
    differences = [after - before for before, after in itertools.pairwise(logs)]
    if not differences:
        return 0.0
    typical = _SCALE * statistics.median(map(abs, differences)) / math.sqrt(2)
    return typical or statistics.pstdev(differences) / math.sqrt(2)  # more than half of the neighbours are equal


def _without_wild(logs: Sequence[float], noise: float) -> list[float]:
    found = []
    for place, value in enumerate(logs):
        centre = statistics.median(logs[max(place - _NEIGHBOURS, 0) : place + _NEIGHBOURS + 1])
        found.append(min(max(value, centre - _FAR * noise), centre + _FAR * noise))
    return found


def _pulled_in(logs: Sequence[float]) -> list[float]:
    centre = statistics.median(logs)
    far = _FAR * _SCALE * statistics.median(abs(value - centre) for value in logs)
    return [min(max(value, centre - far), centre + far) for value in logs] if far else list(logs)


def _holds(values: Sequence[float], size: float, rng: random.Random) -> bool:
    shuffled = list(values)
    as_large = 0
    for _ in range(_ORDERS):
        rng.shuffle(shuffled)
        as_large += _largest(shuffled) >= size * (1 - 1e-9)  # sums in another order differ in their last digits
        if as_large > _ALLOWED:
            return False
    return True


def _largest(values: Sequence[float]) -> float:
    """The largest difference of two levels over all places, squared, standardised by the sizes of the two sides."""
    count = len(values)
    mean = math.fsum(values) / count
    sums = itertools.accumulate(value - mean for value in values)
    inside = enumerate(itertools.islice(sums, SHORTEST - 1, count - SHORTEST), SHORTEST)
    return max((total * total / (left * (count - left)) for left, total in inside), default=0.0)
