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
