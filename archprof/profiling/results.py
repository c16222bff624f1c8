"""Results files: one Run a file, as JSON (archprof/report/results/run-1.schema.json)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import msgspec

from archprof.errors import UsageError
from archprof.files import write_bytes
from archprof.profiling.records import FORMAT, Cell, Run


def make_run(cells: Iterable[Cell], environment: Mapping[str, Any], machine: str, hardware: str, command: str) -> Run:
    """The Run of cells that were measured just now, by this archprof."""
    from archprof import __version__

    return Run(
        version=FORMAT,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        archprof=__version__,
        command=command,
        machine=machine,
        hardware=hardware,
        environment=dict(environment),
        cells=tuple(cells),
    )


def write_run(run: Run, path: str | os.PathLike[str]) -> None:
    """Write a results file, whole or not at all, a cell a line. Raises UsageError where it cannot be written."""
    fields = msgspec.to_builtins(run)
    cells = b",\n  ".join(map(msgspec.json.encode, fields["cells"]))
    lines = [
        b'"%s": %s' % (name.encode(), msgspec.json.encode(value) if name != "cells" else b"[\n  " + cells + b"\n ]")
        for name, value in fields.items()
    ]
    write_bytes(b"{\n " + b",\n ".join(lines) + b"\n}\n", path)


def read_run(path: str | os.PathLike[str]) -> Run:
    """Read a results file. Raises UsageError: unreadable, cut off, no results file, a newer version, a wrong type."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # a null byte in the name
        raise UsageError(f"cannot read {path}: {error}") from None
    return read_content(content, path)


class CutOff(UsageError):
    """A results file, or a line of a history, whose end is missing."""


class NotResults(UsageError):
    """JSON, but of something else."""


class _Head(msgspec.Struct, frozen=True):
    version: Annotated[int, msgspec.Meta(ge=1)]
    cells: msgspec.Raw


def read_content(content: bytes, where: object) -> Run:
    """The Run of a results file's content; `where` is the name that messages give it. Raises UsageError."""
    if not content.strip():
        raise UsageError(f"{where}: the file is empty: no results")
    try:
        head = msgspec.json.decode(content, type=_Head)
    except msgspec.ValidationError:
        raise NotResults(f"{where}: JSON, but no results file of archprof: it has no version and cells") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # msgspec says "truncated", or in a number such as "0." and "-" that the byte behind the last is wrong
        if "truncated" in str(error) or str(error).endswith(f"(byte {len(content)})"):
            raise CutOff(f"{where}: cut off: its JSON ends too early") from None
        raise UsageError(f"{where}: not a results file: {error}") from None
    if head.version > FORMAT:
        raise UsageError(
            f"{where}: a results file of version {head.version}; this archprof reads version {FORMAT}: "
            "upgrade archprof to read it"
        )
    try:
        return msgspec.json.decode(content, type=Run)
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: not a results file as archprof writes it: {error}") from None
