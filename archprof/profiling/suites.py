"""Suites: matrices that others published figures of, shipped as data (archprof/suites)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from archprof.errors import UsageError
from archprof.operators import hint
from archprof.profiling.matrix import Matrix

FOLDER = Path(__file__).parents[1] / "suites"
ALIASES = {"timm": "pytorch-image-models"}


class Suite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Matrices under one name."""

    title: str
    source: str
    matrices: tuple[Matrix, ...]


def suite_names() -> list[str]:
    """The shipped suites."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_suite(name: str) -> Suite:
    """A shipped suite. Raises UsageError with the nearest name."""
    stem = ALIASES.get(name, name)
    if stem not in suite_names():
        raise UsageError(f"unknown suite {name}: {hint(name, [*suite_names(), *ALIASES])}")
    import yaml

    document = yaml.safe_load((FOLDER / f"{stem}.yaml").read_text(encoding="utf-8"))
    return msgspec.convert(document, Suite)
