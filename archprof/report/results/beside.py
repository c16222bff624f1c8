"""A run's cells beside what others published of the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from archprof.profiling.published import Beside, Match, Miss
from archprof.profiling.records import Cell
from archprof.report.results import Content
from archprof.report.results.axes import fields, label, three_digits, times
from archprof.report.sheet import Line, Sheet

SCHEMA = "archprof.published/1"
_PARTS = ("forward", "backward")


def content(found: Beside, name: str, *, every: bool = False) -> Content:
    """Of each device the fastest software, or `every` one."""
    groups = [(own, list(matches)) for own, matches in groupby(found.matches, key=lambda match: match.own)]
    shown = [(own, matches if every else _fastest(matches)) for own, matches in groups]
    cells = [cell for own, matches in shown for cell in (own, *(match.published for match in matches))]
    parts = [part for part in _PARTS if any(_part(cell, part) is not None for cell in cells)]
    unit, printed = times(each for cell in cells for each in (cell.seconds, *(_part(cell, part) for part in parts)))
    lines: list[Line] = []
    for own, matches in shown:
        own_parts = (printed(_part(own, part)) for part in parts)
        software = f"PyTorch {found.run.environment['torch']}" if "torch" in found.run.environment else ""
        lines.append(
            Line(
                cells=(
                    label(own.key),
                    found.run.hardware,
                    software,
                    *own_parts,
                    printed(own.seconds),
                    "1",
                ),
                kind="subtotal",
            )
        )
        lines.extend(
            Line(
                cells=(
                    "",
                    match.run.hardware,
                    str(match.run.environment["software"]),
                    *(printed(_part(match.published, part)) for part in parts),
                    printed(match.published.seconds),
                    "" if match.speed is None else three_digits(match.speed),
                )
            )
            for match in matches
        )
    sheet = Sheet(
        title=f"{name} beside published figures: {_count(shown)}",
        headers=("cell", "hardware", "software", *(f"{part} [{unit}]" for part in parts), f"time [{unit}]", "speed"),
        right=(False, False, False, *(True for _ in parts), True, True),
        lines=tuple(lines),
        caption=tuple(_captions(found, groups, shown)),
    )
    records = tuple(_record(match) for match in found.matches)
    document = {
        "schema": SCHEMA,
        "file": name,
        "hardware": found.run.hardware,
        "matches": records,
        "not_comparable": [
            {**fields(miss.own.key), "source": miss.source, "count": miss.count, "reasons": list(miss.reasons)}
            for miss in found.misses
        ],
        "nothing_published_of": list(found.unknown),
    }
    return Content(sheet, records, document)


def _fastest(matches: Sequence[Match]) -> list[Match]:
    """They come sorted by time: the first of each device."""
    return list({match.run.hardware: match for match in reversed(matches)}.values())[::-1]


def _part(cell: Cell, part: str) -> float | None:
    """The time of a part of a pass that has parts."""
    if part == cell.key.pass_:
        return None
    timing = cell.timings.get(part)
    return cell.figures.get(part) if timing is None else timing.median


def _count(shown: Sequence[tuple[Cell, Sequence[Match]]]) -> str:
    if not shown:
        return "none measured the same"
    return f"{len(shown)} {'cell' if len(shown) == 1 else 'cells'} that others measured too"


def _captions(
    found: Beside,
    groups: Sequence[tuple[Cell, Sequence[Match]]],
    shown: Sequence[tuple[Cell, Sequence[Match]]],
) -> Iterator[str]:
    if shown:
        yield "speed: how many times as fast as this run; published figures have no interval, so nothing more is said"
        hidden = sum(len(matches) for _, matches in groups) - sum(len(matches) for _, matches in shown)
        if hidden:
            yield f"of each device the fastest software; --all shows {hidden} more"
        sources = dict.fromkeys(match.run.published for _, matches in shown for match in matches)
        yield f"sources: {', '.join(str(source) for source in sources)}"
    for miss in _nearest(found.misses):
        figures = "1 figure" if miss.count == 1 else f"{miss.count} figures"
        yield f"not comparable: {label(miss.own.key)}: {figures} of {_short(miss.source)}: {'; '.join(miss.reasons)}"
    if found.unknown:
        yield f"nothing is published of {', '.join(found.unknown)}"


def _nearest(misses: Sequence[Miss]) -> Iterator[Miss]:
    """Of a network's cells the one that comes nearest to a source's figures; JSON has all."""
    nearest: dict[tuple[str, str], Miss] = {}
    for miss in misses:
        place = miss.own.key.network, miss.source
        if place not in nearest or len(miss.reasons) < len(nearest[place].reasons):
            nearest[place] = miss
    return iter(nearest.values())


def _short(source: str) -> str:
    return source.removeprefix("https://github.com/")


def _record(match: Match) -> dict[str, object]:
    """A match for programs; seconds."""
    return {
        **fields(match.own.key),
        "own": match.own.seconds,
        "published": match.published.seconds,
        "speed": match.speed,
        "hardware": match.run.hardware,
        "software": match.run.environment["software"],
        "source": match.run.published,
    }
