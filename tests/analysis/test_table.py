import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archprof.analysis import (
    COLUMNS,
    DEFAULT_COLUMNS,
    AtLeast,
    Cell,
    Share,
    Table,
    analyse,
    make_table,
)
from archprof.analysis.counting import CONVENTIONS
from archprof.errors import UsageError
from archprof.graph import Graph, Value
from archprof.operators.base import Inputs, Operator
from archprof.shape import Shape
from tests.graphs import Builder, Unknown, graphs, two_headed


def cells(table: Table, column: str) -> list[Cell]:
    """A column's cells by row, the total last."""
    place = [each.name for each in table.columns].index(column)
    return [row.cells[place] for row in (*table.rows, table.total)]


def table_of(graph: Graph, fold: int | None = 1, repeats: bool = False, **options: object) -> Table:
    return make_table(analyse(graph, **options), fold=fold, columns=list(COLUMNS), repeats=repeats)  # type: ignore[arg-type]


def test_default_columns_are_the_lecture_s() -> None:
    table = make_table(analyse(two_headed()), fold=1)
    assert ",".join(column.title for column in table.columns) == "layer,size-in,size-out,kernel,param,FLOPs"
    assert tuple(column.name for column in table.columns) == DEFAULT_COLUMNS


def test_rows_at_depth_1() -> None:
    table = make_table(analyse(two_headed()), fold=1)
    body = 8 * 8 * 4 * 4
    assert [row.cells for row in table.rows] == [
        ("stem", (Shape((3, 8, 8)),), (Shape((4, 8, 8)),), "3x3x3, 1", 4 * 28, 8 * 8 * 4 * 27),
        ("body", (Shape((4, 8, 8)),), (Shape((256,)),), "1x1x4, 1", 4 * 4, body),
        ("classifier", (Shape((256,)),), (Shape((10,)),), "", 10 * 257, 256 * 10),
    ]
    assert table.total.cells == ("total", "", "", "", 112 + 16 + 2570, 8 * 8 * 4 * 27 + body + 2560)


def test_every_node_has_a_row() -> None:
    table = table_of(two_headed(), fold=None)
    assert cells(table, "layer") == ["stem", "body.conv", "body.flatten", "classifier", "total"]
    assert cells(table, "operator") == ["conv2d", "conv2d", "flatten", "linear", ""]
    assert cells(table, "FLOPs")[2] == 0


def test_heads_for_training_have_a_subtotal() -> None:
    table = table_of(two_headed(), train=True)
    assert [(row.path, row.kind, row.training_only) for row in (*table.rows, table.total)] == [
        ("stem", "row", False),
        ("body", "row", False),
        ("classifier", "row", False),
        ("network", "subtotal", False),
        ("head", "row", True),
        ("training heads", "subtotal", True),
        ("total", "total", False),
    ]
    network, heads = 112 + 16 + 2570, 2 * 257
    assert cells(table, "param")[3:] == [network, heads, heads, network + heads]
    assert cells(table, "param-share")[3:] == [
        Share(part, network + heads) for part in (network, heads, heads, network + heads)
    ]
    assert cells(table, "cumulative-param")[2:] == [network, network, network + heads, "", network + heads]
    assert cells(table, "depth")[3:] == [3, 1, "", 3]


def test_a_head_inside_a_block_is_apart_from_it() -> None:
    net = Builder((3, 8, 8))
    conv = net.add("block.conv", "conv2d", out_channels=4, kernel_size=1)
    head = net.add("block.head", "conv2d", conv, out_channels=2, kernel_size=1, training_only=True)
    end = net.add("block.relu", "relu", conv)
    graph = net.graph(end, training=(head,))
    assert cells(table_of(graph), "layer") == ["block", "total"]
    table = table_of(graph, train=True)
    assert cells(table, "layer") == ["block", "network", "block", "training heads", "total"]
    assert cells(table, "size-out")[0] == (Shape((4, 8, 8)),)
    assert cells(table, "size-out")[2] == (Shape((2, 8, 8)),)


def inception() -> Graph:
    net = Builder((8, 4, 4))
    first = net.add("first", "conv2d", 0, out_channels=8, kernel_size=1)
    one = net.add("block.one", "conv2d", first, out_channels=2, kernel_size=1)
    net.add("block.three_reduce", "conv2d", first, out_channels=2, kernel_size=1)
    three = net.add("block.three", "conv2d", out_channels=3, kernel_size=3, padding=1)
    net.add("block.concat", "concat", one, three)
    net.add("last", "add", first, first)
    return net.graph(5, 6)


