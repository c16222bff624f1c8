"""The garbage collector rests while a graph is made, and afterwards is as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from archprof.collector import rare_collections


@pytest.fixture(autouse=True)
def _thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_the_outermost_of_nested_rests_restores() -> None:
    gc.set_threshold(600, 11, 12)
    with rare_collections():
        assert gc.get_threshold() == (1_000_000, 11, 12)
        with rare_collections():
            assert gc.get_threshold() == (1_000_000, 11, 12)
        assert gc.get_threshold() == (1_000_000, 11, 12)
    assert gc.get_threshold() == (600, 11, 12)


def test_rests_that_overlap_in_threads_restore_when_the_last_ends() -> None:
    gc.set_threshold(600, 11, 12)
    first, second = rare_collections(), rare_collections()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold() == (1_000_000, 11, 12)
    second.__exit__(None, None, None)
    assert gc.get_threshold() == (600, 11, 12)


def test_an_error_restores() -> None:
    gc.set_threshold(600, 11, 12)
    with pytest.raises(ValueError, match="wrong"), rare_collections():
        raise ValueError("wrong")
    assert gc.get_threshold() == (600, 11, 12)


@pytest.mark.parametrize("threshold", [0, 5_000_000])
def test_a_collector_that_is_off_or_rarer_is_left_so(threshold: int) -> None:
    gc.set_threshold(threshold, 11, 12)
    with rare_collections():
        assert gc.get_threshold()[0] == threshold
    assert gc.get_threshold()[0] == threshold
