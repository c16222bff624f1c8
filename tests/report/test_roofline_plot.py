"""The roofline's picture: what is on it, what is left out, and files that can be written."""

from __future__ import annotations

import struct
from pathlib import Path
from xml.etree import ElementTree

import pytest

from archprof.errors import UsageError
from archprof.profiling.records import Layer
from archprof.profiling.roofline import Roofline
from archprof.report.roofline import Point, plot, points_of

ROOF = Roofline(name="a card", peaks={"float32": 10e12}, bandwidth=500e9, source="a test")
CONV = Point("conv1", "forward", 10**12, 10**9, 0.2)  # 5 T operations a second, at 1,000 operations a byte
NORM = Point("block.norm", "forward", 10**9, 4 * 10**9, 0.02)
BACK = Point("conv1", "backward", 2 * 10**12, 3 * 10**9, 0.5)
RELU = Point("relu", "forward", 0, 8 * 10**9, 0.08)
VIEW = Point("flatten", "forward", 0, 0, 0.0)
UNKNOWN = Point("mystery", "forward", None, 10**6, 0.1)


def texts(path: Path) -> list[str]:
    """All that is written in a picture."""
    tree = ElementTree.fromstring(path.read_text())
    return [element.text or "" for element in tree.iter("{http://www.w3.org/2000/svg}text")]


def drawn(tmp_path: Path, *points: Point, name: str = "roofline.svg") -> Path:
    path = tmp_path / name
    plot(points, ROOF, "float32", str(path), "a network, batch 8")
    return path


def test_an_svg_names_the_roof_the_passes_and_the_heaviest_layers(tmp_path: Path) -> None:
    found = texts(drawn(tmp_path, CONV, NORM, BACK))
    for text in (
        "a network, batch 8",
        "a card",
        "10.0 TFLOP/s in float32",
        "500 GB/s",
        "20 operations a byte",
        "forward",
        "backward",
        "heaviest layers",
        "1  conv1, backward  69.4%",
        "2  conv1, forward  27.8%",
        "3  block.norm, forward  2.8%",
        "roofline: a test",
        "1",
        "2",
        "3",
    ):
        assert text in found
    assert not any(text.startswith("not drawn") for text in found)


def test_of_one_pass_its_name_is_not_repeated(tmp_path: Path) -> None:
    assert "1  conv1  90.9%" in texts(drawn(tmp_path, CONV, NORM))


def test_layers_without_arithmetic_are_left_out_and_said(tmp_path: Path) -> None:
    found = texts(drawn(tmp_path, CONV, RELU, VIEW, UNKNOWN))
    assert "not drawn: 3 layers without arithmetic operations, 47.4% of the time" in found
    assert not any("relu" in text for text in found)


def test_many_layers_get_numbers_for_the_twelve_heaviest(tmp_path: Path) -> None:
    points = [
        Point(f"stage.{place}.a.rather.long.path.of.a.layer", "forward", 10**11 + place, 10**8, 1.0 + place)
        for place in range(40)
    ]
    found = texts(drawn(tmp_path, *points))
    assert [text for text in found if text.isdigit()] == [str(number) for number in range(1, 13)]
    assert any(text.startswith("1  ...") and text.endswith("rather.long.path.of.a.layer  4.9%") for text in found)


def test_equal_pictures_are_equal_files(tmp_path: Path) -> None:
    assert drawn(tmp_path, CONV, NORM).read_bytes() == drawn(tmp_path, CONV, NORM, name="again.svg").read_bytes()


def test_a_png_is_one_and_large_enough_to_read(tmp_path: Path) -> None:
    content = drawn(tmp_path, CONV, NORM, BACK, name="roofline.PNG").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (1650, 975)


def test_a_layer_is_a_point_in_each_pass_that_it_has() -> None:
    layers = [
        Layer("conv", "conv2d", 0.1, 0.2, operations=10, operations_backward=20, bytes=3, bytes_backward=6),
        Layer("relu", "relu", 0.1, None, operations=0, bytes=3),
        Layer("odd", "mystery", 0.1, 0.3),
    ]
    assert points_of(layers) == [
        Point("conv", "forward", 10, 3, 0.1),
        Point("conv", "backward", 20, 6, 0.2),
        Point("relu", "forward", 0, 3, 0.1),
        Point("odd", "forward", None, 0, 0.1),
        Point("odd", "backward", None, 0, 0.3),
    ]


@pytest.mark.parametrize(
    ("points", "name", "message"),
    [
        ([CONV], "out.pdf", "--plot {path}: write a file that ends in .svg or .png"),
        ([RELU, VIEW], "out.svg", "--plot: no layer has counted operations, bytes and a time"),
        ([], "out.svg", "--plot: no layer has counted operations, bytes and a time"),
        ([CONV], "nowhere/out.svg", "cannot write {path}: there is no folder {path.parent}"),
    ],
)
def test_what_cannot_be_drawn_is_a_users_mistake(tmp_path: Path, points: list[Point], name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        drawn(tmp_path, *points, name=name)
    assert str(caught.value) == message.format(path=tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        drawn(tmp_path, CONV)
    assert str(caught.value) == "--plot needs matplotlib: pip install 'archprof[plot]'"