def test_a_folded_row_is_seen_from_outside() -> None:
    table = table_of(inception())
    assert cells(table, "size-in")[1] == (Shape((8, 4, 4)),)  # once, though two layers take it
    assert cells(table, "size-out")[1] == (Shape((5, 4, 4)),)
    assert cells(table, "kernel")[:3] == ["1x1x8, 1", "", ""]  # three have one: none is shown
    assert cells(table, "operator")[:3] == ["conv2d", "", "add"]
    assert cells(table, "depth") == [1, 2, 0, 3]
    assert cells(table, "receptive-field")[1] == (3, 3)


def test_different_shapes_that_enter_are_listed_in_order() -> None:
    net = Builder((4, 4, 4), (2, 4, 4), (4, 4, 4))
    net.add("concat", "concat", 0, 1, 2)
    assert cells(table_of(net.graph()), "size-in")[0] == (Shape((4, 4, 4)), Shape((2, 4, 4)))


def test_the_operator_of_a_group_is_the_one_with_kernel_or_parameters() -> None:
    net = Builder((3, 4, 4))
    net.add("a.conv", "conv2d", out_channels=4, kernel_size=1)
    net.add("a.norm", "batch_norm2d")
    net.add("a.relu", "relu")
    net.add("b.flatten", "flatten")
    net.add("b.linear", "linear", out_features=4)
    net.add("c.relu", "relu")
    net.add("c.relu6", "relu6")
    table = table_of(net.graph())
    assert cells(table, "operator") == ["conv2d", "linear", "", ""]
    assert cells(table, "kernel") == ["1x1x3, 1", "", "", ""]


def repeated() -> Graph:
    net = Builder((3, 4, 4))
    for place, channels in enumerate((8, 8, 8, 8, 4)):
        net.add(f"stage.{place}.conv", "conv2d", out_channels=channels, kernel_size=3, padding=1)
        net.add(f"stage.{place}.relu", "relu")
    return net.graph()


def test_repeated_copies_share_a_row() -> None:
    table = table_of(repeated(), fold=2, repeats=True)
    assert cells(table, "layer") == ["stage.0", "stage.1-3 x 3", "stage.4", "total"]
    assert [row.copies for row in table.rows] == [1, 3, 1]
    assert cells(table, "param")[1] == 3 * 8 * (8 * 9 + 1)
    assert cells(table, "kernel")[1] == "3x3x8, 1"
    assert cells(table, "operator")[1] == "conv2d"
    assert cells(table, "depth")[1] == 3
    assert cells(table, "receptive-field")[1] == (1 + 4 * 2, 1 + 4 * 2)  # where the last of them ends
    assert cells(table, "size-in")[1] == cells(table, "size-out")[1] == (Shape((8, 4, 4)),)


def test_copies_stay_apart_without_repeats_and_at_other_depths() -> None:
    assert len(table_of(repeated(), fold=2).rows) == 5
    assert cells(table_of(repeated(), fold=1, repeats=True), "layer") == ["stage", "total"]
    assert len(table_of(repeated(), fold=None, repeats=True).rows) == 10


def test_only_copies_in_a_row_are_folded() -> None:
    net = Builder((4, 4, 4))
    for path in ("a.0", "a.1", "b.2", "a.3", "c", "c5"):
        net.add(path, "conv2d", out_channels=4, kernel_size=1)
    table = table_of(net.graph(), fold=2, repeats=True)
    assert cells(table, "layer") == ["a.0-1 x 2", "b.2", "a.3", "c", "c5", "total"]


def test_counted_nothing_and_not_counted_differ() -> None:
    net = Builder((3, 4, 4))
    net.add("conv", "conv2d", out_channels=4, kernel_size=1)
    net.add("mystery", Unknown())
    net.add("relu", "relu")
    net.add("both.conv", "conv2d", out_channels=4, kernel_size=1)
    net.add("both.mystery", Unknown())
    table = table_of(net.graph())
    conv, both = 4 * 4 * 4 * 3, 4 * 4 * 4 * 4
    assert cells(table, "FLOPs") == [conv, None, 0, AtLeast(both), AtLeast(conv + both)]
    assert cells(table, "cumulative-FLOPs") == [conv, *[AtLeast(conv)] * 2, *[AtLeast(conv + both)] * 2]
    assert cells(table, "FLOPs-share")[1] is None
    assert cells(table, "FLOPs-share")[3] == Share(both, conv + both)
    assert cells(table, "param") == [4 * 4, 0, 0, 4 * 5, 4 * 4 + 4 * 5]


