"""Broken specs and exactly what each is told: bad/NAME.yaml has its message in bad/NAME.txt."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

import archprof
from archprof.spec.reader import MAX_BYTES
from tests.goldens import check

BAD = Path(__file__).parent / "bad"
NAMES = sorted(path.stem for path in BAD.glob("*.yaml"))
VARIANTS = {"key-of-some-variants": "net-b"}  # right by itself, wrong in this variant

SECONDS, BYTES = 10, 2**30  # what any input may take: of a processor, and of address space


def asked_for(name: str) -> str:
    """A fixture as a command line names it, from its folder."""
    return f"{name}.yaml:{VARIANTS[name]}" if name in VARIANTS else f"{name}.yaml"


def told(path: str) -> str:
    with pytest.raises(archprof.SpecError) as caught:
        archprof.load(path)
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_spec_gets_its_message(name, monkeypatch):
    monkeypatch.chdir(BAD)
    check(f"../spec/bad/{name}.txt", told(asked_for(name)) + "\n")


def test_every_message_belongs_to_a_spec():
    assert sorted(path.stem for path in BAD.glob("*.txt")) == NAMES


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_can_be_wrong_where_its_file_is_right(name, monkeypatch):
    monkeypatch.chdir(BAD)
    assert archprof.load(f"{name}.yaml").nodes


# --- files that are none


def test_a_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.yaml").mkdir()
    assert told("net.yaml") == "net.yaml: this is a directory; a spec is a file [is-a-directory]"


def test_a_missing_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert told("zfx.yaml") == (
        "zfx.yaml: no such file, and no shipped spec is called zfx: did you mean zf? [no-such-file]"
    )
    assert told("quux.yaml") == (
        "quux.yaml: no such file, and no shipped spec is called quux: archprof list shows them [no-such-file]"
    )


def test_an_unknown_variant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "name: net\ninput: [3]\nlayers: [{op: relu}]\n"
    Path("none.yaml").write_text(text)
    Path("one.yaml").write_text(text + "variants: {net-18: {aliases: [small]}}\n")
    assert told("none.yaml:net-18") == "none.yaml: no variant net-18: it has none [unknown-variant]"
    assert told("one.yaml:net-81") == "one.yaml: no variant net-81: did you mean net-18? [unknown-variant]"
    assert told("one.yaml:big") == "one.yaml: no variant big: its variants are net-18 and small [unknown-variant]"


# --- as a process: what a person sees, and what it may take


def table(*arguments: str, cwd: Path, stdin: IO[bytes] | None = None) -> subprocess.CompletedProcess[str]:
    """`archprof table`, in at most SECONDS and BYTES."""

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))

    return subprocess.run(
        [sys.executable, "-c", "from archprof.cli import main; main()", "table", *arguments],
        cwd=cwd,
        stdin=stdin or subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=12 * SECONDS,  # other processes may want the processor too
        preexec_fn=bound,
    )


def refusal(*arguments: str, cwd: Path, stdin: IO[bytes] | None = None) -> str:
    """What `archprof table` says on standard error, having put out nothing and exited with status 2."""
    done = table(*arguments, cwd=cwd, stdin=stdin)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return done.stderr


def lines(pattern: str, count: int) -> str:
    return "".join(pattern.replace("N", str(number)) for number in range(count))


# each would take minutes or gigabytes, though the file is small
HEAVY = {
    "long-lists-in-every-copy": (
        "let: {r: =range(10000)}\nlayers:\n  - name: d\n    op: dropout\n    repeat: 9000\n"
        f"    p: =0 * ({' + '.join(['sum(r)'] * 40)})\n",
        "too-much-work",
    ),
    "many-long-lists": (
        "let:\n" + lines("  xN: =range(10000)\n", 20_000) + "layers: [{op: relu}]\n",
        "too-many-values",
    ),
    "many-expressions": (
        "let:\n  a:\n" + lines(f"    - =N + {' + '.join(['1'] * 90)}\n", 20_000) + "layers: [{op: relu}]\n",
        "too-many-values",
    ),
    "many-inputs-of-many-copies": (
        "layers:\n  - {name: a, op: relu}\n  - name: c\n    op: concat\n    repeat: 100000\n"
        f"    from: [previous{', a' * 5000}]\n",
        "too-many-nodes",
    ),
    "long-names-in-deep-blocks": (
        "blocks:\n"
        + "".join(f"  b{n}:\n    layers: [{{name: {'a' * 100}, block: b{n + 1}}}]\n" for n in range(45))
        + f"  b45:\n    layers: [{{name: {'a' * 100}, op: relu, repeat: 190000}}]\nlayers: [{{block: b0}}]\n",
        "too-many-nodes",
    ),
    "a-name-of-a-megabyte": ("layers:\n  - {name: " + "a" * 10**6 + ", op: relu, repeat: 100000}\n", "bad-name"),
    "many-unknown-layers": (
        "layers:\n" + lines("  - {name: aN, op: relu, from: bN}\n", 20_000),
        "unknown-layer",
    ),
    "many-dead-layers": ("layers:\n" + lines("  - {name: aN, op: relu, from: input}\n", 20_000), "no-effect"),
    "broken-copies-of-broken-copies": (
        "parameters: {n: 1000}\nblocks:\n  b:\n    parameters: {n: null}\n    layers:\n"
        "      - {name: c, op: conv2d, out_channels: =n - n, kernel_size: 1, repeat: =n}\n"
        "layers:\n  - {block: b, repeat: =n, with: {n: =n}}\n",
        "out-of-range",
    ),
}


class TestProcess:
    @pytest.mark.parametrize(
        "name",
        [
            "empty", "tab", "not-utf-8", "comma-in-expression", "several-at-once", "add-mismatch",
            "million-digits", "billion-copies", "nested-thousands", "nested-thousands-by-expression",
            "nested-thousands-of-nothing", "block-without-end", "blocks-in-a-ring", "alias-bomb",
            "doubling-lists", "doubling-maps", "doubling-by-joining",
        ],
    )  # fmt: skip
    def test_a_broken_spec(self, name):
        assert refusal(f"{name}.yaml", cwd=BAD) == (BAD / f"{name}.txt").read_text()

    def test_the_bounds_are_held_against_a_command_that_works(self):
        assert table("zf", cwd=BAD).returncode == 0

    def test_a_directory_and_a_missing_file(self, tmp_path):
        (tmp_path / "nets").mkdir()
        assert refusal("nets", cwd=tmp_path).startswith("nets: this is a directory")
        assert refusal("nets/a.yaml", cwd=tmp_path).startswith("nets/a.yaml: ")

    def test_a_file_of_100_megabytes(self, tmp_path):
        with (tmp_path / "net.yaml").open("wb") as stream:
            stream.truncate(100_000_000)
        assert refusal("net.yaml", cwd=tmp_path) == (
            f"net.yaml: this file is larger than {MAX_BYTES // 10**6} MB, the most a spec may be [file-too-large]\n"
        )

    def test_standard_input_without_end(self, tmp_path):
        with Path("/dev/zero").open("rb") as endless:
            said = refusal("-", cwd=tmp_path, stdin=endless)
        assert said.endswith("the most a spec may be [file-too-large]\n")

    @pytest.mark.parametrize("bracket", ["[", "{", "[{"])
    def test_100_000_nested_brackets(self, bracket, tmp_path):
        (tmp_path / "net.yaml").write_text("layers: " + bracket * (100_000 // len(bracket)))
        assert refusal("net.yaml", cwd=tmp_path).endswith("lists and maps nest deeper than 50 [nested-too-deeply]\n")

    def test_nested_expressions(self, tmp_path):
        for number, source in enumerate(("(" * 400 + "1" + ")" * 400, "-" * 900 + "1", "1" + "+1" * 400)):
            path = tmp_path / f"{number}.yaml"
            path.write_text(f"name: net\ninput: [3]\nlet: {{a: {'=' + source}}}\nlayers: [{{op: relu}}]\n")
            done = table(path.name, cwd=tmp_path)
            assert done.returncode in (0, 2)
            assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("name", HEAVY)
    def test_what_would_take_too_long_or_too_much(self, name, tmp_path):
        text, code = HEAVY[name]
        (tmp_path / "net.yaml").write_text("name: net\ninput: [3, 8, 8]\n" + text)
        said = refusal("net.yaml", cwd=tmp_path)
        assert f"[{code}]\n" in said
        assert len(said) < 50_000

    def test_a_word_of_ten_megabytes(self, tmp_path):
        (tmp_path / "net.yaml").write_text(f"name: net\ninput: [3]\nlayers: [{{op: {'x' * 10**7}}}]\n")
        assert len(refusal("net.yaml", cwd=tmp_path)) < 1000
