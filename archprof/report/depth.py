"""A depth experiment in words: the nets with their errors, their layer responses, and a verdict a claim."""

from __future__ import annotations

import json
import statistics
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from archprof.analysis.numbers import exact
from archprof.experiments.records import Trial
from archprof.experiments.verdicts import (
    PLAIN,
    Difference,
    Evidence,
    Verdict,
    final_error,
    group_names,
    judge,
    label_names,
    notes,
)
from archprof.report import markdown, terminal
from archprof.report.output import Surface
from archprof.report.sheet import Line, Sheet

if TYPE_CHECKING:
    from archprof.experiments.insertion import Insertion

FORMATS = ("terminal", "markdown", "json")
SCHEMA = "archprof.depth/1"
SCHEMA_FILE = Path(__file__).with_name("depth-1.schema.json")
INSERTION_SCHEMA = "archprof.insertion/1"
INSERTION_SCHEMA_FILE = Path(__file__).with_name("insertion-1.schema.json")

_MOST_PARTS = 6  # columns of the profile: the first names of the layers' paths, else quarters


class Net(msgspec.Struct, frozen=True, kw_only=True):
    """One net over its seeds; a value a seed that finished or diverged, in the order of the seeds."""

    name: str
    network: str
    depth: int
    shortcut: str
    params: int
    seeds: tuple[int, ...]
    diverged: tuple[int, ...]  # seeds
    unfinished: tuple[int, ...]
    training_error: tuple[float, ...]  # %, at the end
    test_error: tuple[float, ...]
    seconds: tuple[float, ...]  # a run, training and evaluation
    response_mean: tuple[float, ...]  # over the layers, a seed that finished each
    response_median: tuple[float, ...]
    profile: tuple[tuple[str, float], ...]  # a part of the layers: the mean over them and the seeds


def nets(trials: Sequence[Trial]) -> tuple[Net, ...]:
    """The nets of a run, plain ones first, from shallow to deep."""
    names, order = label_names(trials), list(group_names(trials))
    found: dict[tuple[int, int], list[Trial]] = {}
    for trial in trials:
        found.setdefault((order.index(trial.shortcut), trial.depth), []).append(trial)
    return tuple(_net(names(group[0]), sorted(group, key=lambda each: each.seed)) for _, group in sorted(found.items()))


def _net(name: str, group: Sequence[Trial]) -> Net:
    ended = [trial for trial in group if trial.status != "unfinished"]
    stds = [[each.std for each in trial.responses] for trial in group if trial.responses]
    return Net(
        name=name,
        network=group[0].network,
        depth=group[0].depth,
        shortcut=group[0].shortcut,
        params=max(trial.params for trial in group),  # unknown (0) where nothing of a trial is
        seeds=tuple(trial.seed for trial in group),
        diverged=tuple(trial.seed for trial in group if trial.status == "diverged"),
        unfinished=tuple(trial.seed for trial in group if trial.status == "unfinished"),
        training_error=tuple(final_error("training error", trial) for trial in ended),
        test_error=tuple(final_error("test error", trial) for trial in ended),
        seconds=tuple(sum(epoch.seconds for epoch in trial.epochs) for trial in ended),
        response_mean=tuple(map(statistics.fmean, stds)),
        response_median=tuple(map(statistics.median, stds)),
        profile=tuple(_profile(group)),
    )


def _profile(group: Sequence[Trial]) -> Iterator[tuple[str, float]]:
    """The mean response of parts of the layers: the first names of their paths where these are few, else quarters."""
    parts: dict[str, list[float]] = {}
    for trial in group:
        for each in trial.responses:
            parts.setdefault(each.path.partition(".")[0], []).append(each.std)
    if len(parts) > _MOST_PARTS:
        parts = {}
        for trial in group:
            for place, each in enumerate(trial.responses):
                quarter = 4 * place // len(trial.responses) + 1
                parts.setdefault(f"quarter {quarter}", []).append(each.std)
    return ((name, statistics.fmean(values)) for name, values in parts.items())


