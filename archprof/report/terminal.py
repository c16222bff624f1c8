"""A table for people: aligned, wrapped to the terminal's width, nothing cut off.

Written out here rather than by rich's Table, which needs 0.3 ms a row and 60 ms to import.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from archprof.report.output import Surface
from archprof.report.sheet import Line, Sheet, printable

_GAP = "  "
_NARROWEST = 6  # columns that a cell is wrapped to at the narrowest
# where a text may be broken: behind a space, a dot that is no number's, 224x
_BREAK = re.compile(r"(?<=[ \-_/])|(?<=[.,])(?!(?<=[0-9][.,])[0-9])|(?<=[0-9]x)")


def render(sheet: Sheet, surface: Surface) -> str:
    """The table as text that ends in a newline. Without a width (a pipe) no line is wrapped."""
    sheet = printable(sheet)
    columns = list(zip(sheet.headers, *(line.cells for line in sheet.all_lines), strict=True))
    widths = _fitted(columns, sheet.right, surface.width)
    across = sum(widths) + len(_GAP) * (len(widths) - 1)
    rule = ("─" if surface.unicode else "-") * across
    strong, plain = ("\x1b[1m", "\x1b[0m") if surface.colour else ("", "")

    def bold(lines: Iterable[str]) -> Iterator[str]:
        return (f"{strong}{line}{plain}" for line in lines)

    out = [*bold(_wrapped(sheet.title, surface.width)), ""]
    out.extend(bold(_set(sheet.headers, widths, sheet.right)))
    out.append(rule)
    before: Line | None = None
    for line in sheet.lines:
        if before is not None and "subtotal" in (before.kind, line.kind):
            out.append(rule)
        out.extend(_set(line.cells, widths, sheet.right))
        before = line
    if sheet.total is not None:
        out.append(rule)
        out.extend(bold(_set(sheet.total.cells, widths, sheet.right)))
    if sheet.caption:
        out.append("")
    for text in sheet.caption:
        out.extend(_wrapped(text, surface.width))
    return "\n".join(out) + "\n"


def _fitted(columns: Sequence[Sequence[str]], right: Sequence[bool], width: int | None) -> list[int]:
    """Widths that fit where any do: headers of numbers wrap first, then texts, at last words break; numbers never."""
    widths = [max(map(_width, texts)) for texts in columns]
    if width is None:
        return widths
    room = width - len(_GAP) * (len(widths) - 1)
    if sum(widths) <= room:
        return widths
    pieces = [max(map(_longest_piece, texts)) for texts in columns]
    numbers = [max(map(_width, texts[1:])) for texts in columns]
    wrapped = [max(each) for each in zip(pieces, numbers, strict=True)]
    narrowest = [_NARROWEST] * len(widths)
    for narrow_numbers, narrow_texts in (
        (wrapped, widths),
        (wrapped, pieces),
        (wrapped, narrowest),
        (numbers, narrowest),
    ):
        floors = [
            number if is_number else text
            for number, text, is_number in zip(narrow_numbers, narrow_texts, right, strict=True)
        ]
        while sum(widths) > room:
            spare = [place for place, floor in enumerate(floors) if widths[place] > floor]
            if not spare:
                break
            widths[max(spare, key=widths.__getitem__)] -= 1
    return widths


def _longest_piece(text: str) -> int:
    return max(_width(piece.rstrip()) for piece in _BREAK.split(text))


def _set(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> Iterator[str]:
    """The lines of one row: cells wrapped, numbers to the right."""
    columns = [_wrapped(cell, width) for cell, width in zip(cells, widths, strict=True)]
    for line in range(max(map(len, columns))):
        parts = []
        for column, width, to_right in zip(columns, widths, right, strict=True):
            text = column[line] if line < len(column) else ""
            space = " " * (width - _width(text))
            parts.append(space + text if to_right else text + space)
        yield _GAP.join(parts).rstrip()


def _wrapped(text: str, width: int | None) -> list[str]:
    """A text in lines of at most a width, broken behind a space, dot, comma or the like where there is one."""
    lines = []
    while width is not None and _width(text) > width and len(text) > 1:
        fits = width
        while _width(text[:fits]) > width:  # wide characters
            fits -= 1
        fits = max(fits, 1)
        breaks = [match.start() for match in _BREAK.finditer(text, 0, fits + 1)]
        end = max((at for at in breaks if fits // 3 < at <= fits), default=fits)
        if text[fits : fits + 1] == " ":
            end = fits
        lines.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return [*lines, text]


def _width(text: str) -> int:
    """Terminal columns that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
