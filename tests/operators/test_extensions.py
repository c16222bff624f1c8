"""Operators of other packages, found through the entry point group `archprof.operators`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SPEC = """
name: net
input: [3, 8, 8]
layers:
  - {op: double_channels}
"""
MODULE = """
from archprof.operators.base import Operator, register


@register("double_channels")
class DoubleChannels(Operator, frozen=True, kw_only=True):
    "Twice the channels."

    def infer(self, inputs):
        return (inputs[0].with_dims(2 * inputs[0].dims[0], *inputs[0].dims[1:]),)
"""


def table(folder: Path, module: str) -> subprocess.CompletedProcess[str]:
    """`archprof table` of SPEC where a package beside it declares the module as an extension."""
    (folder / "net.yaml").write_text(SPEC)
    (folder / "double.py").write_text(module)
    information = folder / "double-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: double\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[archprof.operators]\ndouble = double\n")
    return subprocess.run(
        [sys.executable, "-c", "from archprof.cli import main; main()", "table", "net.yaml", "--format", "csv"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_operator_of_another_package_is_found(tmp_path: Path) -> None:
    done = table(tmp_path, MODULE)
    assert done.stderr == ""
    assert "double_channels,8x8x3,8x8x6" in done.stdout


@pytest.mark.parametrize("module", ["raise OSError('no disk')", "import nowhere_to_be_found"])
def test_an_extension_that_fails_is_told(tmp_path: Path, module: str) -> None:
    done = table(tmp_path, module)
    assert done.returncode == 2
    assert "the extension double (double) fails: " in done.stderr
    assert "Traceback" not in done.stderr
