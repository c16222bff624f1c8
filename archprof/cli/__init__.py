"""The command line: each command parses its options, calls the API and prints."""

from __future__ import annotations

import sys

import typer

from archprof.cli import build, check, compare, diff, explain, import_, list_, schema, table, verify
from archprof.errors import ArchprofError

app = typer.Typer(
    name="archprof",
    help="Neural-network architectures as tables: parameters and FLOPs from a YAML spec.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("table")(table.table)
app.command("check")(check.check)
app.command("compare")(compare.compare)
app.command("diff")(diff.diff)
app.command("build")(build.build)
app.command("verify")(verify.verify)
app.command("import")(import_.import_module)
app.command("list")(list_.list_specs)
app.command("schema")(schema.schema)
app.command("explain")(explain.explain)


def version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        from archprof import __version__

        typer.echo(f"archprof {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: bool = typer.Option(False, "--version", callback=version, is_eager=True, help="Print the version."),
) -> None:
    """Neural-network architectures as tables: parameters and FLOPs from a YAML spec."""


def main() -> None:
    """Run the command line. Exit status: 0 done, 1 a check does not hold, 2 a mistake of the user's."""
    try:
        app(prog_name="archprof")
    except ArchprofError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
