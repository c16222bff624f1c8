"""What every table does with the texts it is given."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from archprof.report import markdown, terminal
from archprof.report.output import PIPE, Surface
from archprof.report.results import Content
from archprof.report.results import render as render_results
from archprof.report.sheet import Line, Sheet

EVIL = "a\x1b[31mb\x1b]0;c\x07d\ne"
PLAIN = "a [31mb ]0;c d e"


@pytest.mark.parametrize("render", [terminal.render, markdown.render])
@pytest.mark.parametrize("part", ["title", "headers", "lines", "total", "caption"])
def test_no_text_commands_the_terminal(render: Callable[[Sheet, Surface], str], part: str) -> None:
    def of(name: str) -> str:
        return EVIL if name == part else name

    sheet = Sheet(
        title=of("title"),
        headers=(of("headers"),),
        right=(False,),
        lines=(Line(cells=(of("lines"),)),),
        total=Line(cells=(of("total"),)),
        caption=(of("caption"),),
    )
    text = render(sheet, PIPE)
    assert PLAIN in text
    assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize("format_", ["terminal", "markdown"])
def test_nor_do_the_notes_of_an_empty_table(format_: str) -> None:
    sheet = Sheet(title=EVIL, headers=("a",), right=(False,), lines=(), caption=(EVIL,))
    text = render_results(Content(sheet, (), {}), format_, PIPE)
    assert text.count(PLAIN) == 2
    assert text.replace("\n", "").isprintable()
