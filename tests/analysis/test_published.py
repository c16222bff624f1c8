import csv
from pathlib import Path

import pytest

from archprof.analysis import analyse
from archprof.analysis.numbers import Style
from archprof.analysis.published import (
    PublishedCell,
    PublishedException,
    column_styles,
    parse_published,
    published_for,
    read_published,
)
from archprof.spec.errors import SpecError
from tests.graphs import Builder

ROOT = Path(__file__).parents[2]

SMALL = """\
title: A table
source: A paper, table 1
fold: 2
columns:
  kernel: {column: kernel}
  params: {column: param, quantity: params, units: {one: 0, K: 1}, rounding: cut_off}
  ops: {column: FLOPs, quantity: multiply_adds, units: {M: 0}}
  "#1x1": {}
rows:
  - {path: a.conv, cells: {kernel: "7x7x3, 2", params: 9.4K, ops: 118M, "#1x1": 64}}
  - {name: softmax, cells: {params: ""}}
total: {params: 7M}
exceptions:
  - {path: a.conv, column: ops, arithmetic: 118013952, note: misprinted}
  - {path: total, column: params, rounding: nearest}
"""


def test_a_published_file() -> None:
    published = parse_published(SMALL.encode(), "small.yaml").table
    assert published is not None
    assert (published.title, published.source, published.fold) == ("A table", "A paper, table 1", 2)
    assert published.columns["params"].style == Style(units={"": 0, "K": 1}, rounding="cut_off")
    assert published.columns["ops"].style == Style(units={"M": 0}, rounding="nearest")
    assert published.columns["#1x1"].column is None
    row, without = published.rows
    assert (row.path, row.name) == ("a.conv", "a.conv")
    assert row.cells["params"] == PublishedCell("9.4K", 10, 56)
    assert row.cells["#1x1"].text == "64"
    assert (without.path, without.name, without.cells["params"].text) == (None, "softmax", "")
    assert published.total["params"].text == "7M"
    assert published.exceptions == (
        PublishedException(path="a.conv", column="ops", arithmetic=118013952, note="misprinted", line=14, place=5),
        PublishedException(path=None, column="params", rounding="nearest", line=15, place=5),
    )


def test_styles_are_for_what_the_source_counts() -> None:
    table = parse_published(SMALL.encode(), "small.yaml").table
    assert table is not None
    net = Builder()
    net.add("conv", "conv2d", out_channels=1, kernel_size=1)
    params = {"param": table.columns["params"].style}
    assert column_styles(table, analyse(net.graph())) == {**params, "FLOPs": table.columns["ops"].style}
    assert column_styles(table, analyse(net.graph(), counting="operations")) == params


FAMILY = """\
title: A family
source: A paper, table 2
columns:
  params: {quantity: params, units: {M: 0}}
  FLOPs: {quantity: multiply_adds, units: {B: 1}, source: another paper}
  field: {quantity: receptive_field, units: {one: 0}}
networks:
  net-a: {total: {params: 133M}}
  net-b:
    title: The second
    rows: [{path: fc6, cells: {field: 224}}]
    total: {params: 144M, FLOPs: 19.6B}
    exceptions: [{path: fc6, column: field, arithmetic: 404}, {path: total, column: params, rounding: cut_off}]
"""


def test_several_networks_in_a_published_file() -> None:
    published = parse_published(FAMILY.encode(), "family.yaml")
    first, second = published_for(published, "net-a"), published_for(published, "net-b")
    assert published_for(published, "net-c") is None
    assert first is not None
    assert second is not None
    assert (first.title, second.title) == ("A family", "The second")
    assert first.source == second.source == "A paper, table 2"
    assert first.columns["FLOPs"].source == "another paper"
    assert (first.rows, {name: cell.text for name, cell in first.total.items()}) == ((), {"params": "133M"})
    assert [row.path for row in second.rows] == ["fc6"]
    assert [(each.path, each.arithmetic, each.rounding) for each in second.exceptions] == [
        ("fc6", 404, None),
        (None, None, "cut_off"),
    ]


def test_one_table_is_of_whichever_network_names_it() -> None:
    published = parse_published(SMALL.encode(), "small.yaml")
    assert published_for(published, "anything") is published.table


def test_how_a_total_is_printed_is_no_style_for_rows() -> None:
    table = published_for(parse_published(FAMILY.encode(), "family.yaml"), "net-b")
    assert table is not None
    net = Builder()
    net.add("conv", "conv2d", out_channels=1, kernel_size=1)
    assert column_styles(table, analyse(net.graph())) == {}


