"""Steps in series: found where they are, and not in noise."""

from __future__ import annotations

import random

import pytest

from archprof.profiling.changes import steps


def series(seed: int, levels: list[tuple[int, float]], noise: float) -> list[float]:
    rng = random.Random(seed)
    return [level * rng.gauss(1, noise) for count, level in levels for _ in range(count)]


@pytest.mark.parametrize("noise", [0.005, 0.01, 0.02])
def test_a_step_of_6_percent_at_run_40_is_located_within_one_run_by_ten_later_ones(noise: float) -> None:
    found = steps(series(0, [(40, 1.0), (10, 1.06)], noise))
    assert len(found) == 1
    assert abs(found[0].at - 40) <= 1
    assert found[0].change == pytest.approx(0.06, abs=0.02)


def test_many_such_series_have_their_step_there() -> None:
    found = [steps(series(seed, [(40, 1.0), (10, 1.06)], 0.01)) for seed in range(20)]
    assert sum(len(each) == 1 and abs(each[0].at - 40) <= 1 for each in found) >= 19


def test_of_200_series_of_2_percent_noise_at_most_2_show_a_step() -> None:
    assert sum(bool(steps(series(seed, [(50, 1.0)], 0.02))) for seed in range(200)) <= 2


def test_nor_do_series_with_wild_runs() -> None:
    wild = random.Random(1)
    noise = [series(seed, [(50, 1.0)], 0.02) for seed in range(100)]
    disturbed = [[value * (1.5 if wild.random() < 0.1 else 1) for value in each] for each in noise]
    assert sum(bool(steps(each)) for each in disturbed) <= 1


def test_a_step_is_found_up_and_down_again() -> None:
    up, down = steps(series(3, [(20, 1.0), (10, 1.06), (20, 1.0)], 0.01))
    assert (abs(up.at - 20) <= 1, abs(down.at - 30) <= 1) == (True, True)
    assert up.change > 0.04
    assert down.change < -0.04


def test_one_wild_run_is_no_step() -> None:
    values = series(4, [(30, 1.0)], 0.01)
    values[15] = 3.0
    assert steps(values) == ()


def test_a_step_is_found_beside_a_wild_run() -> None:
    values = series(4, [(30, 1.0), (10, 1.06)], 0.01)
    values[10] = 3.0
    assert [step.at for step in steps(values)] == [30]


def test_a_step_below_the_floor_is_not_told() -> None:
    values = series(5, [(30, 1.0), (30, 1.02)], 0.002)
    assert steps(values) == ()
    (step,) = steps(values, floor=0.01)
    assert step.at == 30


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 5, [1.0] * 50, [1.0, 2.0, 1.0, 2.0, 1.0]])
def test_what_is_short_or_constant_has_no_step(values: list[float]) -> None:
    assert steps(values) == ()


def test_a_clean_step_of_a_constant_series_is_found() -> None:
    (step,) = steps([1.0] * 10 + [1.1] * 10)
    assert (step.at, step.before, step.after) == (10, 1.0, 1.1)


def test_the_same_series_gives_the_same_steps() -> None:
    values = series(6, [(20, 1.0), (20, 1.05), (20, 1.1)], 0.01)
    assert steps(values) == steps(values)
    assert [abs(step.at - at) <= 1 for step, at in zip(steps(values), (20, 40), strict=True)] == [True, True]
