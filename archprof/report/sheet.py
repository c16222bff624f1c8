"""What any table comes to before a format sets it out: headers and rows of printed cells, a title, a caption."""

from __future__ import annotations

import msgspec


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A row, its cells printed. `kind` is "row", or "subtotal" for one that is set apart."""

    cells: tuple[str, ...]
    kind: str = "row"


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """A table in words: what remains is to set it out."""

    title: str
    headers: tuple[str, ...]
    right: tuple[bool, ...]  # a column each: whether it is aligned on the right
    lines: tuple[Line, ...]  # without the total
    total: Line | None = None
    caption: tuple[str, ...] = ()

    @property
    def all_lines(self) -> tuple[Line, ...]:
        """The lines with the total, where there is one."""
        return self.lines if self.total is None else (*self.lines, self.total)


def plain(text: str) -> str:
    """A text on one line without control characters: one from a file may hold a terminal's commands."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def printable(sheet: Sheet) -> Sheet:
    """A sheet whose every text is plain."""
    return Sheet(
        title=plain(sheet.title),
        headers=tuple(map(plain, sheet.headers)),
        right=sheet.right,
        lines=tuple(map(_plain_line, sheet.lines)),
        total=None if sheet.total is None else _plain_line(sheet.total),
        caption=tuple(map(plain, sheet.caption)),
    )


def _plain_line(line: Line) -> Line:
    return Line(cells=tuple(map(plain, line.cells)), kind=line.kind)


def parts(sheet: Sheet, width: int, keys: int = 1) -> list[Sheet]:
    """A sheet in as many as its columns need to stand side by side; the first columns, of names, are in all."""
    cells = list(zip(*(line.cells for line in sheet.lines), strict=True))
    needed = [  # a header may be wrapped between its words
        max(map(len, (*column, *header.split()))) for header, column in zip(sheet.headers, cells, strict=True)
    ]
    named = list(range(keys))
    groups: list[list[int]] = []
    for place in range(keys, len(needed)):
        if not groups or sum(needed[each] + 2 for each in (*groups[-1], place)) - 2 > width:
            groups.append(list(named))
        groups[-1].append(place)
    found = []
    for number, group in enumerate(groups, 1):
        found.append(
            Sheet(
                title=sheet.title + (f" ({number} of {len(groups)})" if len(groups) > 1 else ""),
                headers=tuple(sheet.headers[place] for place in group),
                right=tuple(sheet.right[place] for place in group),
                lines=tuple(Line(cells=tuple(line.cells[place] for place in group)) for line in sheet.lines),
                caption=sheet.caption if number == len(groups) else (),
            )
        )
    return found
