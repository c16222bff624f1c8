"""mkdocs: the operator reference, made from the operators themselves when the site is built."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from archprof.operators import REGISTRY, Operator, required_fields, shown

FAMILIES: Mapping[str, str] = {
    "convolution": "Convolution",
    "linear": "Linear layers and matrix products",
    "activation": "Activations",
    "normalization": "Normalisation",
    "pooling": "Pooling and resizing",
    "elementwise": "Arithmetic",
    "layout": "Layout",
    "attention": "Attention",
    "recurrent": "Recurrent layers",
    "embedding": "Embedding",
    "parameter": "Parameters",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add operators.md to the site."""
    files.append(File.generated(config, "operators.md", content=reference()))
    return files


def reference() -> str:
    """The page: a section a family, in it an entry an operator, with its docstring and its fields."""
    lines = [
        "# Operators",
        "",
        "Names and fields are PyTorch's, in snake case. A field without a default must be given. Where a field takes "
        "one integer for every spatial dimension, it also takes a list.",
        "",
    ]
    for module, title in FAMILIES.items():
        family = importlib.import_module(f"archprof.operators.{module}")
        lines += [f"## {title}", ""]
        for name, cls in sorted(REGISTRY.items()):
            if cls.__module__ == family.__name__:
                lines += entry(name, cls)
    return "\n".join(lines)


def entry(name: str, cls: type[Operator]) -> list[str]:
    """One operator: what it does, how many inputs it takes, its fields."""
    least, most = cls.arity
    inputs = f"{least} or more" if most is None else str(least) if least == most else f"{least} to {most}"
    lines = [f"### `{name}` {{ #{name} }}", "", " ".join((cls.__doc__ or "").split()), ""]
    if (least, most) != (1, 1):
        lines += [f"Inputs: {inputs}.", ""]
    if not cls.fields:
        return [*lines, "No fields.", ""]
    required = required_fields(cls)
    defaults = {info.name: info.default for info in _fields(cls)}
    lines += ["| field | takes | default |", "|---|---|---|"]
    for field, kind in cls.fields.items():
        default = "" if field in required else f"`{shown(defaults[field])}`".replace("the word ", "")
        lines.append(f"| `{field}` | {describe(kind.json_schema())} | {default} |")
    return [*lines, ""]


def _fields(cls: type[Operator]) -> Any:
    import msgspec

    return msgspec.structs.fields(cls)


def describe(schema: Mapping[str, Any]) -> str:
    """What a JSON schema of a field takes, in words."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(describe(each) for each in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        least, most = schema.get("minItems"), schema.get("maxItems")
        count = f"{least} " if least == most and least is not None else ""
        item = schema.get("items", {})
        return f"a list of {count}{'pairs' if item.get('type') == 'array' else 'integers'}"
    if kind in ("integer", "number"):
        noun = "an integer" if kind == "integer" else "a number"
        low, high = schema.get("minimum"), schema.get("maximum")
        if low is not None and high is not None:
            return f"{noun} from {low:g} to {high:g}"
        return (
            f"{noun} of at least {low:g}"
            if low is not None
            else f"{noun} of at most {high:g}"
            if high is not None
            else noun
        )
    return {"boolean": "true or false", "null": "null", "string": "a word"}.get(str(kind), str(kind))
