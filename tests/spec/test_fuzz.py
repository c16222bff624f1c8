"""Shipped specs, damaged at random: whatever comes of it, nothing but the project's own errors.

`ARCHPROF_FUZZ=100000 pytest tests/spec/test_fuzz.py` looks longer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from archprof.analysis import analyse, make_table
from archprof.errors import ArchprofError
from archprof.graph import Graph
from archprof.report import FORMATS, render
from archprof.spec import expand, expand_partly
from archprof.spec.document import Document
from archprof.spec.errors import SpecError
from archprof.spec.library import parse_text, shipped_paths

EXAMPLES = int(os.environ.get("ARCHPROF_FUZZ", "300"))
SMALL = settings(
    max_examples=max(EXAMPLES // 10, 30), deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
FUZZ = settings(SMALL, max_examples=EXAMPLES)
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in shipped_paths()}
MAX_NODES = 3_000
MAX_MESSAGE = 3_000  # a mistake may quote a line, not a file

# --- damage

TOKEN = re.compile(r"[\w.]+|[^\w\s]|\s+")
WORDS = sorted({word for text in TEXTS.values() for word in re.findall(r"[\w=.-]+", text)})
NASTY = [
    "", "-1", "0", "1", "2", "0.5", "-0.0", "1e400", ".nan", ".inf", "9" * 18, "-" + "9" * 18, "9" * 30, "2147483648",
    "null", "~", "true", "'no'", "yes", "=", "==", "=1", "=-1", "=0", "=1/0", "=10**9", "=2**63 - 1", "=1e308*10",
    "=null", "=true", "='x'", "=[]", "=[1, 2]", "=[[1], [2]]", "=in_channels", "=index", "=item", "=item.c", "=x[0]",
    "=range(10000)", "=[1]*99", "=max(1)", "=min([])", "=log2(0)", "=sqrt(-1)", "=round(2.5)", "=int('7')",
    "=make_divisible(1, 0)", "=(1", "=lambda: 1", "=a if", "[", "]", "{", "}", "[]", "{}", "[[]]", "[1, [2, {a: 3}]]",
    "{a: 1}", "{: }", "- ", "-", ":", ": ", ",", "#", "&a", "*a", "!!str", "!x", "<<", "%", "@", "`", "|", ">", "'",
    '"', "\\", "\t", "\r", "\x00", "\x85", "\u2028", "\ufeff", "ä", "💥", "...", "---", "? ", "..", "a.b", "a..b", ".a",
    "input", "previous", "repeat: 3", "parallel: 2", "share: true", "when: false", "when: =false", "weights: conv1",
    "from: input", "from: previous", "from: [previous, input]", "norm: batch_norm2d", "activation: relu", "op: concat",
    "block: b", "with: {}", "with: =item", "dim: 0", "samples: 7", "dtype: int64", "groups: 2", "stride: 0",
    "kernel_size: [1]", "padding: same", "op: =op", "name: x", "parameters: {x: null}", "let: {x: =x}", "inputs: [x]",
    "outputs: [input]", "defaults: {relu: {}}", "repeat: =10**6", "repeat: 0", "parallel: 0", "fold: all",
]  # fmt: skip
scraps = st.one_of(
    st.sampled_from(NASTY),
    st.sampled_from(WORDS),
    st.integers(-(10**19), 10**19).map(str),
    st.text(max_size=5),
)


def change_line(draw: Callable[..., int], lines: list[str]) -> None:
    place = draw(st.integers(0, len(lines) - 1))
    other = draw(st.integers(0, len(lines) - 1))
    kind = draw(st.sampled_from(["delete", "repeat", "swap", "move", "indent", "dedent", "split", "join", "cut"]))
    if kind == "delete":
        del lines[place]
    elif kind == "repeat":
        lines.insert(other, lines[place])
    elif kind == "swap":
        lines[place], lines[other] = lines[other], lines[place]
    elif kind == "move":
        lines.insert(other, lines.pop(place))
    elif kind == "indent":
        lines[place] = draw(st.sampled_from([" ", "  ", "    ", "\t"])) + lines[place]
    elif kind == "dedent":
        lines[place] = lines[place][draw(st.integers(1, 4)) :]
    elif kind == "split":
        at = draw(st.integers(0, len(lines[place])))
        lines[place : place + 1] = [lines[place][:at], lines[place][at:]]
    elif kind == "join" and place + 1 < len(lines):
        lines[place : place + 2] = [lines[place] + lines[place + 1]]
    elif kind == "cut":
        del lines[place:]


def change_token(draw: Callable[..., int], lines: list[str]) -> None:
    places = [number for number, line in enumerate(lines) if line.strip()]
    if not places:
        return
    place = draw(st.sampled_from(places))
    tokens = TOKEN.findall(lines[place])
    at = draw(st.integers(0, len(tokens) - 1))
    kind = draw(st.sampled_from(["replace", "replace", "replace", "delete", "insert", "swap"]))
    if kind == "replace":
        tokens[at] = draw(scraps)
    elif kind == "delete":
        del tokens[at]
    elif kind == "insert":
        tokens.insert(at, draw(scraps))
    else:
        other = draw(st.integers(0, len(tokens) - 1))
        tokens[at], tokens[other] = tokens[other], tokens[at]
    lines[place] = "".join(tokens)


def change_value(draw: Callable[..., int], lines: list[str]) -> None:
    """A number or a word behind a colon becomes another: the text stays YAML, and what it says does not fit."""
    places = [
        (number, match.span(1)) for number, line in enumerate(lines) for match in re.finditer(r": ([\w.=-]+)", line)
    ]
    if places:
        number, (start, end) = draw(st.sampled_from(places))
        lines[number] = lines[number][:start] + draw(scraps) + lines[number][end:]


def add_key(draw: Callable[..., int], lines: list[str]) -> None:
    places = [number for number, line in enumerate(lines) if line.rstrip().endswith("}")]
    if places:
        number = draw(st.sampled_from(places))
        lines[number] = lines[number].rstrip()[:-1] + ", " + draw(scraps) + "}"


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """The text of a shipped spec after one to six changes."""
    lines = TEXTS[draw(st.sampled_from(sorted(TEXTS)))].splitlines()
    for _ in range(draw(st.integers(1, 6))):
        change = draw(st.sampled_from([change_line, change_token, change_value, change_value, add_key]))
        change(draw, lines)
        if not lines:
            break
    return "\n".join(lines)


# --- what may come of it


def through(text: str | bytes) -> Graph | None:
    """A text all the way to a table, or None where the project's own errors end it."""
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    try:
        document = parse_text(content, "net.yaml")
    except SpecError as error:
        told(error)
        return None
    made: Graph | None = None
    for variant in [None, *list(document.variants.values())[:2]]:
        try:
            expansion = expand_partly(document, variant, max_nodes=MAX_NODES)
        except SpecError as error:
            told(error)
            continue
        if expansion.mistakes:
            told(SpecError(expansion.mistakes))
        else:
            made = made or expansion.graph
        well_formed(expansion.graph)
        for train in (False, True):
            analysis = analyse(expansion.graph, train=train, passes="both")
            table = make_table(analysis, fold=expansion.graph.fold)
            for form in FORMATS:
                assert render(table, form)
    return made


