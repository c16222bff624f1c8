"""`archprof diff`: two networks layer by layer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from archprof.analysis import CONVENTIONS, analyse
from archprof.cli.common import (
    InputOption,
    MaxNodesOption,
    NetworkArgument,
    OutputOption,
    expansion,
    fold_depth,
    graph_of,
    is_imported,
    one_of,
    put_out,
    surface,
    whole_network,
)
from archprof.errors import UsageError
from archprof.graph import Graph
from archprof.spec import MAX_NODES
from archprof.spec.library import find_variant, parse_text


def diff(
    before: NetworkArgument,
    after: Annotated[
        str | None,
        typer.Argument(metavar="[AFTER]", help="As SPEC; left out: the same, with the other --set-after."),
    ] = None,
    set_before: Annotated[
        list[str] | None, typer.Option("--set-before", metavar="NAME=VALUE", help="A parameter of the first.")
    ] = None,
    set_after: Annotated[
        list[str] | None, typer.Option("--set-after", metavar="NAME=VALUE", help="A parameter of the second.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter of both.")] = None,
    input_: InputOption = None,
    format_: Annotated[str, typer.Option("--format", "-f", help="terminal, markdown, json.")] = "terminal",
    output: OutputOption = None,
    counting: Annotated[
        str | None, typer.Option(help=f"What one FLOP is: {', '.join(CONVENTIONS)}. Default: the second spec's own.")
    ] = None,
    fold: Annotated[
        str | None, typer.Option(metavar="N|all", help="Rows at depth N of the node paths; all: every node.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Layers that are the same too.")] = False,
    max_nodes: MaxNodesOption = MAX_NODES,
) -> None:
    """Compare two networks layer by layer: two specs, one with two settings, or REV:PATH for a git revision."""
    from archprof.analysis.diff import diff as make_diff
    from archprof.report.diff import FORMATS, render

    one_of(format_, FORMATS, "format")
    if after is None and not (set_before or set_after):
        raise UsageError("diff needs two specs, or two settings of one: --set-before and --set-after")
    common = set_ or []
    old = _graph(before, [*common, *(set_before or [])], input_, max_nodes)
    new = _graph(before if after is None else after, [*common, *(set_after or [])], input_, max_nodes)
    convention = counting or new.counting
    made = make_diff(analyse(old, counting=convention), analyse(new, counting=convention), fold_depth(fold, new.fold))
    specs = before, before if after is None else after
    text = render(made, format_, specs=specs, all_rows=all_, surface=surface(output))
    put_out(text, output)


# REV:PATH, or REV:PATH:VARIANT
_AT_REVISION = re.compile(r"(?P<file>[^:]+:.+\.ya?ml)(?::(?P<variant>[^:/]+))?")


def _graph(spec: str, given: list[str], inputs: list[str] | None, max_nodes: int) -> Graph:
    matched = _AT_REVISION.fullmatch(spec)
    if matched and not Path(spec).exists():
        document = parse_text(_git_show(matched["file"]), matched["file"])
        variant = find_variant(document, matched["variant"]) if matched["variant"] else None
        return graph_of(expansion(document, variant, given, None, max_nodes))
    return whole_network(spec, given, inputs if is_imported(spec) else None, max_nodes).graph


def _git_show(spec: str) -> bytes:
    """A file as it was at a git revision, REV:PATH, the path as git takes it or relative to this folder."""
    import subprocess  # only a git revision pays for it

    revision, _, path = spec.partition(":")
    try:
        for where in (f"{revision}:./{path}", spec):
            found = subprocess.run(["git", "show", "--end-of-options", where], capture_output=True, check=False)
            if found.returncode == 0:
                return found.stdout
    except FileNotFoundError:
        raise UsageError(f"{spec}: a git revision needs git, which is not installed") from None
    lines = found.stderr.decode(errors="replace").strip().splitlines()
    reason = lines[-1].removeprefix("fatal: ") if lines else "git has no such file at this revision"
    raise UsageError(f"{spec}: {reason}")
