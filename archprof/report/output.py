"""Where a report goes: what the receiving stream can show, and files that are written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TextIO

import msgspec

from archprof.errors import UsageError


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


def write_bytes(content: bytes, path: str | os.PathLike[str]) -> None:
    """Write a file, whole or not at all: under another name beside it, then renamed.

    What is there and is no regular file (/dev/stdout, a pipe) is written to as it stands.
    Raises UsageError where it cannot be written; then a file that was there is as it was.
    """
    target = Path(path)
    try:
        status = target.stat() if target.exists() else None
        if status is not None and stat.S_ISDIR(status.st_mode):
            raise UsageError(f"cannot write {path}: it is a directory; give a file")
        if status is not None and not stat.S_ISREG(status.st_mode):
            target.write_bytes(content)
            return
        target = target.resolve()  # a link stays a link
        _replace(content, target, 0o666 if status is None else stat.S_IMODE(status.st_mode))
    except FileNotFoundError:
        raise UsageError(f"cannot write {path}: there is no folder {target.parent}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"cannot write {path}: {reason}") from None


def _replace(content: bytes, target: Path, mode: int) -> None:
    temporary = target.with_name(f".{target.name[:100]}.{os.getpid()}.tmp")
    try:
        # made here and not by tempfile, so that a new file gets the rights that the user's umask gives
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as stream:
            stream.write(content)
        if target.exists():
            os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
