import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import archprof
from archprof.analysis import COLUMNS, Table, analyse, make_table
from archprof.analysis.numbers import Style, agrees
from archprof.analysis.published import column_styles, published_for, read_published
from archprof.errors import UsageError
from archprof.graph import Graph
from archprof.operators.base import Inputs, Operator, Window
from archprof.report import FORMATS, Surface, render
from archprof.report.json import SCHEMA_FILE
from archprof.report.terminal import _wrapped
from archprof.shape import Shape
from tests import goldens
from tests.graphs import Builder, Unknown, graphs, two_headed

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads(SCHEMA_FILE.read_text())


def zf() -> tuple[Table, Mapping[str, Style]]:
    graph = archprof.load("zf")
    analysis = analyse(graph)
    return make_table(analysis, fold=graph.fold), column_styles(
        published_for(read_published(ROOT / "specs/published/zf.yaml"), "zf"), analysis
    )


SOME = ["layer", "operator", "size-out", "param", "param-share", "FLOPs", "FLOPs-share", "memory", "receptive-field"]
WIDE = [
    "layer", "operator", "size-in", "size-out", "kernel", "param", "param-share", "FLOPs", "FLOPs-share",
    "cumulative-FLOPs", "activations", "memory", "receptive-field", "depth",
]  # fmt: skip


def wide(columns: list[str] = WIDE) -> Table:
    return make_table(analyse(archprof.load("zf"), batch=2), fold=None, columns=columns)


@pytest.mark.parametrize(
    ("name", "format", "surface"),
    [
        ("zf-80.txt", "terminal", Surface(width=80)),
        ("zf-160.txt", "terminal", Surface(width=160)),
        ("zf.csv", "csv", Surface()),
        ("zf.json", "json", Surface()),
        ("zf.md", "markdown", Surface()),
    ],
)
def test_zf_as_published(name: str, format: str, surface: Surface) -> None:  # noqa: A002
    table, styles = zf()
    goldens.check(name, render(table, format, styles=styles, surface=surface))


@pytest.mark.parametrize(
    ("name", "columns", "surface"),
    [
        ("zf-nodes-80.txt", SOME, Surface(width=80)),
        ("zf-nodes-160.txt", WIDE, Surface(width=160)),
        ("zf-nodes-pipe.txt", WIDE, Surface()),
        ("zf-nodes-ascii-colour.txt", SOME, Surface(width=160, colour=True, unicode=False)),
    ],
)
def test_zf_by_node_with_many_columns(name: str, columns: list[str], surface: Surface) -> None:
    goldens.check(name, render(wide(columns), surface=surface))


@pytest.mark.parametrize(
    ("name", "format"), [("heads.txt", "terminal"), ("heads.md", "markdown"), ("heads.csv", "csv")]
)
def test_heads_for_training(name: str, format: str) -> None:  # noqa: A002
    table = make_table(analyse(two_headed(), train=True), fold=1)
    goldens.check(name, render(table, format, exact=True))


def test_zf_s_csv_is_the_lecture_s_table() -> None:
    table, styles = zf()
    rows = list(csv.reader(io.StringIO(render(table, "csv", styles=styles))))
    kept = [place for place, name in enumerate(rows[0]) if not name.endswith("_exact")]
    with open(goldens.FOLDER / "zf-lecture.csv", newline="") as stream:
        lecture = list(csv.reader(stream))
    assert len(lecture) == 1 + 23
    assert [[row[place] for place in kept] for row in rows] == lecture


def test_arithmetic_of_the_golden_csv() -> None:
    with open(goldens.FOLDER / "zf.csv", newline="") as stream:
        *rows, total = csv.DictReader(stream)
    for name in ("param", "FLOPs"):
        assert sum(int(row[f"{name}_exact"]) for row in rows) == int(total[f"{name}_exact"])
        for row in (*rows, total):
            assert agrees(int(row[f"{name}_exact"]), row[name] or "0")


