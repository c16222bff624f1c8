"""The shipped networks, held against what was published of them."""

from collections import Counter
from functools import cache

import pytest

import archprof
from archprof.analysis import CONVENTIONS, Analysis, analyse, make_table
from archprof.analysis.numbers import agrees
from archprof.analysis.published import PublishedTable, published_for, read_published
from archprof.operators.base import Operator
from archprof.shape import Shape
from archprof.spec import expand
from archprof.spec.document import Document, Variant
from archprof.spec.errors import SpecError
from archprof.spec.library import SHIPPED, load_document, shipped_paths
from archprof.spec.reader import plain

DOCUMENTS = [load_document(path) for path in shipped_paths()]
NETWORKS = [
    pytest.param(document, variant, id=variant.name if variant else document.name)
    for document in DOCUMENTS
    for variant in (None, *document.variants.values())
]


@cache
def analysis_of(name: str) -> Analysis:
    return analyse(archprof.load(name), counting="multiply_adds")


# --- every file and variant


def quantity(analysis: Analysis, name: str) -> object:
    """What an analysis gives for a key of `expect`."""
    total = analysis.total
    if name in CONVENTIONS:
        return CONVENTIONS[name].count(total.cost)
    if name == "training_params":
        return analyse(analysis.graph, train=True).params
    if name == "output":
        (value,) = analysis.graph.outputs.values()
        return list(analysis.graph.nodes[value.node].output_shapes[value.output].dims)
    if name == "receptive_field":
        height, width = analysis.receptive_field or (None, None)
        return height if height == width else [height, width]
    return {
        "params": total.params,
        "flops": total.flops,
        "activations": total.activations,
        "depth": analysis.depth,
    }[name]


