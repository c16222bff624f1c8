"""`archprof build`: what it says, what it refuses, and the files it writes."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import archprof
from archprof.building import device
from archprof.building.code import source
from archprof.cli import main
from tests.building.networks import batch_of, graph

Run = Callable[..., tuple[int, str, str]]
SMALL = ["resnet-20", "--init", "kaiming_normal", "--batch", "2"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """`archprof build ARGUMENTS` in this process, in an empty folder: its exit status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["archprof", "build", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return call


def test_it_says_what_was_built(run: Run) -> None:
    # resnet-20: 269,722 parameters; 19 norms of 16, 16, 32 and 64 channels with two buffers and a counter each
    norms = 16 + 6 * 16 + 6 * 32 + 6 * 64
    bytes_of_buffers = 2 * norms * 4 + 19 * 8
    assert run(*SMALL) == (
        0,
        "network     resnet-20: ResNet for CIFAR-10: resnet-20\n"
        "nodes       71\n"
        "parameters  269,722, 1.0 MiB\n"
        f"buffers     {2 * norms + 19:,}, {bytes_of_buffers / 2**20:.1f} MiB\n"
        "device      cpu, float32, evaluation mode\n"
        "values      init kaiming_normal, seed 0\n"
        "input       input  2x3x32x32  float32\n"
        "output      fc  2x10  float32\n",
        "",
    )


def test_the_training_graph_in_another_dtype_to_a_file(run: Run, tmp_path: Path) -> None:
    status, out, err = run("googlenet", "--train", "--dtype", "float64", "--device", "meta", "-o", "said.txt")
    assert (status, out, err) == (0, "", "")
    assert (tmp_path / "said.txt").read_text().splitlines() == [
        "network     googlenet: GoogLeNet (Inception v1)",
        "nodes       161",
        "parameters  13,378,280, 102.1 MiB",
        "buffers     0, 0.0 MiB",
        "device      meta, float64, training mode",
        "values      none",
        "input       input  1x3x224x224  float64",
        *(f"output      {name}  1x1000  float64" for name in ("softmax", "aux1", "aux2")),
    ]


def test_settings_and_another_input(run: Run) -> None:
    status, out, _ = run("vit", "--set", "size=L", "--set", "image=32", "--input", "3x32x32", "--device", "meta")
    assert status == 0
    assert "input       input  1x3x32x32  float32" in out
    status, out, _ = run("lstm-language-model", "--set", "steps=7", "--set", "units=8", "--set", "vocabulary=9")
    assert status == 0
    assert out.endswith("input       words  1x7  int64\noutput      vocabulary  1x7x9  float32\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["googlenot"], "googlenot: no such file, and no shipped spec is called googlenot: did you mean googlenet?"),
        ([*SMALL, "--device", "gpu"], "unknown device gpu: write cpu, cuda, cuda:0, mps, xpu or meta"),
        ([*SMALL, "--dtype", "half"], "unknown dtype half: take float64, float32, float16 or bfloat16"),
        (
            [*SMALL, "--init", "he"],
            "unknown init he: take torch, kaiming_normal, resnet, alexnet, xavier_uniform or empty",
        ),
        ([*SMALL, "--max-nodes", "10"], "a network has at most 10: --max-nodes raises the limit [too-many-nodes]"),
        (
            [*SMALL, "--code", "--save", "x"],
            "--code prints the source and builds nothing: leave --save and --onnx away",
        ),
        (
            [*SMALL, "--device", "meta", "--save", "x"],
            "on the device meta there are no values to write: leave --save and --onnx away",
        ),
        ([*SMALL, "--save", "no/model.pt2"], "cannot write no/model.pt2: there is no folder "),
        (
            ["nin-cifar-10", "--dtype", "bfloat16", "--set", "dropout=2"],
            "the file has no parameter dropout",
        ),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_mistakes(run: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_dtype_that_an_operator_does_not_support_is_told_with_the_node(run: Run) -> None:
    status, out, err = run("zeiler-fergus", "--input", "3x48x48", "--dtype", "bfloat16")
    assert (status, out) == (2, "")
    assert err == (
        "norm1 (local_response_norm) cannot run in bfloat16 on cpu, batch 1: "
        "\"avg_pool3d_out_frame\" not implemented for 'BFloat16'\n"
    )


def test_a_batch_too_small_for_training_is_told_with_the_node(run: Run, tmp_path: Path) -> None:
    spec = (
        "name: tiny\ninput: [3, 4, 4]\nlayers:\n  - {op: adaptive_avg_pool2d, output_size: 1}\n  - {op: batch_norm2d}\n"
    )
    (tmp_path / "tiny.yaml").write_text(spec)
    assert run("tiny.yaml", "--train") == (
        2,
        "",
        "batch_norm2d (batch_norm2d) cannot run in float32 on cpu, batch 1: "
        "Expected more than 1 value per channel when training, got input size torch.Size([1, 3, 1, 1])\n",
    )
    assert run("tiny.yaml", "--train", "--batch", "2")[0] == 0


def test_too_little_memory_is_said_before_any_is_taken(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "available_memory", lambda _: 20 * 2**20)
    monkeypatch.setattr(archprof.building, "build", lambda *_, **__: pytest.fail("memory was taken"))
    # vgg-remark: 589,824 + 589,824 parameters of 4 bytes, and maps of 224x224
    peak = archprof.analysis.memory.memory(archprof.load("vgg-remark"), batch=4).inference_peak
    status, out, err = run("vgg-remark", "--batch", "4")
    assert (status, out) == (2, "")
    assert err == (
        f"weights and activations of vgg-remark for batch 4 in float32 need {peak / 2**20:,.1f} MiB, "
        "and cpu has 20.0 MiB left\n"
    )
    monkeypatch.undo()
    monkeypatch.setattr(device, "available_memory", lambda _: 0)
    assert archprof.build(archprof.load("vgg-remark"), device="meta") is not None  # takes none


def test_the_source_is_printed_and_nothing_is_built(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(device, "available_memory", lambda _: 0)
    assert run("zf", "--code") == (0, source(archprof.load("zf")), "")
    assert run("googlenet", "--code", "--train", "--output", "net.py") == (0, "", "")
    assert (tmp_path / "net.py").read_text() == source(archprof.load("googlenet"), train=True)


# --- files


def test_saved_by_torch_export(run: Run, tmp_path: Path) -> None:
    status, out, err = run(*SMALL, "--save", "model.pt2")
    assert (status, err) == (0, "")
    assert out.endswith("written     model.pt2\n")
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt2"]
    made = archprof.load("resnet-20")
    with torch.no_grad():
        saved = torch.export.load(tmp_path / "model.pt2").module()(*batch_of(made))
        assert torch.equal(saved, archprof.build(made, init="kaiming_normal")(*batch_of(made)))


def test_a_file_is_written_whole_or_not_at_all(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_text("what was there")

    def fail(_: object, stream: io.BytesIO) -> None:
        stream.write(b"half")
        raise RuntimeError("disk full\nand more")

    monkeypatch.setattr(torch.export, "save", fail)
    assert run(*SMALL, "--save", "model.pt2") == (2, "", "torch.export cannot write this network: disk full\n")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("model.pt2", "what was there")]


ONNX = [
    *("siamese", "tied", "looped", "named"),
    pytest.param("lstm-language-model", marks=pytest.mark.slow),
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("googlenet", "mobilenet-v3", "densenet", "convnext", "vit", "zf", "unet", "alexnet")
    ),
]


@pytest.mark.parametrize("name", ONNX)
def test_onnx_gives_the_same_outputs(name: str, tmp_path: Path) -> None:
    import onnxruntime

    from archprof.building.exporting import onnx_model

    made = graph(name)
    module = archprof.build(made)
    batch = batch_of(made)
    with torch.no_grad():
        expected = module(*batch)
    expected = expected if isinstance(expected, dict) else {next(iter(made.outputs)): expected}
    session = onnxruntime.InferenceSession(onnx_model(module, batch, list(expected)))
    assert [each.name for each in session.get_outputs()] == list(expected)
    names = [each.name for each in session.get_inputs()]
    outputs = session.run(None, {name: each.numpy() for name, each in zip(names, batch, strict=True)})
    for mine, theirs in zip(outputs, expected.values(), strict=True):
        torch.testing.assert_close(torch.from_numpy(mine), theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max().item())


def test_onnx_from_the_command_line(run: Run, tmp_path: Path) -> None:
    import onnx

    (tmp_path / "two.yaml").write_text(
        "name: two\ninput: {a: [3, 8, 8], b: [3, 8, 8]}\nlayers: [{op: add, from: [a, b]}]\n"
    )
    status, out, err = run("two.yaml", "--onnx", "two.onnx", "--save", "two.pt2")
    assert (status, err) == (0, "")
    assert out.endswith("written     two.pt2\nwritten     two.onnx\n")
    model = onnx.load(tmp_path / "two.onnx")
    assert ([each.name for each in model.graph.input], [each.name for each in model.graph.output]) == (
        ["a", "b"],
        ["add"],
    )


def test_an_operator_that_onnx_lacks_is_named(run: Run, tmp_path: Path) -> None:
    layers = "[{op: adaptive_max_pool2d, output_size: 3}]"
    (tmp_path / "pool.yaml").write_text(f"name: pool\ninput: [3, 8, 8]\nlayers: {layers}\n")
    status, out, err = run("pool.yaml", "--onnx", "pool.onnx")
    assert (status, out) == (2, "")
    assert err.startswith("torch.onnx cannot write this network: No ONNX function found for ")
    assert "aten.adaptive_max_pool2d" in err
    assert [file.name for file in tmp_path.iterdir()] == ["pool.yaml"]


# --- without what it needs


def without(package: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    hide = f"import sys; sys.modules[{package!r}] = None; sys.argv = ['archprof', *{list(arguments)!r}]\n"
    code = f"{hide}from archprof.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("package", "arguments", "message"),
    [
        ("torch", ["build", "zf"], "build needs torch: pip install 'archprof[torch]'\n"),
        ("torch", ["build", "zf", "--code"], "build needs torch: pip install 'archprof[torch]'\n"),
        ("onnx", ["build", "zf", "--onnx", "zf.onnx"], "--onnx needs onnx: pip install 'archprof[onnx]'\n"),
        ("onnxscript", ["build", "zf", "--onnx", "zf.onnx"], "--onnx needs onnxscript: pip install 'archprof[onnx]'\n"),
    ],
)
def test_without_a_package(package: str, arguments: list[str], message: str) -> None:
    done = without(package, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_the_table_needs_no_torch() -> None:
    assert without("torch", "table", "zf").returncode == 0


def test_the_api_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from archprof import *\n"
        "import archprof\n"
        "try: archprof.build(archprof.load('zf'))\n"
        "except archprof.ArchprofError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("build needs torch: pip install 'archprof[torch]'\n", "")


def test_importing_what_builds_imports_no_torch() -> None:
    code = "import sys, archprof, archprof.cli; archprof.build; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize("name", ["torch.nn:ReLU", "model.onnx"])
def test_what_is_a_network_already_is_not_built(run: Run, name: str) -> None:
    assert run(name) == (
        2,
        "",
        f"{name} is a network already, which build does not make anew: archprof import writes it as a spec, which "
        "build takes\n",
    )


@pytest.mark.parametrize(("version", "refused"), [("2.4.1+cpu", True), ("2.5.0", False), ("2.13.0+cpu", False)])
def test_onnx_needs_a_torch_that_can_write_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, version: str, refused: bool
) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    status, _, errors = run("zf", "--onnx", "zf.onnx", "--device", "meta")
    assert status == 2
    assert (errors == f"--onnx needs torch 2.5 or newer, and this is {version}\n") is refused
