"""Holding a network against its `expect`, its published table and limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from archprof.analysis.check import (
    EXCEPTION,
    FAILED,
    PASSED,
    Checked,
    Finding,
    check,
    check_all,
    networks,
    parse_limits,
)
from archprof.errors import UsageError
from archprof.operators import base
from archprof.spec import find_spec
from archprof.spec.errors import SpecError
from archprof.spec.library import SHIPPED, load_document, shipped_paths
from tests.graphs import Unknown

# parameters 4 x 3 x 3 x 3 + 4 x 8 x 8 x 10 = 108 + 2560; multiply-adds 108 x 8 x 8 + 2560; activations 4 x 8 x 8 + 10
SMALL = """\
name: small
input: [3, 8, 8]
layers:
  - {name: conv, op: conv2d, out_channels: 4, kernel_size: 3, padding: 1, bias: false}
  - {op: flatten}
  - {name: fc, op: linear, out_features: 10, bias: false}
"""
PARAMS = 108 + 2560
MULTIPLY_ADDS = 108 * 8 * 8 + 2560
MEMORY = 4 * (PARAMS + 3 * 8 * 8 + 4 * 8 * 8)  # at the peak the convolution's input and output live


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checked(text: str, published: str | None = None, **limits: int) -> Checked:
    Path("small.yaml").write_text(text)
    if published is not None:
        Path("published.yaml").write_text(published)
    return check(load_document("small.yaml"), None, limits)


def expecting(quantity: str, written: str, published: str | None = None) -> Finding:
    """The finding of one expected quantity."""
    more = "" if published is None else ", published: published.yaml"
    return checked(f"{SMALL}expect: {{{quantity}: {written}{more}}}\n", published).findings[0]


# --- expect


@pytest.mark.parametrize(
    ("quantity", "written", "holds"),
    [
        ("params", f"{PARAMS}", True),
        ("params", f"{PARAMS - 1}", False),
        ("params", "2.7K", True),  # 2,668 rounded
        ("params", "2.6K", False),  # cut off, which no source says
        ("params", "3K", True),
        ("params", '"2,668"', True),
        ("params", '"2,667"', False),
        ("params", "0.003M", True),
        ("training_params", f"{PARAMS}", True),
        ("multiply_adds", f"{MULTIPLY_ADDS}", True),
        ("multiply_adds", "9.5K", True),
        ("multiply_adds", "9.4K", False),
        ("flops", f"{MULTIPLY_ADDS}", True),
        ("operations", f"{2 * MULTIPLY_ADDS}", True),
        ("operations", f"{MULTIPLY_ADDS}", False),
        ("activations", f"{4 * 8 * 8 + 10}", True),
        ("activations", "265", False),
        ("depth", "2", True),
        ("depth", "3", False),
        ("memory", f"{MEMORY}", True),
        ("memory", "12.2KiB", True),  # 12,464 / 1024 = 12.17
        ("memory", "12.2K", False),
        ("output", "[10]", True),
        ("output", "[[10]]", True),
        ("output", "[11]", False),
    ],
)
def test_expect(quantity: str, written: str, holds: bool) -> None:
    assert expecting(quantity, written).status == (PASSED if holds else FAILED)


def test_a_finding_says_where_and_what() -> None:
    assert expecting("flops", "9000") == Finding(
        what="flops (multiply_adds)",
        expected="9,000",
        found="9,472",
        status=FAILED,
        file="small.yaml",
        line=7,
        column=17,
    )


def test_a_figure_that_is_cut_off_says_so() -> None:
    assert expecting("params", "2.6K").note == "it is cut off, not rounded: the published file must say so"
    assert expecting("params", "2.5K").note is None


CUT_OFF_TOTAL = "total: {size: 2.6K}\nexceptions: [{path: total, column: size, rounding: cut_off}]\n"
COLUMN = "columns: {size: {quantity: params, units: {K: 1}, rounding: %s}}\nrows: []\n"


@pytest.mark.parametrize(
    ("written", "published", "holds"),
    [
        ("2.6K", COLUMN % "cut_off", True),
        ("2.7K", COLUMN % "cut_off", False),
        ("2.7K", COLUMN % "nearest", True),
        ("2.6K", COLUMN % "nearest", False),
        # an exception of the total's cell goes before its column
        ("2.6K", COLUMN % "nearest" + CUT_OFF_TOTAL, True),
        # another quantity's column says nothing of this one
        ("2.6K", (COLUMN % "cut_off").replace("params", "activations"), False),
    ],
)  # fmt: skip
def test_a_printed_figure_is_rounded_as_the_published_file_says(written: str, published: str, holds: bool) -> None:
    assert expecting("params", written, published).status == (PASSED if holds else FAILED)


def test_flops_are_rounded_as_the_column_of_the_convention_in_force() -> None:
    published = "columns: {ops: {quantity: multiply_adds, units: {K: 1}, rounding: cut_off}}\nrows: []\n"
    assert expecting("flops", "9.4K", published).status == PASSED
    assert expecting("multiply_adds", "9.5K", published).note == "it is rounded, where the published file says cut off"


def test_a_receptive_field() -> None:
    field = "name: f\ninput: [1, 9, 9]\nlayers: [{name: conv, op: conv2d, out_channels: 1, kernel_size: [3, 5]}]\n"
    for written, holds in (("[3, 5]", True), ("[5, 3]", False), ("3", False)):
        finding = checked(f"{field}expect: {{receptive_field: {written}}}\n").findings[0]
        assert (finding.status == PASSED, finding.found) == (holds, "[3, 5]")
    square = field.replace("[3, 5]", "3")
    assert checked(f"{square}expect: {{receptive_field: 3}}\n").findings[0].status == PASSED


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("about 5", 'the word "about 5"'),
        ("3.5", "3.5"),
        ("true", "true"),
        ("[1, 2]", "[1, 2]"),
        ("-0.5K", 'the word "-0.5K"'),
        ("null", "null"),
    ],
)
def test_what_is_no_figure_is_a_mistake(written: str, said: str) -> None:
    with pytest.raises(SpecError) as raised:
        expecting("params", written)
    assert str(raised.value) == (
        "small.yaml:7:18: expect: params must be an integer or a printed number such as 3.8B, "
        f"not {said} [not-a-printed-number]"
    )


def test_a_variant_s_expectations_override_the_file_s() -> None:
    text = (
        SMALL.replace("out_channels: 4", "out_channels: =w")
        + "parameters: {w: 4}\nexpect: {params: 2668, depth: 2}\n"
        + "variants: {wide: {with: {w: 8}, expect: {params: 5336}}, same: {with: {w: 4}}}\n"
    )
    Path("small.yaml").write_text(text)
    found = check_all(["small.yaml"]).networks
    assert [each.name for each in found] == ["small", "wide", "same"]
    assert [[(one.what, one.expected, one.line) for one in each.findings] for each in found] == [
        [("params", "2,668", 8), ("depth", "2", 8)],
        [("params", "5,336", 9), ("depth", "2", 8)],
        [("params", "2,668", 8), ("depth", "2", 8)],
    ]
    assert {one.status for each in found for one in each.findings} == {PASSED}


def test_heads_for_training_are_apart() -> None:
    # fc 192 x 10 = 1920, and 192 x 2 = 384 of the head
    text = (
        "name: heads\ninput: [3, 8, 8]\nlayers:\n  - {op: flatten}\n"
        "  - {name: head, op: linear, out_features: 2, bias: false}\n"
        "  - {name: fc, op: linear, from: flatten, out_features: 10, bias: false}\n"
        "training_outputs: [head]\nexpect: {params: 1920, training_params: 2304, multiply_adds: 1920}\n"
    )
    assert {finding.status for finding in checked(text).findings} == {PASSED}


# --- what is not counted


@pytest.fixture
def mystery(monkeypatch: pytest.MonkeyPatch) -> str:
    """A spec with an operator whose cost archprof cannot say."""
    monkeypatch.setitem(base.REGISTRY, "mystery", Unknown)
    return SMALL.replace("  - {op: flatten}\n", "  - {op: mystery}\n  - {op: flatten}\n")


def test_what_is_not_counted_does_not_hold(mystery: str) -> None:
    text = f"{mystery}expect: {{params: 2668, flops: 9472, activations: 266, operations: 19K}}\n"
    assert [(each.status, each.found) for each in checked(text).findings] == [
        (PASSED, "2,668"),
        (FAILED, "not counted"),
        (FAILED, "not counted"),
        (FAILED, "not counted"),
    ]


def test_a_limit_on_what_is_not_counted_is_an_error(mystery: str) -> None:
    assert checked(mystery, params=3000).findings[0].status == PASSED
    with pytest.raises(UsageError) as raised:
        checked(mystery, flops=10)
    assert str(raised.value) == "small: flops is not known, since not every operator is counted"


def test_a_published_count_of_what_is_not_counted(mystery: str) -> None:
    published = "columns: {ops: {quantity: multiply_adds, units: {K: 1}}}\nrows: [{path: mystery, cells: {ops: 1K}}]\n"
    (finding,) = checked(f"{mystery}expect: {{published: published.yaml}}\n", published).findings
    assert (finding.status, finding.found) == (FAILED, "not counted")


# --- the published table

PUBLISHED = """\
columns:
  kernel: {column: kernel}
  what: {}
  params: {quantity: params, units: {one: 0, K: 1}}
  ops: {quantity: multiply_adds, units: {K: 1}}
  field: {quantity: receptive_field, units: {one: 0}}
