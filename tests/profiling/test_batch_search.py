"""The search for the largest batch: what it finds, and how few batches it tries for it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archprof.profiling.batch_search import MOST, predict, search


@pytest.mark.parametrize(
    ("largest", "predicted", "trials"),
    [
        (100, 100, [(100, True), (112, False), (106, False), (103, False), (101, False)]),
        (100, 80, [(80, True), (90, True), (110, False), (100, True), (105, False), (102, False), (101, False)]),
        (3, 8, [(8, False), (7, False), (5, False), (1, True), (3, True), (4, False)]),
        (1, 1, [(1, True), (2, False)]),
        (0, 4, [(4, False), (3, False), (1, False)]),
        (0, 0, [(1, False)]),
    ],
)
def test_which_batches_are_tried(largest: int, predicted: int, trials: list[tuple[int, bool]]) -> None:
    found = search(lambda batch: batch <= largest, predicted)
    assert list(found.trials) == trials
    assert (found.fits, found.refused) == (largest, largest + 1)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, MOST - 1), st.integers(0, 2 * MOST))
def test_what_it_finds_fits_and_what_lies_a_64th_above_does_not(largest: int, predicted: int) -> None:
    tried: list[int] = []

    def fits(batch: int) -> bool:
        tried.append(batch)
        return batch <= largest

    found = search(fits, predicted)
    assert found.refused is not None
    assert found.fits <= largest < found.refused
    assert found.refused - found.fits <= max(1, found.fits // 64)
    assert found.fits == 0 or found.fits in tried
    assert found.refused in tried
    assert len(tried) == len(set(tried)) <= 36
    assert all(1 <= batch <= MOST for batch in tried)


def test_a_network_that_takes_any_batch_ends_at_the_most() -> None:
    found = search(lambda _: True, 1000)
    assert (found.fits, found.refused) == (MOST, None)


def test_what_a_trial_raises_ends_the_search() -> None:
    def fits(batch: int) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        search(fits, 8)


@pytest.mark.parametrize(("limit", "largest"), [(100, 0), (110, 1), (119, 1), (1100, 100), (10**9, MOST)])
def test_the_prediction_is_the_largest_batch_within_the_limit(limit: int, largest: int) -> None:
    assert predict(lambda batch: 100 + 10 * batch, limit) == largest
