"""`archprof profile`: from a network to rows, in every format, with what a user may do wrong."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import torch

import archprof
from archprof.errors import UsageError
from archprof.profiling import machine, runner
from archprof.profiling.layers import BEFORE, Span, Trace
from archprof.profiling.passes import TimedPass
from archprof.profiling.records import Cell, Key, Layer, Timing
from archprof.profiling.results import read_run
from archprof.profiling.roofline import Roofline
from archprof.profiling.runner import Description, Profile
from archprof.profiling.statistics import Ratio, summarise
from archprof.profiling.table import ceiling_of, profile_rows, total_row
from archprof.report.output import Surface
from archprof.report.profile import COLUMNS, SCHEMA_FILE, render
from tests import goldens

Ok = Callable[..., str]
Refused = Callable[..., str]

QUICK = ("--threads", "1", "--budget", "0.05")
SMALL = """
name: small
title: A small network
input: [3, 8, 8]
layers:
  - {name: stem, op: conv2d, out_channels: 4, kernel_size: 3, norm: batch_norm2d, activation: relu}
  - {name: drop, op: dropout}
  - {op: flatten}
  - {name: head, op: linear, out_features: 5}
"""


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # where no roofline was measured
    Path("small.yaml").write_text(SMALL, encoding="utf-8")
    threads = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == threads


# --- a profile made by hand: exact rows and goldens

MILLISECOND = 1e-3
TIMES = {  # forward and backward, in milliseconds
    "stem.conv2d": (2.0, 5.0),
    "stem.norm": (1.0, 1.5),
    "stem.activation": (0.25, 0.5),
    "drop": (0.004, None),
    "flatten": (0.0004, 0.0),
    "head": (0.5, 0.75),
}


def timing(milliseconds: float) -> Timing:
    samples = [milliseconds * MILLISECOND * factor for factor in (0.99, 1.0, 1.0, 1.01, 1.0, 1.0, 0.995, 1.0)]
    return summarise([samples[:4], samples[4:]], 0.02)


def made(roofline: Roofline | None = None, times: dict[str, tuple[float, float | None]] = TIMES) -> Profile:
    graph = archprof.load("small.yaml")
    analysis, back = (
        archprof.analyse(graph, batch=2, counting="operations", passes=passes) for passes in ("forward", "backward")
    )
    layers = tuple(
        Layer(
            path=each.node.path,
            operator=each.node.operator.op,
            forward=times[each.node.path][0] * MILLISECOND,
            backward=None if (seconds := times[each.node.path][1]) is None else seconds * MILLISECOND,
            operations=each.flops,
            operations_backward=gradients.flops,
            bytes=each.moved_bytes,
            bytes_backward=gradients.moved_bytes,
        )
        for each, gradients in zip(analysis.figures, back.figures, strict=True)
        if each.node.path in times
    )
    whole = {"forward": timing(3.8), "backward": timing(7.9), "forward+backward": timing(11.7)}
    return Profile(
        graph=graph,
        analysis=analysis,
        cell=Cell(
            key=Key(network="small", batch=2, input="3x8x8", pass_="forward+backward"),
            status="ok",
            timings=whole,
            control=1.01,
            layers_ratio={"forward": 0.99, "backward": 0.98},
            images_per_second=170.94,
            layers=layers,
            warnings=("other processes used 12% of the processors' time",),
            settings={"threads": 2, "precision": 0.02, "budget": 10.0},
        ),
        control=dict.fromkeys(whole, Ratio(1.01, 0.98, 1.03)),
        description=Description("a-cpu_torch-2.13_2-threads", "A CPU, 2 cores", {"threads": 2, "torch": "2.13.0"}),
        roofline=roofline,
    )


ROOFLINE = Roofline(name="A CPU", peaks={"float32": 1e8}, bandwidth=1e8, source="measured by archprof device")


@pytest.mark.parametrize("format_", ["terminal", "markdown", "csv", "json"])
@pytest.mark.parametrize("ceiling", [None, ROOFLINE])
def test_goldens(format_: str, ceiling: Roofline | None) -> None:
    fold = 1 if ceiling is None else None
    text = render(made(ceiling), format_, fold=fold, surface=Surface(80 if format_ == "terminal" else None))
    ending = {"terminal": "txt", "markdown": "md"}.get(format_, format_)
    goldens.check(f"profile-{'folded' if ceiling is None else 'roofline'}.{ending}", text)


def test_json_follows_its_schema() -> None:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    for ceiling in (None, ROOFLINE):
        document = json.loads(render(made(ceiling), "json", fold=1, surface=Surface()))
        jsonschema.Draft202012Validator(schema).validate(document)


def test_a_folded_row_is_the_sum_of_its_layers() -> None:
    profile = made()
    rows = {row.path: row for row in profile_rows(profile, fold=1)}
    assert list(rows) == ["stem", "drop", "flatten", "head"]
    inside = [layer for layer in profile.cell.layers if layer.path.startswith("stem")]
    assert rows["stem"].forward == sum(layer.forward for layer in inside)
    assert rows["stem"].backward == sum(layer.backward or 0 for layer in inside)
    assert rows["stem"].operations == sum(
        (layer.operations or 0) + (layer.operations_backward or 0) for layer in inside
    )
    assert rows["drop"].backward is None
    total = total_row(profile)
    assert total.seconds == pytest.approx(sum(row.seconds for row in rows.values()))
    assert total.bytes == sum(row.bytes or 0 for row in rows.values())


def test_what_follows_from_times_and_counts() -> None:
    (conv, *_) = profile_rows(made(ROOFLINE), fold=None)
    # 6x6 outputs x 4 channels x batch 2: 27 multiply-adds each, forward; once again for the weights' gradient
    # (the first layer's input needs none), and biases
    forward = 6 * 6 * 4 * 2 * (2 * 27 + 1)
    layer = made().cell.layers[0]
    assert layer.operations == forward
    assert conv.operations == forward + (layer.operations_backward or 0)
    assert conv.rate == pytest.approx(conv.operations / 7e-3)
    assert conv.intensity == conv.operations / (conv.bytes or 0)
    assert conv.least == pytest.approx(conv.operations / 1e8)
    assert conv.bound == "compute"
    assert conv.fraction == pytest.approx(conv.operations / 1e8 / 7e-3)
    assert conv.ratio == pytest.approx(1 / conv.fraction)


def test_bound_by_memory_where_bandwidth_is_low() -> None:
    rows = profile_rows(made(msgspec.structs.replace(ROOFLINE, bandwidth=1e6)), fold=1)
    assert [row.bound for row in rows] == ["memory", None, None, "memory"]
    assert rows[0].least == pytest.approx((rows[0].bytes or 0) / 1e6)


def test_convolutions_may_be_in_tf32_where_matrix_products_are_not() -> None:
    """As torch has it on a card of Ampere and later, where nobody says otherwise."""
    roofline = Roofline(name="A card", peaks={"float32": 1e8, "tfloat32": 8e8}, bandwidth=1e15, source="a sheet")
    profile = made(roofline)
    rounding = {**profile.cell.settings, "tf32_matmul": False, "tf32_convolutions": True, "cudnn_benchmark": True}
    mixed = msgspec.structs.replace(profile, cell=msgspec.structs.replace(profile.cell, settings=rounding))
    before, after = ({row.path: row for row in profile_rows(each, fold=None)} for each in (profile, mixed))
    for path, factor in (("stem.conv2d", 8), ("head", 1), ("stem.activation", 1)):
        least = before[path].least
        assert least is not None
        assert after[path].least == pytest.approx(least / factor)
    text = render(mixed, "terminal", fold=None, surface=Surface())
    assert "\nA CPU, 2 cores, 2 threads, torch 2.13.0, TF32 off, in convolutions on, cudnn.benchmark on, " in text
    assert "roofline: 0.1 GFLOP/s in float32 (0.8 in tfloat32, of convolutions), 1e+06 GB/s: a sheet" in text
    low = msgspec.structs.replace(roofline, peaks={"float32": 1e8})
    assert ceiling_of(msgspec.structs.replace(mixed, roofline=low)) is None


def test_a_roofline_of_other_dtypes_is_none() -> None:
    profile = made(msgspec.structs.replace(ROOFLINE, peaks={"float16": 1e9}))
    assert {row.bound for row in profile_rows(profile, fold=1)} == {None}
    assert "`archprof device` measures" in render(profile, fold=1, surface=Surface())


def test_operations_not_counted_leave_cells_empty() -> None:
    profile = made(ROOFLINE)
    unknown = [msgspec.structs.replace(layer, operations=None) for layer in profile.cell.layers[:1]]
    cell = msgspec.structs.replace(profile.cell, layers=(*unknown, *profile.cell.layers[1:]))
    rows = profile_rows(msgspec.structs.replace(profile, cell=cell), fold=1)
    assert (rows[0].operations, rows[0].rate, rows[0].bound, rows[0].fraction) == (None, None, None, None)
    assert rows[0].forward > 0
    assert rows[-1].operations is not None


def test_stretches_of_no_layer_have_rows_of_their_own() -> None:
    profile = made(ROOFLINE)
    before = Layer(path=BEFORE, operator="", forward=0.0, backward=0.001)
    cell = msgspec.structs.replace(profile.cell, layers=(*profile.cell.layers, before))
    rows = profile_rows(msgspec.structs.replace(profile, cell=cell), fold=1)
    assert (rows[-1].path, rows[-1].backward, rows[-1].operations) == (BEFORE, 0.001, None)


def test_shares_add_up() -> None:
    text = render(made(), "markdown", fold=None, columns=["layer", "share"], surface=Surface())
    shares = [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("|")][2:]
    assert sum(map(float, shares[:-1])) == pytest.approx(100)
    assert shares[-1] == "100.0"


def test_every_column_is_printed() -> None:
    text = render(made(ROOFLINE), fold=1, columns=list(COLUMNS), surface=Surface())
    assert len(text.splitlines()[2].split("  ")) >= len(COLUMNS)


# --- measured


@pytest.mark.parametrize("pass_", ["forward", "forward+backward", "step"])
def test_a_profile(pass_: str) -> None:
    state = torch.get_rng_state()
    graph = archprof.load("small.yaml")
    found = archprof.profile(graph, batch=2, pass_=pass_, budget=0.2, threads=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(found, Profile)
    cell = found.cell
    parts = {"forward": ["forward"], "forward+backward": ["forward", "backward", "forward+backward"]}
    assert list(cell.timings) == parts.get(pass_, ["forward", "backward", "update", "step"])
    assert list(cell.layers_ratio) == ["forward", *([] if pass_ == "forward" else ["backward"])]
    assert cell.key == Key(network="small", batch=2, input="3x8x8", pass_=pass_, multiply_adds=6 * 6 * 4 * 27 + 144 * 5)
    assert [layer.path for layer in cell.layers] == [node.path for node in graph.nodes if not node.is_input]
    assert cell.images_per_second == pytest.approx(2 / cell.timings[pass_].median)
    assert cell.settings["threads"] == 1
    assert {"precision": 0.02, "budget": 0.2, "train": False, "seed": 0}.items() <= cell.settings.items()
    assert found.control[pass_].value == cell.control
    assert cell.params == sum(parameter.numel() for parameter in archprof.build(graph).parameters())
    assert found.trace is not None
    assert [span.path for span in found.trace.forward] == [layer.path for layer in cell.layers]
    assert bool(found.trace.backward) == (pass_ != "forward")
    for part, ratio in cell.layers_ratio.items():
        layers = sum(getattr(layer, part) or 0 for layer in cell.layers)
        assert ratio == pytest.approx(layers / cell.timings[part].median)


def test_the_clock_before_and_behind_the_passes_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "clock_mhz", lambda: 2400.0)
    own = TimedPass.run

    def run(self: TimedPass) -> tuple[Any, list[Any]]:
        monkeypatch.setattr(machine, "clock_mhz", lambda: 3100.0)
        return own(self)

    monkeypatch.setattr(TimedPass, "run", run)
    device = archprof.profile(archprof.load("small.yaml"), batch=2, budget=0.1, threads=1).cell.device
    assert device is not None
    assert (device.clock_before, device.clock_after) == (2400.0, 3100.0)


def test_passes_to_warm_up_are_not_in_the_layers_times(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()
    own = runner._middle

    def middle(traces: Any, direction: str) -> dict[str, float]:
        seen.add(len(traces))
        return own(traces, direction)

    monkeypatch.setattr(runner, "_middle", middle)
    found = archprof.profile(archprof.load("small.yaml"), batch=2, budget=0.1, threads=1)
    assert seen == {found.cell.timings["forward"].count}


def test_layers_are_means_of_the_middle_half_of_the_passes() -> None:
    def pass_of(seconds: float) -> Trace:
        return Trace((Span("a", 0.0, seconds), Span("b", seconds, 3 * seconds)), (), {"forward": 3 * seconds})

    traces = [pass_of(seconds) for seconds in (100.0, 1.0, 2.0, 4.0, 0.001, 5.0, 3.0, 6.0)]
    assert runner._middle(traces, "forward") == {"a": 3.5, "b": 7.0}  # of 2, 3, 4 and 5
    assert runner._middle(traces[:1], "forward") == {"a": 100.0, "b": 200.0}
    assert runner._representative(traces, "forward") is traces[3]  # of 3 and 4, as near, the first


def test_a_module_of_ones_own_is_profiled_in_its_place() -> None:
    graph = archprof.load("small.yaml")
    module = archprof.build(graph)
    archprof.profile(graph, module=module, pass_="forward+backward", batch=2, budget=0.05, threads=1)
    assert module.get_parameter("head.weight").grad is not None


def test_compiled_networks_have_no_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module: module)
    found = archprof.profile(archprof.load("small.yaml"), mode="compile", batch=2, budget=0.05, threads=1)
    assert found.cell.layers == ()
    assert found.trace is None
    text = render(found, fold=1, surface=Surface())
    assert "no layers: a compiled network runs as one" in text
    assert "sum of the layers" not in text
    assert "timed the layers" not in text
    assert render(found, "markdown", fold=1, surface=Surface()).startswith("A small network\n\n- forward: ")
    assert json.loads(render(found, "json", fold=1, surface=Surface()))["rows"] == []


def test_the_command(ok: Ok) -> None:
    text = ok("profile", "small.yaml", "--batch", "2", *QUICK)
    assert text.startswith("A small network\n\nlayer")
    for line in (
        "forward+backward: ",
        "control, a second plain run over the first: ",
        "sum of the layers over the whole",
    ):
        assert f"\n{line}" in text
    assert "batch 2, float32, nchw, eager, training mode; " in text
    assert "1 thread, torch " in text


def test_rows_as_csv(ok: Ok) -> None:
    rows = list(
        csv.DictReader(io.StringIO(ok("profile", "small.yaml", "-b", "2", "--fold", "all", "-f", "csv", *QUICK)))
    )
    assert [row["path"] for row in rows] == list(TIMES)
    assert all(float(row["forward_seconds"]) >= 0 for row in rows)
    assert [row["operator"] for row in rows] == ["conv2d", "batch_norm2d", "relu", "dropout", "flatten", "linear"]


def test_options_reach_the_measurement(ok: Ok) -> None:
    options = ("--pass", "forward", "--layout", "nhwc", "--amp", "bfloat16", "--dtype", "float32", "--train")
    document = json.loads(ok("profile", "small.yaml", *options, "-f", "json", *QUICK))
    assert document["key"]["layout"] == "nhwc"
    assert document["key"]["amp"] == "bfloat16"
    assert "pass" not in document["key"]  # forward is what goes without saying
    assert document["settings"]["train"] is True
    assert document["settings"]["budget"] == 0.05


def test_training_heads_have_rows(ok: Ok) -> None:
    Path("headed.yaml").write_text(
        "name: headed\ninput: [3, 8, 8]\nlayers:\n"
        "  - {name: stem, op: conv2d, out_channels: 3, kernel_size: 3}\n"
        "  - {name: aux, op: conv2d, out_channels: 3, kernel_size: 1}\n"
        "  - {name: body, op: conv2d, from: stem, out_channels: 3, kernel_size: 3}\n"
        "training_outputs: [aux]\n",
        encoding="utf-8",
    )
    command = ("profile", "headed.yaml", "-f", "json", "--pass", "step", *QUICK)
    assert [row["path"] for row in json.loads(ok(*command))["rows"]] == ["stem", "body"]
    assert [row["path"] for row in json.loads(ok(*command, "--train"))["rows"]] == ["stem", "body", "aux"]


@pytest.mark.filterwarnings("ignore")  # torch's, of its older exporter
def test_an_onnx_file_is_profiled_as_it_is(ok: Ok) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 5))
    torch.onnx.export(module.eval(), (torch.zeros(1, 3, 8, 8),), "net.onnx", dynamo=False, dynamic_axes={"x": {0: "n"}},
                      input_names=["x"])  # fmt: skip
    found = json.loads(ok("profile", "net.onnx", "--batch", "2", "--format", "json", "--fold", "all", *QUICK))
    assert [row["operator"] for row in found["rows"]] == ["conv2d", "relu", "flatten", "linear"]
    assert all(row["forward_seconds"] > 0 for row in found["rows"])


def test_a_trace_is_one_pass(ok: Ok) -> None:
    ok("profile", "small.yaml", "--batch", "2", "--trace", "trace.json", *QUICK)
    events = json.loads(Path("trace.json").read_text(encoding="utf-8"))["traceEvents"]
    assert {event["name"] for event in events if event["ph"] == "X"} >= set(TIMES)


def test_a_roofline_is_drawn_where_it_was_measured(ok: Ok, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("profile", "small.yaml", "--batch", "2", "--plot", "roofline.svg", *QUICK)
    message = refused(*command)
    assert message.startswith("--plot needs the roofline of ")
    assert message.endswith(": run archprof device --threads 1 first\n")
    monkeypatch.setattr("archprof.profiling.roofline.attainable", lambda _: ROOFLINE)
    monkeypatch.setattr("archprof.profiling.runner.attainable", lambda _: ROOFLINE)
    text = ok(*command)
    assert "roofline: 0.1 GFLOP/s in float32, 0.1 GB/s: measured by archprof device; the layers take " in text
    assert "<svg" in Path("roofline.svg").read_text(encoding="utf-8")


def test_a_results_file_has_every_sample(ok: Ok) -> None:
    ok("profile", "small.yaml", "--batch", "2", "--save", "run.json", *QUICK)
    run = read_run("run.json")
    (cell,) = run.cells
    assert cell.status == "ok"
    assert cell.key.network == "small"
    assert sum(map(len, cell.timings["forward"].stretches)) == cell.timings["forward"].count
    assert len(cell.layers) == 6
    assert run.environment["threads"] == 1
    assert run.machine.endswith("_1-thread")


def test_a_module_that_is_imported(ok: Ok) -> None:
    Path("own_network.py").write_text(
        "from torch import nn\n"
        "def net():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5))\n",
        encoding="utf-8",
    )
    document = json.loads(ok("profile", "own_network:net", "--input", "3x8x8", "-b", "3", "-f", "json", *QUICK))
    assert len(document["rows"]) == 4
    assert document["key"]["batch"] == 3
    assert document["rows"][1]["operator"] == "batch_norm2d"


# --- mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget", "0"], "budget must be a number of seconds above 0, not 0"),
        (["--budget", "-3"], "budget must be a number of seconds above 0, not -3"),
        (["--precision", "0"], "precision must be above 0 and below 1 (0.02 is 2 %), not 0"),
        (["--precision", "2"], "precision must be above 0 and below 1 (0.02 is 2 %), not 2"),
        (["--pass", "backward"], "unknown pass backward: did you mean forward+backward?"),
        (["--dtype", "float31"], "unknown dtype float31: did you mean float32?"),
        (["--amp", "float32"], "unknown amp float32: did you mean float16?"),
        (["--mode", "eagre"], "unknown mode eagre: did you mean eager?"),
        (["--layout", "nchv"], "unknown layout nchv: did you mean nchw?"),
        (["--columns", "layer,fordward"], "unknown column fordward: did you mean forward?"),
        (["--columns", ","], "a profile needs at least one column"),
        (["--format", "jsn"], "unknown format jsn: did you mean json?"),
        (["--fold", "0"], "fold must be at least 1, not 0; all shows every node"),
        (["--fold", "x"], "--fold x: write a depth of the node paths, as 1, or all"),
        (["--device", "gpu"], "device gpu: archprof measures on cpu and cuda"),
        (["--device", "meta"], "device meta: archprof measures on cpu and cuda"),
        (["--plot", "roofline.jpg"], "--plot roofline.jpg: write a file that ends in .svg or .png"),
        (
            ["--mode", "compile", "--trace", "trace.json"],
            "a compiled network runs as one: it has no layers for --trace or --plot",
        ),
        (["--trace", "nowhere/trace.json"], "cannot write nowhere/trace.json: there is no folder"),
        (["--tf32"], "TF32 is a setting of CUDA devices, and the device is cpu"),
        (["--save", "nowhere/run.json"], "cannot write nowhere/run.json: there is no folder"),
        (["--save", "."], "cannot write .: it is a directory; give a file"),
        (["--output", "nowhere/table.txt"], "cannot write nowhere/table.txt: there is no folder"),
        (
            ["--batch", "100000000"],
            "weights and activations of small for a forward+backward pass of batch 100000000 in float32 need",
        ),
    ],
)
def test_mistakes(refused: Refused, options: list[str], message: str) -> None:
    assert message in refused("profile", "small.yaml", "-b", "2", *QUICK, *options)


def test_what_cannot_run_names_its_layer(refused: Refused) -> None:
    Path("single.yaml").write_text(
        "name: single\ninput: [3, 1, 1]\nlayers:\n"
        "  - {name: stem, op: conv2d, out_channels: 4, kernel_size: 1, norm: batch_norm2d}\n",
        encoding="utf-8",
    )
    assert refused("profile", "single.yaml", *QUICK) == (
        "stem.norm (batch_norm2d) cannot run in float32 on cpu, batch 1: Expected more than 1 value per channel when "
        "training, got input size torch.Size([1, 4, 1, 1])\n"
    )


def test_what_torch_refuses_backwards_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("no backward pass today")

    monkeypatch.setattr(torch.autograd, "backward", refuse)
    with pytest.raises(UsageError) as caught:
        archprof.profile(archprof.load("small.yaml"), batch=2, budget=0.05)
    assert str(caught.value) == "small cannot be measured: no backward pass today"


def test_memory_that_runs_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nGPU 0 has ...")

    monkeypatch.setattr(torch.autograd, "backward", refuse)
    with pytest.raises(UsageError) as caught:
        archprof.profile(archprof.load("small.yaml"), batch=2, budget=0.05)
    assert str(caught.value) == "small does not fit: CUDA out of memory. Tried to allocate 20 GiB"
