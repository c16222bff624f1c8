"""What seeds can show: the exact test against counting by hand and scipy, the rule by simulation."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import msgspec
import pytest
from scipy import stats

from archprof.errors import UsageError
from archprof.experiments.records import Trial
from archprof.experiments.verdicts import (
    Difference,
    group_names,
    judge,
    label_names,
    notes,
    sign_flip,
    t_quantile,
)
from tests.experiments.made import Errors, replaced, run, trial, typical


def outcomes(trials: Sequence[Trial]) -> dict[str, str]:
    """The verdicts by letter; those of (c) by the net that they speak of."""
    return {
        each.letter if each.letter != "c" else f"c {each.claim.partition(':')[0]}": each.text for each in judge(trials)
    }


# --- the arithmetic


@pytest.mark.parametrize(
    ("values", "p"),
    [
        ([1.0], 1 / 2),
        ([-1.0], 1.0),
        ([0.0, 0.0], 1.0),
        ([1.0, 2.0], 1 / 4),
        ([2.0, -1.0], 2 / 4),  # +2+1, +2-1
        ([1.0, 1.0, 1.0, 1.0, 1.0], 1 / 32),
        ([5.0, 4.0, 3.0, 2.0, 0.0], 2 / 32),  # the 0 either way
        ([5.0, 4.0, 3.0, 2.0, -1.0], 2 / 32),
        ([0.3, 0.1, 0.2, -0.1, 0.5], 3 / 32),  # of the signs only -0.1 and +-0.1: 0.1 - 0.1, 0.1 + 0.1, -0.1 + 0.1
        ([0.1, 0.2, -0.3], 5 / 8),  # the sum is 0: the same as that of all three reversed, though floats differ
    ],
)  # fmt: skip
def test_sign_flip(values: list[float], p: float) -> None:
    assert sign_flip(values) == p


def test_sign_flip_counts_all_ways() -> None:
    drawn = random.Random(0)
    for count in range(1, 11):
        values = [drawn.randint(-9, 9) for _ in range(count)]
        every = [sum(map(int.__mul__, signs, values)) for signs in itertools.product((1, -1), repeat=count)]
        assert sign_flip(values) == sum(each >= sum(values) for each in every) / 2**count


def test_sign_flip_of_many_seeds() -> None:
    """32 seeds have 2^32 ways; scipy draws at random from them."""
    drawn = random.Random(1)
    values = [drawn.gauss(0.3, 1) for _ in range(32)]
    sampled = stats.permutation_test(
        (values,), lambda x, axis: x.sum(axis=axis), permutation_type="samples", alternative="greater",
        vectorized=True, n_resamples=20000, rng=0,
    )  # fmt: skip
    assert sign_flip(values) == pytest.approx(sampled.pvalue, abs=0.01)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 7, 10, 31])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_t_quantile(degrees: int, level: float) -> None:
    assert t_quantile(degrees, level) == pytest.approx(stats.t.ppf((1 + level) / 2, degrees), rel=1e-9)


def test_interval() -> None:
    values = (3.0, 1.0, 2.5, 2.0)
    difference = Difference("test error", "a", "b", (0, 1, 2, 3), values)
    low, high = stats.t.interval(0.95, 3, loc=2.125, scale=stats.sem(values))
    assert difference.mean == 2.125
    assert difference.interval == (pytest.approx(low), pytest.approx(high))
    alone = Difference("test error", "a", "b", (0,), (3.0,))
    assert (alone.mean, alone.interval) == (3.0, None)
    assert Difference("test error", "a", "b", (), ()).mean is None


# --- the claims


def test_typical_run() -> None:
    assert outcomes(run()) == {
        "a": "shown",
        "b": "shown",
        "c plain": "shown",
        "c residual": "shown",
        "d": "shown",
        "e": "shown",
        "f": "not shown",
    }


def test_evidence_is_paired_by_seed() -> None:
    by_letter = {each.letter: each for each in judge(run())}
    (evidence,) = by_letter["a"].evidence
    assert evidence.difference == Difference(
        "training error", "plain-56", "plain-20", (0, 1, 2, 3, 4), tuple(57.0 + seed - 0.2 for seed in range(5))
    )
    assert (evidence.side, evidence.bound, evidence.agreeing, evidence.p) == ("above", 1.0, 5, 1 / 32)
    pairs = [
        (each.difference.quantity, each.difference.first, each.difference.second) for each in by_letter["d"].evidence
    ]
    assert pairs == [
        ("training error", "residual-20", "plain-20"),
        ("training error", "residual-56", "plain-56"),
        ("test error", "residual-20", "plain-20"),
        ("test error", "residual-56", "plain-56"),
    ]
    pairs = [
        (each.difference.quantity, each.difference.first, each.difference.second) for each in by_letter["e"].evidence
    ]
    assert pairs == [
        ("layer responses", "residual-56", "residual-20"),
        ("layer responses", "residual-20", "plain-20"),
        ("layer responses", "residual-56", "plain-56"),
    ]
    assert by_letter["e"].evidence[0].difference.mean == pytest.approx(0.541 - 0.552)


@pytest.mark.parametrize("seeds", [1, 2, 3, 4])
def test_fewer_than_five_seeds_show_nothing(seeds: int) -> None:
    assert set(outcomes(run(seeds=seeds)).values()) == {"not shown (needs 5 seeds)"}
    backwards = run(lambda depth, *rest: typical(76 - depth, *rest), seeds=seeds)
    assert set(outcomes(backwards).values()) == {"not shown (needs 5 seeds)"}


def test_contradicted() -> None:
    """The same nets with their depths exchanged: plain gets better with depth, residual worse than it."""
    found = outcomes(
        run(
            lambda depth, shortcut, seed: (
                (40, 42, 0.5) if (depth, shortcut) in ((20, "none"), (56, "identity")) else (1, 2, 0.6)
            )
        )
    )
    assert found == {
        "a": "contradicted",
        "b": "contradicted",
        "c plain": "contradicted",
        "c residual": "contradicted",
        "d": "contradicted",  # at 56; at 20 it is shown
        "e": "contradicted",  # the residual net's are larger at 20
        "f": "contradicted",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rise", "training", "test"),
    [
        (0.5, "contradicted", "contradicted"),  # a rise, but of less than a point
        (1.0, "not shown", "not shown"),
        (1.5, "shown", "shown"),
    ],
)
def test_a_rise_must_exceed_the_least(rise: float, training: str, test: str) -> None:
    found = outcomes(run(lambda depth, shortcut, seed: (depth * rise / 36, depth * rise / 36, 1.0)))
    assert (found["a"], found["c plain"]) == (training, test)


@pytest.mark.parametrize(
    ("rise", "training", "test"),
    [(0.9, "shown", "shown"), (1.5, "contradicted", "shown"), (2.1, "contradicted", "contradicted")],
)
def test_no_rise_has_its_margin(rise: float, training: str, test: str) -> None:
    found = outcomes(run(lambda depth, shortcut, seed: (depth * rise / 36, depth * rise / 36, 1.0)))
    assert (found["b"], found["c residual"]) == (training, test)


def test_one_seed_against_is_enough() -> None:
    trials = run()
    trials[0] = trial(20, "none", 0, 80.0, 2.8, 0.56)  # plain-20 failed in one seed of five
    found = outcomes(trials)
    assert (found["a"], found["c plain"]) == ("not shown", "shown")


def test_part_of_a_claim() -> None:
    """(e) asks residual nets to have the smaller responses at both depths."""
    found = outcomes(
        run(lambda depth, shortcut, seed: (0, 0, {20: 0.55, 56: 0.54}[depth] + 0.001 * seed * (shortcut == "none")))
    )
    assert found["e"] == "not shown"  # seed 0 has equal ones


# --- many depths, other nets


def test_several_depths() -> None:
    trials = run(lambda depth, shortcut, seed: (depth, depth, 1 / depth), depths=(44, 20, 56, 32))
    found = {each.letter: each for each in judge(trials)}
    (evidence,) = found["a"].evidence
    assert (evidence.difference.first, evidence.difference.second, evidence.difference.mean) == (
        "plain-56",
        "plain-20",
        36,
    )
    assert [(each.first, each.second, each.mean) for each in found["a"].neighbours] == [
        ("plain-32", "plain-20", 12),
        ("plain-44", "plain-32", 12),
        ("plain-56", "plain-44", 12),
    ]
    assert len(found["d"].evidence) == 8
    assert "Of the depths the shallowest (20) and the deepest (56) are judged." in notes(trials, judge(trials))


def test_two_depths_have_no_neighbours() -> None:
    assert all(each.neighbours == () for each in judge(run()))


def test_one_depth() -> None:
    found = outcomes(run(depths=(20,)))
    assert found == {
        "a": "not shown (needs two depths)",
        "b": "not shown (needs two depths)",
        "c plain": "not shown (needs two depths)",
        "c residual": "not shown (needs two depths)",
        "d": "shown",
        "e": "not shown (needs two depths and plain nets)",
        "f": "not shown (needs two depths)",
    }


def test_plain_nets_alone() -> None:
    assert outcomes(run(shortcuts=("none",))) == {"a": "shown", "c plain": "shown"}


def test_residual_nets_alone() -> None:
    assert outcomes(run(shortcuts=("identity",))) == {
        "b": "shown",
        "c residual": "shown",
        "d": "not shown (needs plain nets of the same depth)",
        "e": "not shown (needs two depths and plain nets)",
        "f": "not shown",
    }


def test_two_kinds_of_shortcut() -> None:
    trials = run(shortcuts=("projection", "none", "identity"))
    assert group_names(trials) == {
        "none": "plain",
        "identity": "residual (identity)",
        "projection": "residual (projection)",
    }
    claims = [(each.letter, each.claim.partition(":")[0]) for each in judge(trials)]
    assert claims == [
        ("a", "plain"),
        *(("b", name) for name in ("residual (identity)", "residual (projection)")),
        *(("c", name) for name in ("plain", "residual (identity)", "residual (projection)")),
        *((letter, name) for letter in "def" for name in ("residual (identity)", "residual (projection)")),
    ]


def test_a_spec_without_shortcuts() -> None:
    trials = [msgspec.structs.replace(each, network="vgg") for each in run(lambda *_: (1, 1, 1), shortcuts=("",))]
    (training, test) = judge(trials)
    assert training.claim == "vgg: training error rises with depth, by more than 1 point"
    assert (training.outcome, test.outcome) == ("contradicted", "contradicted")
    assert label_names(trials)(trials[0]) == "vgg-20"


# --- trials that went wrong


def test_a_diverged_net_is_wrong_on_every_image() -> None:
    trials = replaced(run(), 56, "none", 3, status="diverged", reason="loss nan in epoch 2", responses=())
    found = {each.letter: each for each in judge(trials)}
    assert found["a"].outcome == "shown"
    assert found["a"].evidence[0].difference.values[3] == 100 - 0.2
    assert found["e"].text == "not shown (needs 5 seeds)"
    assert found["e"].evidence[2].difference.left_out == ("seed 3: plain-56 diverged",)
    assert notes(trials, judge(trials))[-1] == (
        "Diverged, so that errors count as 100 % and layer responses are left out: plain-56 seed 3."
    )


def test_a_shallow_net_that_diverged_counts_against_the_claim() -> None:
    trials = replaced(run(), 20, "none", 3, status="diverged", epochs=(), responses=())
    assert outcomes(trials)["a"] == "not shown"
    trials = replaced(run(), 56, "identity", 3, status="diverged", epochs=(), responses=())
    found = outcomes(trials)
    assert (found["b"], found["c residual"], found["d"]) == ("not shown", "not shown", "not shown")


def test_unfinished_and_missing_trials_are_left_out() -> None:
    trials = replaced(run(seeds=6), 56, "none", 3, status="unfinished", responses=())
    found = {each.letter: each for each in judge(trials)}
    assert found["a"].outcome == "shown"  # five are left
    assert found["a"].evidence[0].difference.seeds == (0, 1, 2, 4, 5)
    assert found["a"].evidence[0].difference.left_out == ("seed 3: plain-56 is unfinished",)
    trials = [each for each in trials if (each.depth, each.shortcut, each.seed) != (20, "none", 5)]
    (evidence,) = {each.letter: each for each in judge(trials)}["a"].evidence
    assert evidence.difference.left_out == ("seed 3: plain-56 is unfinished", "seed 5: plain-20 was not trained")
    assert (evidence.outcome, evidence.reason) == ("not shown", "needs 5 seeds")


def test_nothing_finished() -> None:
    trials = [msgspec.structs.replace(each, status="unfinished", epochs=(), responses=()) for each in run()]
    assert set(outcomes(trials).values()) == {"not shown (needs 5 seeds)"}
    assert all(evidence.p is None for each in judge(trials) for evidence in each.evidence)


def test_only_equal_epochs_are_compared() -> None:
    trials = [trial(56, "none", 0, 57, 58, epochs=3), *(each for each in run() if (each.depth, each.seed) != (56, 0))]
    (evidence,) = judge(trials)[0].evidence
    assert evidence.difference.left_out == ("seed 0: epochs differ (2 and 3)",)


def test_too_many_seeds() -> None:
    with pytest.raises(UsageError, match=r"^the exact test compares at most 32 seeds, not 33$"):
        judge(run(seeds=33))
    assert outcomes(run(seeds=32))["a"] == "shown"


def test_notes() -> None:
    trials = run()
    assert notes(trials, judge(trials)) == (
        "Nets are compared at equal epochs (2 epochs); given more, a difference may shrink or grow.",
        "shown: the exact one-sided sign-flip test over paired seeds rejects the opposite at 5 %; contradicted: it "
        "rejects the claim. With five seeds all five must agree (1 in 32); fewer can show nothing. A claim of several "
        "comparisons is shown where all are, contradicted where one is.",
        "Rare failures are not excluded: no failure in 5 seeds rules out only rates above 45 %.",
        "Each claim stands alone: of 7 together, that one comes out shown by chance is likelier than 5 %.",
    )
    few = run(seeds=1)
    assert not any("Rare failures" in line for line in notes(few, judge(few)))


# --- the rule by simulation


def share_shown(letter: str, errors: Errors, runs: int = 400, seeds: int = 5, shortcuts: Sequence[str] = ()) -> float:
    """How often a claim comes out shown; of (c) that of the plain nets."""
    shortcuts = shortcuts or (("none",) if letter in "ac" else ("identity",))
    judged = (judge(run(errors, seeds=seeds, shortcuts=shortcuts)) for _ in range(runs))
    return sum(next(each for each in found if each.letter == letter).outcome == "shown" for found in judged) / runs


@pytest.mark.parametrize("seeds", [2, 5, 8])
@pytest.mark.parametrize("letter", ["a", "b", "c", "f"])
def test_without_an_effect_at_most_six_percent_are_shown(letter: str, seeds: int) -> None:
    """The nearest to the claim that is still false: the difference is the least rise, the margin, or nothing."""
    drawn = random.Random(f"{letter}{seeds}")
    effect = {"a": 1.0, "b": 1.0, "c": 1.0, "f": 0.0}[letter]

    def errors(depth: int, shortcut: str, seed: int) -> tuple[float, float, float]:
        error = 30 + drawn.gauss(0, 5) + effect * (depth == 56)
        return error, error, 0.5

    assert share_shown(letter, errors, seeds=seeds) <= 0.06


@pytest.mark.parametrize("seeds", [5, 8])
@pytest.mark.parametrize(
    ("letter", "place", "shortcuts"),
    [
        ("c", "test error", ("identity",)),
        ("d", "training error", ("none", "identity")),
        ("d", "test error", ("none", "identity")),
        ("e", "deeper", ("none", "identity")),
        ("e", "than plain", ("none", "identity")),
    ],
)
def test_a_claim_of_several_comparisons_falls_with_one(
    letter: str, place: str, shortcuts: tuple[str, ...], seeds: int
) -> None:
    """All of them clear but one, which is at the nearest that is still false: the margin, or no difference."""
    drawn = random.Random(f"{letter}{place}{seeds}")

    def errors(depth: int, shortcut: str, seed: int) -> tuple[float, float, float]:
        better = 20.0 * (shortcut == "none")
        train, test = 30 + better, 30 + better
        response = 0.5 + 0.2 * (shortcut == "none") - 0.1 * (depth == 56)
        if letter in "cd" and shortcut == "identity" and depth == 56:
            other = 50.0 if letter == "d" else 30.0  # plain at this depth, or the shallower net
            if place == "test error":
                test = other + 2.0 + drawn.gauss(0, 5)
            else:
                train = other + 1.0 + drawn.gauss(0, 5)
        if place == "deeper" and shortcut == "identity":
            response = 0.4 + drawn.gauss(0, 0.02)
        if place == "than plain":
            response = 0.5 + drawn.gauss(0, 0.02) if depth == 56 else 0.7 + 0.2 * (shortcut == "none")
        return train, test, response

    assert share_shown(letter, errors, seeds=seeds, shortcuts=shortcuts) <= 0.06

    def clear(depth: int, shortcut: str, seed: int) -> tuple[float, float, float]:
        error = 50.0 if shortcut == "none" else 30.0
        return error, error, 0.5 + 0.2 * (shortcut == "none") - 0.1 * (depth == 56) + drawn.gauss(0, 0.01)

    assert share_shown(letter, clear, runs=20, seeds=seeds, shortcuts=shortcuts) == 1.0


def test_an_effect_as_the_prototypes_is_shown() -> None:
    """plain-20 0.19 +- 0.11, plain-56 57 +- 7: claim (a) in at least 99 % of runs."""
    drawn = random.Random(0)

    def errors(depth: int, shortcut: str, seed: int) -> tuple[float, float, float]:
        error = max(0.0, drawn.gauss(0.19, 0.11)) if depth == 20 else drawn.gauss(57, 7)
        return error, error, 0.5

    assert share_shown("a", errors) >= 0.99


def test_no_rise_is_shown_where_seeds_agree() -> None:
    """resnet-20 0, resnet-56 0.009 +- 0.026: claim (b) in at least 99 % of runs."""
    drawn = random.Random(0)

    def errors(depth: int, shortcut: str, seed: int) -> tuple[float, float, float]:
        error = 0.0 if depth == 20 else max(0.0, drawn.gauss(0.009, 0.026))
        return error, error, 0.5

    assert share_shown("b", errors) >= 0.99