@pytest.mark.parametrize(("document", "variant"), NETWORKS)
def test_what_a_spec_expects_holds(document: Document, variant: Variant | None) -> None:
    expected = {**document.expect.values, **(variant.expect.values if variant else {})}
    analysis = analyse(expand(document, variant))
    if variant is not None or not document.variants:
        assert "params" in expected
        assert {"multiply_adds", "flops"} & {*expected}
    assert {name: quantity(analysis, name) for name in expected} == {
        name: plain(tree) for name, tree in expected.items()
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_a_file_says_what_it_is(document: Document) -> None:
    assert f"{document.name}.yaml" == document.file.rpartition("/")[2]
    assert document.title
    assert document.year
    assert document.source


def test_names_are_unique() -> None:
    names = Counter(document.name for document in DOCUMENTS)
    for document in DOCUMENTS:
        for variant in document.variants.values():
            names.update((variant.name, *variant.aliases))
    assert [name for name, count in names.items() if count > 1] == []


# --- what was published

# ../shared/reference/totals.csv: what is printed, and what independent arithmetic gives
TOTALS = [
    ("vgg-a", "params", "133M", 132863336),
    ("vgg-a-lrn", "params", "133M", 132863336),
    ("vgg-b", "params", "133M", 133047848),
    ("vgg-c", "params", "134M", 133638952),
    ("vgg-d", "params", "138M", 138357544),
    ("vgg-e", "params", "144M", 143667240),
    ("vgg-e", "multiply_adds", "19.6B", 19632062464),
    ("alexnet", "params", "60M", 60965224),
    ("overfeat-fast", "params", "145M", 145920872),
    ("overfeat-fast", "multiply_adds", "2810M", 2801403904),
    ("overfeat-accurate", "params", "144M", 144656488),
    ("overfeat-accurate", "multiply_adds", "5369M", 5355446784),
    ("resnet-18", "multiply_adds", "1.8B", 1814073344),
    ("resnet-34", "multiply_adds", "3.6B", 3663761408),
    ("resnet-50", "multiply_adds", "3.8B", 3857973248),
    ("resnet-101", "multiply_adds", "7.6B", 7570194432),
    ("resnet-152", "multiply_adds", "11.3B", 11282415616),
    ("resnet-20", "params", "0.27M", 269722),
    ("resnet-32", "params", "0.46M", 464154),
    ("resnet-44", "params", "0.66M", 658586),
    ("resnet-56", "params", "0.85M", 853018),
    ("resnet-110", "params", "1.7M", 1727962),
    ("resnet-1202", "params", "19.4M", 19421274),
    ("deeplab-7x7", "params", "134.3M", 134346581),
    ("deeplab-4x4-4", "params", "65.1M", 65140565),
    ("deeplab-4x4-8", "params", "65.1M", 65140565),
    ("deeplab-largefov", "params", "20.5M", 20505429),
    ("nin-imagenet", "params", "7.6M", 7595176),
    ("vgg-d", "depth", "16", 16),
    ("vgg-e", "depth", "19", 19),
    ("googlenet", "depth", "22", 22),
    ("resnet-152", "depth", "152", 152),
    ("plain-56", "depth", "56", 56),
    ("alexnet", "depth", "8", 8),
]

PUBLISHED = {
    variant.name if variant else document.name: (document, variant, table)
    for document in DOCUMENTS
    for variant in (None, *document.variants.values())
    if (named := (variant and variant.expect.published) or document.expect.published) is not None
    if (
        table := published_for(
            read_published(SHIPPED / named.text), variant.name if variant is not None else document.name
        )
    )
    is not None
}


@pytest.mark.parametrize(("name", "counted", "printed", "arithmetic"), TOTALS)
def test_published_totals(name: str, counted: str, printed: str, arithmetic: int) -> None:
    assert quantity(analysis_of(name), counted) == arithmetic
    table = PUBLISHED[name][2]
    cells = [table.total[column.name].text for column in table.columns.values() if column.quantity == counted]
    assert cells == [printed]


def cells_of(table: PublishedTable, analysis: Analysis) -> dict[tuple[str | None, str], tuple[str, object]]:
    """Every published cell that archprof shows too: (path or None for the total, column) -> (printed, ours)."""
    shown = [column for column in table.columns.values() if column.column is not None]
    own = make_table(analysis, fold=table.fold, columns=[column.column or "" for column in shown])
    rows = {row.path: row.cells for row in own.rows}
    found = {}
    for path, cells in [*((row.path, row.cells) for row in table.rows), (None, table.total)]:
        for place, column in enumerate(shown):
            if column.name in cells:
                ours = own.total.cells[place] if path is None else rows[path][place]
                found[path, column.name] = (cells[column.name].text, ours)
    return found


def as_printed(cell: object) -> str:
    return " ".join(map(str, cell)) if isinstance(cell, tuple) else str(cell)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_cells_follow_or_are_known_not_to(name: str) -> None:
    document, variant, table = PUBLISHED[name]
    exceptions = {(each.path, each.column): each for each in table.exceptions}
    cells = cells_of(table, analyse(expand(document, variant)))
    assert {*exceptions} <= {*cells}
    for (path, heading), (printed, ours) in cells.items():
        exception = exceptions.get((path, heading))
        style = table.columns[heading].style
        if style is None:
            assert as_printed(ours) == printed, (path, heading)
            continue
        if isinstance(ours, tuple):  # a receptive field
            ours, *others = ours
            assert {*others} <= {ours}
        if ours == "":  # counted, and nothing
            ours = 0
        if printed == "":
            assert ours == 0, (path, heading)
        elif exception is None:
            assert agrees(ours, printed, style.rounding), (path, heading)
        elif exception.arithmetic is None:
            assert not agrees(ours, printed, style.rounding), (path, heading)
            assert agrees(ours, printed, exception.rounding), (path, heading)
        else:
            assert ours == exception.arithmetic, (path, heading)
            assert not agrees(ours, printed), (path, heading)
            assert not agrees(ours, printed, "cut_off"), (path, heading)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_published_files_speak_of_networks_that_there_are(document: Document) -> None:
    for named in filter(None, (document.expect, *(variant.expect for variant in document.variants.values()))):
        if named.published is not None:
            networks = read_published(SHIPPED / named.published.text).networks
            assert {*networks} <= {document.name, *document.variants}


def test_every_published_file_is_named_by_a_spec() -> None:
    named = {table.file for _, _, table in PUBLISHED.values()}
    assert named == {str(path) for path in (SHIPPED / "published").glob("*.yaml")}


def operator_at(name: str, path: str) -> Operator:
    nodes = {node.path: node.operator for node in analysis_of(name).graph.nodes}
    return nodes.get(path) or nodes[f"{path}.conv2d"]


def test_googlenet_has_the_widths_of_its_table() -> None:
    nodes = {
        "#1x1": "1x1", "#3x3 reduce": "3x3_reduce", "#3x3": "3x3", "#5x5 reduce": "5x5_reduce", "#5x5": "5x5",
        "pool proj": "pool_proj",
    }  # fmt: skip
    modules = [row for row in PUBLISHED["googlenet"][2].rows if row.name.startswith("inception")]
    assert len(modules) == 9
    for row in modules:
        for heading, node in nodes.items():
            operator = operator_at("googlenet", f"{row.path}.{node}")
            assert str(operator.out_channels) == row.cells[heading].text


@pytest.mark.parametrize("name", ["deeplab-7x7", "deeplab-4x4-4", "deeplab-4x4-8", "deeplab-largefov"])
def test_deeplab_s_field_of_view_is_its_classifier_s_extent(name: str) -> None:
    fc6 = operator_at(name, "fc6")
    (row,) = PUBLISHED[name][2].rows
    extent = (1 + (fc6.kernel_size[0] - 1) * fc6.dilation[0]) * 8 + 24
    assert row.cells["receptive field"].text == str(extent)


# --- parameters of the files


@pytest.mark.parametrize("depth", [8, 14, 26, 38, 110])
def test_resnet_cifar_has_any_depth_of_its_form(depth: int) -> None:
    assert analyse(archprof.load("resnet-cifar", depth=depth)).depth == depth


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("resnet-cifar", {"depth": 21}, "must be 8 + a multiple of 6, not 21: the nearest are 20 and 26"),
        ("resnet-cifar", {"depth": 7}, "parameter depth must be at least 8, not 7"),
        ("preact-resnet", {"depth": 110, "unit": "bottleneck"}, None),  # 9 x 12 + 2
        ("preact-resnet", {"depth": 112}, 'int takes numbers, not the word "a depth that is not 9n+2, or 6n+2 wit..."'),
    ],
)
def test_depths_of_another_form_are_refused(name: str, settings: dict[str, object], message: str | None) -> None:
    if message is None:
        archprof.load(name, **settings)
        return
    with pytest.raises(SpecError) as raised:
        archprof.load(name, **settings)
    (mistake,) = raised.value.mistakes
    assert message in mistake.message


