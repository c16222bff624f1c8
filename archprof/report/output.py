"""Where a report goes: what the receiving stream can show, and the file that it is written to."""

from __future__ import annotations

import os
from typing import TextIO

import msgspec

from archprof.errors import UsageError
from archprof.files import write_bytes


class Surface(msgspec.Struct, frozen=True):
    """What text is written on."""

    width: int | None = None  # columns; None: no limit
    colour: bool = False
    unicode: bool = True


PIPE = Surface()


def surface_of(stream: TextIO) -> Surface:
    """The surface that a stream is: a terminal has a width, and colours unless NO_COLOR or TERM=dumb says no."""
    try:
        "─".encode(stream.encoding or "utf-8")
        unicode = True
    except (UnicodeEncodeError, LookupError):
        unicode = False
    if not stream.isatty():
        return Surface(None, False, unicode)
    columns = os.environ.get("COLUMNS", "")
    try:
        width = int(columns) if columns.isdecimal() else os.get_terminal_size(stream.fileno()).columns
    except OSError:
        width = 0
    colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Surface(width or 80, colour, unicode)


def write_output(text: str, path: str | os.PathLike[str]) -> None:
    """Write a text as UTF-8, whole or not at all, as `write_bytes` does."""
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"cannot write {path}: {error}") from None
    write_bytes(content, path)
