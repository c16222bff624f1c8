"""`archprof check`: hold networks against their own expectations, published figures and limits."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from archprof.cli.common import OutputOption, SetOption, one_of, settings
from archprof.errors import UsageError


def check(
    specs: Annotated[
        list[str], typer.Argument(metavar="SPEC...", help="Spec files, folders, patterns, or shipped names.")
    ],
    max_: Annotated[
        list[str] | None,
        typer.Option("--max", metavar="QUANTITY=N", help="A limit: params=5M, flops=600M, depth=50, memory=1GiB."),
    ] = None,
    set_: SetOption = None,
    format_: Annotated[str, typer.Option("--format", "-f", help="terminal, github, junit, json.")] = "terminal",
    output: OutputOption = None,
) -> None:
    """Check figures: a spec's `expect`, its published table, limits. Exit status 1 where something differs.

    Of a file its base and all its variants are checked.
    """
    from archprof.analysis.check import FAILED, networks, parse_limit
    from archprof.analysis.check import check as check_network
    from archprof.report import Surface, surface_of, write_output
    from archprof.report.checks import FORMATS, render

    one_of(format_, FORMATS, "format")
    limits = dict(map(parse_limit, max_ or []))
    given = settings(set_)
    checked = [check_network(document, variant, limits, given) for document, variant in networks(specs)]
    if not any(network.findings for network in checked):
        raise UsageError(
            f"nothing to check in {', '.join(specs)}: write `expect` in the spec, or give a limit with --max"
        )
    text = render(checked, format_, surface_of(sys.stdout) if output is None else Surface())
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_output(text, output)
    if any(network.count(FAILED) for network in checked):
        raise typer.Exit(1)
