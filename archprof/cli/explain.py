"""`archprof explain`: the page of a kind of mistake."""

from __future__ import annotations

from typing import Annotated

import typer

from archprof.cli.common import put_out
from archprof.errors import UsageError
from archprof.explanations import codes, page


def explain(
    code: Annotated[str | None, typer.Argument(metavar="[CODE]", help="The word in brackets behind a message.")] = None,
) -> None:
    """Explain a kind of mistake: its cause, an example, and what to write instead."""
    if code is None:
        put_out("\n".join(codes()) + "\n")
        return
    code = code.strip("[]")
    if code not in codes():
        from archprof.operators import nearest

        close = nearest(code, codes())
        hint = f"did you mean {close}?" if close else "archprof explain lists them"
        raise UsageError(f"no kind of mistake is called {code}: {hint}")
    put_out(page(code))
