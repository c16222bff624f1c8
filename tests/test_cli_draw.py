"""`archprof draw`: golden sources, what the boxes and arrows stand for, and texts that stay texts."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import archprof
from archprof.report.drawing import make_diagram
from archprof.report.drawing.diagram import SHADES
from tests import goldens

Ok = Callable[..., str]
Refused = Callable[..., str]

ODD = """
name: odd
title: '"<img src=x onerror=alert(1)>" & \\ `#quot;'
input: [3, 8, 8]
layers:
  - {name: conv, op: conv2d, out_channels: 4, kernel_size: 3}
  - {op: relu}
"""


@pytest.mark.parametrize("kind", ["dot", "mmd"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("zf", []),
        ("googlenet", ["--train", "--color-by", "params"]),
        ("resnet-18", ["--fold", "2", "--direction", "right", "--color-by", "memory"]),
    ],
)
def test_sources(ok: Ok, name: str, options: list[str], kind: str) -> None:
    ok("draw", name, *options, "--output", f"net.{kind}")
    goldens.check(f"draw-{name}.{kind}", Path(f"net.{kind}").read_text(encoding="utf-8"))


def test_without_an_output_mermaid_is_printed(ok: Ok) -> None:
    assert "flowchart TB" in ok("draw", "zf")


def test_boxes_are_the_rows_of_the_table_and_arrows_follow_the_graph() -> None:
    analysis = archprof.analyse(archprof.load("resnet-50"))
    diagram = make_diagram(analysis, fold=2)
    names = [box.lines[0] for box in diagram.boxes]
    assert names[0] == "input"
    assert "conv4_x.1-5 x 5" in names
    arrows = {(names[source], names[target]) for source, target in diagram.arrows}
    assert ("conv4_x.0", "conv4_x.1-5 x 5") in arrows
    assert ("conv4_x.1-5 x 5", "conv5_x.0") in arrows
    assert ("conv4_x.0", "conv5_x.0") not in arrows
    assert all(source < target for source, target in diagram.arrows)


def test_the_shade_follows_the_share() -> None:
    analysis = archprof.analyse(archprof.load("zf"))
    shades = {box.lines[0]: box.shade for box in make_diagram(analysis, fold=1, color_by="params").boxes}
    assert shades["fc1"] == SHADES[0][1]  # 103 of 140 million
    assert shades["fc2"] == SHADES[0][1]  # 24 %
    assert shades["conv4"] == SHADES[4][1]  # 0.6 %
    assert shades["pool1"] == "#ffffff"


def test_texts_are_never_markup(ok: Ok) -> None:
    Path("odd.yaml").write_text(ODD, encoding="utf-8")
    mermaid = ok("draw", "odd.yaml")
    assert "<img" not in mermaid
    assert 'title: "\\"\u2039img src=x onerror=alert(1)\u203a\\" & \\\\ `#quot;"' in mermaid
    ok("draw", "odd.yaml", "--output", "odd.dot")
    source = Path("odd.dot").read_text(encoding="utf-8")
    assert r'label="\"<img src=x onerror=alert(1)>\" &amp; \\ `#quot;\n' in source


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed (apt install graphviz)")
def test_graphviz_draws_the_source(ok: Ok) -> None:
    Path("odd.yaml").write_text(ODD, encoding="utf-8")
    ok("draw", "odd.yaml", "--output", "odd.svg")
    svg = Path("odd.svg").read_text(encoding="utf-8")
    assert "<img" not in svg
    assert "&lt;img src=x onerror=alert(1)&gt;" in svg
    assert len(re.findall(r'class="node"', svg)) == 3
    ok("draw", "odd.yaml", "--output", "odd.png")
    assert Path("odd.png").read_bytes()[:4] == b"\x89PNG"


def test_a_graphviz_that_fails_is_quoted(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 1, stderr=b"Error: out of ink\n")
    monkeypatch.setattr("archprof.report.drawing.graphviz.shutil.which", lambda _: "/usr/bin/dot")
    monkeypatch.setattr("archprof.report.drawing.graphviz.subprocess.run", lambda *_, **__: done)
    assert refused("draw", "zf", "--output", "zf.svg") == "graphviz failed: Error: out of ink\n"
    assert not Path("zf.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "zf.jpg"], "--output zf.jpg: write a file that ends in .svg, .png, .dot, .mmd"),
        (["--direction", "up"], "unknown direction up: take down or right"),
        (["--color-by", "activation"], "unknown column activation: did you mean activations?"),
        (["--color-by", "flps"], "unknown column flps: did you mean FLOPs?"),
        (
            ["--color-by", "kernel"],
            "--color-by kernel: choose a column that adds up, as params, FLOPs, activations or memory",
        ),
        (
            ["--color-by", "FLOPs-share"],
            "--color-by FLOPs-share: choose a column that adds up, as params, FLOPs, activations or memory",
        ),
        (["--fold", "0"], "fold must be at least 1, not 0; all shows every node"),
    ],
)
def test_mistakes(refused: Refused, arguments: list[str], message: str) -> None:
    assert refused("draw", "zf", *arguments) == message + "\n"


def test_too_many_boxes_are_refused(refused: Refused) -> None:
    message = refused("draw", "resnet-1202", "--fold", "all", "--no-repeats")
    assert re.fullmatch(r"[\d,]+ boxes are too many to look at: fold them \(--fold 1\)\n", message)


def test_without_graphviz_the_message_says_what_is_missing(
    ok: Ok, refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refused("draw", "zf", "--output", "zf.svg") == (
        "a picture as svg needs graphviz's dot, which is not installed (apt install graphviz, brew install graphviz); "
        "--output net.mmd (Mermaid) and net.dot need nothing\n"
    )
    ok("draw", "zf", "--output", "zf.mmd")
