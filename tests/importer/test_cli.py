"""Torch modules on the command line: `package.module:callable` where a spec may stand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from archprof.cli import main

NETS = """\
import torch
from torch import nn

print("a module that talks")

class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.act = nn.ReLU()
        self.fc = nn.Linear(width * 16, 10)

    def forward(self, x):
        return self.fc(self.act(self.conv(x)).flatten(1))

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(20, 4)

    def forward(self, ids, scale):
        return self.table(ids) * scale

class Odd(nn.Module):
    def forward(self, x):
        return x.sort(1).values

def factory():
    return Net(4)

def fails():
    raise RuntimeError("no weights here\\nat all")

def leaves():
    raise SystemExit(3)

def number():
    return 3

instance = Net(2)
value = 3

class inner:
    Net = Net
"""
Run = Callable[..., tuple[int, str, str]]
_numbers = count()


@pytest.fixture
def nets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The name of a module with networks in the folder of this run."""
    name = f"archprof_test_nets_{next(_numbers)}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / f"{name}.py").write_text(NETS, encoding="utf-8")
    return name


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["archprof", *arguments])
        try:
            main()
        except SystemExit as error:
            status = error.code
        else:
            status = 0
        assert isinstance(status, int) or status is None
        out, err = capsys.readouterr()
        return status or 0, out, err

    return call


def test_table(run: Run, nets: str) -> None:
    status, out, err = run("table", f"{nets}:Net", "--input", "3x4x4", "--exact", "--format", "markdown")
    assert (status, err) == (0, "a module that talks\n")
    assert [line.replace(" ", "") for line in out.splitlines() if line.startswith("|")][2:] == [
        "|conv|4x4x3|4x4x8|3x3x3,1|224|3,456|",
        "|act|4x4x8|4x4x8||0||",
        "|flatten|4x4x8|1x1x128||0||",
        "|fc|1x1x128|1x1x10||1,290|1,280|",
        "|total||||1,514|4,736|",
    ]
    assert (16 * 8 * 27, 128 * 10) == (3456, 1280)


@pytest.mark.parametrize(
    ("reference", "options", "params"),
    [
        ("Net", ["--set", "width=2"], 2 * 28 + 330),
        ("factory", [], 4 * 28 + 650),
        ("instance", [], 2 * 28 + 330),
        ("inner.Net", [], 8 * 28 + 1290),
    ],
)
def test_what_a_name_may_stand_for(run: Run, nets: str, reference: str, options: list[str], params: int) -> None:
    status, out, _ = run("table", f"{nets}:{reference}", "--input", "3x4x4", *options)
    assert status == 0
    assert f"{params:,} parameters" in out


def test_the_caption_says_where_it_is_from(run: Run, nets: str) -> None:
    _, out, _ = run("table", f"{nets}:Net", "--input", "3x4x4", "--set", "width=4")
    assert f"source: torch module {nets}:Net" in out
    assert "settings: width=4" in out


def test_installed_modules_and_named_inputs(run: Run, nets: str) -> None:
    status, out, _ = run("table", f"{nets}:Two", "--input", "ids=6:int64", "--input", "scale=6x1")
    assert status == 0
    assert "80 parameters" in out
    options = ["--set", "embed_dim=8", "--set", "num_heads=2", "--set", "batch_first=true"]
    sequences = [f"--input={name}=5x8" for name in ("query", "key", "value")]
    status, out, _ = run("table", "torch.nn:MultiheadAttention", *options, *sequences)
    assert status == 0
    assert "288 parameters, 1,680 FLOPs" in out
    assert (4 * 64 + 4 * 8, 4 * 5 * 64 + 2 * 25 * 8) == (288, 1680)


def test_a_batch_in_another_dimension(run: Run) -> None:
    options = ["--set", "embed_dim=8", "--set", "num_heads=2"]
    sequences = [f"--input={name}=5xNx8" for name in ("query", "key", "value")]
    _, out, _ = run("table", "torch.nn:MultiheadAttention", *options, *sequences)
    assert "288 parameters, 1,680 FLOPs" in out


def test_what_is_not_counted_is_said(run: Run, nets: str) -> None:
    status, out, _ = run("table", f"{nets}:Odd", "--input", "5")
    assert status == 0
    assert "not counted, so that FLOPs are a lower bound: 1 node (sort)" in out


def test_check_holds_a_limit(run: Run, nets: str) -> None:
    status, out, _ = run("check", f"{nets}:Net", "--input", "3x4x4", "--max", "params=2K")
    assert (status, out) == (0, "ok    Net: 1 agrees\n1 network: 1 agrees\n")
    status, out, _ = run("check", f"{nets}:Net", "--input", "3x4x4", "--max", "params=1K")
    assert status == 1
    line = NETS.splitlines().index("class Net(nn.Module):") + 1
    assert f"{nets}.py:{line}:1: params is 1,514, not at most 1,000" in out
    status, _, err = run("check", f"{nets}:Odd", "--input", "5", "--max", "flops=1K")
    assert status == 2
    assert err == "Odd: flops is not known, since not every operator is counted\n"


def test_check_takes_specs_beside(run: Run, nets: str) -> None:
    status, out, _ = run("check", "zf", f"{nets}:Net", "--input", "3x4x4", "--max", "params=200M")
    assert status == 0
    assert "2 networks" in out


def test_compare_and_diff(run: Run, nets: str) -> None:
    status, out, _ = run("compare", "zf", f"{nets}:Net", f"{nets}:factory", "--input", "3x4x4", "--format", "csv")
    assert status == 0
    assert [line.split(",")[0] for line in out.splitlines()[1:]] == ["zf", "Net", "factory"]
    settings = ("--set-before", "width=8", "--set-after", "width=4")
    status, out, _ = run("diff", f"{nets}:Net", *settings, "--input", "3x4x4", "--format", "markdown")
    assert status == 0
    assert "762" in out


