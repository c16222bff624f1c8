"""Published figures: what is shipped follows from the sources, and meets a run where it measured the same."""

from __future__ import annotations

import csv
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from archprof.analysis import analyse
from archprof.profiling.published import FOLDER, beside, differs, published_runs
from archprof.profiling.records import Cell, Key, Run
from archprof.profiling.results import write_run
from archprof.spec import expand, find_spec

SOURCES = Path(__file__).parents[2] / "benchmarks/published"
EVERYTHING = [(run, cell) for run in published_runs() for cell in run.cells]


def own(network: str, batch: int = 16, pass_: Any = "forward+backward", seconds: float = 0.1, **more: Any) -> Cell:
    """A cell as bench writes it."""
    analysis = analyse(expand(*find_spec(network)), counting="multiply_adds")
    name = analysis.graph.name
    size = "3x227x227" if name == "alexnet" else "3x224x224"
    key = Key(name, batch, size, pass_=pass_, multiply_adds=analysis.flops, **more)
    return Cell(key, "ok", figures={pass_: seconds}, params=analysis.params)


def run(*cells: Cell) -> Run:
    return Run(1, "2026", "0.1.0", "", "mine", "my card", {"torch": "2.13.0"}, cells)


def test_the_shipped_files_are_made_of_the_sources(tmp_path: Path) -> None:
    made = runpy.run_path(str(SOURCES / "make.py"))["runs"]()
    assert sorted(made) == sorted(path.name for path in FOLDER.glob("*.json"))
    for name, each in made.items():
        write_run(each, tmp_path / name)
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), "run benchmarks/published/make.py"


def test_every_published_row_is_there() -> None:
    classic, timm = (
        list(csv.DictReader((SOURCES / name).read_text().splitlines()))
        for name in ("gpu_benchmarks.csv", "gpu_benchmarks_timm.csv")
    )
    assert (len(classic), len(timm)) == (164, 304)
    twice = sum(row["source"].startswith("soumith") for row in classic)  # forward is a cell of its own
    assert len(EVERYTHING) == len(classic) + twice + len(timm)
    found = {(run.hardware, run.environment["software"], cell.key.network, cell.key.batch) for run, cell in EVERYTHING}
    assert ("Titan X (Maxwell)", "CuDNN[R4]-fp32", "vgg-a", 64) in found
    assert ("GeForce RTX 5090", "PyTorch 2.9.1, CUDA 13.0", "resnet-50-v1.5", 1024) in found


def test_figures_are_as_printed() -> None:
    (figures,) = [
        cell.figures
        for run, cell in EVERYTHING
        if (run.hardware, run.environment["software"], cell.key.network)
        == ("GTX 1080 Ti", "Torch, cuDNN 5.1.10", "vgg-d")
    ]
    assert figures == {"forward": 0.04123, "backward": 0.08691, "forward+backward": 0.12814}


def test_a_variants_count_is_that_of_its_spec() -> None:
    for network in {cell.key.network for _, cell in EVERYTHING if "differs" not in cell.settings}:
        flops = analyse(expand(*find_spec(network)), counting="multiply_adds").flops
        assert {cell.key.multiply_adds for _, cell in EVERYTHING if cell.key.network == network} == {flops}


@pytest.mark.parametrize(
    ("label", "like"),
    [
        ("AlexNet of jcjohnson/cnn-benchmarks", "alexnet"),
        ("Inception-V1 of jcjohnson/cnn-benchmarks", "googlenet"),
        ("ResNet-200 of jcjohnson/cnn-benchmarks", "preact-resnet"),
        ("googlenet of soumith/convnet-benchmarks", "googlenet"),
    ],
)
def test_a_network_that_no_variant_is_says_what_differs(label: str, like: str) -> None:
    found = [cell.settings for _, cell in EVERYTHING if cell.key.network == label]
    assert {each["like"] for each in found} == {like}
    assert all(each["differs"] for each in found)
    assert find_spec(like)


def test_there_is_no_interval_in_them() -> None:
    assert all(cell.timings == {} and cell.seconds for _, cell in EVERYTHING)
    assert all(run.published and run.environment["software"] for run in published_runs())


