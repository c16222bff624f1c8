"""The tables in reports/ are what archprof prints today."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from archprof.spec.library import load_document, shipped_paths

MAKE = Path(__file__).parents[1] / "reports/make.py"
COMMAND = "python reports/make.py"


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    reports: Callable[[], dict[str, str]] = runpy.run_path(str(MAKE))["reports"]
    return reports()


def test_reports_are_current(made: dict[str, str]) -> None:
    texts = {path.name: path.read_bytes().decode() for path in MAKE.parent.glob("*.md")}
    files = {name: text for name, text in texts.items() if COMMAND in text.partition("\n")[0]}
    assert sorted(files) == sorted(made), f"run {COMMAND}"
    changed = [name for name, text in made.items() if files[name] != text]
    assert changed == [], f"run {COMMAND}"


def test_every_network_has_its_table(made: dict[str, str]) -> None:
    documents = [load_document(path) for path in shipped_paths()]
    names = [name for document in documents for name in (document.name, *document.variants)]
    headings = [line[3:] for text in made.values() for line in text.splitlines() if line.startswith("## ")]
    assert sorted(headings) == sorted(names)


def test_a_report_says_which_command_made_it(made: dict[str, str]) -> None:
    assert all(text.startswith(f"<!-- made by: {COMMAND} -->\n") for text in made.values())


def test_a_table_prints_as_its_source_does(made: dict[str, str]) -> None:
    (row,) = [line for line in made["zf.md"].splitlines() if line.startswith("| conv1 ")]
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "conv1", "220x220x3", "110x110x64", "7x7x3, 2", "9K", "115M",
    ]  # fmt: skip
