"""Networks side by side: a sheet for the terminal and Markdown, CSV and JSON.

JSON is in the schema archprof.networks/1, which `networks-1.schema.json` beside this file describes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from archprof.analysis.numbers import BYTE_UNITS, column_style, exact
from archprof.analysis.summary import Summary
from archprof.report.layout import NOT_COUNTED
from archprof.report.output import Surface
from archprof.report.sheet import Line, Sheet, parts

SCHEMA = "archprof.networks/1"
SCHEMA_FILE = Path(__file__).with_name("networks-1.schema.json")
FORMATS = ("terminal", "markdown", "csv", "json")


class _Column(msgspec.Struct, frozen=True):
    title: str
    text: Callable[[Summary], str] | None = None
    number: Callable[[Summary], int | None] | None = None
    units: Mapping[str, int] | None = None  # of a number; None: SI
    one_unit: bool = True  # for the column; else the digits
    right: bool = False  # of a text


def _in_family(summary: Summary) -> str:
    names = ", ".join((summary.name, *summary.aliases))
    return names if summary.name == summary.family else f"  {names}"


def _field(summary: Summary) -> str:
    if summary.receptive_field is None:
        return ""
    sizes = [f"{size:g}" for size in summary.receptive_field]
    return sizes[0] if len(set(sizes)) == 1 else "x".join(sizes)


def _error(summary: Summary) -> str:
    return "" if summary.errors is None or summary.errors.top5 is None else f"{summary.errors.top5:g}"


_COLUMNS = {
    "network": _Column("network", text=lambda each: each.name),
    "family": _Column("network", text=_in_family),
    "year": _Column("year", text=lambda each: "" if each.year is None else str(each.year)),
    "params": _Column("param", number=lambda each: each.params),
    "flops": _Column("FLOPs", number=lambda each: each.flops),
    "activations": _Column("activations", number=lambda each: each.activations),
    "depth": _Column("depth", number=lambda each: each.depth, one_unit=False),
    "inference_memory": _Column("inference memory", number=lambda each: each.inference_memory, units=BYTE_UNITS),
    "training_memory": _Column("training memory", number=lambda each: each.training_memory, units=BYTE_UNITS),
    "receptive_field": _Column("receptive field", text=_field, right=True),
    "top5": _Column("top-5 error %", text=_error, right=True),
    "source": _Column("source", text=lambda each: each.source or ""),
}
LIST_COLUMNS = ("family", "year", "params", "flops", "depth", "source")
COMPARE_COLUMNS = (
    "network", "params", "flops", "activations", "depth", "inference_memory", "training_memory", "receptive_field",
    "top5",
)  # fmt: skip


def render(
    summaries: Sequence[Summary],
    format: str,  # noqa: A002
    surface: Surface,
    *,
    columns: Sequence[str],
    title: str,
    caption: Sequence[str],
    exact_numbers: bool = False,
) -> str:
    """Networks as text in one of FORMATS; csv and json carry all figures exactly."""
    if format == "json":
        return _json(summaries, caption)
    if format == "csv":
        return _csv(summaries)
    from archprof.report import markdown, terminal

    sheet = _sheet(summaries, columns, title, caption, exact_numbers)
    if format == "markdown":
        return markdown.render(sheet, surface)
    if surface.width is None:
        return terminal.render(sheet, surface)
    if columns[-1] == "source":
        return terminal.render(_with_notes(sheet), surface)
    return "\n".join(terminal.render(part, surface) for part in parts(sheet, surface.width))


def _sheet(
    summaries: Sequence[Summary], columns: Sequence[str], title: str, caption: Sequence[str], exact_numbers: bool
) -> Sheet:
    headers, cells, right = [], [], []
    for column in (_COLUMNS[name] for name in columns):
        right.append(column.right or column.number is not None)
        if column.text is not None:
            headers.append(column.title)
            cells.append([column.text(summary) for summary in summaries])
            continue
        assert column.number is not None
        numbers = [column.number(summary) for summary in summaries]
        if exact_numbers or not column.one_unit:
            headers.append(column.title)
            cells.append([NOT_COUNTED if number is None else exact(number) for number in numbers])
            continue
        known = [number for number in numbers if number is not None]
        style = column_style(known, sorted(known)[len(known) // 2] if known else 0, column.units)
        headers.append(f"{column.title} [{style.unit}]" if style.unit else column.title)
        cells.append([NOT_COUNTED if number is None else style.print(number) for number in numbers])
    return Sheet(
        title=title,
        headers=tuple(headers),
        right=tuple(right),
        lines=tuple(Line(cells=row) for row in zip(*cells, strict=True)),
        caption=tuple(caption),
    )


def _with_notes(sheet: Sheet) -> Sheet:
    """The last column's texts as numbered notes in the caption: sources are longer than a terminal is wide."""
    numbers: dict[str, str] = {}
    lines = []
    for line in sheet.lines:
        *cells, text = line.cells
        number = numbers.setdefault(text, f"[{len(numbers) + 1}]") if text else ""
        lines.append(Line(cells=(*cells, number)))
    notes = tuple(f"{number} {text}" for text, number in numbers.items())
    return msgspec.structs.replace(sheet, lines=tuple(lines), caption=(*sheet.caption, "", *notes))


def _record(summary: Summary) -> dict[str, object]:
    errors = summary.errors
    return {
        **{name: getattr(summary, name) for name in summary.__struct_fields__ if name != "errors"},
        "aliases": list(summary.aliases),
        "receptive_field": None if summary.receptive_field is None else list(summary.receptive_field),
        "top1_error": None if errors is None else errors.top1,
        "top5_error": None if errors is None else errors.top5,
    }


def _json(summaries: Sequence[Summary], caption: Sequence[str]) -> str:
    import json

    document = {"schema": SCHEMA, "networks": [_record(summary) for summary in summaries], "notes": list(caption)}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _csv(summaries: Sequence[Summary]) -> str:
    import csv
    import io

    stream = io.StringIO()
    records = [
        _record(summary) | {"aliases": " ".join(summary.aliases), "receptive_field": _field(summary)}
        for summary in summaries
    ]
    writer = csv.DictWriter(stream, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()