def test_zf_is_the_lecture_s_table() -> None:
    """Cell for cell, against the copy of the reference table in the golden folder."""
    published = read_published(ROOT / "specs/published/zf.yaml").table
    assert published is not None
    with open(ROOT / "tests/golden/zf-lecture.csv", newline="") as stream:
        header, *rows = csv.reader(stream)
    assert ["layer", *published.columns] == header
    assert [[row.path, *(cell.text for cell in row.cells.values())] for row in published.rows] == rows[:-1]
    assert ["total", *(cell.text for cell in published.total.values())] == rows[-1]
    assert published.exceptions == ()


HEAD = "columns: {param: {quantity: params, units: {K: 0}}}\nrows: [{path: a, cells: {param: 1K}}]\n"


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("rows: []\n", ["1:1: a published file needs columns [missing-key]"]),
        ("columns: {}\n", ["1:1: a published file needs rows or total [missing-key]"]),
        (
            "columns: {a: {}}\nnetworks: {n: {source: x}, m: 3, o: {total: {b: 1}}}\nrows: []\n",
            [
                "2:15: network n needs rows or total [missing-key]",
                "2:31: network m must be a map [wrong-type]",
                "2:46: total: unknown key b: its keys are a [unknown-key]",
                "3:7: with networks, rows stands under each of them [conflicting-keys]",
            ],
        ),
        (
            "colums: {}\nrows: 3\n",
            [
                "1:1: a published file needs columns [missing-key]",
                "1:1: a published file: unknown key colums: did you mean columns? [unknown-key]",
                "2:7: rows must be a list [wrong-type]",
            ],
        ),
        ("columns: []\nrows: []\n", ["1:10: columns must be a map [wrong-type]"]),
        (
            "columns: {a: {quantity: param, units: {K: 0}}}\nrows: []\n",
            [
                "1:25: column a: quantity must be params, multiply_adds, multiply_adds_with_bias, operations, fvcore, "
                "activations, receptive_field, depth or memory, not param: did you mean params? [not-a-choice]"
            ],
        ),
        (
            "columns: {a: {units: {K: 0}}}\nrows: []\n",
            [
                "1:11: column a needs quantity: params, multiply_adds, multiply_adds_with_bias, operations, fvcore, "
                "activations, receptive_field, depth or memory [missing-key]"
            ],
        ),
        (
            "columns: {a: {quantity: params}}\nrows: []\n",
            ["1:11: column a needs units, the decimals by unit: units: {K: 0, M: 1} [missing-key]"],
        ),
        (
            "columns: {a: {quantity: params, units: {X: 0, K: -1}, rounding: up, column: prm}}\nrows: []\n",
            [
                "1:41: column a: unit must be one, K, M, G, B, T or P, not X [not-a-choice]",
                "1:50: column a: decimals of K must be an integer of at least 0, not -1 [wrong-type]",
                "1:65: column a: rounding must be nearest or cut_off, not up [not-a-choice]",
                "1:77: column a: column must be layer, operator, size-in, size-out, kernel, param, FLOPs, activations, "
                "param-share, FLOPs-share, memory, receptive-field, depth, buffers, comparisons, bytes, "
                "cumulative-param, cumulative-FLOPs, cumulative-activations, multiply_adds, multiply_adds_with_bias, "
                "operations or fvcore, not prm: did you mean param? [not-a-choice]",
            ],
        ),
        (
            "columns: {param: {quantity: params, units: {K: 0}}}\nrows: [{cells: {param: about 3}}, {path: a}, 3]\n",
            [
                "2:8: a row needs path, or name where the spec has no counterpart [missing-key]",
                "2:24: a row: param must be a printed number such as 9K, not about 3 [not-a-printed-number]",
                "2:35: a row needs cells [missing-key]",
                "2:46: a row must be a map [wrong-type]",
            ],
        ),
        (
            HEAD + "total: {parm: 1K}\n",
            ["3:9: total: unknown key parm: did you mean param? [unknown-key]"],
        ),
        (
            HEAD + "exceptions: [{path: b, column: param, arithmetic: 3}, {path: a, column: param}]\n",
            [
                "3:21: an exception: path must be a or total, not b [not-a-choice]",
                "3:55: an exception needs arithmetic (what the architecture gives) or rounding [missing-key]",
            ],
        ),
        (HEAD + "fold: 0\n", ["3:7: fold must be an integer of at least 1, not 0 [wrong-type]"]),
    ],
)
def test_mistakes(text: str, messages: list[str]) -> None:
    with pytest.raises(SpecError) as raised:
        parse_published(text.encode(), "p.yaml")
    assert str(raised.value).split("\n") == [f"p.yaml:{message}" for message in messages]
