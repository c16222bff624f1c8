import time

import pytest

from archprof.analysis import analyse
from archprof.analysis.analysis import Totals
from archprof.cost import Cost
from archprof.errors import UsageError
from archprof.graph import Graph, Value
from archprof.operators.base import Operator
from archprof.shape import Shape
from tests.graphs import Builder, Unknown, two_headed


def by_path(graph: Graph, **options: object) -> dict[str, object]:
    return {each.node.path: each for each in analyse(graph, **options).figures}  # type: ignore[arg-type]


def test_inference() -> None:
    analysis = analyse(two_headed())
    assert [each.node.path for each in analysis.figures] == ["stem", "body.conv", "body.flatten", "classifier"]
    stem = 8 * 8 * 4 * (3 * 3 * 3)
    body = 8 * 8 * 4 * 4
    classifier = 4 * 8 * 8 * 10
    assert [each.flops for each in analysis.figures] == [stem, body, 0, classifier]
    assert [each.params for each in analysis.figures] == [4 * (3 * 3 * 3 + 1), 4 * 4, 0, 10 * (4 * 8 * 8 + 1)]
    assert [each.activations for each in analysis.figures] == [4 * 8 * 8, 4 * 8 * 8, 0, 10]
    assert [each.output_bytes for each in analysis.figures] == [4 * 4 * 8 * 8, 4 * 4 * 8 * 8, 0, 4 * 10]
    assert [each.depth for each in analysis.figures] == [1, 2, 2, 3]
    assert analysis.flops == analysis.network.flops == stem + body + classifier
    assert analysis.params == 4 * 28 + 16 + 10 * 257
    assert (analysis.depth, analysis.lower_bound, analysis.heads) == (3, False, Totals())


def test_training_adds_the_heads() -> None:
    analysis = analyse(two_headed(), train=True)
    assert [each.node.path for each in analysis.figures][-2:] == ["head.flatten", "head.linear"]
    assert analysis.heads.params == 2 * (4 * 8 * 8 + 1)
    assert analysis.heads.flops == 4 * 8 * 8 * 2
    assert analysis.network == analyse(two_headed()).network
    assert analysis.params == analysis.network.params + analysis.heads.params
    assert analysis.depth == 3  # training outputs do not count


def test_training_counts_operators_as_they_train() -> None:
    net = Builder((8, 4, 4))
    net.add("norm", "batch_norm2d")
    # fvcore: 2 an element in evaluation, 5 in training
    assert analyse(net.graph(), counting="fvcore").flops == 2 * 8 * 4 * 4
    assert analyse(net.graph(), counting="fvcore", train=True).flops == 5 * 8 * 4 * 4


@pytest.mark.parametrize(("operator", "p"), [("dropout", 0.5), ("drop_path", 0.2)])
def test_dropping_moves_bytes_in_training_alone(operator: str, p: float) -> None:
    net = Builder((4, 8, 8))
    net.add("conv", "conv2d", out_channels=4, kernel_size=1)
    net.add("drop", operator, p=p)
    net.add("none", operator, p=0.0)
    size = 4 * 4 * 8 * 8
    for train, expected in ((False, (0, 0)), (True, (size, 2 * size))):
        _, drop, none = analyse(net.graph(), train=train).figures
        assert (drop.output_bytes, drop.moved_bytes) == expected
        assert (none.output_bytes, none.moved_bytes) == (0, 0)
    # backward: the gradient that comes in and what was kept are read, the gradient that goes out is written
    drop = analyse(net.graph(), train=True, passes="backward").figures[1]
    assert drop.moved_bytes == 3 * size


def test_the_source_s_convention_is_taken_unless_another_is_asked_for() -> None:
    net = Builder((3, 8, 8), counting="multiply_adds_with_bias")
    net.add("conv", "conv2d", out_channels=4, kernel_size=3, padding=1)
    graph = net.graph()
    assert (analyse(graph).counting, analyse(graph).flops) == ("multiply_adds_with_bias", 8 * 8 * 4 * (27 + 1))
    other = analyse(graph, counting="operations")
    assert (other.counting, other.flops) == ("operations", 8 * 8 * 4 * (27 * 2 + 1))


def test_a_batch_multiplies_costs_and_memory_but_not_parameters() -> None:
    one, three = analyse(two_headed()), analyse(two_headed(), batch=3)
    assert three.params == one.params
    assert three.flops == 3 * one.flops
    assert three.total.cost == one.total.cost * 3
    assert three.total.activations == 3 * one.total.activations
    assert three.total.output_bytes == 3 * one.total.output_bytes
    weights = 4 * one.params
    assert three.total.moved_bytes == 3 * (one.total.moved_bytes - weights) + weights