def render(
    trials: Sequence[Trial],
    format: str,  # noqa: A002
    surface: Surface,
    *,
    title: str,
    caption: Sequence[str] = (),
) -> str:
    """A run in one of FORMATS. `title` says which nets on which data, `caption` how they were trained.

    Raises UsageError for more seeds than the test of the verdicts takes.
    """
    verdicts = judge(trials)
    remarks = (*caption, *notes(trials, verdicts))
    if format == "json":
        return _json(nets(trials), verdicts, title, remarks)
    sheets = _sheets(nets(trials), title, "±" if surface.unicode else "+-")
    if format == "markdown":
        parts = [markdown.render(sheet, surface) for sheet in sheets]
        parts += ["\n".join(_markdown_lines(verdicts)) + "\n"]
        parts += ["".join(f"- {markdown.escaped(line)}\n" for line in remarks)]
        return "\n".join(parts)
    parts = [terminal.render(sheet, surface) for sheet in sheets]
    parts += ["\n".join(_terminal_lines(verdicts, surface)) + "\n"]
    parts += ["\n".join(line for remark in remarks for line in _wrapped(remark, surface.width, "")) + "\n"]
    return "\n".join(parts)


# --- tables


def _sheets(every: Sequence[Net], title: str, between: str) -> list[Sheet]:
    headers = ("net", "parameters", "seeds", "training error %", "test error %", "s a run")
    errors = Sheet(
        title=title,
        headers=headers,
        right=(False, True, True, True, True, True),
        lines=tuple(
            Line(
                cells=(
                    net.name,
                    exact(net.params),
                    _seeds(net),
                    _spread(net.training_error, 2, between),
                    _spread(net.test_error, 2, between),
                    f"{statistics.fmean(net.seconds):.1f}" if net.seconds else "",
                )
            )
            for net in every
        ),
        caption=(f"Errors at the end, in evaluation mode; mean {between} standard deviation over seeds.",),
    )
    measured = [net for net in every if net.response_mean]
    if not measured:
        return [errors]
    parts = list(dict.fromkeys(name for net in measured for name, _ in net.profile))
    responses = Sheet(
        title="Layer responses",
        headers=("net", "layers' mean", "median", *parts),
        right=(False, *[True] * (2 + len(parts))),
        lines=tuple(
            Line(
                cells=(
                    net.name,
                    _spread(net.response_mean, 4, between),
                    f"{statistics.fmean(net.response_median):.4f}",
                    *(f"{dict(net.profile)[part]:.4f}" if part in dict(net.profile) else "" for part in parts),
                )
            )
            for net in measured
        ),
        caption=(
            "Standard deviations of what layers put out before activation and addition, in evaluation mode; means over "
            "seeds, on the right over the layers of a part.",
        ),
    )
    return [errors, responses]


def _seeds(net: Net) -> str:
    lost = [
        f"{len(seeds)} {what}" for seeds, what in ((net.diverged, "diverged"), (net.unfinished, "unfinished")) if seeds
    ]
    return f"{len(net.seeds)} ({', '.join(lost)})" if lost else str(len(net.seeds))


def _spread(values: Sequence[float], decimals: int, between: str) -> str:
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.{decimals}f}"
    return f"{mean} {between} {statistics.stdev(values):.{decimals}f}" if len(values) > 1 else mean


# --- verdicts


def _terminal_lines(verdicts: Sequence[Verdict], surface: Surface) -> Iterator[str]:
    strong, plain = ("\x1b[1m", "\x1b[0m") if surface.colour else ("", "")
    yield f"{strong}Verdicts{plain}"
    for verdict in verdicts:
        yield ""
        claim = f"({verdict.letter}) {verdict.claim}: {verdict.text}"
        *before, last = _wrapped(claim, surface.width, "    ")
        yield from before
        at = last.rfind(verdict.text)
        yield last if at < 0 else f"{last[:at]}{strong}{verdict.text}{plain}"
        for line in _evidence_lines(verdict):
            yield from _wrapped(f"    {line}", surface.width, "      ")


def _markdown_lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    yield "**Verdicts**"
    yield ""
    for verdict in verdicts:
        yield f"- ({verdict.letter}) {markdown.escaped(verdict.claim)}: **{verdict.text}**"
        for line in _evidence_lines(verdict):
            yield f"  - {markdown.escaped(line)}"


def _evidence_lines(verdict: Verdict) -> Iterator[str]:
    for each in verdict.evidence:
        yield _evidence_text(each, with_outcome=len(verdict.evidence) > 1)
        for absent in each.difference.left_out:
            yield f"left out: {absent}"
    if verdict.neighbours:
        yield "from depth to depth: " + "; ".join(f"{_pair(each)} {_difference(each)}" for each in verdict.neighbours)


