import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archprof.analysis import COLUMNS, Table, analyse, make_table
from archprof.analysis.numbers import Style, agrees
from archprof.graph import Graph
from archprof.report.layout import Layout, lay_out
from tests.graphs import Builder, Unknown, graphs, two_headed


def table_of(graph: Graph, *columns: str, fold: int | None = 1, **options: object) -> Table:
    return make_table(analyse(graph, **options), fold=fold, columns=columns or None)  # type: ignore[arg-type]


def column(layout: Layout, name: str) -> list[str]:
    """A column as printed, the total last."""
    place = [each.name for each in layout.table.columns].index(name)
    return [line.cells[place] for line in (*layout.lines, layout.total)]


def mixed() -> Graph:
    net = Builder((3, 8, 8))
    net.add("conv", "conv2d", out_channels=4, kernel_size=1, bias=False)
    net.add("mystery", Unknown())
    net.add("relu", "relu")
    net.add("both.conv", "conv2d", out_channels=4, kernel_size=1, bias=False)
    net.add("both.mystery", Unknown())
    return net.graph()


def test_one_unit_a_column_which_the_header_names() -> None:
    layout = lay_out(table_of(two_headed(), "layer", "param", "FLOPs", "memory", "receptive-field"))
    assert layout.headers == ("layer", "param [K]", "FLOPs [K]", "memory [KiB]", "receptive field")
    assert column(layout, "param") == ["0.112", "0.016", "2.570", "2.698"]
    assert column(layout, "FLOPs") == ["6.91", "1.02", "2.56", "10.50"]
    assert column(layout, "memory") == ["1.000", "1.000", "0.039", "2.039"]  # 1024, 1024, 40 and 2088 bytes
    assert layout.right == (False, True, True, True, True)


def test_data_cells_carry_their_unit_under_the_column_s_name() -> None:
    layout = lay_out(table_of(two_headed(), "param", "param-share", "memory"), data=True)
    assert layout.headers == ("param", "param-share", "memory")
    assert column(layout, "param") == ["0.112K", "0.016K", "2.570K", "2.698K"]
    assert column(layout, "param-share") == ["4.1%", "0.6%", "95.3%", "100.0%"]
    assert column(layout, "memory") == ["1.000 KiB", "1.000 KiB", "0.039 KiB", "2.039 KiB"]


@pytest.mark.parametrize(("data", "printed"), [(False, "2,698"), (True, "2698")])
def test_exact(data: bool, printed: str) -> None:
    layout = lay_out(table_of(two_headed(), "param", "memory"), exact=True, data=data)
    assert layout.headers == (("param", "memory") if data else ("param", "memory [bytes]"))
    assert column(layout, "param")[-1] == printed


def test_a_source_s_style() -> None:
    styles = {"param": Style(units={"": 0, "K": 1})}
    layout = lay_out(table_of(two_headed(), "param", "FLOPs", "cumulative-param"), styles=styles)
    assert layout.headers == ("param", "FLOPs [K]", "param so far")
    assert column(layout, "param") == ["112", "16", "2.6K", "2.7K"]
    assert column(layout, "cumulative-param") == ["112", "128", "2.7K", "2.7K"]


def test_counted_zero_and_not_counted() -> None:
    layout = lay_out(table_of(mixed(), "param", "FLOPs", "param-share", "FLOPs-share", "cumulative-FLOPs", "buffers"))
    assert column(layout, "param") == ["12", "0", "0", "16", "28"]
    conv, both = 8 * 8 * 4 * 3, 8 * 8 * 4 * 4
    assert (conv, both) == (768, 1024)
    assert column(layout, "FLOPs") == ["0.768", "not counted", "", ">= 1.024", ">= 1.792 (lower bound)"]
    assert column(layout, "FLOPs-share") == ["42.9", "not counted", "", "57.1", "100.0"]
    assert column(layout, "param-share") == ["42.9", "0.0", "0.0", "57.1", "100.0"]
    assert column(layout, "buffers") == ["", "", "", "", "0"]
    assert layout.caption[-1] == "not counted, so that FLOPs are a lower bound: 2 nodes (mystery)"
    assert layout.caption[-2] == "28 parameters, at least 1,792 FLOPs, 2 weight layers deep"


