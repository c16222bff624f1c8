"""Packages that are not in the core: a command that needs one says what to install."""

from __future__ import annotations

from archprof.errors import UsageError


def require(what: str, package: str, extra: str) -> None:
    """Raise UsageError, with what to install, where a package is missing. `what` is the command or option it serves."""
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{what} needs {package}: pip install 'archprof[{extra}]'")
