"""The JSON Schema that `archprof schema` prints: shipped specs hold to it, wrong ones do not."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from archprof.cli import application
from archprof.cost import COUNTINGS
from archprof.explanations import codes, page
from archprof.operators import REGISTRY
from archprof.spec import shipped_paths
from archprof.spec.parse import FILE_KEYS
from archprof.spec.reader import plain, read, read_file
from archprof.spec.schema import json_schema

SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
HEAD = "name: net\ninput: [3, 32, 32]\n"


def complaints(text: str) -> list[str]:
    """What the validator says of a spec's text."""
    return [error.message for error in VALIDATOR.iter_errors(plain(read(text.encode(), "net.yaml")))]


def test_it_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", shipped_paths(), ids=lambda path: path.stem)
def test_shipped_specs_hold_to_it(path):
    assert complaints(read_file(path).decode()) == []


def fixes() -> list[str]:
    """Specs that load: what the pages of `archprof explain` say would be right."""
    fenced = [(code, page(code).rpartition("## Fix")[2].partition("```yaml\n")[2]) for code in codes()]
    return [pytest.param(text.partition("```")[0], id=code) for code, text in fenced if text]


@pytest.mark.parametrize("text", fixes())
def test_specs_that_load_hold_to_it(text):
    assert complaints(text) == []


RIGHT = {
    "an expression for a field": "layers: [{op: conv2d, out_channels: =in_channels, kernel_size: 3}]",
    "an expression in a list": "layers: [{op: max_pool2d, kernel_size: [=n, 1]}, {op: pad, padding: [0, =n]}]",
    "null for a default": "defaults: {conv2d: {bias: false, norm: batch_norm2d}}\n"
    "layers: [{op: conv2d, out_channels: 8, kernel_size: 3, bias: null, norm: null}]",
    "an activation with fields": "layers: [{op: relu, activation: {op: gelu, approximate: tanh}}]",
    "an operator by expression": "layers: [{name: a, op: =kind, anything: 3}]",
    "an input by expression": "parameters: {size: 32}\nlayers: [{op: relu}]",
    "a parameter in its long form": "parameters: {n: {default: 3, choices: [3, 5], minimum: 1, help: rows}}\n"
    "layers: [{op: relu, repeat: =n}]",
    "copies of a list": "layers: [{op: relu, repeat: [{a: 1}, {a: 2}]}]",
    "folded at every depth": "fold: all\nlayers: [{op: relu}]",
}

WRONG = {
    "an unknown key": "layer: []\nlayers: [{op: relu}]",
    "no layers": "layers: []",
    "layers that are a map": "layers: {a: {op: relu}}",
    "a layer without op": "layers: [{name: a}]",
    "an unknown operator": "layers: [{op: rellu}]",
    "an unknown field": "layers: [{op: conv2d, out_channels: 8, kernal_size: 3}]",
    "a word for a number": "layers: [{op: conv2d, out_channels: wide, kernel_size: 3}]",
    "a number in quotes": 'layers: [{op: conv2d, out_channels: "64", kernel_size: 3}]',
    "a word for false": "layers: [{op: conv2d, out_channels: 8, kernel_size: 3, bias: no}]",
    "a negative stride": "layers: [{op: conv2d, out_channels: 8, kernel_size: 3, stride: -2}]",
    "three sizes of two": "layers: [{op: conv2d, out_channels: 8, kernel_size: [3, 3, 3]}]",
    "a word in a list of numbers": "layers: [{op: conv2d, out_channels: 8, kernel_size: [wide, 3]}]",
    "none for null": "layers: [{op: relu, norm: none}]",
    "a name that is a number": "layers: [{name: 5e1, op: relu}]",
    "a name with a dot": "layers: [{name: a.b, op: relu}]",
    "a negative repeat": "layers: [{op: relu, repeat: -1}]",
    "a condition that is a word": 'layers: [{op: relu, when: "False"}]',
    "with for an operator": "layers: [{op: relu, with: {a: 1}}]",
    "op and block": "blocks: {b: {layers: [{op: relu}]}}\nlayers: [{name: a, op: relu, block: b}]",
    "a field in a block's layer": "blocks: {b: {layers: [{op: relu}]}}\nlayers: [{block: b, width: 3}]",
    "a block without layers": "blocks: {b: {parameters: {n: 1}}}\nlayers: [{block: b}]",
    "an unknown counting": "counting: macs\nlayers: [{op: relu}]",
    "a year that is a word": "year: soon\nlayers: [{op: relu}]",
    "an error above 100 percent": "published_errors: {top5: 110}\nlayers: [{op: relu}]",
    "an unknown figure": "expect: {flop: 3}\nlayers: [{op: relu}]",
    "defaults of an unknown operator": "defaults: {conv2: {bias: false}}\nlayers: [{op: relu}]",
    "an unknown key of a parameter": "parameters: {n: {default: 1, maximum: 3}}\nlayers: [{op: relu, repeat: =n}]",
    "an unknown key of a variant": "variants: {net-2: {set: {n: 1}}}\nlayers: [{op: relu}]",
}


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT)
def test_what_the_language_has(text):
    assert complaints(HEAD + text) == []


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_what_the_language_has_not(text):
    assert complaints(HEAD + text) != []


@pytest.mark.parametrize(
    "text",
    [
        "name: net\nlayers: [{op: relu}]",
        "name: net\ninput: 3x32x32\nlayers: [{op: relu}]",
        "name: net\ninput: [3, 0, 32]\nlayers: [{op: relu}]",
        "name: net\ninput: {a: {shape: [3], dtype: float32}}\nlayers: [{op: relu}]",
    ],
)
def test_inputs_that_are_none(text):
    assert complaints(text) != []


def test_it_has_all_that_the_parser_takes():
    assert set(SCHEMA["properties"]) == set(FILE_KEYS)
    assert SCHEMA["properties"]["counting"]["enum"] == list(COUNTINGS)
    layers = {
        kind["properties"]["op"]["const"]: kind
        for kind in SCHEMA["$defs"]["layer"]["anyOf"]
        if "op" in kind["required"] and "const" in kind["properties"]["op"]
    }
    assert set(layers) == set(REGISTRY)
    for name, cls in REGISTRY.items():
        assert set(cls.fields) <= set(layers[name]["properties"])
        assert layers[name]["properties"]["op"]["description"]


def test_the_command_prints_it(tmp_path):
    done = CliRunner().invoke(application(), ["schema"])
    assert done.exit_code == 0
    assert json.loads(done.output) == SCHEMA
    target = tmp_path / "schema.json"
    assert CliRunner().invoke(application(), ["schema", "--output", str(target)]).output == ""
    assert target.read_text() == done.output
