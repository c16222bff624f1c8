"""Golden files: what was printed once, read by a person, and committed.

ARCHPROF_GOLDEN=write writes what is printed now, and fails, so that a run that writes is never green.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "golden"


def check(name: str, text: str) -> None:
    """Hold a text against the golden file of a name."""
    path = FOLDER / name
    if os.environ.get("ARCHPROF_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8", newline="\n")
        pytest.fail(f"wrote {path}: read it, then run again without ARCHPROF_GOLDEN")
    assert path.is_file(), f"{path} is missing: run with ARCHPROF_GOLDEN=write"
    assert text == path.read_bytes().decode(), f"differs from {path}"
