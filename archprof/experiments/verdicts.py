"""Whether depth makes errors rise: each claim judged by the exact paired sign-flip test over seeds.

A bootstrap over few seeds calls 10 % (5 seeds) to 25 % (2 seeds) of claims without any effect shown at its 5 % level;
the sign-flip test never more than 5 %. With five seeds it needs all five to agree, with fewer it can show nothing.
"""

from __future__ import annotations

import itertools
import math
import statistics
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from archprof.errors import UsageError
from archprof.experiments.records import Trial

LEVEL = 0.05  # one-sided
LEAST_SEEDS = 5  # 1/2^5 is the first below LEVEL
MOST_SEEDS = 32  # the test goes through 2^16 sums for 32
LEAST_RISE = 1.0  # points: a smaller rise is none
TRAINING_MARGIN = 1.0  # points: what 'does not rise' and 'no worse' leave room for
TEST_MARGIN = 2.0
DIVERGED_ERROR = 100.0  # %: a net whose outputs are no numbers answers nothing right

PLAIN = "none"  # the shortcut of a plain net

Outcome = Literal["shown", "contradicted", "not shown"]
Quantity = Literal["training error", "test error", "layer responses"]


class Difference(msgspec.Struct, frozen=True):
    """A quantity of one net less that of another, paired by seed.

    Errors in points of percent; of layer responses the mean over layers of the standard deviation.
    """

    quantity: Quantity
    first: str
    second: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]  # a seed each
    left_out: tuple[str, ...] = ()  # the pairs that could not be compared, and why

    @property
    def mean(self) -> float | None:
        """The mean over seeds; None without any."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The t interval of the mean at 95 %; None for fewer than two seeds."""
        count = len(self.values)
        if count < 2:
            return None
        middle = statistics.fmean(self.values)
        half = t_quantile(count - 1) * statistics.stdev(self.values) / math.sqrt(count)
        return middle - half, middle + half


class Evidence(msgspec.Struct, frozen=True):
    """A difference, and whether it lies above or below a bound as a claim says."""

    difference: Difference
    side: Literal["above", "below"]
    bound: float
    agreeing: int  # seeds whose difference is on that side
    p: float | None  # of the sign-flip test for the claim; None without seeds
    outcome: Outcome
    reason: str = ""  # of 'not shown': what is missing, if anything


class Verdict(msgspec.Struct, frozen=True):
    """What the seeds say of one claim."""

    letter: str
    claim: str
    outcome: Outcome
    reason: str
    evidence: tuple[Evidence, ...]
    neighbours: tuple[Difference, ...] = ()  # the same quantity from each depth to the next; not judged

    @property
    def text(self) -> str:
        """The outcome with its reason, as it is printed."""
        return f"{self.outcome} ({self.reason})" if self.reason else self.outcome


def judge(trials: Sequence[Trial]) -> tuple[Verdict, ...]:
    """Every claim with its verdict: 'shown', 'contradicted' or 'not shown'.

    Where depths are compared, it is the shallowest with the deepest; seeds are paired. A claim with several pieces of
    evidence is shown where all of them are, contradicted where any is. An error of a net that diverged counts as 100 %,
    and its layer responses are left out; so is a net that is unfinished. Nets without a shortcut parameter are judged
    as plain ones are. Raises UsageError for more seeds than the exact test can go through.
    """
    seeds = {trial.seed for trial in trials}
    if len(seeds) > MOST_SEEDS:
        raise UsageError(f"the exact test compares at most {MOST_SEEDS} seeds, not {len(seeds)}")
    return tuple(_Judge(trials).verdicts())


