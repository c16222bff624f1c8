"""The repository as a pre-commit hook."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from archprof.cli import COMMANDS

ROOT = Path(__file__).parents[1]
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())

SPEC = """\
name: net
input: [3, 8, 8]
layers: [{name: conv, op: conv2d, out_channels: 4, kernel_size: 3, padding: 1, bias: false}]
expect: {params: 108}
"""


def test_the_hook_calls_a_command_that_there_is() -> None:
    program, command = HOOK["entry"].split()
    assert re.search(rf'^{program} = "archprof\.cli:main"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert command in COMMANDS


@pytest.mark.parametrize(
    ("path", "matches"),
    [
        ("specs/x.yaml", True),
        ("specs/x.yml", True),
        ("specs/published/x.yaml", True),  # a figure that is corrected
        ("specs/README.md", False),
        ("other/specs/x.yaml", False),
        ("x.yaml", False),
    ],
)
def test_the_hook_runs_when_a_spec_or_a_published_file_changes(path: str, matches: bool) -> None:
    assert bool(re.search(HOOK["files"], path)) == matches
    assert HOOK["pass_filenames"] is False  # all specs are checked, whichever file changed
    assert HOOK["args"] == ["specs/"]


def git(*arguments: str, folder: Path) -> str:
    settings = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "core.hooksPath=")
    done = subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.slow
def test_the_hook_in_a_repository(tmp_path: Path) -> None:
    """pre-commit builds the hook's environment from a clone, and from PyPI what it needs."""
    clone = tmp_path / "archprof"
    for name in git("ls-files", "--cached", "--others", "--exclude-standard", folder=ROOT).splitlines():
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    git("init", folder=clone)
    git("add", ".", folder=clone)
    git("commit", "-m", "as it stands", folder=clone)

    repository = tmp_path / "repository"
    (repository / "specs").mkdir(parents=True)
    git("init", folder=repository)

    def run(spec: str) -> subprocess.CompletedProcess[str]:
        (repository / "specs/net.yaml").write_text(spec)
        git("add", ".", folder=repository)
        command = [sys.executable, "-m", "pre_commit", "try-repo", str(clone), HOOK["id"]]
        environment = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "cache")}
        return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)

    good = run(SPEC)
    assert good.returncode == 0, good.stdout + good.stderr
    assert re.search(r"archprof check\.+Passed", good.stdout)

    wrong = run(SPEC.replace("108", "109"))
    assert wrong.returncode == 1
    assert re.search(r"archprof check\.+Failed\n- hook id: archprof-check\n- exit code: 1", wrong.stdout)
    assert "specs/net.yaml:4:18: params is 108, not 109" in wrong.stdout

    broken = run(SPEC.replace("conv2d", "conv2"))
    assert "- exit code: 2" in broken.stdout
    assert "specs/net.yaml:3:27: layer conv (conv2): unknown operator conv2: did you mean conv2d?" in broken.stdout