def test_samples_are_in_the_costs_already() -> None:
    net = Builder()
    net.nodes[0] = net.nodes[0].__class__(
        path="regions",
        operator=net.nodes[0].operator,
        output_shapes=(Shape((3, 8, 8), samples=5),),
    )
    net.add("conv", "conv2d", out_channels=4, kernel_size=3, padding=1)
    assert analyse(net.graph(), batch=2).flops == 2 * 5 * 8 * 8 * 4 * 27


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("float16", 2), ("bfloat16", 2), ("float64", 8)])
def test_bytes_by_dtype(dtype: str, size: int) -> None:
    conv = by_path(two_headed(), dtype=dtype)["stem"]
    values, params, outputs = 3 * 8 * 8, 4 * 28, 4 * 8 * 8
    assert conv.output_bytes == size * outputs  # type: ignore[attr-defined]
    assert conv.moved_bytes == size * (values + params + outputs)  # type: ignore[attr-defined]


def test_indices_keep_their_own_size() -> None:
    net = Builder((7,))
    net.nodes[0] = net.nodes[0].__class__(
        path="tokens", operator=net.nodes[0].operator, output_shapes=(Shape((7,), dtype="int64"),)
    )
    net.add("copy", "relu")
    assert by_path(net.graph(), dtype="float16")["copy"].moved_bytes == 8 * 7 + 8 * 7  # type: ignore[attr-defined]


def test_backward_by_layer() -> None:
    """peers.md: a first layer needs no input gradient: 27,648 forward, 55,296 with the backward pass."""
    net = Builder((3, 8, 8))
    net.add("first", "conv2d", out_channels=8, kernel_size=3, padding=1, bias=False)
    net.add("inner", "conv2d", out_channels=3, kernel_size=3, padding=1, bias=False)
    graph = net.graph()
    # products counted twice as floating-point operations: 8*8*8 outputs of 27 products, in the table as 13,824
    first = 8 * 8 * 8 * 27
    inner = 8 * 8 * 3 * 8 * 9
    assert 2 * first == 27_648
    assert [each.flops for each in analyse(graph).figures] == [first, inner]
    assert [each.flops for each in analyse(graph, passes="backward").figures] == [first, 2 * inner]
    assert [each.flops for each in analyse(graph, passes="both").figures] == [2 * first, 3 * inner]


def test_backward_needs_nothing_before_the_first_parameter() -> None:
    net = Builder((3, 8, 8))
    net.add("relu", "relu")
    net.add("conv", "conv2d", out_channels=8, kernel_size=1)
    net.add("after", "relu")
    figures = by_path(net.graph(), passes="backward")
    assert figures["relu"].cost == Cost()  # type: ignore[attr-defined]
    assert figures["relu"].moved_bytes == 0  # type: ignore[attr-defined]
    assert figures["after"].moved_bytes > 0  # type: ignore[attr-defined]


def test_backward_bytes() -> None:
    net = Builder((3, 8, 8))
    net.add("first", "conv2d", out_channels=8, kernel_size=1, bias=False)
    net.add("inner", "conv2d", out_channels=2, kernel_size=1, bias=False)
    first, inner = (each.moved_bytes for each in analyse(net.graph(), passes="backward", batch=2).figures)
    # reads the gradient and the input it kept, writes the weights' gradient
    assert first == 4 * (2 * (8 + 3) * 64 + 8 * 3)
    # and reads the weights and writes the input's gradient
    assert inner == 4 * (2 * (2 + 8 + 8) * 64 + 2 * 8 * 2)


def test_shared_parameters_count_once_and_their_cost_at_every_call() -> None:
    """peers.md: a Linear(10, 10) under two parents: 200 multiply-adds, 110 parameters."""
    net = Builder((10,))
    net.add("a.linear", "linear", out_features=10)
    net.add("b.linear", net.nodes[1].operator, shares="a.linear")
    net.add("c.linear", net.nodes[1].operator, shares="b.linear")
    analysis = analyse(net.graph())
    assert [each.params for each in analysis.figures] == [110, 0, 0]
    assert [each.flops for each in analysis.figures] == [100, 100, 100]
    assert (analysis.params, analysis.flops, analysis.depth) == (110, 300, 3)


def test_parameters_owned_by_a_head_count_where_inference_uses_them() -> None:
    net = Builder((10,))
    head = net.add("head", "linear", 0, out_features=10, training_only=True)
    end = net.add("linear", net.nodes[1].operator, 0, shares="head")
    graph = net.graph(end, training=(head,))
    assert analyse(graph).params == 110
    assert analyse(graph, train=True).params == 110


