"""Fixtures that the tests of every command use."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from archprof.cli import main

Run = Callable[..., tuple[int, str, str]]

# the command in a process of its own that Ctrl-C reaches, even where the tests run in a shell's background
COMMAND = (
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from archprof.cli import main; main()",
)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """`archprof ARGUMENTS` in this process, in an empty folder: its exit status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["archprof", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        status = left.value.code
        return (0 if status is None else int(status)), printed.out, printed.err

    return call


@pytest.fixture
def ok(run: Run) -> Callable[..., str]:
    """The same for what must succeed: its output."""

    def call(*arguments: str) -> str:
        status, out, errors = run(*arguments)
        assert (status, errors) == (0, "")
        return out

    return call


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """The same for what must be refused: the message, on standard error alone, and exit status 2."""

    def call(*arguments: str) -> str:
        status, out, errors = run(*arguments)
        assert (status, out) == (2, "")
        assert "Traceback" not in errors
        return errors

    return call