def test_a_cell_meets_those_that_measured_the_same_the_fastest_first() -> None:
    found = beside(run(own("vgg-16", seconds=0.2)))
    assert [(each.run.hardware, each.published.seconds) for each in found.matches[:2]] == [
        ("GTX 1080 Ti", 0.12814),
        ("Titan X (Pascal)", 0.12862),
    ]
    assert found.matches[0].speed == pytest.approx(0.2 / 0.12814)
    assert (found.misses, found.unknown) == ((), ())


@pytest.mark.parametrize(
    ("cell", "hardware"),
    [
        (own("resnet-50-v1.5", 1, "forward", mode="compile"), "Core i9-10940X"),
        (own("resnet-50-v1.5", 1024, "forward", amp="float16"), "GeForce RTX 5090"),
        (own("resnet-50-v1.5", 512, "forward", amp="float16", layout="nhwc"), "GeForce RTX 4090"),
        (own("mobilenet-v2", 1024, "forward", amp="float16"), "GeForce RTX 5090"),  # the base is its variant 1.0
        (own("vgg-a", 64, "forward"), "Titan X (Maxwell)"),
        (own("alexnet-single-tower", 128, dtype="float16"), "Titan X (Maxwell)"),
    ],
)
def test_batch_dtype_layout_mode_and_pass_decide(cell: Cell, hardware: str) -> None:
    assert beside(run(cell)).matches[0].run.hardware == hardware


def reasons(cell: Cell) -> list[tuple[str, int, tuple[str, ...]]]:
    found = beside(run(cell))
    assert found.matches == ()
    return [(each.source.rpartition("/")[2], each.count, each.reasons) for each in found.misses]


def test_what_differs_is_said_of_the_nearest() -> None:
    assert reasons(own("resnet-50")) == [
        ("cnn-benchmarks", 13, ("resnet-34 with 3,663,761,408 multiply-adds, not 3,857,973,248",)),
        (
            "pytorch-image-models",
            3,
            (
                "resnet-34 with 3,663,761,408 multiply-adds, not 3,857,973,248",
                "batch 1, not 16",
                "mode compile, not eager",
                "pass forward, not forward+backward",
            ),
        ),
    ]
    assert reasons(own("resnet-50-v1.5", 16, "forward"))[0] == (
        "cnn-benchmarks",
        13,
        ("pass forward+backward, not forward",),
    )
    (jcjohnson, soumith) = reasons(own("googlenet"))
    assert jcjohnson[2][0].startswith("Inception-V1 of jcjohnson/cnn-benchmarks: soumith/inception.torch: 4a has 204")
    assert soumith[2] == (
        "googlenet of soumith/convnet-benchmarks: without local response normalisation, ReLU after the classifier",
        "batch 128, not 16",
    )


def test_of_a_network_that_nobody_published_it_is_said() -> None:
    found = beside(run(own("zf")))
    assert (found.matches, found.misses, found.unknown) == ((), (), ("zf",))


def test_a_network_that_is_not_shipped_is_known_by_its_counts() -> None:
    cell = own("vgg-16")
    mine = msgspec.structs.replace(cell, key=msgspec.structs.replace(cell.key, network="torchvision.models:vgg16"))
    assert len(beside(run(mine)).matches) == 12
    wider = msgspec.structs.replace(mine, params=1)
    assert reasons(wider)[0][2] == ("vgg-d with 138,357,544 parameters",)


def test_equal_counts_of_two_shipped_variants_are_not_enough() -> None:
    lrn = own("vgg-a-lrn", 64)
    assert lrn.key.multiply_adds == own("vgg-a", 64).key.multiply_adds
    assert ("convnet-benchmarks", 9, ("vgg-a",)) in reasons(lrn)


def test_an_own_cell_without_a_time_has_no_speed() -> None:
    failed = msgspec.structs.replace(own("vgg-16"), status="oom", figures={})
    assert beside(run(failed)).matches[0].speed is None


def test_differences_are_by_field() -> None:
    other = own("vgg-16", 1, "step", dtype="float16", amp="bfloat16", layout="nhwc", mode="compile")
    assert differs(own("vgg-16"), other) == {
        "batch": "1", "dtype": "float16", "amp": "bfloat16", "layout": "nhwc", "mode": "compile", "pass_": "step",
    }  # fmt: skip


def test_figures_load_without_torch(tmp_path: Path) -> None:
    code = "import archprof.profiling.published as it, sys; it.published_runs(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == "False\n"