def test_a_network_of_nothing() -> None:
    net = Builder((3, 8, 8))
    net.add("relu", "relu")
    layout = lay_out(table_of(net.graph(), "param", "FLOPs", "param-share", "FLOPs-share"))
    assert layout.lines[0].cells == ("0", "", "0.0", "")
    assert layout.total.cells == ("0", "0", "0.0", "0.0")


def test_a_receptive_field_is_one_number_where_it_is_square() -> None:
    net = Builder((3, 8, 8))
    net.add("a", "conv2d", out_channels=4, kernel_size=3)
    net.add("b", "conv2d", out_channels=4, kernel_size=[1, 3])
    layout = lay_out(table_of(net.graph(), "receptive-field"))
    assert column(layout, "receptive-field") == ["3", "3x5", ""]


def test_caption() -> None:
    parameters = {"depth": 50, "kind": "a", "on": True}
    net = Builder((3, 8, 8), title="A\x1b[31mtitle", source="B\nsource", parameters=parameters)
    net.add("conv", "conv2d", out_channels=4, kernel_size=1)
    layout = lay_out(table_of(net.graph(), batch=2, fold=None, passes="both", dtype="float16"))
    assert layout.title == "A [31mtitle"
    assert layout.caption == (
        "source: B source",
        "settings: depth=50, kind=a, on=true",
        "counting: multiply_adds: a FLOP is one multiply-add of a convolution, linear layer or matrix product; "
        "biases are not counted",
        "inference, forward and backward pass, batch 2, float16; a row each node",
        "16 parameters, 3,072 FLOPs, 1 weight layer deep",
    )


def test_caption_of_a_training_graph() -> None:
    layout = lay_out(table_of(two_headed(), train=True))
    assert layout.caption[-3:] == (
        "training, forward pass, batch 1, float32; rows at depth 1 of the paths",
        "3,212 parameters, 11,008 FLOPs, 3 weight layers deep",
        "of these 514 parameters and 512 FLOPs in training heads",
    )


@settings(max_examples=100, deadline=None)
@given(graphs(), st.sampled_from([1, 2, None]), st.booleans(), st.booleans())
def test_printed_shares_add_up_to_100(graph: Graph, fold: int | None, train: bool, repeats: bool) -> None:
    analysis = analyse(graph, train=train)
    table = make_table(analysis, fold=fold, columns=list(COLUMNS), repeats=repeats)
    layout = lay_out(table)
    for name, whole in (("param-share", analysis.params), ("FLOPs-share", analysis.flops)):
        place = [each.name for each in table.columns].index(name)
        printed = {
            kind: sum(
                round(10 * float(text))
                for line in (*layout.lines, layout.total)
                if line.row.kind == kind and (text := line.cells[place]) not in ("", "not counted")
            )
            for kind in ("row", "subtotal", "total")
        }
        expected = 1000 if whole else 0
        assert printed["row"] == expected
        assert printed["total"] == expected
        if any(line.row.kind == "subtotal" for line in layout.lines):
            assert printed["subtotal"] == expected


@settings(max_examples=100, deadline=None)
@given(graphs(), st.sampled_from([1, 2, None]))
def test_what_is_printed_agrees_with_what_is_exact(graph: Graph, fold: int | None) -> None:
    table = make_table(analyse(graph), fold=fold, columns=["param", "FLOPs", "memory"])
    for line in lay_out(table, data=True).lines:
        for text, cell in zip(line.cells, line.row.cells, strict=True):
            if isinstance(cell, int) and text and not text.startswith("<"):
                assert agrees(cell, text)
