"""`archprof schema`: the JSON Schema of the spec language."""

from __future__ import annotations

import json

import typer

from archprof.cli.common import OutputOption


def schema(output: OutputOption = None) -> None:
    """Print the JSON Schema of the spec language, for editors."""
    from archprof.report import write_output
    from archprof.spec.schema import json_schema

    text = json.dumps(json_schema(), indent=2) + "\n"
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_output(text, output)
