"""A depth experiment on a page: its curves as He et al. 2016 draw them in figure 6, and a verdict a claim."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from markupsafe import Markup

from archprof.errors import UsageError
from archprof.experiments.records import Trial
from archprof.experiments.run_folder import RunFolder
from archprof.experiments.verdicts import Evidence, Verdict, group_names, judge, label_names, notes
from archprof.report.page.charts import Chart, Curve, curves

_CLASSES = {"shown": "shown", "contradicted": "contradicted", "not shown": "open"}


def read_trials(folder: str) -> tuple[Trial, ...]:
    """The trials of a run folder that have ended. Raises UsageError: no run, none ended, a file that is cut off."""
    found = RunFolder(folder)
    found.config()
    trials = []
    for path in sorted(Path(folder, "trials").glob("*.json")):
        try:
            trial = found.trial(path.stem)
        except (OSError, msgspec.DecodeError) as error:
            raise UsageError(f"cannot read {path}: {error}") from None
        if trial is not None:
            trials.append(trial)
    if not any(trial.epochs for trial in trials):
        raise UsageError(f"{folder}: no trial has ended yet, so there is nothing to show")
    return tuple(trials)


def depth_charts(trials: Sequence[Trial]) -> Iterator[Chart]:
    """Curves of each kind of net, and the verdicts."""
    verdicts = judge(trials)
    network = trials[0].network
    epochs = [epoch for trial in trials for epoch in trial.epochs]
    most = max(1.0, *(1.05 * error for epoch in epochs for error in (epoch.train_error, epoch.test_error)))
    depths = sorted({trial.depth for trial in trials})
    names = label_names(trials)
    for shortcut, group in group_names(trials).items():
        lines = []
        for depth in depths:
            nets = [trial for trial in trials if (trial.depth, trial.shortcut) == (depth, shortcut) and trial.epochs]
            for kind in ("training", "test") if nets else ():
                lines.append(_curve(f"{names(nets[0])} {kind}", nets, kind == "test", depths.index(depth) % 6))
        if lines:
            yield Chart(
                title=f"Depth and error: {network}, {group}",
                caption=(
                    "Training error (bold) and test error (thin) in evaluation mode: means of the seeds, and the range "
                    "from the lowest to the highest.",
                ),
                body=curves(lines, "iterations", "error [%]", f"Errors of {group} nets", most),
            )
    yield Chart(
        title="Verdicts",
        caption=notes(trials, verdicts),
        body=Markup(
            '<div class="table"><table class="verdicts"><thead><tr><th scope="col">claim</th>'
            '<th scope="col">verdict</th><th scope="col">evidence</th></tr></thead><tbody>{}</tbody></table></div>'
        ).format(Markup().join(map(_row, verdicts))),
    )


def _curve(name: str, nets: Sequence[Trial], test: bool, colour: int) -> Curve:
    """The mean of the nets that got so far, and their lowest and highest."""
    errors: dict[int, list[float]] = {}
    for trial in nets:
        for epoch in trial.epochs:
            errors.setdefault(epoch.iteration, []).append(epoch.test_error if test else epoch.train_error)
    ordered = sorted(errors.items())
    return Curve(
        name=name,
        points=tuple((at, statistics.fmean(values)) for at, values in ordered),
        band=() if len(nets) < 2 else tuple((at, min(values), max(values)) for at, values in ordered),
        colour=colour,
        thin=test,
    )


def _row(verdict: Verdict) -> Markup:
    return Markup('<tr><td>({}) {}</td><td class="verdict {}">{}</td><td>{}</td></tr>').format(
        verdict.letter, verdict.claim, _CLASSES[verdict.outcome], verdict.text, "; ".join(map(_told, verdict.evidence))
    )


def _told(evidence: Evidence) -> str:
    difference = evidence.difference
    pair = f"{difference.first} less {difference.second}, {difference.quantity}"
    if difference.mean is None:
        return f"{pair}: {evidence.reason or 'not known'}"
    interval = difference.interval
    between = "" if interval is None else f" ({interval[0]:+.2f} to {interval[1]:+.2f})"
    return f"{pair}: {difference.mean:+.2f}{between}"
