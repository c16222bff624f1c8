"""`archprof check`: hold networks against their own expectations, published figures and limits."""

from __future__ import annotations

from typing import Annotated

import typer

from archprof.cli.common import (
    InputOption,
    OutputOption,
    SetOption,
    append_step_summary,
    is_imported,
    one_of,
    put_out,
    settings,
    surface,
    whole_network,
)
from archprof.errors import UsageError
from archprof.spec.errors import SpecError


def check(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK...", help="Spec files, folders, patterns, shipped names, or package.module:callable."
        ),
    ],
    max_: Annotated[
        list[str] | None,
        typer.Option("--max", metavar="QUANTITY=N", help="A limit: params=5M, flops=600M, depth=50, memory=1GiB."),
    ] = None,
    set_: SetOption = None,
    input_: InputOption = None,
    format_: Annotated[str, typer.Option("--format", "-f", help="terminal, github, junit, json.")] = "terminal",
    output: OutputOption = None,
) -> None:
    """Check figures: a spec's `expect`, its published table, limits.

    Of a file its base and all its variants are checked. Exit status: 0 all holds, 1 something differs, 2 a mistake.
    """
    from archprof.analysis.check import FAILED, Report, check_all, check_limits, parse_limits
    from archprof.report.checks import FORMATS, render

    one_of(format_, FORMATS, "format")
    limits = parse_limits(max_ or [])
    modules = [each for each in networks if is_imported(each)]
    report = check_all([each for each in networks if each not in modules], limits, settings(set_))
    for name in modules:
        from archprof.importer.locate import written_at

        graph = whole_network(name, set_, input_).graph
        checked = check_limits(graph, *written_at(name), limits)
        report = Report(networks=(*report.networks, checked), mistakes=report.mistakes)
    if not report.mistakes and not any(network.findings for network in report.networks):
        raise UsageError(
            f"nothing to check in {', '.join(networks)}: write `expect` in the spec, or give a limit with --max"
        )
    text = render(report, format_, surface(output))
    put_out(text, output)
    if format_ == "github":
        from archprof.report.checks.github import step_summary

        append_step_summary(step_summary(report))
    if report.mistakes:
        raise SpecError(report.mistakes)
    if report.count(FAILED):
        raise typer.Exit(1)
