"""The statistics of a series of times, by simulation and by property, and when sampling stops, by a fake clock."""

from __future__ import annotations

import gc
import math
import random
import statistics
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archprof.errors import UsageError
from archprof.profiling.sampling import MOST, check_settings, collect, collect_together
from archprof.profiling.statistics import LEAST, Ratio, doubts, interval, ratio, summarise, supports

TIMES = st.floats(1e-6, 1e3)
STRETCHES = st.lists(st.lists(TIMES, min_size=1, max_size=12), min_size=1, max_size=6)


class World:
    """Passes that take drawn times, on a clock that only they advance."""

    def __init__(self, times: Iterator[float]) -> None:
        self.now = 0.0
        self.times = times
        self.calls = 0

    def once(self) -> dict[str, float]:
        self.calls += 1
        seconds = next(self.times)
        self.now += seconds
        return {"forward": seconds}

    def clock(self) -> float:
        return self.now


def lognormal(seed: int, median: float = 1.0, sigma: float = 0.3) -> Iterator[float]:
    draw = random.Random(seed)
    while True:
        yield median * math.exp(draw.gauss(0, sigma))


# --- statistics


@pytest.mark.parametrize(
    ("count", "low", "high"),
    # 1-based ranks of the table of 95 % intervals of a median (Conover, table A3 by P(B < k) <= 0.025)
    [(1, 1, 1), (5, 1, 5), (6, 1, 6), (8, 1, 8), (9, 2, 8), (10, 2, 9), (20, 6, 15), (50, 18, 33), (100, 40, 61)],
)
def test_ranks_of_the_interval(count: int, low: int, high: int) -> None:
    assert interval([float(rank) for rank in range(1, count + 1)]) == (low, high)


@pytest.mark.parametrize("count", [6, 9, 25, 64, 65, 200])
def test_the_interval_is_the_narrowest_that_misses_in_at_most_5_percent(count: int) -> None:
    low, _ = interval([float(rank) for rank in range(1, count + 1)])

    def missing(rank: int) -> float:
        return 2 * sum(math.comb(count, below) for below in range(rank)) / 2**count

    assert missing(int(low)) <= 0.05 < missing(int(low) + 1)


@pytest.mark.parametrize(("percent", "least"), [(50, 6), (90, 36), (95, 72), (99, 368)])
def test_a_percentile_needs_so_many_samples(percent: int, least: int) -> None:
    assert not supports(least - 1, percent)
    assert supports(least, percent)


def test_percentiles_stand_where_the_count_supports_them() -> None:
    assert summarise([[1.0] * 5], 0.02).percentiles == {}
    found = summarise([[float(each) for each in range(101)]], 0.02)
    assert found.percentiles == {"p50": 50.0, "p90": 90.0, "p95": 95.0}
    assert set(summarise([[1.0] * 368], 0.02).percentiles) == {"p50", "p90", "p95", "p99"}


def test_the_median_is_that_of_the_stretches() -> None:
    found = summarise([[1.0, 1.0, 9.0], [2.0, 2.0], [3.0]], 0.02)
    assert found.median == 2.0
    assert found.spread == (3.0 - 1.0) / 2.0
    assert (found.count, found.minimum, found.maximum) == (6, 1.0, 9.0)
    assert found.stretches == ((1.0, 1.0, 9.0), (2.0, 2.0), (3.0,))


def test_the_spread_between_stretches_widens_the_interval() -> None:
    one, other = [1.0] * 50, [1.1] * 50
    assert interval(sorted(one * 2 + other)) == (1.0, 1.0)
    found = summarise([one, one, other], 0.02)
    assert (found.median, found.low, found.high, found.settled) == (1.0, 1.0, 1.1, False)


def test_outliers_are_counted_and_kept() -> None:
    calm = [1.0, 1.1, 1.2, 1.3] * 10
    found = summarise([[*calm, 1.9, 2.5]], 0.02)  # quartiles 1.1 and 1.3 or so: 3 ranges above are 1.9
    assert found.outliers == 1
    assert found.maximum == 2.5
    assert found.count == 42


def test_drift_is_the_last_quarter_against_the_first() -> None:
    assert summarise([[1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0]], 0.02).drift == (3.0 - 1.0) / 2.0
    assert summarise([[1.0, 2.0, 3.0]], 0.02).drift == 0.0


def test_under_six_samples_nothing_is_settled() -> None:
    assert LEAST == 6
    few = summarise([[1.0] * 5], 0.5)
    assert (few.low, few.high, few.settled) == (1.0, 1.0, False)
    assert summarise([[1.0] * 6], 0.5).settled


def test_a_clock_too_coarse_gives_zeros_and_no_error() -> None:
    found = summarise([[0.0] * 8], 0.02)
    assert (found.median, found.spread, found.drift, found.outliers) == (0.0, 0.0, 0.0, 0)