def test_each_convention_has_a_column() -> None:
    table = table_of(repeated())
    for name in CONVENTIONS:
        assert cells(table, name)[-1] == analyse(repeated(), counting=name).flops


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["layer", "params"], "unknown column params: did you mean param?"),
        (
            ["zzz"],
            "unknown column zzz: take layer, operator, size-in, size-out, kernel, param, FLOPs, activations, "
            "param-share, FLOPs-share, memory, receptive-field, depth, buffers, comparisons, bytes, cumulative-param, "
            "cumulative-FLOPs, cumulative-activations, multiply_adds, multiply_adds_with_bias, operations or fvcore",
        ),
        ([], "a table needs at least one column"),
    ],
)
def test_mistakes_in_columns(columns: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        make_table(analyse(two_headed()), fold=1, columns=columns)
    assert str(raised.value) == message


def test_columns_are_found_in_any_case() -> None:
    table = make_table(analyse(two_headed()), fold=1, columns=["LAYER", "flops"])
    assert [column.name for column in table.columns] == ["layer", "FLOPs"]


def test_fold_begins_at_1() -> None:
    with pytest.raises(UsageError) as raised:
        make_table(analyse(two_headed()), fold=0)
    assert str(raised.value) == "fold must be at least 1, not 0; all shows every node"


def known(cell: Cell) -> int:
    return cell.value if isinstance(cell, AtLeast) else cell if isinstance(cell, int) else 0


@settings(max_examples=100, deadline=None)
@given(graphs(), st.sampled_from([1, 2, 3, 4, None]), st.booleans(), st.booleans())
def test_folding_changes_rows_and_never_a_total(graph: Graph, fold: int | None, repeats: bool, train: bool) -> None:
    analysis = analyse(graph, train=train, counting="operations")
    table = table_of(graph, fold, repeats, train=train, counting="operations")
    unfolded = table_of(graph, None, train=train, counting="operations")
    assert table.total == unfolded.total
    assert known(cells(table, "param")[-1]) == analysis.params
    assert known(cells(table, "FLOPs")[-1]) == analysis.flops
    assert known(cells(table, "activations")[-1]) == analysis.total.activations
    assert known(cells(table, "memory")[-1]) == analysis.total.output_bytes
    assert known(cells(table, "bytes")[-1]) == analysis.total.moved_bytes
    subtotals = [row.cells for row in table.rows if row.kind == "subtotal"]
    assert subtotals == [row.cells for row in unfolded.rows if row.kind == "subtotal"]
    for place, column in enumerate(table.columns):
        if not column.sums:
            continue
        rows = [row.cells[place] for row in table.rows if row.kind == "row"]
        total = table.total.cells[place]
        if column.form == "share":
            assert isinstance(total, Share) or total is None
            assert sum(cell.part for cell in rows if isinstance(cell, Share)) == (total.part if total else 0)
        else:
            assert sum(map(known, rows)) == known(total)
            assert isinstance(total, int) == all(isinstance(cell, int) for cell in rows)


@settings(max_examples=50, deadline=None)
@given(graphs(), st.sampled_from([1, 2, 3, None]))
def test_rows_are_in_order_of_execution(graph: Graph, fold: int | None) -> None:
    table = table_of(graph, fold)
    order: dict[str, None] = {}
    for node in graph.nodes:
        if not node.is_input and not node.training_only:
            order[node.path if fold is None else ".".join(node.path.split(".")[:fold])] = None
    assert [row.path for row in table.rows] == list(order)


def test_heads_come_last_wherever_they_are_computed() -> None:
    net = Builder((4, 4, 4))
    first = net.add("first", "conv2d", out_channels=4, kernel_size=1)
    head = net.add("head", "conv2d", first, out_channels=2, kernel_size=1, training_only=True)
    end = net.add("last", "conv2d", first, out_channels=4, kernel_size=1)
    table = table_of(net.graph(end, training=(head,)), train=True)
    assert cells(table, "layer") == ["first", "last", "network", "head", "training heads", "total"]
    assert cells(table, "param") == [20, 20, 40, 10, 10, 50]


class Halves(Operator, frozen=True, kw_only=True):
    """Two outputs of different channels."""

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        channels, *sizes = inputs[0].dims
        return inputs[0].with_dims(1, *sizes), inputs[0].with_dims(channels - 1, *sizes)


@pytest.mark.parametrize(
    ("used", "sizes"),
    [((0,), (Shape((1, 4, 4)),)), ((1,), (Shape((3, 4, 4)),)), ((1, 0), (Shape((1, 4, 4)), Shape((3, 4, 4))))],
)
def test_only_outputs_that_something_uses_are_shown(used: tuple[int, ...], sizes: tuple[Shape, ...]) -> None:
    net = Builder((4, 4, 4))
    halves = net.add("halves", Halves())
    ends = [net.add(f"relu{output}", "relu", Value(halves, output)) for output in used]
    assert cells(table_of(net.graph(*ends)), "size-out")[0] == sizes
