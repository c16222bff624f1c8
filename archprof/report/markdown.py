"""A table for pull requests and READMEs: GitHub's Markdown, numbers aligned on the right."""

from __future__ import annotations

import re
from collections.abc import Sequence

from archprof.report.output import Surface
from archprof.report.sheet import Sheet, printable

# what Markdown reads as more than itself: an underscore only at the edge of a word, < and [ only in a tag or link
_SPECIAL = re.compile(r"[\\|*`~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|<(?=[A-Za-z/!?])|\[(?=[^\]]*\][(\[])")


def render(sheet: Sheet, surface: Surface) -> str:
    """Title, table and the caption as a list; the cells padded, so that the text reads as a table too."""
    sheet = printable(sheet)
    rows = [[escaped(cell) for cell in cells] for cells in (sheet.headers, *(line.cells for line in sheet.all_lines))]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    ruler = ["-" * (width - 1) + (":" if right else "-") for width, right in zip(widths, sheet.right, strict=True)]
    lines = [_line(cells, widths, sheet.right) for cells in (rows[0], ruler, *rows[1:])]
    caption = [f"- {escaped(text)}" for text in sheet.caption]
    ending = ("", *caption) if caption else ()
    return "\n".join((f"**{escaped(sheet.title)}**", "", *lines, *ending)) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(cells, widths, right, strict=True)
    )
    return f"| {' | '.join(padded)} |"


def escaped(text: str) -> str:
    """A text that Markdown shows as it stands."""
    return _SPECIAL.sub(r"\\\g<0>", text)
