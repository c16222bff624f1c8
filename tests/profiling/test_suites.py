"""The shipped suites: every one expands, and its cells are those that others published figures of."""

from __future__ import annotations

import pytest

import archprof
from archprof.errors import UsageError
from archprof.profiling.matrix import expand
from archprof.profiling.published import published_runs
from archprof.profiling.records import Key
from archprof.profiling.suites import load_suite, suite_names

# in the suites for the networks' sake: what was published of them is of other networks (benchmarks/published/make.py)
NOT_COMPARABLE = {"convnet-benchmarks": {"googlenet"}, "cnn-benchmarks": {"alexnet", "googlenet"}}


def _keys(name: str) -> list[Key]:
    suite = load_suite(name)
    names = {network for matrix in suite.matrices for network in matrix.networks}
    return [request.key for request in expand(suite.matrices, {each: archprof.load(each) for each in names})]


@pytest.mark.parametrize(
    ("name", "cells"), [("cnn-benchmarks", 9), ("convnet-benchmarks", 16), ("pytorch-image-models", 169)]
)
def test_a_suite_has_the_cells_that_were_published(name: str, cells: int) -> None:
    keys = _keys(name)
    published = {cell.key for run in published_runs() if str(run.published).endswith(name) for cell in run.cells}
    assert len(keys) == len(set(keys)) == cells
    comparable = {key for key in keys if key.network not in NOT_COMPARABLE.get(name, ())}
    assert comparable <= published
    # the rest is of networks that archprof has not, or in a layout that torch has not
    assert {key for key in published if key.layout != "chwn" and " of " not in key.network} == comparable


def test_the_tests_above_are_of_all_suites() -> None:
    assert suite_names() == ["cnn-benchmarks", "convnet-benchmarks", "pytorch-image-models"]


def test_timm_is_another_name() -> None:
    assert load_suite("timm") == load_suite("pytorch-image-models")


def test_an_unknown_suite_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"^unknown suite cnn-benchmark: did you mean cnn-benchmarks\?$"):
        load_suite("cnn-benchmark")