@settings(max_examples=60, deadline=None)
@given(STRETCHES, st.floats(0.001, 0.5))
def test_what_always_holds(stretches: list[list[float]], precision: float) -> None:
    found = summarise(stretches, precision)
    assert found.minimum <= found.low <= found.median <= found.high <= found.maximum
    assert found.minimum <= found.quartile_1 <= found.quartile_3 <= found.maximum
    assert found.count == sum(map(len, stretches))
    assert 0 <= found.outliers < max(found.count, 1)
    if found.settled:
        assert found.high <= found.median * (1 + precision)
        assert found.low >= found.median * (1 - precision)


@settings(max_examples=40, deadline=None)
@given(STRETCHES, st.sampled_from([0.25, 2.0, 1024.0]))
def test_times_in_another_unit_say_the_same(stretches: list[list[float]], factor: float) -> None:
    one = summarise(stretches, 0.02)
    other = summarise([[sample * factor for sample in stretch] for stretch in stretches], 0.02)
    for name in ("median", "low", "high", "minimum", "maximum", "quartile_1", "quartile_3"):
        assert getattr(other, name) == pytest.approx(getattr(one, name) * factor)
    assert (one.settled, one.outliers, one.count) == (other.settled, other.outliers, other.count)


@pytest.mark.parametrize("sigma", [0.05, 0.8])
@pytest.mark.parametrize("stretches", [1, 5])
def test_the_interval_holds_the_median_of_what_was_drawn_from(sigma: float, stretches: int) -> None:
    held = 0
    for seed in range(400):
        draws = lognormal(seed, 1.0, sigma)
        found = summarise([[next(draws) for _ in range(30 // stretches)] for _ in range(stretches)], 0.02)
        held += found.low <= 1.0 <= found.high
    assert held >= 0.95 * 400 - 9  # two standard deviations of 400 tries


def test_an_interval_of_stretches_that_differ_still_holds_the_median() -> None:
    """Neighbours are alike: an interval that takes them for independent misses; the stretches' spread shows it."""
    held = naive = 0
    for seed in range(300):
        draw = random.Random(seed)
        stretches = []
        for _ in range(5):
            level = math.exp(draw.gauss(0, 0.1))
            stretches.append([level * math.exp(draw.gauss(0, 0.01)) for _ in range(20)])
        found = summarise(stretches, 0.02)
        held += found.low <= 1.0 <= found.high
        low, high = interval(sorted(sample for stretch in stretches for sample in stretch))
        naive += low <= 1.0 <= high
    assert held >= 0.9 * 300
    assert naive < held


def test_the_ratio_of_rounds_is_blind_to_drift() -> None:
    drifting = [1.0 + place / 10 for place in range(20)]
    one = summarise([[1.5 * each for each in drifting]], 0.02)
    found = ratio(one, summarise([drifting], 0.02))
    assert found == Ratio(*[pytest.approx(1.5)] * 3)


def test_doubts_in_words() -> None:
    calm = summarise([[1.0] * 30], 0.02)
    assert doubts("forward", calm, 0.02) == []
    few = summarise([[1.0, 1.0]], 0.02)
    assert doubts("forward", few, 0.02) == [
        "forward: the precision of 2 % was not reached: 2 samples: a 95 % interval needs 6"
    ]
    rising = summarise([[1.0] * 10, [1.0] * 10, [1.5] * 10, [1.5] * 10], 0.02)
    assert doubts("backward", rising, 0.02) == [
        "backward: the precision of 2 % was not reached: after 40 samples the median is known to 20 %",
        "backward: the last quarter's median lies 40 % above the first's",
    ]
    wild = summarise([[1.0] * 27 + [3.0] * 3], 0.02)
    assert "forward: 3 of 30 samples lie far outside the others" in doubts("forward", wild, 0.02)


# --- when sampling stops


def test_it_stops_when_the_precision_is_reached() -> None:
    world = World(lognormal(1, 0.01, 0.02))
    found = collect(world.once, precision=0.02, budget=100.0, now=world.clock)["forward"]
    assert found.settled
    assert world.now < 50.0
    assert len(found.stretches) == 5
    assert min(map(len, found.stretches)) >= 5


def test_it_stops_when_the_budget_ends() -> None:
    world = World(lognormal(2, 0.1, 0.5))
    found = collect(world.once, precision=0.001, budget=5.0, now=world.clock)["forward"]
    assert not found.settled
    assert 5.0 < world.now < 8.0  # the first pass and the one that crosses the end come on top
    assert found.count > 20


def test_one_sample_is_always_taken() -> None:
    world = World(iter([3.0, 4.0, 2.0]))  # the first pass, one to warm up, and the sample
    found = collect(world.once, budget=0.001, now=world.clock)["forward"]
    assert (found.count, found.median, found.settled) == (1, 2.0, False)


def test_the_first_pass_is_outside_the_budget_and_no_sample() -> None:
    world = World(iter([1000.0, *[1.0] * 100]))
    found = collect(world.once, budget=50.0, now=world.clock)["forward"]
    assert found.maximum == 1.0
    assert found.settled


def test_warming_up_lasts_while_times_fall() -> None:
    falling = [10.0, *(10.0 * 0.8**step for step in range(15))]

    def times() -> Iterator[float]:
        yield from falling
        while True:
            yield 0.3

    world = World(times())
    found = collect(world.once, budget=1000.0, now=world.clock)["forward"]
    assert found.maximum < 0.5
    assert found.settled


def test_warming_up_takes_a_fifth_of_the_budget_at_most() -> None:
    def times() -> Iterator[float]:
        seconds = 10.0
        while True:
            yield seconds
            seconds *= 0.99**3

    world = World(times())
    found = collect(world.once, precision=0.001, budget=100.0, now=world.clock)["forward"]
    assert found.stretches[0][0] > 10.0 * 0.99 ** (3 * 5)


def test_passes_without_time_end_at_a_count() -> None:
    draw = random.Random(0).random
    ticks = iter(range(10**9))
    found = collect(lambda: {"forward": draw()}, precision=1e-6, budget=1e6, now=lambda: 100.0 * next(ticks) ** 0.5)
    assert found["forward"].count == MOST


@pytest.mark.parametrize("precision", [0.05, 0.02])
def test_stopping_early_costs_no_coverage(precision: float) -> None:
    held = 0
    for seed in range(200):
        world = World(lognormal(seed, 0.01, 0.1))
        found = collect(world.once, precision=precision, budget=20.0, now=world.clock)["forward"]
        held += found.low <= 0.01 <= found.high
    assert held >= 0.95 * 200 - 6


def test_runs_take_turns_in_shuffled_order() -> None:
    order: list[str] = []

    def run(name: str) -> dict[str, float]:
        order.append(name)
        return {"forward": 1.0, "backward": 2.0}

    runs = {name: (lambda name=name: run(name)) for name in "abc"}
    ticks = iter(range(10_000))
    found = collect_together(runs, precision=0.02, budget=500.0, now=lambda: float(next(ticks)))
    assert {name: set(parts) for name, parts in found.items()} == {name: {"forward", "backward"} for name in "abc"}
    count = found["a"]["forward"].count
    rounds = [tuple(order[place : place + 3]) for place in range(len(order) - 3 * count, len(order), 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len(set(rounds)) > 3
    assert {timing.count for parts in found.values() for timing in parts.values()} == {count}


def test_only_the_watched_runs_must_settle() -> None:
    wild = lognormal(3, 1.0, 2.0)
    runs = {"calm": lambda: {"forward": 1.0}, "wild": lambda: {"forward": next(wild)}}
    ticks = iter(range(100_000))
    found = collect_together(runs, budget=90_000.0, watched=["calm"], now=lambda: float(next(ticks)))
    assert found["calm"]["forward"].settled
    assert not found["wild"]["forward"].settled
    assert found["wild"]["forward"].count < 100


def test_the_garbage_collector_rests_within_a_pass() -> None:
    seen: list[bool] = []

    def once() -> dict[str, float]:
        seen.append(gc.isenabled())
        return {"forward": 1.0}

    gc.enable()
    collect(once, budget=0.05)
    assert set(seen) == {False}
    assert gc.isenabled()
    gc.disable()
    try:
        collect(once, budget=0.05)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_pass_that_fails_leaves_the_garbage_collector_as_it_was() -> None:
    def once() -> dict[str, float]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        collect(once)
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("precision", "budget", "message"),
    [
        (0.0, 1.0, "precision must be above 0 and below 1 (0.02 is 2 %), not 0"),
        (-0.1, 1.0, "precision must be above 0 and below 1 (0.02 is 2 %), not -0.1"),
        (2.0, 1.0, "precision must be above 0 and below 1 (0.02 is 2 %), not 2"),
        (math.nan, 1.0, "precision must be above 0 and below 1 (0.02 is 2 %), not nan"),
        (0.02, 0.0, "budget must be a number of seconds above 0, not 0"),
        (0.02, -1.0, "budget must be a number of seconds above 0, not -1"),
        (0.02, math.inf, "budget must be a number of seconds above 0, not inf"),
        (0.02, math.nan, "budget must be a number of seconds above 0, not nan"),
    ],
)
def test_settings_that_nothing_can_be_measured_with(precision: float, budget: float, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_settings(precision, budget)
    assert str(caught.value) == message
    with pytest.raises(UsageError):
        collect(lambda: {"forward": 1.0}, precision=precision, budget=budget)


@settings(max_examples=20, deadline=None)
@given(st.lists(TIMES, min_size=2, max_size=80), st.integers(1, 7))
def test_every_sample_is_kept_in_order(times: list[float], stretches: int) -> None:
    world = World(iter([*times, *[1e9] * 3]))
    found = collect(world.once, precision=1e-9, budget=sum(times), stretches=stretches, now=world.clock)["forward"]
    flat = [sample for stretch in found.stretches for sample in stretch]
    assert flat == [*times, 1e9, 1e9, 1e9][world.calls - len(flat) : world.calls]
    assert found.count == len(flat)
    assert len(found.stretches) <= stretches
    assert found.median == statistics.median(map(statistics.median, found.stretches))