def test_import_writes_a_spec_that_agrees(run: Run, nets: str, tmp_path: Path) -> None:
    status, out, err = run("import", f"{nets}:Net", "--input", "3x4x4", "--output", "net.yaml")
    assert (status, out) == (0, "")
    status, out, err = run("check", "net.yaml")
    assert (status, out, err) == (0, "ok    Net: 2 agree\n1 network: 2 agree\n", "")
    status, out, _ = run("diff", "net.yaml", f"{nets}:Net", "--input", "3x4x4")
    assert (status, "parameters 1,514 in both" in out) == (0, True)


def test_import_names_what_the_language_lacks(run: Run, nets: str) -> None:
    status, out, err = run("import", f"{nets}:Odd", "--input", "5")
    assert (status, out) == (2, "")
    reason = f"{nets}:Odd cannot be written as a spec; the language does not have: sort (sort)\n"
    assert err == "a module that talks\n" + reason


SHAPE = "write the dimensions as 3x224x224, without the batch, or N where it is not the first"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nets:Nett"], "nets:Nett: nets has no Nett: did you mean Net?"),
        (["nets:zzz"], "nets:zzz: nets has no zzz"),
        (["nets:value"], "nets:value is a int: name a torch.nn.Module, or what makes one"),
        (["nets:number"], "nets:number makes a int, not a torch.nn.Module"),
        (["nets:fails"], "nets:fails: calling fails fails: RuntimeError: no weights here"),
        (["nets:leaves"], "nets:leaves: calling leaves fails: SystemExit: 3"),
        (["nets:instance", "--set", "width=2"], "nets:instance is a module already, which --set cannot change"),
        (
            ["nets:Net", "--set", "depth=2", "--input", "3x4x4"],
            "nets:Net: got an unexpected keyword argument 'depth': Net takes (width=8); give them as --set NAME=VALUE",
        ),
        (
            ["nets:Net"],
            "nets:Net: give the shape of its input without the batch, as --input 3x224x224; NAME=SHAPE where there are "
            "several, 128:int64 for indices. forward takes (x)",
        ),
        (["nets:Two", "--input", "5:int64"], "nets:Two: missing a required argument: 'scale': forward takes (ids, scale)"),
        (["nets:Net", "--input", "y=3"], "nets:Net: missing a required argument: 'x': forward takes (x)"),
        (["nets:Net", "--input", "3x4y4"], f"--input 3x4y4: {SHAPE}"),
        (["nets:Net", "--input", "0x4"], f"--input 0x4: {SHAPE}"),
        (["nets:Net", "--input", "NxN"], f"--input NxN: {SHAPE}"),
        (["nets:Net", "--input", ""], f"--input : {SHAPE}"),
        (["nets:Net", "--input", "3:int65"], "--input 3:int65: unknown dtype int65: did you mean int64?"),
        (["nets:Net", "--input", "x=3", "--input", "x=3"], "--input x is given twice"),
        (
            ["nets:Net", "--input", "4x4x4"],
            "nets:Net: Net cannot be traced: Given groups=1, weight of size [8, 3, 3, 3], expected input[1, 4, 4, 4] to "
            "have 3 channels, but got 4 channels instead",
        ),
        (
            ["no_such_module_here:Net"],
            "no_such_module_here:Net: there is no module no_such_module_here, neither in this folder nor among the "
            "installed packages",
        ),
        (
            ["torch.no_such:Net"],
            "torch.no_such:Net: there is no module torch.no_such, neither in this folder nor among the installed packages",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_line(run: Run, nets: str, arguments: list[str], message: str) -> None:
    given = [each.replace("nets:", f"{nets}:") for each in arguments]
    status, out, err = run("table", *given)
    assert (status, out) == (2, "")
    assert err.removeprefix("a module that talks\n") == message.replace("nets", nets) + "\n"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import no_such_thing", "No module named 'no_such_thing'"),
        ("def f(:", "SyntaxError: invalid syntax (bad.py, line 1)"),
        ("raise SystemExit", "SystemExit"),
    ],
)
def test_a_module_that_cannot_be_imported(
    run: Run, nets: str, tmp_path: Path, source: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "bad", raising=False)
    (tmp_path / "bad.py").write_text(source + "\n", encoding="utf-8")
    status, _, err = run("table", "bad:Net")
    assert (status, err) == (2, f"bad:Net: importing bad fails: {reason}\n")


def test_specs_come_first(run: Run, nets: str, tmp_path: Path) -> None:
    """A variant of a shipped spec, a file, a file at a revision: none is taken for a module."""
    status, _, err = run("table", "zf:nothing")
    assert (status, "no variant nothing" in err) == (2, True)
    (tmp_path / "plain").write_text("name: plain\ninput: [3]\nlayers: [{op: relu}]\n", encoding="utf-8")
    status, _, err = run("table", "plain:other")
    assert (status, "no variant other" in err) == (2, True)
    status, _, err = run("diff", "HEAD:missing.yaml", "zf")
    assert status == 2
    assert "module" not in err
    (tmp_path / "zf.py").write_text(NETS, encoding="utf-8")  # of a spec's name
    status, out, _ = run("table", "zf:Net", "--input", "3x4x4")
    assert (status, "1,514 parameters" in out) == (0, True)


def test_without_torch_a_line_says_what_to_install(nets: str, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from importlib.util import find_spec as real\n"
        "import importlib.util\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'torch' else real(name, *rest)\n"
        f"sys.argv = ['archprof', 'table', '{nets}:Net', '--input', '3x4x4']\n"
        "from archprof.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{nets}:Net needs torch: pip install 'archprof[torch]'\n"