def test_resnet_cifar_on_digits() -> None:
    document = load_document(SHIPPED / "resnet-cifar.yaml")
    settings = {"width": 8, "classes": 10, "depth": 20}
    graph = expand(document, None, settings, inputs={"input": Shape((1, 8, 8))})
    convolutions = 9 * 8 + 6 * 9 * 8 * 8 + 9 * 8 * 16 + 5 * 9 * 16 * 16 + 9 * 16 * 32 + 5 * 9 * 32 * 32
    norms = 2 * (7 * 8 + 6 * 16 + 6 * 32)
    assert analyse(graph).params == convolutions + norms + 32 * 10 + 10


def test_identity_shortcuts_cost_nothing() -> None:
    for plain_net, residual in (("plain-34", "resnet-34-a"), ("plain-56", "resnet-56")):
        one, other = analysis_of(plain_net), analysis_of(residual)
        assert (one.params, one.flops, one.depth) == (other.params, other.flops, other.depth)


def test_the_stride_on_the_3x3_costs_multiply_adds_only() -> None:
    paper, later = analysis_of("resnet-50"), analysis_of("resnet-50-v1.5")
    assert paper.params == later.params
    # in three stages the first 1x1 keeps its input's resolution: 3/4 of its products are saved by the paper
    saved = sum(
        3 * size**2 * width_in * width for size, width_in, width in ((28, 256, 128), (14, 512, 256), (7, 1024, 512))
    )
    assert later.flops - paper.flops == saved


def test_regions_cost_rcnn_the_whole_network_and_fast_rcnn_its_heads() -> None:
    def flops(name: str, regions: int) -> int:
        return analyse(archprof.load(name, regions=regions)).flops

    assert flops("rcnn", 2000) == 2000 * flops("rcnn", 1)
    one, two = flops("fast-rcnn", 1), flops("fast-rcnn", 2)
    heads = 7 * 7 * 512 * 4096 + 4096 * 4096 + 4096 * 21 + 4096 * 84
    assert two - one == heads
    assert flops("fast-rcnn", 2000) == one + 1999 * heads
