"""What the commands that must start fast import, and what importing archprof imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Third-party packages (their top-level modules) that `table`, `list` and `schema` may load, and no other.
ALLOWED = {
    "archprof",
    "typer", "annotated_doc", "shellingham", "typing_extensions",  # typer, and what it needs
    "msgspec",
    "yaml", "_cython", "cython_runtime",  # PyYAML, and its binding to libyaml
}  # fmt: skip
# Modules of the standard library that are slow to import; typer brings difflib and inspect.
SLOW = {
    "asyncio", "concurrent", "ctypes", "dataclasses", "email", "fractions", "http", "importlib.metadata", "logging",
    "multiprocessing", "pdb", "pprint", "pydoc", "random", "sqlite3", "ssl", "statistics", "tempfile", "unittest",
    "unicodedata", "xml", "zipfile",
}  # fmt: skip

PROBE = """
import json, os, sys
before = set(sys.modules)
{code}
sys.stdout.flush()
os.write(2, json.dumps(sorted(set(sys.modules) - before)).encode())
"""
COMMAND = """
from archprof.cli import main
sys.argv = ["archprof", *{arguments!r}]
try:
    main()
except SystemExit as error:
    assert not error.code, error.code
"""


def loaded(code: str, cwd: Path) -> set[str]:
    """The modules that a process has loaded after running some code."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(code=code)], cwd=cwd, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr))


def third_party(modules: set[str]) -> set[str]:
    tops = {module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names)
    return {"_cython" if top.startswith("_cython_") else top for top in tops}


@pytest.mark.parametrize(
    "arguments",
    [
        ["table", "zf.yaml"],
        ["table", "resnet-50", "--format", "csv"],
        ["table", "zf", "--format", "json", "--fold", "all"],
        ["table", "zf", "--format", "markdown", "--columns", "layer,param-share,receptive-field"],
        ["list"],
        ["schema"],
        ["explain", "tab"],
        ["--help"],
    ],
    ids=" ".join,
)
def test_commands_load_few_packages(arguments, tmp_path):
    modules = loaded(COMMAND.format(arguments=arguments), tmp_path)
    assert "archprof.cli" in modules
    assert third_party(modules) <= ALLOWED


@pytest.mark.parametrize("arguments", [["table", "zf.yaml"], ["schema"]], ids=" ".join)
def test_commands_load_no_slow_module(arguments, tmp_path):
    assert not loaded(COMMAND.format(arguments=arguments), tmp_path) & SLOW


def test_importing_archprof_loads_neither_torch_nor_a_reader(tmp_path):
    modules = loaded("import archprof", tmp_path)
    assert third_party(modules) == {"archprof"}
    assert modules & {"archprof.spec", "archprof.operators", "archprof.analysis"} == set()


def test_loading_and_analysing_loads_no_command_line(tmp_path):
    modules = loaded("import archprof; archprof.analyse(archprof.load('zf'))", tmp_path)
    assert third_party(modules) <= ALLOWED - {"typer", "annotated_doc", "shellingham"}


def test_the_probe_sees_what_is_loaded(tmp_path):
    assert third_party(loaded("import numpy", tmp_path)) >= {"numpy"}
    assert loaded("import fractions", tmp_path) & SLOW
