"""Two runs cell by cell: what is called different, what cannot be compared, and what a gate stops at."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from archprof.errors import UsageError
from archprof.profiling.comparison import FLOOR, Comparison, compare, failures, judge
from archprof.profiling.records import Cell, Key, Run, Timing
from archprof.profiling.statistics import summarise


def timing(
    rng: random.Random, level: float, stretch: float, sample: float, stretches: int = 5, each: int = 5
) -> Timing:
    """A Timing of samples with lognormal noise, between the stretches and within them."""
    taken = []
    for _ in range(stretches):
        middle = level * rng.lognormvariate(0, stretch)
        taken.append([middle * rng.lognormvariate(0, sample) for _ in range(each)])
    return summarise(taken, 0.02)


def verdicts(seed: int, shift: float, pairs: int, *shape: Any) -> Counter[str]:
    rng = random.Random(seed)
    return Counter(judge(timing(rng, 1.0, *shape), timing(rng, 1 + shift, *shape))[0] for _ in range(pairs))


@pytest.mark.parametrize(
    "shape",
    [
        (0.0, 0.01),  # samples that differ by 1 %
        (0.01, 0.0),  # stretches that do
        (0.01, 0.03),
        (0.0, 0.1),
        (0.1, 0.03),  # a machine that wanders by 10 %
        (0.1, 0.0, 3, 3),  # of slow passes there are few
        (0.1, 0.03, 4, 3),
        (0.0, 0.1, 1, 5),
    ],
)
def test_of_1000_pairs_of_one_distribution_fewer_than_1_percent_are_called_different(shape: tuple[Any, ...]) -> None:
    found = verdicts(1, 0.0, 1000, *shape)
    assert found["faster"] + found["slower"] < 10


@pytest.mark.parametrize("shape", [(0.0, 0.01), (0.01, 0.0), (0.007, 0.007)])
def test_a_shift_of_5_percent_at_1_percent_noise_is_found_in_over_95_percent(shape: tuple[float, float]) -> None:
    assert verdicts(2, 0.05, 1000, *shape)["slower"] > 950
    assert verdicts(3, 1 / 1.05 - 1, 1000, *shape)["faster"] > 950


def test_equal_runs_of_1_percent_noise_are_mostly_the_same() -> None:
    assert verdicts(4, 0.0, 500, 0.0, 0.01)["same"] > 475


def flat(median: float, half: float = 0.0, stretches: int = 5) -> Timing:
    """A Timing with an interval of `half` on either side."""
    made = summarise([[median] * 5] * stretches, 0.02)
    return msgspec.structs.replace(made, low=median * (1 - half), high=median * (1 + half))


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (flat(1.0), flat(1.0), ("same", "")),
        (flat(1.0, 0.01), flat(1.06, 0.01), ("slower", "")),
        (flat(1.06, 0.01), flat(1.0, 0.01), ("faster", "")),
        (flat(1.0), flat(1.029), ("same", "")),  # certain, but below the floor
        (flat(1.0, 0.005), flat(1.029, 0.005), ("unclear", "")),  # it may be above
        (flat(1.0, 0.04), flat(1.06, 0.04), ("unclear", "")),  # the intervals overlap
        (flat(1.0, 0.1), flat(1.0, 0.1), ("unclear", "")),
        (flat(1.0, 0.02), flat(1.0412, 0.02), ("unclear", "")),  # they all but touch
        (flat(1.0, 0.01, 4), flat(1.06, 0.01, 4), ("unclear", "")),  # the gap is narrower than the intervals
        (flat(1.0, 0.01, 4), flat(1.07, 0.01, 4), ("slower", "")),
        (flat(1.0, 0.0, 2), flat(2.0), ("unclear", "10 samples are too few: measure longer")),
        (flat(0.0), flat(1.0), ("unclear", "the clock is too coarse for a time so short")),
        (flat(1.0), flat(0.0), ("unclear", "the clock is too coarse for a time so short")),
    ],
)
def test_what_two_timings_say(before: Timing, after: Timing, verdict: tuple[str, str]) -> None:
    assert judge(before, after) == verdict


# --- runs


KEY = Key("resnet-50", 8, "3x224x224", multiply_adds=3857973248)


def cell(seconds: float = 1.0, *, key: Key = KEY, **more: Any) -> Cell:
    return Cell(key, "ok", timings={key.pass_: flat(seconds, 0.001)}, **more)


def run(*cells: Cell, hardware: str = "a CPU", **environment: Any) -> Run:
    return Run(1, "2026-11-24", "0.1.0", "archprof bench", "key", hardware, environment, cells)


def told(found: Comparison) -> list[tuple[str, str]]:
    return [(each.verdict, each.reason) for each in found.cells]


def test_cells_align_whatever_their_order() -> None:
    other = msgspec.structs.replace(KEY, batch=16)
    found = compare(run(cell(1.0), cell(5.0, key=other)), run(cell(5.0, key=other), cell(1.1)))
    assert [(each.key.batch, each.verdict, each.before, each.after) for each in found.cells] == [
        (16, "same", 5.0, 5.0),
        (8, "slower", 1.0, 1.1),
    ]
    assert found.cells[1].ratio == pytest.approx(1.1)
    assert (found.cells[1].low, found.cells[1].high) == pytest.approx((1.1 * 0.999 / 1.001, 1.1 * 1.001 / 0.999))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network", "resnet-18"), ("batch", 1), ("input", "3x256x256"), ("dtype", "bfloat16"), ("amp", "float16"),
        ("layout", "nhwc"), ("mode", "compile"), ("pass_", "step"),
    ],
)  # fmt: skip
def test_another_way_of_measuring_is_another_cell(field: str, value: Any) -> None:
    other = msgspec.structs.replace(KEY, **{field: value})
    assert told(compare(run(cell()), run(cell(key=other)))) == [
        ("not comparable", "only in the second run"),
        ("not comparable", "only in the first run"),
    ]


def test_a_network_that_changed_is_not_comparable() -> None:
    changed = msgspec.structs.replace(KEY, multiply_adds=4089184256)
    before, after = run(cell(1.0)), run(cell(1.1, key=changed))
    (found,) = compare(before, after).cells
    assert (found.verdict, found.reason) == ("not comparable", "multiply_adds 3,857,973,248 -> 4,089,184,256")
    assert found.ratio == pytest.approx(1.1)
    assert told(compare(before, after, across=["multiply_adds"])) == [("slower", "")]
    unknown = msgspec.structs.replace(KEY, multiply_adds=None)
    assert told(compare(before, run(cell(1.0, key=unknown)))) == [("same", "")]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({"threads": 1}, {"threads": 2}, "threads 1 -> 2"),
        ({"torch": "2.12.1"}, {"torch": "2.13.0+cpu"}, "torch 2.12 -> 2.13"),
        ({"tf32_matmul": False}, {"tf32_matmul": True}, "tf32_matmul False -> True"),
        ({"threads": 1, "torch": "2.12"}, {"threads": 2, "torch": "2.13"}, "torch 2.12 -> 2.13; threads 1 -> 2"),
    ],
)
def test_on_one_device_the_key_and_the_choices_must_be_equal(before: Any, after: Any, reason: str) -> None:
    old, new = run(cell(), **before), run(cell(), **after)
    assert told(compare(old, new)) == [("not comparable", reason)]
    assert told(compare(old, new, across=["torch", "threads", "tf32_matmul"])) == [("same", "")]
    assert told(compare(old, new, across=["all"])) == [("same", "")]


def test_what_is_no_part_of_the_key_is_told_and_no_obstacle() -> None:
    found = compare(
        run(cell(), torch="2.13.0", driver="550", commit="a1", load_average=1.0, bench={"networks": ["x"]}),
        run(cell(), torch="2.13.1", commit="b2", load_average=2.0, variables={"OMP_NUM_THREADS": "1"}),
    )
    assert told(found) == [("same", "")]
    assert found.differences == {
        "torch": ("2.13.0", "2.13.1"),
        "commit": ("a1", "b2"),
        "variables.OMP_NUM_THREADS": ("unknown", "1"),
        "driver": ("550", "unknown"),
    }


def test_a_cells_own_settings_go_before_its_runs() -> None:
    old = run(cell(settings={"threads": 1}), threads=8)
    assert told(compare(old, run(cell(settings={"threads": 2}), threads=8))) == [("not comparable", "threads 1 -> 2")]


def test_two_devices_are_compared_but_not_on_different_choices() -> None:
    old = run(cell(2.0), hardware="one", threads=8, torch="2.4")
    assert told(compare(old, run(cell(1.0), hardware="another", threads=16, torch="2.13"))) == [("faster", "")]
    chosen = run(cell(2.0), hardware="one", tf32_matmul=True), run(cell(1.0), hardware="another", tf32_matmul=False)
    assert told(compare(*chosen)) == [("not comparable", "tf32_matmul True -> False")]


def test_a_gate_is_of_one_machine() -> None:
    runs = run(cell(2.0), hardware="one"), run(cell(1.0), hardware="another")
    assert told(compare(*runs, one_machine=True)) == [("not comparable", "hardware one -> another")]
    assert told(compare(*runs, one_machine=True, across=["hardware"])) == [("faster", "")]


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^unknown key thread in --across: did you mean threads\?$"):
        compare(run(cell()), run(cell()), across=["thread"])


def test_a_cell_that_failed_says_why() -> None:
    lost = Cell(KEY, "oom", reason="6.1 GiB wanted")
    found = compare(run(cell()), run(lost))
    assert told(found) == [("not comparable", "ok -> oom: 6.1 GiB wanted")]
    assert found.cells[0].lost
    back = compare(run(lost), run(cell()))
    assert told(back) == [("not comparable", "oom -> ok: 6.1 GiB wanted")]
    assert not back.cells[0].lost


def test_a_published_figure_gives_a_ratio_and_no_verdict() -> None:
    figure = Cell(KEY, "ok", figures={"forward": 2.0})
    (found,) = compare(run(figure, hardware="Titan X"), run(cell(1.0))).cells
    assert (found.verdict, found.reason, found.ratio) == ("unclear", "a published figure has no interval", 0.5)


def test_a_gate_stops_at_slower_cells_and_at_lost_ones() -> None:
    keys = [msgspec.structs.replace(KEY, batch=batch) for batch in (1, 2, 4, 8)]
    before = run(*(cell(1.0, key=key) for key in keys))
    after = run(cell(1.04, key=keys[0]), cell(1.06, key=keys[1]), cell(0.5, key=keys[2]), Cell(keys[3], "failed"))
    found = compare(before, after, one_machine=True)
    assert [each.key.batch for each in failures(found, 0.05)] == [2, 8]
    assert [each.key.batch for each in failures(found, 0.03)] == [1, 2, 8]
    assert (found.floor, found.count("slower"), found.count("faster")) == (FLOOR, 2, 1)
