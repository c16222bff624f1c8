"""The documentation: every command and every Python example in it runs, and prints what the page shows.

A block ```console holds commands (`$ archprof ...`) and what they print; `...` stands for any number of lines. A block
with a title is a file of that name. Blocks of one page run in order, in one folder. An HTML comment before a block says
what else holds: `<!-- slow -->` (run by `pytest -m slow`), `<!-- output varies -->` (it runs, and ends with 0).
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[a-z, ]+) -->\n+)?^```(?P<kind>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$",
    re.M | re.S,
)


class Block(NamedTuple):
    kind: str
    text: str
    title: str | None
    notes: tuple[str, ...]


def blocks(page: str) -> list[Block]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return [
        Block(found["kind"], found["text"], found["title"], tuple((found["note"] or "").split(", ")))
        for found in BLOCK.finditer(text)
    ]


def commands(text: str) -> list[tuple[str, str]]:
    """Each command of a console block, and what it should print."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:].rstrip("\n"), ""))
        else:
            command, printed = found[-1]
            found[-1] = (command, printed + line)
    return found


def matches(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed; a line `...` stands for any lines, trailing blanks count for nothing."""
    pattern = "".join(
        r"(?:.*\n)*" if line.strip() == "..." else re.escape(line.rstrip()) + r"[ ]*\n" for line in shown.splitlines()
    )
    return re.fullmatch(pattern, printed) is not None


def test_matches_can_fail() -> None:
    assert matches("a\n...\nc\n", "a\nb\nb\nc\n")
    assert not matches("a\n...\nc\n", "a\nb\nd\n")
    assert not matches("a\n", "a\nb\n")


def run_page(page: str, folder: Path, *, slow: bool) -> None:
    for block in blocks(page):
        if ("slow" in block.notes) != slow and block.kind in ("console", "python"):
            continue
        if block.title is not None and not block.title.startswith("."):
            (folder / block.title).write_text(block.text, encoding="utf-8")
        elif block.kind == "console":
            for command, shown in commands(block.text):
                program, *arguments = shlex.split(command)
                assert program == "archprof", command
                done = subprocess.run(
                    [sys.executable, "-c", "from archprof.cli import main; main()", *arguments],
                    cwd=folder,
                    capture_output=True,
                    text=True,
                    timeout=600,
                    check=False,
                )
                assert "Traceback" not in done.stderr, done.stderr
                if "output varies" in block.notes:
                    assert done.returncode == 0, f"{command}\n{done.stderr}"
                    continue
                printed = done.stdout or done.stderr
                assert matches(shown, printed), f"{command}\nshown:\n{shown}\nprinted:\n{printed}"
        elif block.kind == "python":
            exec(compile(block.text, page, "exec"), {"__name__": "page"})


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(page, tmp_path, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any("slow" in block.notes for block in blocks(page))])
def test_the_slow_examples_of_a_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(page, tmp_path, slow=True)


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=DOCS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    operators = (tmp_path / "site" / "operators" / "index.html").read_text(encoding="utf-8")
    from archprof.operators import REGISTRY

    missing = [name for name in REGISTRY if f'id="{name}"' not in operators]
    assert not missing
