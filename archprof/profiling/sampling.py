"""When to stop measuring: warm up until times settle, then sample until the interval is narrow or the budget ends.

A pass is a callable that returns seconds by part: {"forward": 0.010, "backward": 0.021}.
"""

from __future__ import annotations

import gc
import itertools
import math
import random
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from archprof.errors import UsageError
from archprof.profiling.records import Timing
from archprof.profiling.statistics import summarise

Parts = Mapping[str, float]  # seconds by part of a pass
Once = Callable[[], Parts]

PRECISION = 0.02
BUDGET = 10.0  # seconds
STRETCHES = 5
MOST = 10_000  # samples: passes of microseconds need no more
_IN_A_STRETCH = 5  # samples at least, before an interval is believed
_GROWTH = 1.2  # between two looks at the interval: looking after each sample stops at the first lucky one
_WARM_UP = (0.02, 0.2)  # the least and the most of the budget
_WINDOW = 3  # passes that are compared with as many before them
_STILL_FALLING = 0.95


def check_settings(precision: float, budget: float) -> None:
    """Refuse a precision or a budget that nothing can be measured with. Raises UsageError."""
    if not 0 < precision < 1:
        raise UsageError(f"precision must be above 0 and below 1 (0.02 is 2 %), not {precision:g}")
    if not (budget > 0 and math.isfinite(budget)):
        raise UsageError(f"budget must be a number of seconds above 0, not {budget:g}")


def collect(
    once: Once,
    *,
    precision: float = PRECISION,
    budget: float = BUDGET,
    stretches: int = STRETCHES,
    now: Callable[[], float] = time.monotonic,
) -> dict[str, Timing]:
    """Times of a pass by part: `collect_together` of one."""
    return collect_together({"": once}, precision=precision, budget=budget, stretches=stretches, now=now)[""]


def collect_together(
    runs: Mapping[str, Once],
    *,
    precision: float = PRECISION,
    budget: float = BUDGET,
    watched: Collection[str] | None = None,
    stretches: int = STRETCHES,
    seed: int = 0,
    now: Callable[[], float] = time.monotonic,
) -> dict[str, dict[str, Timing]]:
    """Times of several passes taken in turns, by name and part; in every round each runs once, in shuffled order.

    The first pass of each, which may compile or choose algorithms, is no sample and is outside the budget. Warm-up
    goes on until the last three passes of each are no faster than 95 % of the three before, for 2 to 20 % of the
    budget. Then rounds follow until all parts of the `watched` passes (None: of all) are settled at `precision`, at
    least 5 samples in each stretch, or `budget` seconds have gone, or there are 10,000; one round is always taken.
    A stretch is one of `stretches` equal parts of the run, fewer where they would hold under 3 samples. Python's
    garbage collector is off within a pass.

    Raises UsageError as `check_settings` does.
    """
    check_settings(precision, budget)
    order = list(runs)
    shuffle = random.Random(seed).shuffle
    for name in order:
        _run(runs[name])
    begin = now()
    _warm_up(runs, begin, budget, now)
    samples: dict[str, list[Parts]] = {name: [] for name in order}
    look = stretches * _IN_A_STRETCH
    while True:
        shuffle(order)
        for name in order:
            samples[name].append(_run(runs[name]))
        count = len(samples[order[0]])
        if now() - begin >= budget or count >= MOST:
            break
        if count >= look:
            look = math.ceil(count * _GROWTH)
            found = _timings(samples, stretches, precision)
            if all(timing.settled for name in watched or runs for timing in found[name].values()):
                break
    return _timings(samples, stretches, precision)


def _run(once: Once) -> Parts:
    with _no_collection():
        return once()


@contextmanager
def _no_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _warm_up(runs: Mapping[str, Once], begin: float, budget: float, now: Callable[[], float]) -> None:
    least, most = (budget * share for share in _WARM_UP)
    whole: dict[str, list[float]] = {name: [] for name in runs}
    while now() - begin < most:
        for name, once in runs.items():
            whole[name].append(max(_run(once).values()))
        if now() - begin >= least and all(map(_is_steady, whole.values())):
            break


def _is_steady(times: Sequence[float]) -> bool:
    if len(times) < 2 * _WINDOW:
        return False
    last, before = (statistics.median(part) for part in (times[-_WINDOW:], times[-2 * _WINDOW : -_WINDOW]))
    return last >= _STILL_FALLING * before


def _timings(samples: Mapping[str, Sequence[Parts]], stretches: int, precision: float) -> dict[str, dict[str, Timing]]:
    return {
        name: {part: summarise(_stretches([each[part] for each in rounds], stretches), precision) for part in rounds[0]}
        for name, rounds in samples.items()
    }


def _stretches(samples: Sequence[float], wanted: int) -> list[Sequence[float]]:
    """Equal parts of a run, in order; each of 3 samples at least, where there are so many."""
    number = max(1, min(wanted, len(samples) // 3))
    ends = [len(samples) * place // number for place in range(number + 1)]
    return [samples[start:end] for start, end in itertools.pairwise(ends)]
