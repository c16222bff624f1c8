"""Shipped specs, damaged at random: whatever comes of it, nothing but the project's own errors.

`ARCHPROF_FUZZ=100000 pytest tests/spec/test_fuzz.py` looks longer.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from archprof.analysis import analyse, make_table
from archprof.errors import ArchprofError
from archprof.graph import Graph
from archprof.operators import REGISTRY, required_fields
from archprof.operators.base import Choice, Flag, Integer, Integers, Kind, Optional
from archprof.report import FORMATS, render
from archprof.spec import expand, expand_partly
from archprof.spec.document import Document
from archprof.spec.errors import SpecError
from archprof.spec.library import parse_text, shipped_paths

LONG = "ARCHPROF_FUZZ" in os.environ
EXAMPLES = int(os.environ.get("ARCHPROF_FUZZ", "300"))
SMALL = settings(
    max_examples=max(EXAMPLES // 10, 30),
    deadline=None,
    derandomize=not LONG,  # a commit is not to fail for what an earlier one broke
    suppress_health_check=list(HealthCheck),
    print_blob=True,
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


# --- specs that were never written

LAYERS = [
    "op: relu", "op: tanh", "op: identity", "op: softmax", "op: flatten", "op: concat", "op: add", "op: multiply",
    "op: conv2d, out_channels: 4, kernel_size: 1", "op: conv2d, out_channels: =in_channels, kernel_size: 3, padding: 1",
    "op: conv2d, out_channels: =in_channels + 1, kernel_size: 1, norm: batch_norm2d, activation: relu",
    "op: max_pool2d, kernel_size: 2", "op: split, split_size: [1, 3]", "op: split, split_size: 2, sections: 2",
    "op: linear, out_features: 4", "op: lstm, hidden_size: 4", "op: gru, hidden_size: 4", "op: batch_norm2d",
    "op: reshape, shape: [4, 4]", "op: parameter, shape: [4]", "block: a", "block: b", "block: pair",
    "op: relu", "op: relu",
    "block: a, with: {n: =in_channels}", "block: a, with: {n: 1}", "block: ='a'", "op: ='relu'",
]  # fmt: skip
COPIES = [
    "repeat: 0", "repeat: 1", "repeat: 2", "repeat: [1, 2]", "repeat: =in_channels", "repeat: =n",
    "parallel: 1", "parallel: 2", "parallel: [3, 4]", "parallel: =n",
]  # fmt: skip
NAMES = ["u", "v", "w", "x", "y", "z"]


@st.composite
def layer_lists(draw: st.DrawFn, indent: str) -> str:
    """Layers that take each other, often in ways that do not fit; the last takes what would be left over."""
    lines = []
    taken = set()
    count = draw(st.integers(1, len(NAMES)))
    for place, name in enumerate(NAMES[:count]):
        parts = [f"name: {name}", draw(st.sampled_from(LAYERS))]
        earlier = NAMES[:place]
        if earlier and draw(st.integers(0, 2)) == 0:
            ends = ["", "", "", ".0", ".1", ".u", ".0.u", ".output", ".conv2d"]
            sources = [
                draw(st.sampled_from(["input", "previous", *earlier, *earlier])) for _ in range(draw(st.integers(1, 3)))
            ]
            sources = [head + draw(st.sampled_from(ends)) * (head in NAMES) for head in sources]
            taken.update(head.partition(".")[0] for head in sources)
            parts.append(f"from: [{', '.join(sources)}]" if len(sources) > 1 else f"from: {sources[0]}")
            if "previous" in sources:
                taken.add(NAMES[place - 1])
        elif earlier:
            taken.add(NAMES[place - 1])
        copies = draw(st.sampled_from(["", "", "", *COPIES]))
        parts.append(copies)
        if copies and draw(st.booleans()):
            parts.append("share: true")
        if draw(st.integers(0, 5)) == 0:
            parts.append(
                draw(st.sampled_from(["when: true", "when: false", "when: =n > 2", "when: =in_channels == 4"]))
            )
        if earlier and draw(st.integers(0, 5)) == 0:
            parts.append(f"weights: {draw(st.sampled_from(earlier))}")
        lines.append(f"{indent}- {{{', '.join(filter(None, parts))}}}")
    left = [name for name in NAMES[:count] if name not in taken]
    lines.append(f"{indent}- {{name: last, op: {'add' if len(left) > 1 else 'relu'}, from: [{', '.join(left)}]}}")
    return "\n".join(lines)


@st.composite
def invented(draw: st.DrawFn) -> str:
    """A small spec with blocks that use each other."""
    shape = draw(st.sampled_from(["[4, 4, 4]", "[4, 4]", "[4]", "{shape: [4, 4, 4], samples: 3}"]))
    outputs = draw(st.sampled_from(["", "", "outputs: [last, u]", "training_outputs: [v]"]))
    return f"""\
