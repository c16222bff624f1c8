"""The JSON Schema of the spec language, made from the same tables that the parser checks with."""

from __future__ import annotations

from typing import Any

from archprof.cost import COUNTINGS
from archprof.operators import REGISTRY, Operator
from archprof.spec.parse import DTYPES, EXPECT_KEYS

Schema = dict[str, Any]

_EXPRESSION: Schema = {"type": "string", "pattern": "^=", "description": "an expression"}
_NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}
_TEXT: Schema = {"type": ["string", "number", "null"]}
_REFERENCE: Schema = {
    "description": "an earlier layer, a node inside an earlier block, input or previous; or a list of them",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
}
_COPIES: Schema = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "array"}, _EXPRESSION]}
_FLOW: Schema = {
    "name": _NAME,
    "from": _REFERENCE,
    "repeat": {**_COPIES, "description": "a count or a list of copies, each fed by the one before"},
    "parallel": {**_COPIES, "description": "a count or a list of copies, all fed by `from`"},
    "share": {"type": "boolean", "description": "all copies use the first one's parameters"},
    "when": {"anyOf": [{"type": "boolean"}, _EXPRESSION], "description": "false: the layer is not there"},
    "weights": {"type": "string", "description": "an earlier layer or block whose parameters it uses"},
}
_COMPANION: Schema = {
    "anyOf": [
        {"enum": sorted(REGISTRY)},
        _EXPRESSION,
        {"type": "null"},
        {
            "type": "object",
            "properties": {"op": {"anyOf": [{"enum": sorted(REGISTRY)}, _EXPRESSION]}},
            "required": ["op"],
        },
    ]
}


def _strict(properties: Schema, *, required: tuple[str, ...] = (), **more: Any) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def _with_expressions(schema: Schema) -> Schema:
    """A kind's schema in which every item of a list may be an expression too."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [_with_expressions(one) for one in schema["anyOf"]]}
    if "items" in schema:
        return {**schema, "items": {"anyOf": [_with_expressions(schema["items"]), _EXPRESSION]}}
    return schema


def _fields(cls: type[Operator]) -> Schema:
    """An operator's fields: of their kind, an expression, or null to drop a default."""
    return {
        name: {"anyOf": [_with_expressions(kind.json_schema()), _EXPRESSION, {"type": "null"}]}
        for name, kind in cls.fields.items()
    } | {"norm": _COMPANION, "activation": _COMPANION}


def _operator_layer(name: str, cls: type[Operator]) -> Schema:
    summary = (cls.__doc__ or "").strip().splitlines()[0]
    return _strict(
        {"op": {"const": name, "description": summary}, **_FLOW, **_fields(cls)}, required=("op",), title=name
    )


def _parameters() -> Schema:
    described = _strict(
        {
            "default": {},
            "choices": {"type": "array", "minItems": 1},
            "minimum": {"type": "number"},
            "step": {"type": "integer", "minimum": 1},
            "help": _TEXT,
        }
    )
    literal = {"type": ["number", "string", "boolean", "array", "null"]}
    return {"type": "object", "propertyNames": _NAME, "additionalProperties": {"anyOf": [literal, described]}}


def _input() -> Schema:
    dimension = {"anyOf": [{"type": "integer", "minimum": 1}, _EXPRESSION]}
    shape = {"anyOf": [{"type": "array", "items": dimension, "minItems": 1}, _EXPRESSION]}
    described = _strict({"shape": shape, "dtype": {"enum": list(DTYPES)}, "samples": dimension}, required=("shape",))
    one = {"anyOf": [shape, described]}
    return {"anyOf": [shape, described, {"type": "object", "additionalProperties": one, "minProperties": 1}]}


def json_schema() -> Schema:
    """The schema (draft 2020-12) that every spec file holds to."""
    layers = {"type": "array", "items": {"$ref": "#/$defs/layer"}, "minItems": 1}
    dynamic = {
        "type": "object",
        "properties": {"op": _EXPRESSION, **_FLOW, "norm": _COMPANION, "activation": _COMPANION},
        "required": ["op", "name"],
        "title": "an operator chosen by an expression",
    }
    block_layer = _strict(
        {
            "block": {"type": "string", "description": "a block of this file, or an expression"},
            "with": {"anyOf": [{"type": "object"}, _EXPRESSION], "description": "the block's parameters"},
            **_FLOW,
        },
        required=("block",),
        title="block",
    )
    block = _strict(
        {
            "parameters": {"$ref": "#/$defs/parameters"},
            "let": {"type": "object"},
            "inputs": {"type": "array", "items": _NAME, "minItems": 1},
            "layers": layers,
        },
        required=("layers",),
    )
    figure = {"type": ["integer", "string", "array", "number"]}
    expect = _strict(dict.fromkeys(EXPECT_KEYS, figure))
    errors = _strict(
        {
            "top1": {"type": "number", "minimum": 0, "maximum": 100},
            "top5": {"type": "number", "minimum": 0, "maximum": 100},
            "source": _TEXT,
        }
    )
    names = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    about = {"title": _TEXT, "year": {"type": "integer"}, "source": _TEXT, "published_errors": errors}
    variant = _strict({**about, "with": {"type": "object"}, "input": _input(), "expect": expect, "aliases": names})
    defaults = _strict({name: _strict(_fields(cls)) for name, cls in sorted(REGISTRY.items())})
    properties = {
        "name": _NAME,
        **about,
        "input": _input(),
        "counting": {"enum": list(COUNTINGS), "description": "what one FLOP is in this source"},
        "fold": {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "all"}]},
        "parameters": {"$ref": "#/$defs/parameters"},
        "let": {"type": "object", "propertyNames": _NAME},
        "defaults": defaults,
        "blocks": {"type": "object", "propertyNames": _NAME, "additionalProperties": block},
        "layers": layers,
        "outputs": names,
        "training_outputs": names,
        "expect": expect,
        "variants": {"type": "object", "additionalProperties": variant},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "archprof spec",
        "description": "A neural network, layer by layer.",
        **_strict(properties, required=("name", "input", "layers")),
        "$defs": {
            "parameters": _parameters(),
            "layer": {
                "anyOf": [*(_operator_layer(name, cls) for name, cls in sorted(REGISTRY.items())), dynamic, block_layer]
            },
        },
    }