def _evidence_text(evidence: Evidence, with_outcome: bool) -> str:
    difference = evidence.difference
    what = f"{difference.quantity}, {_pair(difference)}: "
    if evidence.p is None:
        return f"{what}no seeds to compare"
    decimals = 4 if difference.quantity == "layer responses" else 0
    counted = f"{evidence.side} {evidence.bound:.{decimals if evidence.bound else 0}f} in {evidence.agreeing} of"
    text = f"{what}{_difference(difference)}, {counted} {_count(len(difference.seeds), 'seed')}"
    if evidence.reason:
        return text
    return f"{text}, p = {evidence.p:.3f}" + (f": {evidence.outcome}" if with_outcome else "")


def _pair(difference: Difference) -> str:
    return f"{difference.first} less {difference.second}"


def _difference(difference: Difference) -> str:
    """The mean with its t interval: +56.81 [+49.10, +64.52] points."""
    if difference.mean is None:
        return "unknown"
    decimals, unit = (4, "") if difference.quantity == "layer responses" else (2, " points")
    text = f"{difference.mean:+.{decimals}f}"
    if difference.interval is not None:
        low, high = difference.interval
        text += f" [{low:+.{decimals}f}, {high:+.{decimals}f}]"
    return text + unit


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def _wrapped(text: str, width: int | None, indent: str) -> list[str]:
    if width is None:
        return [text]
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


# --- json


def _json(every: Sequence[Net], verdicts: Sequence[Verdict], title: str, remarks: Sequence[str]) -> str:
    document = {
        "schema": SCHEMA,
        "title": title,
        "nets": [msgspec.to_builtins(net) | {"profile": dict(net.profile)} for net in every],
        "verdicts": [_verdict(each) for each in verdicts],
        "notes": list(remarks),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "letter": verdict.letter,
        "claim": verdict.claim,
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "evidence": [
            {
                **_record(each.difference),
                "side": each.side,
                "bound": each.bound,
                "agreeing": each.agreeing,
                "p": each.p,
                "outcome": each.outcome,
                "reason": each.reason,
            }
            for each in verdict.evidence
        ],
        "neighbours": [_record(each) for each in verdict.neighbours],
    }


def _record(difference: Difference) -> dict[str, Any]:
    interval = difference.interval
    return {
        "quantity": difference.quantity,
        "first": difference.first,
        "second": difference.second,
        "seeds": list(difference.seeds),
        "differences": list(difference.values),
        "mean": difference.mean,
        "interval": None if interval is None else list(interval),
        "left_out": list(difference.left_out),
    }


# --- identity insertion


def render_insertions(
    insertions: Sequence[Insertion],
    format: str,  # noqa: A002
    surface: Surface,
    *,
    title: str,
    caption: Sequence[str] = (),
) -> str:
    """What inserted blocks changed, in one of FORMATS."""
    title = f"Identity insertion: {title}"
    if format == "json":
        document = {
            "schema": INSERTION_SCHEMA,
            "title": title,
            "insertions": msgspec.to_builtins(insertions),
            "notes": list(caption),
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    groups: dict[tuple[str, str], list[Insertion]] = {}
    for each in insertions:
        groups.setdefault((each.shortcut, each.values), []).append(each)
    seeds = len({each.seed for each in insertions})
    sheet = Sheet(
        title=title,
        headers=("net", "inserted", "mode", "difference", "error % before", "error % after"),
        right=(False, False, False, True, True, True),
        lines=tuple(_insertion_line(group, mode) for group in groups.values() for mode in range(2)),
        caption=(
            *caption,
            "inserted: blocks whose last layer (its batch-norm scale, or the convolution) is zero; blocks of identity "
            "(Dirac) convolutions, rescaled: with batch-norm scale sqrt(1 + eps)",
            "difference: the largest of the outputs for all training images, over the largest output; equal: to the "
            "last bit. In training mode batch norm uses the statistics of each batch. error: training error",
            *([f"{seeds} seeds: the largest difference, and means of errors"] if seeds > 1 else []),
        ),
    )
    if format == "markdown":
        return markdown.render(sheet, surface)
    return terminal.render(sheet, surface)


def _insertion_line(group: Sequence[Insertion], mode: int) -> Line:
    """One net over its seeds, in one mode."""
    first, effects = group[0], [each.effects[mode] for each in group]
    equal = all(effect.equal for effect in effects)
    return Line(
        cells=(
            f"{'plain' if first.shortcut == PLAIN else 'residual'} {first.depth} -> {first.deeper}",
            first.values,
            effects[0].mode,
            "equal" if equal else f"{max(effect.difference for effect in effects):.1e}",
            f"{statistics.fmean(effect.error_before for effect in effects):.2f}",
            f"{statistics.fmean(effect.error_after for effect in effects):.2f}",
        )
    )