def test_arithmetic_of_the_golden_terminal() -> None:
    rows = [re.split(r" {2,}", line.strip()) for line in (goldens.FOLDER / "heads.txt").read_text().splitlines()]
    by_label = {row[0]: [int(cell.replace(",", "")) for cell in row[-2:]] for row in rows if row[-1][-1:].isdigit()}
    sums = [a + b + c for a, b, c in zip(by_label["stem"], by_label["body"], by_label["classifier"], strict=True)]
    assert by_label["network"] == sums
    assert by_label["training heads"] == by_label["head"]
    assert by_label["total"] == [a + b for a, b in zip(by_label["network"], by_label["head"], strict=True)]


@pytest.mark.parametrize("width", [1, 40, 80, 120, 140, 160])
def test_numbers_are_never_broken(width: int) -> None:
    text = render(wide(), surface=Surface(width=width))
    assert "…" not in text
    for number in ("140.026", "102.769", "3.217"):  # parameters, and multiply-adds of a batch of 2
        assert number in text
    if width >= 120:
        assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [80, 160])
def test_published_zf_fits(width: int) -> None:
    table, styles = zf()
    lines = render(table, styles=styles, surface=Surface(width=width)).splitlines()
    assert max(map(len, lines)) <= width
    assert len([line for line in lines if line.startswith("conv")]) == 11  # a line a row: nothing wrapped
    right = [line for line in lines if line.startswith(("conv", "total"))]
    assert len({len(line) for line in right}) == 1  # numbers end in one column


def test_a_pipe_gets_no_codes_and_no_blanks_at_line_ends() -> None:
    text = render(wide())
    assert "\x1b" not in text
    assert not re.search(r" $", text, re.M)
    assert text.endswith("deep\n")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("half of them 1.25 to 11.7", ["half of them 1.25 to", "11.7"]),
        ("of all there are 12,345,678", ["of all there are", "12,345,678"]),
        ("a layer stem.conv2d.weight", ["a layer stem.conv2d.", "weight"]),
        ("of one and of two.And more", ["of one and of two.And", "more"]),
    ],
)
def test_numbers_are_not_broken(text: str, lines: list[str]) -> None:
    assert _wrapped(text, 22) == lines


