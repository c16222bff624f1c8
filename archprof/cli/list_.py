"""`archprof list`: the shipped specs and their variants."""

from __future__ import annotations

import typer


def list_specs() -> None:
    """List the shipped specs and their variants."""
    from archprof.spec import load_document, shipped_paths

    for path in shipped_paths():
        document = load_document(path)
        about = " - ".join(filter(None, (document.title, document.source)))
        typer.echo(f"{document.name}  {about}" if about else document.name)
        for variant in document.variants.values():
            aliases = f" (also {', '.join(variant.aliases)})" if variant.aliases else ""
            typer.echo(f"  {variant.name}{aliases}")