name: net
input: {shape}
parameters: {{n: 2}}
let: {{m: =n}}
blocks:
  a:
    parameters: {{n: 3}}
    let: {{m: =n + 1}}
    layers:
{draw(layer_lists("      "))}
  b:
    let: {{n: 2}}
    layers:
{draw(layer_lists("      "))}
  pair:
    inputs: [one, two]
    let: {{n: 1}}
    layers: [{{op: add, from: [one, two]}}, {{op: relu, repeat: =n}}]
layers:
{draw(layer_lists("  "))}
{outputs}
"""


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


@given(invented())
@FUZZ
def test_invented_specs_meet_nothing_but_own_errors(text):
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


# --- every operator with values that its fields take, or should not

odd = st.one_of(st.none(), st.booleans(), st.integers(-2, 10**18), st.sampled_from(NASTY), st.lists(st.integers(0, 4)))


def of_kind(kind: Kind) -> st.SearchStrategy:
    """Values that a field takes."""
    if isinstance(kind, Optional):
        return st.one_of(st.none(), of_kind(kind.kind))
    if isinstance(kind, Flag):
        return st.booleans()
    if isinstance(kind, Choice):
        return st.sampled_from(kind.words)
    if isinstance(kind, Integer):
        return st.sampled_from([1, 2, 4, 8, "=in_channels", "=2 * in_channels"])
    if isinstance(kind, Integers):
        item = st.integers(1, 3)
        several = st.lists(item, min_size=kind.length or 1, max_size=kind.length or 3)
        return several if kind.length is None else st.one_of(item, several)
    return st.sampled_from([0, 1, 0.5])


@st.composite
def one_layer(draw: st.DrawFn) -> str:
    """A spec of one layer, as JSON, which is YAML."""
    name = draw(st.sampled_from(sorted(REGISTRY)))
    cls = REGISTRY[name]
    least, most = cls.arity
    layer = {"op": name, "from": ["input"] * draw(st.integers(least, most or 3))}
    for field, kind in cls.fields.items():
        if field in required_fields(cls) or draw(st.booleans()):
            layer[field] = draw(of_kind(kind) if draw(st.integers(0, 30)) else odd)
    for key, usual in {"norm": "batch_norm2d", "activation": "relu", "repeat": 2, "parallel": 2}.items():
        if draw(st.integers(0, 9)) == 9:
            layer[key] = usual
    shapes = [
        [4, 8, 8],
        [6, 4],
        [8],
        [2, 4, 4, 4],
        {"shape": [8], "dtype": "int64"},
        {"shape": [4, 8, 8], "samples": 3},
    ]
    return json.dumps({"name": "net", "input": draw(st.sampled_from(shapes)), "layers": [layer]})


@given(one_layer())
@FUZZ
def test_operators_meet_nothing_but_own_errors(text):
    through(text)


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
            rows = [row for row in table.rows if row.kind == "row"]
            totals.add(tuple(map(str, table.total.cells)))
            for place in (1, 2, 3, 4):  # counts of the rows add up to the total
                assert sum(row.cells[place] or 0 for row in rows) == table.total.cells[place]
            for place in (5, 6):  # and shares to the whole
                parts = [row.cells[place] for row in rows if row.cells[place] is not None]
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
