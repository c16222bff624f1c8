"""`archprof device` and `archprof predict` as they are run; no card is at hand."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import archprof
from archprof.analysis import analyse
from archprof.profiling import ceilings, machine, roofline
from archprof.profiling.peaks import find_peak, known_peaks
from archprof.profiling.roofline import Attained, data_sheet, keep, predict, total
from archprof.report import PIPE, Surface
from archprof.report import device as device_report
from archprof.report import prediction as prediction_report
from archprof.report.device import rate, render, render_list
from tests import goldens
from tests.graphs import Builder, Unknown
from tests.profiling.fakes import FakeCuda

Ok = Callable[..., str]
Refused = Callable[..., str]

CPU = "AMD EPYC, 2 cores"
MEASURED = Attained(
    hardware=CPU,
    device="cpu",
    threads=2,
    torch="2.13.0",
    created="2026-11-24T22:00:00+00:00",
    operations={"float64": 90.97e9, "float32": 203.9e9, "bfloat16": 411.3e9},
    sizes={"float64": 2048, "float32": 1024, "bfloat16": 512},
    unsupported={"float16": '"addmm" not implemented for Half'},
    copy=18.32e9,
    triad=22.75e9,
    array=2**27,
    warnings=("other processes used 25% of the processors' time",),
)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and a CPU that is always the same."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(roofline, "torch_version", lambda: "2.13.0")
    monkeypatch.setattr(machine, "cpu_hardware", lambda: CPU)
    return tmp_path / "cache" / "archprof"


# --- archprof device


def test_a_device_is_measured_once_and_kept(monkeypatch: pytest.MonkeyPatch, ok: Ok, cache: Path) -> None:
    times = []

    def attain(device: Any, *, budget: float, progress: Callable[[str], None]) -> Attained:
        progress("copy")
        times.append(budget)
        return MEASURED

    monkeypatch.setattr(ceilings, "attain", attain)
    goldens.check("device-cpu.txt", ok("device", "--device", "cpu", "--threads", "2", "--seconds", "0.5"))
    assert [path.name for path in cache.iterdir()] == ["roofline_amd-epyc-2-cores_torch-2.13.0_2-threads.json"]
    ok("device", "--device", "cpu", "--threads", "2")
    assert times == [0.5]
    ok("device", "--device", "cpu", "--threads", "2", "--refresh")
    assert times == [0.5, 3.0]


def test_a_card_stands_beside_its_data_sheet() -> None:
    peak = find_peak("A100 SXM 80GB")
    measured = Attained(
        hardware="NVIDIA A100-SXM4-80GB", device="cuda:0", threads=None, torch="2.13.0",
        created="2026-11-24T22:00:00+00:00", operations={"float32": 19.0e12, "tfloat32": 120e12},
        sizes={"float32": 8192, "tfloat32": 8192}, copy=1.7e12, triad=1.75e12, array=2**28,
    )  # fmt: skip  # the figures are invented
    text = render(measured, peak, "terminal", PIPE)
    lines = [line.split("  ") for line in text.splitlines()]
    rows = {line[0]: [cell.strip() for cell in line[1:] if cell.strip()] for line in lines}
    assert rows["matrix product, float32"] == ["19.0 TFLOP/s", "19.5 TFLOP/s", "97%", "8192 x 8192"]
    assert rows["matrix product, bfloat16"] == ["312 TFLOP/s"]
    assert rows["memory, triad"] == ["1.75 TB/s", "2.04 TB/s", "86%", "arrays of 256 MiB"]
    found = list(csv.DictReader(io.StringIO(render(measured, peak, "csv", PIPE))))
    assert found[1] == {
        "figure": "matrix product, float32",
        "unit": "FLOP/s",
        "attained": "19000000000000",
        "data_sheet": "19500000000000",
    }


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("device-rtx-3090.txt", ["RTX 3090"]),
        ("device-rtx-3090.md", ["rtx 3090", "--format", "markdown"]),
        ("device-rtx-3090.csv", ["rtx 3090", "--format", "csv"]),
        ("device-rtx-3090.json", ["rtx 3090", "--format", "json"]),
        ("device-list.txt", ["--list"]),
        ("device-list.csv", ["--list", "--format", "csv"]),
    ],
)
def test_data_sheets(ok: Ok, name: str, arguments: list[str]) -> None:
    goldens.check(name, ok("device", *arguments))


@pytest.mark.parametrize("width", [80, 160])
def test_the_list_fits_a_terminal(width: int) -> None:
    text = render_list(known_peaks(), "terminal", Surface(width=width))
    assert max(map(len, text.splitlines())) <= width
    for peak in known_peaks():
        assert text.count(f"\n{peak.name}  ") == (2 if width == 80 else 1)  # no name is broken


def test_json_is_in_its_schema(ok: Ok) -> None:
    schema = json.loads(device_report.SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    every = json.loads(ok("device", "--list", "--format", "json"))
    jsonschema.validate(every, schema)
    assert [card["name"] for card in every["data_sheets"]] == [peak.name for peak in known_peaks()]
    jsonschema.validate(json.loads(render(MEASURED, None, "json", PIPE)), schema)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RTX 3091"], "no data sheet of RTX 3091 is known: did you mean RTX 3090, RTX 5090 or RTX 4090? "
                       "archprof device --list shows those that are\n"),
        (["V100"], "V100 may be V100 PCIe or V100 SXM2: give the whole name\n"),
        (["T4", "--list"], "--list shows all cards: leave T4 away\n"),
        (["T4", "--refresh"], "a data sheet is not measured: leave --device, --threads and --refresh away\n"),
        (["--list", "--device", "cpu"], "a data sheet is not measured: leave --device, --threads and --refresh away\n"),
        (["--format", "xml"], "unknown format xml: take terminal, markdown, csv or json\n"),
        (["--device", "gpu"], "device gpu: archprof measures on cpu and cuda\n"),
        (["--device", "meta"], "device meta: archprof measures on cpu and cuda\n"),
    ],
)  # fmt: skip
def test_bad_options_of_device(refused: Refused, arguments: list[str], message: str) -> None:
    assert refused("device", *arguments) == message


def test_device_without_torch_says_what_to_install(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert refused("device") == "device needs torch: pip install 'archprof[torch]'\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (203.9e9, "204 GFLOP/s"),
        (99.94e9, "99.9 GFLOP/s"),
        (99.96e9, "100 GFLOP/s"),
        (9.996e9, "10.0 GFLOP/s"),
        (1.309e9, "1.31 GFLOP/s"),
        (999.6e9, "1.00 TFLOP/s"),
        (989.4e12, "989 TFLOP/s"),
        (12.0, "12.0 FLOP/s"),
        (0.5, "0.50 FLOP/s"),
    ],
)
def test_rates_have_three_digits(value: float, text: str) -> None:
    assert rate(value, "FLOP/s") == text


# --- archprof predict


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("predict-zf.txt", ["zf", "--on", "RTX 3090"]),
        ("predict-zf.md", ["zf", "--on", "RTX 3090", "--format", "markdown"]),
        ("predict-zf.csv", ["zf", "--on", "RTX 3090", "--format", "csv"]),
        ("predict-zf.json", ["zf", "--on", "RTX 3090", "--format", "json"]),
        (
            "predict-googlenet-train.txt",
            ["googlenet", "--on", "Titan X Pascal", "--train", "--pass", "both", "-b", "16"],
        ),
        ("predict-resnet-50-tf32.txt", ["resnet-50", "--on", "a100 sxm 40gb", "--tf32", "-b", "256"]),
        (
            "predict-vit-half.txt",
            ["vit-b-16", "--on", "H100 SXM", "--dtype", "bfloat16", "--fold", "2", "--counting", "operations"],
        ),
    ],
)
def test_predict(ok: Ok, name: str, arguments: list[str]) -> None:
    goldens.check(name, ok("predict", *arguments))


def test_predictions_in_a_terminal_fit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = archprof.load("resnet-18")
    roof = data_sheet(find_peak("V100 SXM2"))
    analysis = analyse(graph, batch=8)
    report = prediction_report.make_report(
        analysis, predict([analysis], roof, "float32"), passes="forward", roofline=roof, dtype="float32", fold=1
    )
    for width in (160, 80):
        text = prediction_report.render(report, "terminal", Surface(width=width))
        assert max(map(len, text.splitlines())) <= width
        goldens.check(f"predict-resnet-18-{width}.txt", text)


def test_predictions_in_json_are_in_their_schema_and_add_up(ok: Ok) -> None:
    schema = json.loads(prediction_report.SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    found = json.loads(ok("predict", "resnet-50", "--on", "T4", "--pass", "both", "--format", "json", "--fold", "all"))
    jsonschema.validate(found, schema)
    whole = found["total"]
    assert sum(row["operations"] for row in found["rows"]) == whole["operations"]
    assert sum(row["moved_bytes"] for row in found["rows"]) == whole["moved_bytes"]
    assert sum(row["least_seconds"] for row in found["rows"]) == pytest.approx(whole["least_seconds"])
    assert whole["compute_bound_seconds"] + whole["memory_bound_seconds"] == pytest.approx(whole["least_seconds"])


def test_a_measured_cpu_is_predicted_on(ok: Ok) -> None:
    keep(MEASURED)
    text = ok("predict", "zf", "--device", "cpu")
    assert (
        "on AMD EPYC, 2 cores, 2 threads: 204 GFLOP/s in float32, 22.8 GB/s\n"
        "measured by archprof device, torch 2.13.0, 2026-11-24 (on a disturbed machine: measure again with --refresh)\n"
    ) in text


def test_a_card_is_predicted_on_by_its_number(monkeypatch: pytest.MonkeyPatch, ok: Ok, refused: Refused) -> None:
    cuda = FakeCuda(monkeypatch)
    assert "on RTX 3090 (PCIe, 24 GB GDDR6X): 35.6 TFLOP/s in float32" in ok("predict", "zf", "--device", "cuda")
    cuda.properties.name = "NVIDIA GeForce RTX 9090"
    assert (
        refused("predict", "zf", "--device", "cuda:0")
        == "NVIDIA GeForce RTX 9090 is not measured yet: run archprof device --device cuda:0\n"
    )


def test_what_is_not_counted_is_said() -> None:
    builder = Builder()
    builder.add("odd", Unknown())
    graph = builder.graph()
    roof = data_sheet(find_peak("T4"))
    analysis = analyse(graph)
    report = prediction_report.make_report(
        analysis, predict([analysis], roof, "float32"), passes="forward", roofline=roof, dtype="float32", fold=1
    )
    text = prediction_report.render(report, "terminal", PIPE)
    assert ">= 0" in text
    assert "not counted: the operations of 1 node, whose times are those of their bytes" in text
    assert "a multiply-add being two: at least 0\n" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], 'on what? --on "RTX 3090" (archprof device --list), or --device cpu (archprof device measures it)\n'),
        (["--on", "T4", "--device", "cpu"], "--on T4 and --device cpu are two devices: give one of them\n"),
        (["--on", "A100"], "A100 may be A100 PCIe 40GB, A100 PCIe 80GB, A100 SXM 40GB or A100 SXM 80GB: "
                           "give the whole name\n"),
        (["--on", "T4", "--threads", "2"], "--threads is of --device cpu\n"),
        (["--on", "T4", "--dtype", "bfloat16"], "no peak of T4 (PCIe, 16 GB GDDR6) in bfloat16 is known: "
                                                "take float32 or float16\n"),
        (["--on", "T4", "--tf32"], "no peak of T4 (PCIe, 16 GB GDDR6) in tfloat32 is known: take float32 or float16\n"),
        (["--on", "A10", "--tf32", "--dtype", "float16"],
         "--tf32 is of float32 products: leave it, or --dtype float16, away\n"),
        (["--on", "T4", "--dtype", "float8"], "unknown dtype float8: did you mean float64?\n"),
        (["--on", "T4", "--pass", "step"], "unknown pass step: take forward, backward or both\n"),
        (["--on", "T4", "--fold", "0"], "fold must be at least 1, not 0; all shows every node\n"),
        (["--on", "T4", "--format", "xml"], "unknown format xml: take terminal, markdown, csv or json\n"),
        (["--device", "cpu"], "AMD EPYC, 2 cores is not measured yet: run archprof device --device cpu\n"),
        (["--device", "meta"], "device meta: archprof measures on cpu and cuda\n"),
    ],
)  # fmt: skip
def test_bad_options_of_predict(refused: Refused, arguments: list[str], message: str) -> None:
    assert refused("predict", "zf", *arguments) == message


def test_a_prediction_is_written_to_a_file(ok: Ok, tmp_path: Path) -> None:
    assert ok("predict", "zf", "--on", "T4", "--output", "out.txt") == ""
    assert (tmp_path / "out.txt").read_text() == ok("predict", "zf", "--on", "T4")


def test_a_network_is_the_sum_of_its_nodes() -> None:
    graph = archprof.load("zf")
    roof = data_sheet(find_peak("T4"))
    nodes = predict([analyse(graph)], roof, "float32")
    whole = total("total", nodes.values())
    report = prediction_report.make_report(
        analyse(graph), nodes, passes="forward", roofline=roof, dtype="float32", fold=1
    )
    assert report.whole == whole
    assert sum(row.moved for row in report.rows) == whole.moved
