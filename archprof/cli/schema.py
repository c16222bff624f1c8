"""`archprof schema`: the JSON Schema of the spec language."""

from __future__ import annotations

import json

from archprof.cli.common import OutputOption, put_out


def schema(output: OutputOption = None) -> None:
    """Print the JSON Schema of the spec language, for editors."""
    from archprof.spec.schema import json_schema

    text = json.dumps(json_schema(), indent=2) + "\n"
    put_out(text, output)