def test_an_unknown_cost_makes_a_lower_bound() -> None:
    net = Builder((3, 8, 8))
    net.add("conv", "conv2d", out_channels=4, kernel_size=1)
    net.add("mystery", Unknown())
    analysis = analyse(net.graph(), passes="both")
    mystery = analysis.figures[1]
    assert (mystery.cost, mystery.flops, mystery.activations) == (None, None, None)
    assert mystery.output_bytes == 4 * 4 * 8 * 8
    assert analysis.lower_bound
    assert analysis.total.uncounted == 1
    assert analysis.flops == 2 * 8 * 8 * 4 * 3


def test_depth_is_that_of_the_longest_path() -> None:
    net = Builder((4, 8, 8))
    short = net.add("short", "conv2d", 0, out_channels=4, kernel_size=1)
    net.add("long1", "conv2d", 0, out_channels=4, kernel_size=1)
    long = net.add("long2", "conv2d", out_channels=4, kernel_size=1)
    net.add("norm", "batch_norm2d")
    end = net.add("add", "add", short, long)
    net.add("beside", "conv2d", out_channels=4, kernel_size=1)
    assert analyse(net.graph(end)).depth == 2
    assert analyse(net.graph(end, end + 1)).depth == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch must be an integer of at least 1, not 0"),
        ({"batch": True}, "batch must be an integer of at least 1, not True"),
        ({"batch": 2.0}, "batch must be an integer of at least 1, not 2.0"),
        ({"dtype": "float61"}, "unknown dtype float61: did you mean float64?"),
        ({"dtype": "int8x"}, "unknown dtype int8x: take float64, float32, float16 or bfloat16"),
        ({"passes": "forwards"}, "passes must be forward, backward or both, not forwards"),
        ({"counting": "operation"}, "unknown counting convention operation: did you mean operations?"),
    ],
)
def test_mistakes(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        analyse(two_headed(), **options)  # type: ignore[arg-type]
    assert str(raised.value) == message


def test_totals_beyond_64_bits_are_exact() -> None:
    net = Builder((2**40,))
    net.add("linear", "linear", out_features=2**40, bias=False)
    assert analyse(net.graph(), batch=3).flops == 3 * 2**80


def test_the_same_twice_and_the_graph_untouched() -> None:
    graph = two_headed()
    assert analyse(graph, train=True) == analyse(graph, train=True)
    assert graph == two_headed()


def test_each_distinct_call_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of 100,000 nodes repeats few distinct calls: time is a matter of those."""
    calls = []

    class Counting(Operator, frozen=True, kw_only=True):
        def infer(self, inputs: tuple[Shape, ...]) -> tuple[Shape, ...]:
            return inputs

        def cost(self, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...], train: bool = False) -> Cost:
            calls.append(inputs)
            return Cost(additions=1)

    net = Builder((3, 8, 8))
    for place in range(10_000):
        net.add(f"layer.{place}", Counting())
    graph = net.graph()
    start = time.perf_counter()
    assert analyse(graph, counting="operations").flops == 10_000
    assert len(calls) == 1
    assert time.perf_counter() - start < 5


def test_outputs_may_be_inputs() -> None:
    net = Builder((3, 8, 8))
    graph = net.graph(0)
    assert graph.outputs == {"0": Value(0)}
    assert (analyse(graph).depth, analyse(graph).flops) == (0, 0)


def test_a_backward_pass_does_not_come_to_what_reaches_no_output() -> None:
    """Of two branches one is left out of the outputs: a linear layer's weight gradient is that of the other."""
    net = Builder((8,))
    net.add("left", "linear", 0, out_features=4, bias=False)
    net.add("right", "linear", 0, out_features=4, bias=False)
    both, left = net.graph(1, 2), net.graph(1)
    assert [analyse(graph, passes="backward").flops for graph in (both, left)] == [2 * 32, 32]
    assert analyse(left).flops == 2 * 32


@pytest.mark.parametrize(("trained", "factors"), [((), 0), ((0,), 1), ((1,), 1), ((0, 1), 2)])
def test_of_a_product_only_the_factors_behind_a_parameter_need_a_gradient(
    trained: tuple[int, ...], factors: int
) -> None:
    net = Builder((3, 4), (4, 5))
    ends = [0, 1]
    for place in trained:
        ends[place] = net.add(f"layer{place}", "linear", place, out_features=(4, 5)[place], bias=False)
    net.add("product", "matmul", *ends)
    figures = by_path(net.graph(), passes="backward")
    assert figures["product"].flops == factors * 3 * 4 * 5  # type: ignore[attr-defined]