def told(error: SpecError) -> None:
    """Every mistake has a place in the file, a message of a bearable length, and a code."""
    assert error.mistakes
    for mistake in error.mistakes:
        assert mistake.file == "net.yaml"
        assert mistake.line >= 0
        assert mistake.column >= (mistake.line > 0)
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", mistake.code)
        assert 0 < len(mistake.message) < MAX_MESSAGE
        assert "\n" not in mistake.message


def well_formed(graph: Graph) -> None:
    """Paths are unique, nodes take earlier ones, and what enters a node is what the other put out."""
    assert len({node.path for node in graph.nodes}) == len(graph.nodes)
    for index, node in enumerate(graph.nodes):
        assert all(0 <= value.node < index for value in node.inputs)
        assert node.input_shapes == tuple(graph.nodes[value.node].output_shapes[value.output] for value in node.inputs)
        assert all(type(dim) is int and dim >= 0 for shape in node.output_shapes for dim in shape.dims)
    for value in (*graph.outputs.values(), *graph.training_outputs.values()):
        assert 0 <= value.node < len(graph.nodes)
        assert 0 <= value.output < len(graph.nodes[value.node].output_shapes)


@given(damaged())
@FUZZ
def test_damaged_specs_meet_nothing_but_own_errors(text):
    through(text)


@given(st.one_of(st.binary(max_size=200), st.lists(scraps, max_size=40).map(" ".join)))
@FUZZ
def test_noise_meets_nothing_but_own_errors(text):
    through(text)


@given(damaged())
@SMALL
def test_the_same_text_gives_the_same(text):
    def outcome() -> object:
        try:
            return expand(parse_text(text.encode("utf-8", "surrogatepass"), "net.yaml"), max_nodes=MAX_NODES)
        except ArchprofError as error:
            return str(error)

    assert outcome() == outcome()


# --- properties of the specs as they ship

DOCUMENTS: dict[str, Document] = {}


def document_of(name: str) -> Document:
    if name not in DOCUMENTS:
        DOCUMENTS[name] = parse_text(TEXTS[name].encode(), f"{name}.yaml")
    return DOCUMENTS[name]


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_folding_never_changes_a_total(name):
    document = document_of(name)
    graph = expand(document, next(iter(document.variants.values()), None))
    well_formed(graph)
    analysis = analyse(graph, train=True)
    columns = ["layer", "param", "FLOPs", "activations", "memory", "param-share", "FLOPs-share"]
    totals = set()
    for fold in (1, 2, 3, None):
        for repeats in (False, True):
            table = make_table(analysis, fold=fold, columns=columns, repeats=repeats)
            totals.add(tuple(map(str, table.total.cells)))
            for place in (1, 2, 3, 4):  # counts of the rows add up to the total
                assert sum(row.cells[place] or 0 for row in table.rows) == table.total.cells[place]
            for place in (5, 6):  # and shares to the whole
                parts = [row.cells[place] for row in table.rows if row.cells[place] is not None]
                assert sum(part.part for part in parts) == table.total.cells[place].whole
    assert len(totals) == 1
    assert analysis.params == sum(figures.params for figures in analysis.figures)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_spec_gives_the_same_graph_again(name):
    document = document_of(name)
    assert expand(document) == expand(parse_text(TEXTS[name].encode(), f"{name}.yaml"))


@given(st.data())
@SMALL
def test_a_layer_that_is_taken_away_is_missed_or_not_needed(data):
    """Without a line of layers a spec still expands, or every mistake has a place."""
    lines = TEXTS[data.draw(st.sampled_from(sorted(TEXTS)))].splitlines()
    layers = [number for number, line in enumerate(lines) if line.lstrip().startswith("- {")]
    assume(layers)
    del lines[data.draw(st.sampled_from(layers))]
    through("\n".join(lines))