rows:
  - {path: conv, name: first, cells: {kernel: "3x3x3, 1", what: anything, params: 108, ops: 6.9K, field: 3}}
  - {path: flatten, cells: {params: "", ops: 0}}
  - {name: softmax, cells: {params: 5}}
  - {name: loss, cells: {}}
  - {path: fc, cells: {params: 2.6K, ops: 2.6K}}
total: {params: 2.7K, ops: 9.5K}
"""


def of_published(text: str) -> list[tuple[str, str, str, str, str | None, int, int]]:
    """What does not simply agree with a published file."""
    findings = checked(f"{SMALL}expect: {{published: published.yaml}}\n", text).findings
    return [
        (each.status, each.what, each.expected, each.found, each.note, each.line, each.column)
        for each in findings
        if each.status != PASSED
    ]


def test_published_cells_that_agree() -> None:
    found = checked(f"{SMALL}expect: {{published: published.yaml}}\n", PUBLISHED)
    assert [each.what for each in found.findings] == [
        "first: kernel", "first: params", "first: ops", "first: field",
        "flatten: params", "flatten: ops", "fc: params", "fc: ops", "total: params", "total: ops",
    ]  # fmt: skip
    assert found.count(PASSED) == len(found.findings)
    assert {each.file for each in found.findings} == {"published.yaml"}
    assert found.unlisted == ("softmax", "loss")


def test_published_cells_that_do_not_agree() -> None:
    text = (
        PUBLISHED.replace("3x3x3, 1", "3x3x3, 2").replace("6.9K", "6.8K").replace("field: 3", "field: 5")
        .replace('params: "", ops: 0', "params: 1, ops: 0").replace("total: {params: 2.7K", 'total: {params: ""')
    )  # fmt: skip
    assert of_published(text) == [
        (FAILED, "first: kernel", "3x3x3, 2", "3x3x3, 1", None, 8, 47),
        (FAILED, "first: ops", "6.8K", "6,912", None, 8, 93),
        (FAILED, "first: field", "5", "3", None, 8, 106),
        (FAILED, "flatten: params", "1", "0", None, 9, 37),
        (FAILED, "total: params", "empty", "2,668", None, 13, 17),
    ]


def test_a_cell_is_rounded_as_its_column_says() -> None:
    text = PUBLISHED.replace("total: {params: 2.7K", "total: {params: 2.6K")
    note = "it is cut off, not rounded: the published file must say so"
    assert of_published(text) == [(FAILED, "total: params", "2.6K", "2,668", note, 13, 17)]
    cut_off = PUBLISHED.replace("K: 1}}\n  ops", "K: 1}, rounding: cut_off}\n  ops")
    note = "it is rounded, where the published file says cut off"
    assert of_published(cut_off) == [
        (FAILED, "fc: params", "2.6K", "2,560", note, 12, 32),
        (FAILED, "total: params", "2.7K", "2,668", note, 13, 17),
    ]


WRONG = PUBLISHED.replace("ops: 6.9K", "ops: 7.2K")


def exception(what: str, text: str = WRONG) -> list[tuple[str, str, str, str, str | None, int, int]]:
    return of_published(f"{text}exceptions: [{{path: conv, column: ops, {what}}}]\n")


def test_an_exception_is_known_not_to_follow() -> None:
    assert exception("arithmetic: 6912, note: 108 x 64") == [
        (EXCEPTION, "first: ops", "7.2K", "6,912", "108 x 64", 8, 93)
    ]
    assert exception("arithmetic: 6912") == [(EXCEPTION, "first: ops", "7.2K", "6,912", None, 8, 93)]


def test_an_exception_with_wrong_arithmetic_fails() -> None:
    note = "recorded as an exception with the arithmetic 6,913"
    assert exception("arithmetic: 6913") == [(FAILED, "first: ops", "7.2K", "6,912", note, 8, 93)]


def test_an_exception_that_starts_to_agree_fails() -> None:
    note = "recorded as an exception, but it agrees: take the exception away"
    failed = [(FAILED, "first: ops", "6.9K", "6,912", note, 8, 93)]
    assert exception("arithmetic: 6912", PUBLISHED) == failed
    assert exception("rounding: nearest", PUBLISHED) == failed
    assert exception("rounding: cut_off", PUBLISHED) == failed  # 6.912 is 6.9 either way


def test_an_exception_of_rounding() -> None:
    cut = PUBLISHED.replace("ops: 6.9K", "ops: 6K")
    assert exception("rounding: cut_off", cut) == []
    note = "recorded as an exception, but it follows otherwise rounded: give the exception a rounding"
    assert exception("arithmetic: 6912", cut) == [(FAILED, "first: ops", "6K", "6,912", note, 8, 93)]
    assert exception("rounding: cut_off") == [(FAILED, "first: ops", "7.2K", "6,912", None, 8, 93)]


def test_an_exception_of_the_total() -> None:
    text = (
        PUBLISHED.replace("ops: 9.5K}", "ops: 9.9K}") + "exceptions: [{path: total, column: ops, arithmetic: 9472}]\n"
    )
    assert of_published(text) == [(EXCEPTION, "total: ops", "9.9K", "9,472", None, 13, 28)]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{path: fc, column: field, arithmetic: 1}", "14:14: an exception: fc has no cell field [no-such-cell]"),
        ("{path: total, column: field, arithmetic: 1}", "14:14: an exception: total has no cell field [no-such-cell]"),
        (
            "{path: conv, column: kernel, arithmetic: 1}",
            "14:14: an exception: kernel has no numbers: exceptions are of counts alone [no-such-cell]",
        ),
        (
            "{path: fc, column: ops, rounding: cut_off}, {path: fc, column: ops, arithmetic: 3}",
            "14:58: two exceptions of one cell, fc: ops [duplicate-name]",
        ),
    ],
)  # fmt: skip
def test_an_exception_is_of_a_cell_that_counts(written: str, message: str) -> None:
    with pytest.raises(SpecError) as raised:
        of_published(f"{PUBLISHED}exceptions: [{written}]\n")
    assert str(raised.value) == f"published.yaml:{message}"


def test_published_rows_that_are_not_there() -> None:
    text = PUBLISHED.replace("path: flatten,", "path: flaten,").replace("path: fc,", "path: zz.zz,")
    assert of_published(text) == [
        (FAILED, "row flaten", "a row of the network", "missing", "did you mean flatten?", 9, 5),
        (FAILED, "row zz.zz", "a row of the network", "missing", "at depth 1 there is conv, flatten or fc", 12, 5),
    ]


def test_rows_without_any_comparable_column_must_be_there_too() -> None:
    published = "columns: {what: {}}\nrows: [{path: conv, cells: {what: a}}, {path: cnv, cells: {what: b}}]\n"
    assert [each[1] for each in of_published(published)] == ["row cnv"]


def test_a_published_file_that_is_not_there() -> None:
    with pytest.raises(SpecError) as raised:
        checked(f"{SMALL}expect: {{published: publishd.yaml}}\n")
    assert str(raised.value) == (
        "small.yaml:7:21: expect: published: there is no file publishd.yaml beside the spec [no-such-file]"
    )


def test_a_published_file_of_other_networks_says_nothing() -> None:
    published = "columns: {p: {quantity: params, units: {K: 0}}}\nnetworks: {other: {total: {p: 1K}}}\n"
    found = checked(f"{SMALL}expect: {{published: published.yaml}}\n", published)
    assert found.findings == ()


# --- limits


@pytest.mark.parametrize(
    ("limit", "found", "holds"),
    [
        ("params=2668", "2,668", True),
        ("params=2.6K", "2,668", False),
        ("training_params=3K", "2,668", True),
        ("flops=9472", "9,472", True),
        ("flops=9471", "9,472", False),
        ("multiply_adds=10K", "9,472", True),
        ("multiply_adds_with_bias=9K", "9,472", False),
        ("operations=18K", f"{2 * MULTIPLY_ADDS:,}", False),
        ("fvcore=10K", "9,472", True),
        ("activations=266", "266", True),
        ("activations=265", "266", False),
        ("depth=1", "2", False),
        ("memory=1GiB", f"{MEMORY:,}", True),
        ("memory=12KiB", f"{MEMORY:,}", False),
    ],
)
def test_limits(limit: str, found: str, holds: bool) -> None:
    quantity, number = next(iter(parse_limits([limit]).items()))
    (finding,) = checked(SMALL, **{quantity: number}).findings
    assert (finding.found, finding.status == PASSED) == (found, holds)
    assert finding.expected == f"at most {number:,}"
    assert (finding.file, finding.line) == ("small.yaml", 4)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["param=5M"], "--max param=5M: unknown quantity param: did you mean params?"),
        (
            ["speed=5M"],
            "--max speed=5M: unknown quantity speed: take params, training_params, flops, multiply_adds, "
            "multiply_adds_with_bias, operations, fvcore, activations, depth or memory",
        ),
        (["params"], "--max params: write QUANTITY=NUMBER, as params=5M or memory=1GiB"),
        (["params=many"], "--max params=many: write QUANTITY=NUMBER, as params=5M or memory=1GiB"),
        (["params=-5"], "--max params=-5: write QUANTITY=NUMBER, as params=5M or memory=1GiB"),
        (["params=5M", "params=6M"], "--max params is given twice"),
    ],
)
def test_limits_that_are_none(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_limits(texts)
    assert str(raised.value) == message


def test_units_of_limits() -> None:
    assert parse_limits(["params=5M", "flops=0.6B", "memory=1.5KiB", "depth=50"]) == {
        "params": 5_000_000,
        "flops": 600_000_000,
        "memory": 1536,
        "depth": 50,
    }


# --- which networks

FAMILY = SMALL.replace("out_channels: 4", "out_channels: =w")


def names(*arguments: str) -> list[str]:
    return [variant.name if variant else document.name for document, variant in networks(arguments)]


def test_files_folders_patterns_and_names() -> None:
    Path("nets/published").mkdir(parents=True)
    Path("nets/b.yaml").write_text(SMALL)
    family = FAMILY.replace("small", "family") + "parameters: {w: 4}\nvariants: {w-8: {with: {w: 8}}}\n"
    Path("nets/a.yml").write_text(family)
    Path("nets/notes.txt").write_text("no spec")
    Path("nets/published/b.yaml").write_text("columns: {}\n")
    assert names("nets") == ["family", "w-8", "small"]  # by file name; not the folders in it
    assert names("nets/*.yaml") == ["small"]
    assert names("nets/a.yml:w-8", "nets/b.yaml") == ["w-8", "small"]
    assert names("resnet-50", "vgg-remark") == ["resnet-50", "vgg-remark", "two-3x3", "one-5x5"]


def test_a_pattern_fits_files_alone() -> None:
    Path("nets/inner").mkdir(parents=True)
    Path("nets/b.yaml").write_text(SMALL)
    assert names("nets/*") == ["small"]
    Path("nets/[a]b.yaml").write_text(SMALL)  # a file of that very name is no pattern
    assert names("nets/[a]b.yaml") == ["small"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("empty", "empty: no spec file (.yaml, .yml) is in this folder"),
        ("none/*.yaml", "none/*.yaml: no file fits this pattern"),
    ],
)
def test_nothing_found_is_an_error(argument: str, message: str) -> None:
    Path("empty").mkdir()
    with pytest.raises(UsageError) as raised:
        networks([argument])
    assert str(raised.value) == message


def test_a_base_that_needs_a_parameter_stands_for_its_variants() -> None:
    Path("nets.yaml").write_text(FAMILY + "parameters: {w: null}\nvariants: {w-8: {with: {w: 8}}}\n")
    assert names("nets.yaml") == ["w-8"]
    given = check_all(["nets.yaml"], {"params": 10**6}, {"w": 4})
    assert [each.name for each in given.networks] == ["small", "w-8"]


def test_a_file_that_needs_a_parameter_and_has_no_variants_is_never_passed_over() -> None:
    Path("nets.yaml").write_text(FAMILY + "parameters: {w: null}\nexpect: {params: 2668}\n")
    (mistake,) = check_all(["nets.yaml"]).mistakes
    assert "parameter w" in mistake.message
    (given,) = check_all(["nets.yaml"], settings={"w": 4}).networks
    assert given.count(PASSED) == 1


def test_the_mistakes_of_all_files_are_told_and_the_others_checked() -> None:
    Path("a.yaml").write_text(SMALL.replace("kernel_size", "kernl_size") + "expect: {parms: 3}\n")
    Path("b.yaml").write_text(SMALL + "expect: {params: 1}\n")
    Path("c.yaml").write_text(SMALL.replace("kernel_size: 3", "kernel_size: 30"))
    report = check_all(["*.yaml", "d.yaml"])
    assert [(mistake.file, mistake.code) for mistake in report.mistakes] == [
        ("a.yaml", "unknown-key"),  # kernl_size
        ("a.yaml", "unknown-key"),  # parms
        ("c.yaml", "kernel-too-large"),
        ("d.yaml", "no-such-file"),
    ]
    assert [(network.name, finding.what) for network, finding in report.failures] == [("small", "params")]
    with pytest.raises(SpecError) as raised:
        networks(["*.yaml", "d.yaml"])
    assert {mistake.file for mistake in raised.value.mistakes} == {"a.yaml", "d.yaml"}


def test_paths_outside_this_folder_stay_as_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "inner").mkdir()
    outside = folder / "small.yaml"
    outside.write_text(SMALL + "expect: {params: 2668}\n")
    monkeypatch.chdir(folder / "inner")
    assert check(load_document(outside), None).findings[0].file == str(outside)
    monkeypatch.chdir(folder)
    assert check(load_document(outside), None).findings[0].file == "small.yaml"


# --- what is shipped


def test_all_that_is_shipped_holds() -> None:
    report = check_all([str(SHIPPED)])
    assert report.failures == []
    assert report.mistakes == ()
    documents = [load_document(path) for path in shipped_paths()]
    assert {network.name for network in report.networks} == {
        name for document in documents for name in (document.name, *document.variants)
    }
    assert [network.name for network in report.networks if not network.findings and not network.family] == []


def test_every_cell_of_the_lecture_s_table_is_held() -> None:
    (zf,) = check_all(["zf"]).networks
    cells = [each for each in zf.findings if each.file.endswith("published/zf.yaml")]
    assert len(cells) == 23 * 5
    assert {each.what.rpartition(": ")[2] for each in cells} == {"size-in", "size-out", "kernel", "param", "FLOPs"}
    assert zf.count(PASSED) == len(zf.findings)


def test_every_row_of_googlenet_is_held() -> None:
    (googlenet,) = check_all(["googlenet"]).networks
    rows = {each.what.rpartition(":")[0] for each in googlenet.findings}
    assert {f"inception ({name})" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")} <= rows
    assert {"convolution", "max pool", "avg pool", "dropout (40%)", "linear", "softmax"} <= rows
    assert googlenet.unlisted == ()


def test_a_document_and_its_variant() -> None:
    document, variant = find_spec("resnet-34")
    found = check(document, variant)
    assert (found.name, found.family, found.count(FAILED)) == ("resnet-34", False, 0)
    assert check(document, None).family