def notes(trials: Sequence[Trial], verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """What a reader must know beside the verdicts, a sentence or two each."""
    lines = []
    counts = sorted({trial.epochs[-1].epoch for trial in trials if trial.status == "finished"})
    if counts:
        epochs = f"{counts[0]} epochs" if len(counts) == 1 else f"{' or '.join(map(str, counts))} epochs"
        lines.append(f"Nets are compared at equal epochs ({epochs}); given more, a difference may shrink or grow.")
    depths = sorted({trial.depth for trial in trials})
    if len(depths) > 2:
        lines.append(f"Of the depths the shallowest ({depths[0]}) and the deepest ({depths[-1]}) are judged.")
    seeds = len({trial.seed for trial in trials})
    lines.append(
        "shown: the exact one-sided sign-flip test over paired seeds rejects the opposite at 5 %; contradicted: it "
        "rejects the claim. With five seeds all five must agree (1 in 32); fewer can show nothing. A claim of several "
        "comparisons is shown where all are, contradicted where one is."
    )
    if any(verdict.outcome == "shown" for verdict in verdicts):
        rate = 100 * (1 - LEVEL ** (1 / seeds))
        lines.append(
            f"Rare failures are not excluded: no failure in {seeds} seeds rules out only rates above {rate:.0f} %."
        )
    if len(verdicts) > 1:
        lines.append(
            f"Each claim stands alone: of {len(verdicts)} together, that one comes out shown by chance is likelier "
            "than 5 %."
        )
    diverged = [trial for trial in trials if trial.status == "diverged"]
    if diverged:
        names = label_names(trials)
        lines.append(
            f"Diverged, so that errors count as {DIVERGED_ERROR:.0f} % and layer responses are left out: "
            + ", ".join(f"{names(trial)} seed {trial.seed}" for trial in diverged)
            + "."
        )
    unfinished = [trial for trial in trials if trial.status == "unfinished"]
    if unfinished:
        names = label_names(trials)
        lines.append(
            "Unfinished, so left out: "
            + ", ".join(
                f"{names(trial)} seed {trial.seed}" + (f" ({trial.reason})" if trial.reason else "")
                for trial in unfinished
            )
            + "."
        )
    return tuple(lines)


def label_names(trials: Iterable[Trial]) -> Callable[[Trial], str]:
    """What each net of a run is called: plain-20, residual-56; the shortcut's name where several are residual."""
    groups = group_names(trials)
    return lambda trial: f"{groups[trial.shortcut]}-{trial.depth}"


def group_names(trials: Iterable[Trial]) -> dict[str, str]:
    """What nets with one shortcut are called together, by the shortcut; plain ones first."""
    shortcuts = {trial.shortcut: trial.network for trial in trials}
    residual = [each for each in shortcuts if each not in ("", PLAIN)]
    found = {}
    for shortcut in sorted(shortcuts, key=lambda each: (each != PLAIN, each)):
        if shortcut == PLAIN:
            found[shortcut] = "plain"
        elif not shortcut:
            found[shortcut] = shortcuts[shortcut]
        else:
            found[shortcut] = "residual" if len(residual) == 1 else f"residual ({shortcut})"
    return found


# --- the test


def sign_flip(differences: Sequence[float]) -> float:
    """The exact one-sided p of a mean above 0: the share of all 2^n ways to sign the differences with so large a sum.

    It holds for differences that are symmetric about 0 where there is no effect, as those of exchangeable pairs are.
    """
    size = math.fsum(map(abs, differences))
    least = math.fsum(differences) - 1e-9 * size  # equal sums that rounding parts are equal
    middle = len(differences) // 2
    below = sorted(_signed_sums(differences[:middle]))
    count = sum(len(below) - bisect_left(below, least - each) for each in _signed_sums(differences[middle:]))
    return count / (1 << len(differences))


def _signed_sums(values: Sequence[float]) -> list[float]:
    sums = [0.0]
    for value in values:
        sums = [each + signed for each in sums for signed in (value, -value)]
    return sums


def t_quantile(degrees: int, level: float = 0.95) -> float:
    """The t that |T| of Student's distribution stays below with a probability (Abramowitz & Stegun, 26.7.3 and 4)."""
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        angle = (low + high) / 2
        if _within(angle, degrees) < level:
            low = angle
        else:
            high = angle
    return math.tan(low) * math.sqrt(degrees)


def _within(angle: float, degrees: int) -> float:
    """P(|T| <= t) for angle = arctan(t / sqrt(degrees))."""
    odd = degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for step in range(1 + odd, degrees, 2):
        total += term
        term *= math.cos(angle) ** 2 * step / (step + 1)
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


# --- the claims


class _Judge:
    """The trials of a run by group, depth and seed."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self.groups = group_names(trials)
        self.nets: dict[tuple[str, int], dict[int, Trial]] = {}
        for trial in trials:
            self.nets.setdefault((trial.shortcut, trial.depth), {})[trial.seed] = trial
        self.depths = sorted({trial.depth for trial in trials})

    def verdicts(self) -> Iterator[Verdict]:
        plain = [each for each in self.groups if each in ("", PLAIN)]
        residual = [each for each in self.groups if each not in plain]
        for each in plain:
            yield self._rises("a", each, "training error")
        for each in residual:
            yield self._keeps("b", each, "training error", TRAINING_MARGIN)
        for each in plain:
            yield self._rises("c", each, "test error")
        for each in residual:
            yield self._keeps("c", each, "test error", TEST_MARGIN)
        for each in residual:
            yield self._no_worse(each)
        for each in residual:
            yield self._responses(each)
        for each in residual:
            yield self._falls(each)

    def _rises(self, letter: str, shortcut: str, quantity: Quantity) -> Verdict:
        claim = f"{self.groups[shortcut]}: {quantity} rises with depth, by more than {_points(LEAST_RISE)}"
        return self._with_depth(letter, claim, shortcut, quantity, "above", LEAST_RISE)

    def _keeps(self, letter: str, shortcut: str, quantity: Quantity, margin: float) -> Verdict:
        claim = f"{self.groups[shortcut]}: {quantity} does not rise with depth, within {_points(margin)}"
        return self._with_depth(letter, claim, shortcut, quantity, "below", margin)

    def _falls(self, shortcut: str) -> Verdict:
        claim = f"{self.groups[shortcut]}: the deeper net has the lower test error"
        return self._with_depth("f", claim, shortcut, "test error", "below", 0.0)

    def _with_depth(
        self,
        letter: str,
        claim: str,
        shortcut: str,
        quantity: Quantity,
        side: Literal["above", "below"],
        bound: float,
    ) -> Verdict:
        depths = [depth for depth in self.depths if (shortcut, depth) in self.nets]
        if len(depths) < 2:
            return Verdict(letter, claim, "not shown", "needs two depths", ())
        steps = [
            self._difference(quantity, (shortcut, deeper), (shortcut, depth))
            for depth, deeper in itertools.pairwise(depths)
        ]
        ends = self._difference(quantity, (shortcut, depths[-1]), (shortcut, depths[0]))
        return _verdict(letter, claim, [_weigh(ends, side, bound)], steps if len(steps) > 1 else ())

    def _no_worse(self, shortcut: str) -> Verdict:
        name = self.groups[shortcut]
        claim = (
            f"{name}: at equal depth no worse than plain, within {_points(TRAINING_MARGIN)} of training error and "
            f"{_points(TEST_MARGIN)} of test error"
        )
        bounds: Mapping[Quantity, float] = {"training error": TRAINING_MARGIN, "test error": TEST_MARGIN}
        evidence = [
            _weigh(self._difference(quantity, (shortcut, depth), (PLAIN, depth)), "below", bound)
            for quantity, bound in bounds.items()
            for depth in self._common(shortcut)
        ]
        return _verdict("d", claim, evidence)

    def _responses(self, shortcut: str) -> Verdict:
        claim = f"{self.groups[shortcut]}: layer responses are smaller in the deeper net, and smaller than plain's"
        depths = [depth for depth in self.depths if (shortcut, depth) in self.nets]
        pairs = [((shortcut, depths[-1]), (shortcut, depths[0]))] if len(depths) > 1 else []
        pairs += [((shortcut, depth), (PLAIN, depth)) for depth in self._common(shortcut)]
        if len(depths) < 2 or len(pairs) < 2:
            return Verdict("e", claim, "not shown", "needs two depths and plain nets", ())
        return _verdict(
            "e", claim, [_weigh(self._difference("layer responses", *pair), "below", 0.0) for pair in pairs]
        )

    def _common(self, shortcut: str) -> list[int]:
        """The depths at which there are both plain nets and those with a shortcut."""
        return [depth for depth in self.depths if (shortcut, depth) in self.nets and (PLAIN, depth) in self.nets]

    def _difference(self, quantity: Quantity, first: tuple[str, int], second: tuple[str, int]) -> Difference:
        ones, others = self.nets[first], self.nets[second]
        names = [f"{self.groups[shortcut]}-{depth}" for shortcut, depth in (first, second)]
        seeds, values, left_out = [], [], []
        for seed in sorted(ones.keys() | others.keys()):
            pair = list(zip(names, (ones.get(seed), others.get(seed)), strict=True))
            absent = _absence(quantity, pair)
            if absent:
                left_out.append(f"seed {seed}: {absent}")
                continue
            seeds.append(seed)
            values.append(_value(quantity, ones[seed]) - _value(quantity, others[seed]))
        return Difference(quantity, names[0], names[1], tuple(seeds), tuple(values), tuple(left_out))


def _absence(quantity: Quantity, pair: Sequence[tuple[str, Trial | None]]) -> str:
    """Why two trials of a seed cannot be compared; empty where they can."""
    for name, trial in pair:
        if trial is None:
            return f"{name} was not trained"
        if trial.status == "unfinished":
            return f"{name} is unfinished"
        if quantity == "layer responses" and not trial.responses:
            return f"{name} diverged" if trial.status == "diverged" else f"{name} has no layers to measure"
    epochs = {trial.epochs[-1].epoch for _, trial in pair if trial is not None and trial.status == "finished"}
    return f"epochs differ ({' and '.join(map(str, sorted(epochs)))})" if len(epochs) > 1 else ""


def _value(quantity: Quantity, trial: Trial) -> float:
    if quantity == "layer responses":
        return statistics.fmean(each.std for each in trial.responses)
    return final_error(quantity, trial)


def final_error(quantity: Literal["training error", "test error"], trial: Trial) -> float:
    """An error at the end of a trial that finished or diverged, in percent."""
    if trial.status == "diverged":
        return DIVERGED_ERROR
    last = trial.epochs[-1]
    return last.train_error if quantity == "training error" else last.test_error


def _weigh(difference: Difference, side: Literal["above", "below"], bound: float) -> Evidence:
    sign = 1 if side == "above" else -1
    beyond = [sign * (value - bound) for value in difference.values]
    agreeing = sum(value > 0 for value in beyond)
    p = sign_flip(beyond) if beyond else None
    outcome: Outcome = "not shown"
    if len(beyond) < LEAST_SEEDS:
        return Evidence(difference, side, bound, agreeing, p, outcome, f"needs {LEAST_SEEDS} seeds")
    assert p is not None
    if p <= LEVEL:
        outcome = "shown"
    elif sign_flip([-value for value in beyond]) <= LEVEL:
        outcome = "contradicted"
    return Evidence(difference, side, bound, agreeing, p, outcome)


def _verdict(letter: str, claim: str, evidence: Sequence[Evidence], neighbours: Sequence[Difference] = ()) -> Verdict:
    """A claim of several parts: shown where all are, contradicted where any is."""
    if not evidence:
        return Verdict(letter, claim, "not shown", "needs plain nets of the same depth", ())
    outcomes = {each.outcome for each in evidence}
    outcome: Outcome = "not shown"
    if "contradicted" in outcomes:
        outcome = "contradicted"
    elif outcomes == {"shown"}:
        outcome = "shown"
    missing = {each.reason for each in evidence if each.outcome == "not shown"} if outcome == "not shown" else set()
    reason = missing.pop() if len(missing) == 1 else ""
    return Verdict(letter, claim, outcome, reason, tuple(evidence), tuple(neighbours))


def _points(value: float) -> str:
    return "1 point" if value == 1 else f"{value:g} points"
