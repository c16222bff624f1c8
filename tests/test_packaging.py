"""The wheel: built, installed where nothing else is, and used from an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import archprof

ROOT = Path(__file__).parents[1]
CORE = {"typer", "rich", "pyyaml", "msgspec"}
MIB = 2**20


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that nothing is left beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("archprof", "specs"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def described(wheel: Path) -> Message:
    """The wheel's METADATA."""
    with zipfile.ZipFile(wheel) as archive:
        name = f"archprof-{archprof.__version__}.dist-info/METADATA"
        return Parser().parsestr(archive.read(name).decode())


def requirements(lines: list[str], extra: str = "") -> set[str]:
    """The distributions that METADATA asks for, for an extra or without one, in lower case."""
    found = [Requirement(line) for line in lines]
    return {each.name.lower() for each in found if not each.marker or each.marker.evaluate({"extra": extra})}


def needed() -> dict[str, metadata.Distribution]:
    """What the core asks for, and what that asks for, as installed here."""
    found: dict[str, metadata.Distribution] = {}
    waiting = sorted(CORE)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = metadata.distribution(name)
            waiting.extend(requirements(found[name].requires or []))
    return found


# --- what is in it


@pytest.mark.parametrize(
    ("folder", "pattern", "inside"),
    [
        ("specs", "*.yaml", "archprof/specs"),
        ("specs/published", "*.yaml", "archprof/specs/published"),
        ("archprof/explanations", "*.md", "archprof/explanations"),
        ("archprof/report", "**/*.schema.json", "archprof/report"),
        ("archprof/report/page/assets", "**/*.*", "archprof/report/page/assets"),
        ("archprof/experiments/recipes", "*.yaml", "archprof/experiments/recipes"),
        ("archprof/profiling/published", "*.json", "archprof/profiling/published"),
        ("archprof/suites", "*.yaml", "archprof/suites"),
        ("archprof", "py.typed", "archprof"),
        ("archprof", "**/*.py", "archprof"),
        ("archprof/spec", "*.py", "archprof/spec"),
    ],
)
def test_the_wheel_has_what_it_needs(names, folder, pattern, inside):
    there = [path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).glob(pattern)]
    assert there
    assert {f"{inside}/{path}" for path in there} <= names


def test_the_wheel_has_nothing_else(names):
    info = f"archprof-{archprof.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"archprof", info}
    assert f"{info}/licenses/LICENSE" in names
    suffixes = {Path(name).suffix for name in names if name.startswith("archprof/")}
    assert suffixes == {".py", ".yaml", ".md", ".json", ".typed", ".css", ".j2", ".js", ".txt"}


# --- what it says of itself


def test_the_core_depends_on_four_packages(described):
    assert requirements(described.get_all("Requires-Dist")) == CORE


def test_extras(described):
    lines = described.get_all("Requires-Dist")
    assert {"torch", "test"} <= set(described.get_all("Provides-Extra"))
    assert {"torch", "fvcore", "pandas", "nvidia-ml-py"} <= requirements(lines, "torch")
    assert "pynvml" not in "".join(lines)  # deprecated: nvidia-ml-py has the module of that name


def test_the_version_is_the_packages(described):
    assert described["Version"] == archprof.__version__
    assert described["Requires-Python"] == ">=3.10"


def test_the_core_is_small(wheel):
    sizes = {
        name: sum(Path(str(file.locate())).stat().st_size for file in found.files or () if file.locate().exists())
        for name, found in needed().items()
    }
    assert "torch" not in sizes
    assert "numpy" not in sizes
    sizes["archprof"] = 3 * wheel.stat().st_size
    assert sum(sizes.values()) < 40 * MIB, sizes


# --- installed


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment with the wheel and what it needs, and nothing else."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run([*command, str(wheel)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (site,) = home.glob("lib/python*/site-packages")
    for found in needed().values():  # the versions that the tests run with, without asking an index
        for file in found.files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))).resolve())
    return home / "bin"


def use(program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COVERAGE"))}
    environment = {**kept, "HOME": str(cwd)}
    return subprocess.run([program, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


def test_the_table_is_printed_from_an_empty_folder(installed, tmp_path):
    done = use(installed / "archprof", "table", "zf.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^total +140M +1\.6B$", done.stdout, re.M)
    assert list(tmp_path.iterdir()) == []


def test_it_is_the_wheel_that_runs_and_torch_is_not_there(installed, tmp_path):
    probe = (
        "import archprof, importlib.util as find; print(archprof.__file__);"
        "print([name for name in ('torch', 'numpy', 'pandas', 'fvcore') if find.find_spec(name)])"
    )
    where, missing = use(installed / "python", "-c", probe, cwd=tmp_path).stdout.splitlines()
    assert Path(where).resolve().is_relative_to(installed.parent.resolve())
    assert missing == "[]"


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        (["--version"], f"archprof {archprof.__version__}"),
        (["table", "resnet-50", "--format", "json"], "{"),
        (["list"], "Shipped networks"),
        (["schema"], "{"),
        (["explain", "tab"], "#"),
        (["check", "zf"], "ok"),
    ],
)
def test_the_commands_find_their_data(installed, tmp_path, arguments, begins):
    done = use(installed / "archprof", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(begins)
