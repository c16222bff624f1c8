"""Checkpoints that survive a kill: written whole under another name, with a checksum, the one before kept."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch

_MAGIC = b"archprof checkpoint 1\n"
_LATEST, _PREVIOUS = "latest.ckpt", "previous.ckpt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain values; the checkpoint that was the latest becomes the previous one.

    A kill at any moment leaves one of the two whole.
    """
    stream = io.BytesIO()
    torch.save(state, stream)
    content = stream.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    latest = folder / _LATEST
    temporary = folder / f".{os.getpid()}.tmp"
    with open(temporary, "wb") as file:
        file.write(_MAGIC + hashlib.sha256(content).digest() + content)
        file.flush()
        os.fsync(file.fileno())
    if latest.exists():
        os.replace(latest, folder / _PREVIOUS)
    os.replace(temporary, latest)
    _sync_folder(folder)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint of a folder, its tensors on the CPU; None where there is none."""
    for name in (_LATEST, _PREVIOUS):
        content = _whole(folder / name)
        if content is not None:
            state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            return state
    return None


def _whole(path: Path) -> bytes | None:
    """What a file holds behind its checksum; None where it is torn or not there."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    start = len(_MAGIC) + hashlib.sha256().digest_size
    payload = content[start:]
    if content[:start] != _MAGIC + hashlib.sha256(payload).digest():
        return None
    return payload


def _sync_folder(folder: Path) -> None:
    """Make the renames last through a power cut, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
