"""The command line: each command parses its options, calls the API and prints."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping

import typer

from archprof.errors import ArchprofError

# name -> the function of its module in this package, or a typer application; imported when it is asked for
COMMANDS: Mapping[str, tuple[str, str]] = {
    "table": ("table", "table"),
    "check": ("check", "check"),
    "compare": ("compare", "compare"),
    "diff": ("diff", "diff"),
    "draw": ("draw", "draw"),
    "report": ("report", "report"),
    "build": ("build", "build"),
    "depth": ("depth", "depth"),
    "profile": ("profile", "profile"),
    "bench": ("bench", "bench"),
    "device": ("device", "device"),
    "predict": ("predict", "predict"),
    "results": ("results", "results"),
    "trend": ("trend", "trend"),
    "verify": ("verify", "verify"),
    "import": ("import_", "import_module"),
    "list": ("list_", "list_specs"),
    "schema": ("schema", "schema"),
    "explain": ("explain", "explain"),
}


def application(wanted: str | None = None) -> typer.Typer:
    """The command line with one of its commands, or with all where none of them is wanted.

    Importing all takes three times as long as `archprof table zf.yaml` needs.
    """
    app = typer.Typer(
        name="archprof",
        help="Neural-network architectures as tables: parameters and FLOPs from a YAML spec.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(options)
    for name, (module, function) in COMMANDS.items():
        if name == wanted or wanted not in COMMANDS:
            found = getattr(importlib.import_module(f"archprof.cli.{module}"), function)
            if isinstance(found, typer.Typer):
                app.add_typer(found, name=name)
            else:
                app.command(name)(found)
    return app


def version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        from archprof import __version__

        typer.echo(f"archprof {__version__}")
        raise typer.Exit


def options(
    _version: bool = typer.Option(False, "--version", callback=version, is_eager=True, help="Print the version."),
) -> None:
    """Neural-network architectures as tables: parameters and FLOPs from a YAML spec."""


def main() -> None:
    """Run the command line. Exit status: 0 done, 1 a check does not hold, 2 a mistake of the user's."""
    try:
        application(sys.argv[1] if len(sys.argv) > 1 else None)(prog_name="archprof")
    except ArchprofError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
