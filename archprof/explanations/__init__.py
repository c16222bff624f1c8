"""One page a kind of mistake: CODE.md beside this file, with cause, example and fix."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def codes() -> list[str]:
    """The codes that have a page, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.md"))


def page(code: str) -> str:
    """The page of a code, in Markdown."""
    return (_FOLDER / f"{code}.md").read_text(encoding="utf-8")
