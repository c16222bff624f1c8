"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from archprof.errors import UsageError


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
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, FileNotFoundError):  # /proc is a folder, and takes no new file
            reason = f"there is no folder {target.parent}" if not target.parent.is_dir() else "it takes no new file"
        raise UsageError(f"cannot write {path}: {reason}") from None


def require_writable(path: str | os.PathLike[str]) -> None:
    """Refuse what `write_bytes` could not write to, before anything takes time. Raises UsageError."""
    target = Path(path)
    try:
        if target.is_dir():
            raise UsageError(f"cannot write {path}: it is a directory; give a file")
        folder = target.resolve().parent
        if not folder.is_dir():
            raise UsageError(f"cannot write {path}: there is no folder {folder}")
        if not os.access(target if target.exists() and not target.is_file() else folder, os.W_OK):
            raise UsageError(f"cannot write {path}: Permission denied")
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
