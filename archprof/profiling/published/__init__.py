"""Figures that others published, as results files, and where a run meets them (benchmarks/published/make.py)."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from archprof.profiling.records import Cell, Key, Run
from archprof.profiling.results import read_run
from archprof.spec.library import load_document, shipped_paths

FOLDER = Path(__file__).parent

_FIELDS = ("batch", "input", "dtype", "amp", "layout", "mode", "pass_")


class Match(msgspec.Struct, frozen=True):
    """A published cell that measured the same as one of a run's: variant, batch, input, dtype, layout, mode, pass."""

    own: Cell
    published: Cell
    run: Run  # where the published cell stands

    @property
    def speed(self) -> float | None:
        """How many times as fast as the own device: the ratio of the times. None where the own cell has none."""
        own, theirs = self.own.seconds, self.published.seconds
        return own / theirs if own and theirs else None


class Miss(msgspec.Struct, frozen=True):
    """Published cells of a network that a run measured in another way, and in what they differ."""

    own: Cell
    source: str
    count: int
    reasons: tuple[str, ...]


class Beside(msgspec.Struct, frozen=True):
    """A run beside what was published: its cells' matches, the fastest first, or what came nearest."""

    run: Run
    matches: tuple[Match, ...]
    misses: tuple[Miss, ...]
    unknown: tuple[str, ...]  # networks of which nothing is published


@functools.cache
def published_runs() -> tuple[Run, ...]:
    """All published figures, a Run for each source, device and software."""
    return tuple(read_run(path) for path in sorted(FOLDER.glob("*.json")))


def beside(run: Run) -> Beside:
    """Find the published cells that measured the same as those of a run, and say of the nearest others why not."""
    matches: list[Match] = []
    misses: list[Miss] = []
    unknown: dict[str, None] = {}
    everything = [(each, cell) for each in published_runs() for cell in each.cells]
    for own in run.cells:
        related = [(each, cell, differs(own, cell)) for each, cell in everything if _related(own, cell)]
        found = [Match(own, cell, each) for each, cell, different in related if not different]
        matches.extend(sorted(found, key=lambda match: match.published.seconds or 0))
        if not related:
            unknown[own.key.network] = None
        elif not found:
            misses.extend(_misses(own, related))
    return Beside(run, tuple(matches), tuple(misses), tuple(unknown))


def differs(own: Cell, published: Cell) -> dict[str, str]:
    """In what a published cell differs from one's own: the field, and the published value in words."""
    found = {}
    variant = _variant(own, published)
    if variant:
        found["network"] = variant
    for field in _FIELDS:
        theirs = getattr(published.key, field)
        if theirs != getattr(own.key, field):
            found[field] = str(theirs)
    return found


def _variant(own: Cell, published: Cell) -> str:
    """What tells the published network from one's own; empty where it is the same."""
    name, count = published.key.network, published.key.multiply_adds
    different = published.settings.get("differs")
    if different:
        return f"{name}: {different}"
    if count != own.key.multiply_adds and None not in (count, own.key.multiply_adds):
        return f"{name} with {count:,} multiply-adds, not {own.key.multiply_adds:,}"
    shipped = _families()
    if own.key.network == name or own.key.network == shipped[name]:  # a spec's base is one of its variants
        return ""
    if own.key.network in shipped or None in (count, own.key.multiply_adds):
        return name
    return "" if own.params == published.params else f"{name} with {published.params:,} parameters"


def _related(own: Cell, published: Cell) -> bool:
    """Whether a reader would look for this published cell beside that: of one family, or of equal counts."""
    shipped = _families()
    theirs = shipped[published.settings.get("like", published.key.network)]
    if own.key.network in shipped:
        return shipped[own.key.network] == theirs
    return own.key.multiply_adds is not None and own.key.multiply_adds == published.key.multiply_adds


def _misses(own: Cell, related: Sequence[tuple[Run, Cell, dict[str, str]]]) -> Iterator[Miss]:
    """A line a source: of the variant that is nearest by its count, the cells that differ in the fewest fields."""
    by_source: dict[str, list[tuple[float, int, dict[str, str]]]] = {}
    for run, cell, different in related:
        far = _distance(own.key, cell.key) if "network" in different else 0.0
        by_source.setdefault(run.published or "", []).append((far, len(different), different))
    for source, found in by_source.items():
        nearest = min(each[:2] for each in found)
        fields = next(tuple(each[2]) for each in found if each[:2] == nearest)
        group = [each[2] for each in found if each[:2] == nearest and tuple(each[2]) == fields]
        reasons = tuple(_worded(field, list(dict.fromkeys(each[field] for each in group)), own.key) for field in fields)
        yield Miss(own, source, len(group), reasons)


def _distance(own: Key, theirs: Key) -> float:
    """How far the counts of two networks are apart; of one that nobody knows, as far as twice."""
    if not own.multiply_adds or not theirs.multiply_adds:
        return math.log(2)
    return abs(math.log(own.multiply_adds / theirs.multiply_adds)) + 1e-9  # another network of the same count


def _worded(field: str, theirs: Sequence[str], own: Key) -> str:
    if field == "network":
        return " or ".join(theirs)
    name = field.removesuffix("_")
    numbers = sorted(map(int, theirs)) if field == "batch" else theirs
    words = {"None": "none"}
    values = ", ".join(words.get(str(each), str(each)) for each in numbers)
    return f"{name} {values}, not {words.get(str(getattr(own, field)), getattr(own, field))}"


@functools.cache
def _families() -> dict[str, str]:
    """The spec that each shipped name belongs to, variants, aliases and the specs themselves."""
    found = {}
    for path in shipped_paths():
        document = load_document(path)
        found[document.name] = document.name
        for name, variant in document.variants.items():
            found |= dict.fromkeys((name, *variant.aliases), document.name)
    return found