@settings(max_examples=200, deadline=None)
@given(st.text("ab .,-_x漢é", max_size=60), st.integers(1, 30))
def test_wrapping_keeps_every_character(text: str, width: int) -> None:
    from rich.cells import cell_len

    lines = _wrapped(text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(cell_len(line) <= max(width, 2) for line in lines)


def test_wide_characters_are_aligned() -> None:
    net = Builder((3, 8, 8))
    net.add("漢字", "conv2d", out_channels=4, kernel_size=1)
    net.add("plain", "conv2d", out_channels=4, kernel_size=1)
    lines = render(make_table(analyse(net.graph()), fold=1, columns=["layer", "param"])).splitlines()
    assert lines[2:7] == ["layer  param", "────────────", "漢字      16", "plain     20", "────────────"]


def test_markdown_escapes() -> None:
    net = Builder((3, 8, 8), title="*a* | [b](c) <i> a_b _c_ `d` \\ <3 [K]")
    net.add("a_b", "conv2d", out_channels=4, kernel_size=1)
    text = render(make_table(analyse(net.graph()), fold=1), "markdown")
    title = r"**\*a\* \| \[b](c) \<i> a_b \_c\_ \`d\` \\ <3 [K]**"
    assert text.splitlines()[0] == title
    assert text.splitlines()[4].startswith("| a_b   | ")


def test_csv_quotes_and_keeps_three_states_apart() -> None:
    net = Builder((3, 8, 8))
    net.add("conv", "conv2d", out_channels=4, kernel_size=1)
    net.add("mystery", Unknown())
    net.add("relu", "relu")
    table = make_table(analyse(net.graph()), fold=1, columns=["layer", "kernel", "FLOPs"])
    assert render(table, "csv") == (
        "layer,kernel,FLOPs,FLOPs_exact\n"
        'conv,"1x1x3, 1",768,768\n'
        "mystery,,not counted,\n"
        "relu,,,0\n"
        "total,,>= 768 (lower bound),768\n"
    )


# --- json


class Half(Operator, frozen=True, kw_only=True):
    """Sees 2 pixels at every half pixel, and then some."""

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        return inputs

    def window(self, inputs: Inputs, outputs: Inputs) -> Window:
        return Window((4, 4), (Fraction(1, 2), Fraction(1, 2)), (0, 0))


def document(graph: Graph, **options: Any) -> Any:
    table = make_table(analyse(graph, **options), fold=1, columns=list(COLUMNS))
    return json.loads(render(table, "json"))


def test_the_json_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"]["const"] == "archprof.table/1"


def test_json_says_what_is_exact() -> None:
    net = Builder((3, 8, 8), parameters={"depth": 50, "rate": float("inf"), "table": {18: [1, 2]}})
    net.add("conv", "conv2d", out_channels=4, kernel_size=1)
    net.add("mystery", Unknown())
    net.add("half", Half())
    net.add("half2", Half())
    found = document(net.graph())
    assert found["settings"] == {"depth": 50, "rate": "inf", "table": {"18": [1, 2]}}
    conv, mystery, half, half2 = (row["cells"] for row in found["rows"])
    assert conv["size-in"] == {"printed": "8x8x3", "exact": [{"dims": [3, 8, 8], "samples": 1, "dtype": "float"}]}
    assert conv["param"] == {"printed": "16", "exact": 16}
    assert conv["param-share"] == {"printed": "100.0%", "exact": {"part": 16, "whole": 16}}
    assert mystery["FLOPs"] == {"printed": "not counted", "exact": None}
    assert half["FLOPs"] == {"printed": "", "exact": 0}
    assert half2["receptive-field"] == {"printed": "11/2", "exact": ["11/2", "11/2"]}  # 4 + 3 * 1/2
    assert found["total"]["cells"]["FLOPs"] == {"printed": ">= 768 (lower bound)", "exact": {"at_least": 768}}
    assert found["totals"]["lower_bound"] is True
    jsonschema.validate(found, SCHEMA)


def test_json_of_zf_and_of_a_training_graph() -> None:
    table, styles = zf()
    jsonschema.validate(json.loads(render(table, "json", styles=styles)), SCHEMA)
    found = document(two_headed(), train=True, batch=3, passes="both")
    jsonschema.validate(found, SCHEMA)
    assert (found["mode"], found["batch"], found["passes"]) == ("training", 3, "both")
    assert found["totals"]["training_heads"]["params"] == 514
    assert [row["kind"] for row in found["rows"]][-3:] == ["subtotal", "row", "subtotal"]


def test_json_integers_of_any_size() -> None:
    net = Builder((2**40,))
    net.add("linear", "linear", out_features=2**40, bias=False)
    assert document(net.graph())["totals"]["flops"] == 2**80


@settings(max_examples=50, deadline=None)
@given(graphs(), st.booleans())
def test_json_is_valid_whatever_the_graph(graph: Graph, train: bool) -> None:
    jsonschema.validate(document(graph, train=train), SCHEMA)


# --- the registry


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_every_row_and_the_total(name: str) -> None:
    table = make_table(analyse(two_headed(), train=True), fold=None)
    text = render(table, name)
    for row in (*table.rows, table.total):
        assert row.path in text
    assert text.endswith("\n")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jsn", "unknown format jsn: did you mean json?"),
        ("pdf", "unknown format pdf: take terminal, csv, json or markdown"),
    ],
)
def test_unknown_format(name: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        render(make_table(analyse(two_headed()), fold=1), name)
    assert str(raised.value) == message


def test_a_format_is_imported_when_it_is_used() -> None:
    program = (
        "import sys, archprof.report, archprof.analysis;"
        "print(*sorted({'rich', 'csv', 'json', 'difflib', 'fractions', 'dataclasses', 'torch', 'numpy', 'yaml',"
        " 'archprof.report.terminal', 'archprof.report.json'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", FORMATS)
def test_a_graph_without_layers_or_outputs_still_prints(name: str) -> None:
    """What is left of a spec whose first layer has a mistake (table --partial)."""
    graph = Graph(name="nothing", nodes=tuple(Builder().nodes), outputs={})
    table = make_table(analyse(graph), fold=1, columns=list(COLUMNS))
    assert table.rows == ()
    assert "total" in render(table, name, surface=Surface(width=80))
