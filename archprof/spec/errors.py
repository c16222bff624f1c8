"""Mistakes in a spec: what is wrong, where, and what would be right."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from archprof.errors import ArchprofError

MAX_MESSAGE = 1_000
MAX_MISTAKES = 100  # of one file; what follows is not looked at


def clipped(message: str) -> str:
    """A message that quotes something huge, without its middle."""
    return message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE // 2]} ... {message[-200:]}"


class Mistake(msgspec.Struct, frozen=True, order=True):
    """One mistake at one place. Lines and columns count from 1; line 0 stands for the file as a whole."""

    file: str
    line: int
    column: int
    message: str
    code: str  # the kind of mistake: `archprof explain CODE`

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.message} [{self.code}]"


class SpecError(ArchprofError):
    """All the mistakes of one spec, in the order of their lines."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(set(mistakes)))
        super().__init__("\n".join(map(str, self.mistakes)))
