"""`archprof list` and `archprof compare` as they are run: formats, widths, the picture."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import matplotlib
import pytest

import archprof
from archprof.analysis.memory import memory
from archprof.analysis.summary import summarise
from archprof.operators import base
from archprof.report import Surface, bubbles
from archprof.report.summaries import COMPARE_COLUMNS, LIST_COLUMNS, SCHEMA_FILE, render
from archprof.spec import expand, find_spec
from archprof.spec.library import load_document, shipped_paths
from tests import goldens
from tests.graphs import Unknown

SCHEMA = json.loads(SCHEMA_FILE.read_text())
Run = Callable[..., tuple[int, str, str]]


def printed(run: Run, *arguments: str) -> str:
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    return out


SOME = ["alexnet", "vgg-d", "googlenet", "resnet-50", "mobilenet-v2-1.0", "lstm-language-model-small"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("compare.txt", SOME),
        ("compare.md", [*SOME, "--format", "markdown"]),
        ("compare.csv", [*SOME, "--format", "csv"]),
        ("compare.json", [*SOME[:2], "--format", "json"]),
        ("compare-exact.txt", [*SOME, "--exact", "--counting", "operations", "--batch", "32", "--dtype", "float16"]),
    ],
)
def test_compare(run: Run, name: str, arguments: list[str]) -> None:
    goldens.check(name, printed(run, "compare", *arguments))


def summaries(*names: str) -> list[Any]:
    return [
        summarise(expand(document, variant), document, variant, counting="multiply_adds")
        for document, variant in map(find_spec, names)
    ]


@pytest.mark.parametrize("width", [80, 160])
def test_compare_in_a_terminal(width: int) -> None:
    text = render(
        summaries(*SOME), "terminal", Surface(width=width), columns=COMPARE_COLUMNS, title="6 networks", caption=("a",)
    )
    assert max(map(len, text.splitlines())) <= width
    assert all(text.count(f"\n{name} ") == (2 if width == 80 else 1) for name in SOME)  # no name is broken
    goldens.check(f"compare-{width}.txt", text)


def records(run: Run, *arguments: str) -> list[dict[str, Any]]:
    document = json.loads(printed(run, *arguments, "--format", "json"))
    jsonschema.validate(document, SCHEMA)
    networks: list[dict[str, Any]] = document["networks"]
    return networks


def test_json_is_exact(run: Run) -> None:
    (vgg,) = records(run, "compare", "vgg-d", "--batch", "4", "--dtype", "float16")
    needed = memory(archprof.load("vgg-d"), batch=4, dtype="float16")
    assert vgg == {
        "name": "vgg-d",
        "aliases": ["vgg-16"],
        "family": "vgg",
        "title": vgg["title"],
        "year": 2014,
        "source": vgg["source"],
        "counting": "multiply_adds",
        "params": 138357544,
        "flops": 4 * 15470264320,
        "activations": 4 * 13556712,
        "depth": 16,
        "inference_memory": needed.inference_peak,
        "training_memory": needed.training_peak,
        "receptive_field": [224, 224],
        "top1_error": 27.0,
        "top5_error": 8.8,
    }


def test_csv_is_exact(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(printed(run, "compare", *SOME, "--format", "csv"))))
    assert [row["name"] for row in rows] == SOME
    by_json = records(run, "compare", *SOME)
    for row, record in zip(rows, by_json, strict=True):
        for key in ("params", "flops", "activations", "depth", "inference_memory", "training_memory"):
            assert int(row[key]) == record[key]


def test_a_variant_does_not_inherit_published_errors(run: Run) -> None:
    """What was measured of a network says nothing of another with the same file."""
    Path("net.yaml").write_text(
        "name: net\ninput: [3, 8, 8]\nparameters: {w: 4}\npublished_errors: {top1: 20, top5: 5}\n"
        "layers: [{name: a, op: conv2d, out_channels: =w, kernel_size: 1}]\n"
        "variants: {net-8: {with: {w: 8}}, net-9: {with: {w: 9}, published_errors: {top5: 4.5}}}\n"
    )
    found = records(run, "compare", "net.yaml", "net.yaml:net-8", "net.yaml:net-9")
    assert [(each["top1_error"], each["top5_error"]) for each in found] == [(20, 5), (None, None), (None, 4.5)]


def test_what_is_not_counted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(base.REGISTRY, "mystery", Unknown)
    Path("m.yaml").write_text("name: m\ninput: [3, 8, 8]\nlayers: [{op: mystery}]\n")
    (found,) = records(run, "compare", "m.yaml")
    assert (found["params"], found["flops"], found["activations"]) == (0, None, None)
    assert printed(run, "compare", "m.yaml").splitlines()[4].split()[:6] == ["m", "0", *2 * ("not", "counted")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["zf", "--format", "xml"], "unknown format xml: take terminal, markdown, csv or json\n"),
        (["zf", "--counting", "ops"], None),
        (["zf", "--dtype", "float8"], None),
        (["zf", "--plot", "a.pdf"], "--plot a.pdf: write a file that ends in .svg or .png\n"),
        (
            ["zf", "--plot", "a.png"],
            "--plot: none of these networks has a published top-5 error (published_errors in the spec)\n",
        ),
        (["alexnet", "--plot", "none/a.png"], None),
    ],
)
def test_what_cannot_be_served(run: Run, arguments: list[str], message: str | None) -> None:
    status, out, err = run("compare", *arguments)
    assert (status, out) == (2, "")
    assert err == message if message is not None else err.count("\n") == 1


# --- list


def test_list_names_every_network_once(run: Run) -> None:
    found = records(run, "list")
    documents = [load_document(path) for path in shipped_paths()]
    assert [each["name"] for each in found] == [
        name for document in documents for name in (document.name, *document.variants)
    ]
    for each in found:
        assert each["year"]
        assert each["source"]
        assert each["params"] > 0
        assert each["flops"] > 0
        assert each["depth"] > 0
    by_name = {each["name"]: each for each in found}
    assert (by_name["resnet-50"]["params"], by_name["resnet-50"]["flops"]) == (25557032, 3857973248)
    assert by_name["resnet-50"]["family"] == "resnet"


def test_list_tells_what_else_a_network_is_called(run: Run) -> None:
    assert {each["name"]: each["aliases"] for each in records(run, "list")}["vgg-d"] == ["vgg-16"]
    assert "  vgg-d, vgg-16  " in printed(run, "list")


def test_list_in_a_pipe_has_a_line_a_network(run: Run) -> None:
    lines = printed(run, "list").splitlines()
    assert len([line for line in lines if line.lstrip().startswith("resnet-50 ")]) == 1
    (line,) = [line for line in lines if line.lstrip().startswith("resnet-50 ")]
    assert re.fullmatch(r"  resnet-50 +2015 +25\.557 +3\.858 +50  He et al\., .*, table 1", line)


SHORT = ("alexnet", "alexnet-single-tower", "resnet", "resnet-50", "resnet-152", "wide-resnet-50-2", "zf")


@pytest.mark.parametrize("width", [80, 160])
def test_list_in_a_terminal(width: int) -> None:
    """Families stand together, and sources below, where a terminal is too narrow for them."""
    text = render(
        summaries(*SHORT), "terminal", Surface(width=width), columns=LIST_COLUMNS, title="Some", caption=("a caption",)
    )
    assert max(map(len, text.splitlines())) <= width
    assert all(re.search(r" \[\d\]$", line) for line in text.splitlines()[4 : 4 + len(SHORT)])
    goldens.check(f"list-{width}.txt", text)


def test_list_in_markdown(run: Run) -> None:
    lines = printed(run, "list", "--format", "markdown").splitlines()
    assert lines[0] == "**Shipped networks**"
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert any("resnet-50 " in line and "table 1" in line for line in lines)


# --- the picture

DRAWN = ("alexnet", "vgg-d", "googlenet", "resnet-50", "resnet-152")


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_picture_in_svg(run: Run) -> None:
    out = printed(run, "compare", *DRAWN, "zf", "--plot", "nets.svg")
    assert out.startswith("6 networks")  # the table too
    first = Path("nets.svg").read_text()
    found = texts(first)
    assert set(DRAWN) <= set(found)
    assert "zf" not in found  # no published error
    assert {"5M", "50M", "150M", "FLOPs [G] (multiply_adds)"} <= set(found)
    assert "top-5 error [%], ImageNet validation, as published" in found
    printed(run, "compare", *DRAWN, "zf", "--plot", "nets.svg")
    assert Path("nets.svg").read_text() == first  # the same picture is the same file


def test_a_picture_in_png(run: Run) -> None:
    printed(run, "compare", *DRAWN, "--plot", "nets.PNG")
    content = Path("nets.PNG").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[-8:-4] == b"IEND"
    assert struct.unpack(">II", content[16:24]) == (1500, 900)


def test_a_picture_is_written_whole_or_not_at_all(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("nets.svg").write_text("as it was")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    status, _, err = run("compare", *DRAWN, "--plot", "nets.svg")
    assert (status, err) == (2, "cannot write nets.svg: No space left on device\n")
    assert [path.name for path in Path().iterdir()] == ["nets.svg"]
    assert Path("nets.svg").read_text() == "as it was"


def test_without_matplotlib(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    assert run("compare", "alexnet", "--plot", "a.svg") == (
        2,
        "",
        "--plot needs matplotlib: pip install 'archprof[plot]'\n",
    )
    assert not Path("a.svg").exists()
    assert run("compare", "alexnet")[0] == 0


def drawn(monkeypatch: pytest.MonkeyPatch, *names: str) -> Any:
    """The axes of a picture."""
    made = []
    label = bubbles._label
    monkeypatch.setattr(
        bubbles, "_label", lambda figure, axes, points: (label(figure, axes, points), made.append(axes))
    )
    monkeypatch.setattr(bubbles, "write_bytes", lambda content, path: None)
    bubbles.draw(summaries(*names), "a.png")
    return made[0]


def test_the_bubbles(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = drawn(monkeypatch, "alexnet", "vgg-d")
    large, small = (collection for collection in axes.collections if len(collection.get_offsets()))
    assert large.get_offsets().tolist() == [[15.47026432, 8.8]]  # the larger is drawn first, and hides nothing
    assert small.get_offsets().tolist() == [[0.724406816, 19.8]]
    assert large.get_sizes()[0] / small.get_sizes()[0] == pytest.approx(138357544 / 60965224)  # areas, not radii


CROWD = (
    "alexnet", "squeezenet-1.1", "googlenet", "resnet-18", "resnet-34", "resnet-50", "resnet-101", "resnet-152",
    "vgg-d", "vgg-e", "mobilenet-v2-1.0", "efficientnet-b0", "efficientnet-b4", "densenet-121", "densenet-201",
    "vit-b-16", "convnext-t", "resnext-101-32x8d",
)  # fmt: skip


def test_names_do_not_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = drawn(monkeypatch, *CROWD)
    notes = [note for note in axes.texts if note.get_text()]
    assert {note.get_text() for note in notes} == set(CROWD)
    extents = [note.get_window_extent() for note in notes]
    frame = axes.get_window_extent()
    for place, one in enumerate(extents):
        assert frame.x0 <= one.x0 <= one.x1 <= frame.x1
        assert frame.y0 <= one.y0 <= one.y1 <= frame.y1
        for other in extents[place + 1 :]:
            assert not one.overlaps(other)


def test_an_axis_of_far_numbers_is_logarithmic(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(monkeypatch, "resnet-18", "resnet-152").get_xscale() == "linear"
    monkeypatch.undo()
    assert drawn(monkeypatch, "mobilenet-v2-1.0", "vgg-d").get_xscale() == "log"


def test_drawing_changes_no_setting(run: Run) -> None:
    before = dict(matplotlib.rcParams)
    printed(run, "compare", "alexnet", "--plot", "a.svg")
    assert dict(matplotlib.rcParams) == before
