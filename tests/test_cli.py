"""The command line as a person meets it: options, places, streams, terminals, exit statuses."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

import archprof
from archprof.analysis import COLUMNS, CONVENTIONS, DTYPES, PASSES, analyse
from archprof.cli import COMMANDS as REGISTERED
from archprof.report import FORMATS
from archprof.spec.library import shipped_names, shipped_paths

GOLDEN = Path(__file__).parent / "golden"
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
NET = """\
name: net
input: [3, 8, 8]
parameters: {width: 4, kind: {default: relu, choices: [relu, tanh]}, deep: false, names: {default: [a]}}
layers:
  - {name: conv, op: conv2d, out_channels: =width, kernel_size: 3, padding: 1}
  - {name: act, op: =kind, repeat: =len(names)}
  - {name: more, op: relu, when: =deep}
variants: {net-wide: {with: {width: 16}}}
"""
BROKEN = """\
name: broken
input: [3, 8, 8]
layers:
  - {name: conv1, op: conv2d, out_channels: 4, kernel_size: 3}
  - {name: conv2, op: conv2d, out_channels: 8, kernel_size: 9}
  - {name: flatten, op: flatten}
"""
TWO = "name: two\ninput: {left: [3, 8, 8], right: [3, 8, 8]}\nlayers: [{op: add, from: [left, right]}]\n"

Run = Callable[..., tuple[int, str, str]]


def process(*arguments: str, cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from archprof.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload]


def rows(text: str) -> dict[str, dict[str, str]]:
    """A table printed as CSV: a row by its layer, a cell by its header."""
    return {row["layer"]: row for row in csv.DictReader(io.StringIO(text))}


# --- the table of the lecture


def test_zf_is_the_lectures_table_cell_for_cell(ok):
    printed = list(csv.DictReader(io.StringIO(ok("table", "zf.yaml", "--format", "csv"))))
    with (GOLDEN / "zf-lecture.csv").open(newline="") as stream:
        lecture = list(csv.DictReader(stream))
    columns = ["layer", "size-in", "size-out", "kernel", "param", "FLOPs"]
    assert list(lecture[0]) == columns
    assert len(lecture) == 23
    assert [[row[column] for column in columns] for row in printed] == [[row[c] for c in columns] for row in lecture]


def test_zf_in_whole_numbers(ok):
    exact = rows(ok("table", "zf", "--format", "csv", "--exact"))
    assert (exact["conv1"]["param"], exact["conv1"]["FLOPs"]) == ("9472", "114611200")  # 64 * (7*7*3 + 1), * 110 * 110
    assert (exact["total"]["param"], exact["total"]["FLOPs"]) == ("140025664", "1608287104")
    assert "140,025,664  1,608,287,104" in ok("table", "zf", "--exact")


# --- which spec


def test_a_path_a_shipped_name_and_a_variant(ok, tmp_path):
    (tmp_path / "net.yaml").write_text(NET)
    assert ok("table", "zf") == ok("table", "zf.yaml")
    assert "25,557,032 parameters" in ok("table", "resnet-50")
    assert rows(ok("table", "net.yaml", "-f", "csv"))["conv"]["size-out"] == "8x8x4"
    assert rows(ok("table", "net.yaml:net-wide", "-f", "csv"))["conv"]["size-out"] == "8x8x16"
    (tmp_path / "zf.yaml").write_text(NET)  # a path that exists is taken
    assert rows(ok("table", "zf.yaml", "-f", "csv"))["conv"]["size-out"] == "8x8x4"
    assert rows(ok("table", str(tmp_path / "net.yaml"), "-f", "csv"))["conv"]["size-out"] == "8x8x4"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zfx", "zfx: no such file, and no shipped spec is called zfx: did you mean zf? [no-such-file]\n"),
        ("net.yaml:wide", "net.yaml: no variant wide: did you mean net-wide? [unknown-variant]\n"),
        (".", ".: this is a directory; a spec is a file [is-a-directory]\n"),
        (
            "no/zf.yaml",
            "no/zf.yaml: no such file, and no shipped spec is called no/zf: archprof list shows them [no-such-file]\n",
        ),
        ("", ".: this is a directory; a spec is a file [is-a-directory]\n"),
        (
            "n" * 300,
            f"{'n' * 300}: no such file, and no shipped spec is called {'n' * 300}: "
            "archprof list shows them [no-such-file]\n",
        ),
    ],
)
def test_no_such_spec(refused, tmp_path, name, message):
    (tmp_path / "net.yaml").write_text(NET)
    assert refused("table", name) == message


@pytest.mark.parametrize(
    "arguments", [["table", "\udcff.yaml"], ["table", "zf", "--set", "a=\udcff"]], ids=["spec", "--set"]
)
def test_words_that_are_no_utf_8(tmp_path, arguments):
    done = process(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_from_another_folder_and_from_standard_input(tmp_path):
    assert process("table", "zf.yaml", cwd=tmp_path).stdout.startswith("Zeiler & Fergus network")
    assert not list(tmp_path.iterdir())
    given = process("table", "-", "--format", "csv", cwd=tmp_path, input=NET)
    assert rows(given.stdout)["conv"]["param"] == "112"  # 4 * 3 * 3 * 3 + 4
    broken = process("table", "-", cwd=tmp_path, input=BROKEN)
    assert (broken.returncode, broken.stdout) == (2, "")
    assert broken.stderr == (
        "<stdin>:5:5: layer conv2 (conv2d): kernel_size 9 is larger than its padded input 6x6 [kernel-too-large]\n"
    )


# --- formats and output


@pytest.mark.parametrize("format_", FORMATS)
def test_formats(ok, format_):
    text = ok("table", "zf", "--format", format_)
    assert text.endswith("\n")
    assert "fc7128" in text
    assert "\x1b" not in text
    assert json.loads(text)["schema"] == "archprof.table/1" if format_ == "json" else True


@pytest.mark.parametrize("format_", FORMATS)
def test_output_is_what_would_be_printed(ok, tmp_path, format_):
    assert ok("table", "zf", "--format", format_, "--output", "zf.out") == ""
    assert (tmp_path / "zf.out").read_text() == ok("table", "zf", "-f", format_)
    assert [path.name for path in tmp_path.iterdir()] == ["zf.out"]


def test_output_is_whole_or_not_at_all(refused, ok, tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("before")
    (tmp_path / "net.yaml").write_text(BROKEN)
    refused("table", "net.yaml", "--output", "table.csv")
    refused("table", "zf", "--columns", "nothing", "--output", "table.csv")
    assert target.read_text() == "before"
    assert refused("table", "zf", "-o", "no/table.csv") == (
        f"cannot write no/table.csv: there is no folder {tmp_path}/no\n"
    )
    assert refused("table", "zf", "-o", ".") == "cannot write .: it is a directory; give a file\n"
    if Path("/proc/self").exists():
        assert refused("table", "zf", "-o", "/proc/x") == "cannot write /proc/x: it takes no new file\n"
    assert {path.name for path in tmp_path.iterdir()} == {"table.csv", "net.yaml"}
    ok("table", "zf", "-f", "csv", "-o", "table.csv")
    assert target.read_text().startswith("layer,")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_output_to_a_folder_that_may_not_be_written(refused, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    assert refused("table", "zf", "-o", "closed/zf.csv") == "cannot write closed/zf.csv: Permission denied\n"


def test_output_to_a_full_device(refused):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    assert refused("table", "zf", "-o", "/dev/full") == "cannot write /dev/full: No space left on device\n"


# --- what is counted


@pytest.mark.parametrize("counting", CONVENTIONS)
def test_counting(ok, counting):
    total = rows(ok("table", "resnet-18", "-f", "csv", "--counting", counting))["total"]
    assert int(total["FLOPs_exact"]) == analyse(archprof.load("resnet-18"), counting=counting).flops
    assert f"counting: {counting}" in ok("table", "resnet-18", "--counting", counting)


def test_counting_is_the_specs_own_unless_told(ok):
    assert "counting: multiply_adds_with_bias" in ok("table", "zf")
    assert "counting: multiply_adds:" in ok("table", "resnet-18")


def test_batch(ok):
    one = rows(ok("table", "zf", "-f", "csv", "--columns", "layer,param,FLOPs,memory"))["total"]
    many = rows(ok("table", "zf", "-f", "csv", "--columns", "layer,param,FLOPs,memory", "--batch", "8"))["total"]
    for column, factor in (("param_exact", 1), ("FLOPs_exact", 8), ("memory_exact", 8)):
        assert int(many[column]) == factor * int(one[column])


@pytest.mark.parametrize("passes", PASSES)
def test_pass(ok, passes):
    total = rows(ok("table", "resnet-18", "-f", "csv", "--pass", passes))["total"]
    assert int(total["FLOPs_exact"]) == analyse(archprof.load("resnet-18"), passes=passes).flops


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype(ok, dtype):
    total = rows(ok("table", "zf", "-f", "csv", "--columns", "layer,memory", "--dtype", dtype))["total"]
    single = rows(ok("table", "zf", "-f", "csv", "--columns", "layer,memory"))["total"]
    assert int(total["memory_exact"]) * 4 == int(single["memory_exact"]) * DTYPES[dtype]


def test_train(ok):
    inference = rows(ok("table", "googlenet", "-f", "csv", "--exact"))
    training = rows(ok("table", "googlenet", "-f", "csv", "--exact", "--train"))
    assert inference["total"]["param"] == "6998552"
    assert training["total"]["param"] == "13378280"
    assert set(training) - set(inference) == {"aux1", "aux2", "network", "training heads"}
    assert training["network"]["param"] == "6998552"
    assert "training" in ok("table", "googlenet", "--train").splitlines()[-1] + ok("table", "googlenet", "--train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "cvs"], "unknown format cvs: did you mean csv?\n"),
        (["--format", "xml"], "unknown format xml: take terminal, csv, json or markdown\n"),
        (["--counting", "macs"], "unknown counting convention macs: there are multiply_adds, multiply_adds_with_bias, "
         "operations and fvcore\n"),
        (["--pass", "foreward"], "passes must be forward, backward or both, not foreward\n"),
        (["--dtype", "float31"], "unknown dtype float31: did you mean float32?\n"),
        (["--columns", "layer,parm"], "unknown column parm: did you mean param?\n"),
        (["--fold", "deep"], "--fold deep: write a depth of the node paths, as 1, or all\n"),
        (["--fold", "-1"], "--fold -1: write a depth of the node paths, as 1, or all\n"),
        (["--set", "width=6"], "zf.yaml: the file has no parameter width; it has none [unknown-parameter]\n"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_served(refused, monkeypatch, arguments, message):
    assert refused("table", "zf", *arguments).replace(f"{shipped_paths()[0].parent}/", "") == message


@pytest.mark.parametrize(
    "arguments", [["--batch", "0"], ["--batch", "x"], ["--max-nodes", "0"], ["--no-such-option"], ["zf", "zf"]]
)
def test_options_that_typer_refuses(refused, arguments):
    message = refused("table", "zf", *arguments)
    assert message.startswith("Usage: ")
    assert "Error: " in message or "error" in message.lower()


def test_max_nodes(refused, tmp_path):
    (tmp_path / "net.yaml").write_text(BROKEN.replace("kernel_size: 9", "kernel_size: 1"))
    assert refused("table", "net.yaml", "--max-nodes", "3") == (
        "net.yaml:6:5: layer flatten: the network has more than 3 nodes: --max-nodes raises the limit "
        "[too-many-nodes]\n"
    )


# --- parameters and inputs


@pytest.mark.parametrize(
    ("given", "layers"),
    [
        (["width=8"], {"conv": "8x8x8", "act": "8x8x8"}),
        (["kind=tanh", "width=5"], {"conv": "8x8x5", "act": "8x8x5"}),
        (["deep=true"], {"conv": "8x8x4", "act": "8x8x4", "more": "8x8x4"}),
        (["names=[a, b]"], {"conv": "8x8x4", "act": "8x8x4"}),
    ],
)
def test_set(ok, tmp_path, given, layers):
    (tmp_path / "net.yaml").write_text(NET)
    options = [word for pair in given for word in ("--set", pair)]
    table = rows(ok("table", "net.yaml", "-f", "csv", *options))
    assert {name: row["size-out"] for name, row in table.items() if name != "total"} == layers


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["width"], "--set width: write --set name=value\n"),
        (["=3"], "--set =3: write --set name=value\n"),
        (["width=1", "width=2"], "--set width is given twice\n"),
        (["widht=1"], "net.yaml: the file has no parameter widht: did you mean width? [unknown-parameter]\n"),
        (["kind=gelu"], 'net.yaml:3:24: parameter kind must be relu or tanh, not the word "gelu" [not-a-choice]\n'),
        (["width=wide"], 'net.yaml:3:14: parameter width must be an integer, not the word "wide" [wrong-type]\n'),
        (["width=1.5"], "net.yaml:3:14: parameter width must be an integer, not 1.5 [wrong-type]\n"),
        (["width=2.0"], "net.yaml:3:14: parameter width must be an integer, not 2.0 [not-an-integer]\n"),
        (["width="], "net.yaml:5:5: layer conv (conv2d): needs out_channels [missing-field]\n"),
        (["deep=1"], "net.yaml:3:70: parameter deep must be true or false, not 1 [not-a-boolean]\n"),
    ],
)
def test_set_that_does_not_fit(refused, tmp_path, given, message):
    (tmp_path / "net.yaml").write_text(NET)
    options = [word for pair in given for word in ("--set", pair)]
    assert refused("table", "net.yaml", *options) == message


@pytest.mark.parametrize(
    "value", ["[", "&a 1", "*a", "!!str 3", "a: b: c", "'", "{a: 1, a: 2}", "\t", "\x00", "9" * 40]
)
def test_set_takes_yaml_and_nothing_that_specs_refuse(refused, tmp_path, value):
    (tmp_path / "net.yaml").write_text(NET)
    assert refused("table", "net.yaml", "--set", f"width={value}").strip()


def test_input(ok):
    table = rows(ok("table", "resnet-18", "-f", "csv", "--input", "3x384x160"))
    assert table["conv1"]["size-in"] == "384x160x3"
    assert table["conv1"]["size-out"] == "192x80x64"


def test_input_of_several_names(ok, refused, tmp_path):
    (tmp_path / "two.yaml").write_text(TWO)
    given = ["--input", "left=2x4x4", "--input", "right=2x4x4"]
    assert rows(ok("table", "two.yaml", "-f", "csv", *given))["add"]["size-out"] == "4x4x2"
    assert refused("table", "two.yaml", *given[:2]) == "--input: give right too\n"
    assert refused("table", "two.yaml", "--input", "2x4x4") == (
        "--input 2x4x4: there are inputs left, right: write NAME=SHAPE\n"
    )
    assert refused("table", "two.yaml", "--input", "middle=2x4x4") == (
        "--input middle=2x4x4: no input is called middle; there is left, right\n"
    )


@pytest.mark.parametrize(
    "shape", ["", "x", "3x", "3x0x8", "3,8,8", "3x-8x8", "3x8.0x8", "3x8x99999999999999", "[3, 8, 8]", "٣x8x8", "3X8X8"]
)
def test_input_that_is_no_shape(refused, shape):
    assert refused("table", "zf", "--input", shape) == (
        f"--input {shape}: write the dimensions as 3x224x224, channels first\n"
    )


def test_input_that_does_not_fit(refused):
    assert refused("table", "squeezenet", "--input", "3x4x4").endswith("[kernel-too-large]\n")
    assert refused("table", "squeezenet", "--input", "8").endswith("[wrong-rank]\n")


# --- rows and columns


def test_fold(ok):
    by_fold = {fold: rows(ok("table", "googlenet", "-f", "csv", "--fold", fold)) for fold in ("1", "2", "all")}
    assert "inception_3a" in by_fold["1"]
    assert "inception_3a.3x3" in by_fold["2"]
    assert "inception_3a.3x3.activation" in by_fold["all"]
    assert len({table["total"]["param_exact"] for table in by_fold.values()}) == 1
    assert rows(ok("table", "googlenet", "-f", "csv")) == by_fold["1"]


def test_repeats(ok):
    table = ok("table", "resnet-50", "--fold", "2", "--repeats")
    assert re.search(r"^conv4_x\.\d-5 x \d ", table, re.M), table
    assert (
        rows(ok("table", "resnet-50", "--fold", "2", "--repeats", "-f", "csv"))["total"]
        == (rows(ok("table", "resnet-50", "--fold", "2", "-f", "csv"))["total"])
    )


@pytest.mark.parametrize("column", COLUMNS)
def test_columns(ok, column):
    header, *lines = csv.reader(io.StringIO(ok("table", "zf", "-f", "csv", "--columns", f"layer, {column.upper()}")))
    assert header[:1] + [name.removesuffix("_exact") for name in header[1:]] == (
        ["layer", *[column] * (len(header) - 1)]
    )
    assert len(lines) == 23


# --- specs with mistakes


def test_partial_prints_the_table_up_to_the_mistake(run, tmp_path):
    (tmp_path / "net.yaml").write_text(BROKEN)
    status, out, errors = run("table", "net.yaml", "--format", "csv", "--partial")
    assert status == 2
    assert {name: row["size-out"] for name, row in rows(out).items()} == {"conv1": "6x6x4", "total": ""}
    assert errors == (
        "net.yaml:5:5: layer conv2 (conv2d): kernel_size 9 is larger than its padded input 6x6 [kernel-too-large]\n"
    )


@pytest.mark.parametrize("format_", FORMATS)
def test_partial_in_every_format_and_to_a_file(run, tmp_path, format_):
    (tmp_path / "net.yaml").write_text(BROKEN)
    status, out, errors = run("table", "net.yaml", "-f", format_, "--partial", "-o", "table.out")
    assert (status, out, errors[:11]) == (2, "", "net.yaml:5:")
    assert "conv1" in (tmp_path / "table.out").read_text()


def test_partial_of_a_first_layer_that_does_not_fit(run, tmp_path):
    (tmp_path / "net.yaml").write_text(BROKEN.replace("kernel_size: 3", "kernel_size: 30"))
    status, out, _ = run("table", "net.yaml", "-f", "csv", "--partial")
    assert status == 2
    assert list(rows(out)) == ["total"]


def test_partial_of_a_good_spec_is_the_table(ok):
    assert ok("table", "zf", "--partial") == ok("table", "zf")


def test_partial_of_a_spec_that_cannot_be_read(refused, tmp_path):
    (tmp_path / "net.yaml").write_text(BROKEN.replace("op: flatten", "op: flaten"))
    assert refused("table", "net.yaml", "--partial") == (
        "net.yaml:6:25: layer flatten (flaten): unknown operator flaten: did you mean flatten? [unknown-operator]\n"
    )


# --- the other commands


def test_version(ok):
    assert ok("--version") == f"archprof {archprof.__version__}\n"


COMMANDS = list(REGISTERED)


def test_help_of_the_whole(ok):
    text = ok("--help")
    assert text == ok("-h")
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", text, re.M), command


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(ok, command):
    text = ok(command, "--help")
    assert text.startswith(f"Usage: archprof {command} ")
    for option in re.findall(r"^  (?:-\w, )?(--[\w-]+)", text, re.M):
        assert re.search(rf"{option}\b.*\S", text), option


def test_nothing_and_an_unknown_command(run):
    status, out, errors = run()
    assert "Usage: archprof" in out + errors
    status, out, errors = run("tabel")
    assert (status, out) == (2, "")
    assert "tabel" in errors


def test_list_shows_every_shipped_network(ok):
    table = ok("list")
    words = set(re.findall(r"[\w.-]+", table))
    names = {path.stem for path in shipped_paths()}
    assert names - words <= {path.stem for path in shipped_paths() if "null" in path.read_text()}
    for name in ("zf", "resnet-50", "vgg-d", "googlenet"):
        assert name in words


def test_what_list_shows_can_be_asked_for(ok):
    listed = csv.DictReader(io.StringIO(ok("list", "--format", "csv")))
    (column, *_) = listed.fieldnames or [""]
    found = [row[column] for row in listed]
    assert len(found) == len(set(found)) > 50
    assert set(found) <= set(shipped_names())


def test_schema_prints_json(ok, tmp_path):
    assert json.loads(ok("schema"))["$schema"].startswith("https://json-schema.org/")
    assert ok("schema", "--output", "schema.json") == ""
    assert (tmp_path / "schema.json").read_text() == ok("schema")


def test_explain(ok, refused):
    assert "kernel-too-large" in ok("explain").splitlines()
    page = ok("explain", "kernel-too-large")
    assert page.startswith("#")
    assert page == ok("explain", "[kernel-too-large]")
    assert refused("explain", "kernel-to-large") == (
        "no kind of mistake is called kernel-to-large: did you mean kernel-too-large?\n"
    )
    assert refused("explain", "x") == "no kind of mistake is called x: archprof explain lists them\n"


def test_check_has_exit_status_1_where_something_differs(run, tmp_path):
    (tmp_path / "net.yaml").write_text(NET + "expect: {params: 112}\n")
    assert run("check", "net.yaml:net-wide")[0] == 1  # expects the same of the variant, which is wider
    (tmp_path / "net.yaml").write_text(NET.partition("variants")[0] + "expect: {params: 112}\n")
    assert run("check", "net.yaml")[0] == 0


# --- streams and terminals


def test_a_pipe_gets_no_escape_codes(tmp_path):
    for variables in ({}, {"NO_COLOR": "1"}, {"TERM": "xterm-256color"}):
        done = process("table", "zf", cwd=tmp_path, env={**os.environ, **variables})
        assert (done.returncode, done.stderr) == (0, "")
        assert "\x1b" not in done.stdout


def terminal(*arguments: str, width: int, cwd: Path, **variables: str) -> str:
    """What a terminal of a width is sent by `archprof ARGUMENTS`."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR", "TERM")}
    command = [sys.executable, "-c", "from archprof.cli import main; main()", *arguments]
    environment.update(TERM="xterm-256color")
    environment.update(variables)
    with subprocess.Popen(command, cwd=cwd, stdin=slave, stdout=slave, stderr=slave, env=environment) as child:
        os.close(slave)
        sent = bytearray()
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # the child has left
                break
            if not piece:
                break
            sent += piece
        assert child.wait(timeout=60) == 0
    os.close(master)
    return sent.decode().replace("\r\n", "\n")


class TestTerminal:
    @pytest.mark.parametrize("width", [80, 160])
    @pytest.mark.parametrize(
        "arguments",
        [
            ["table", "zf"],
            ["table", "googlenet", "--train", "--fold", "all"],
            ["table", "efficientnet-b0", "--fold", "3", "--repeats"],
            ["list"],
            ["check", "zf"],
            ["--help"],
        ],
        ids=" ".join,
    )
    def test_keeps_within_its_width(self, arguments, width, tmp_path):
        lines = ESCAPE.sub("", terminal(*arguments, width=width, cwd=tmp_path)).splitlines()
        assert len(lines) > 1
        assert max(map(len, lines)) <= width

    def test_shows_the_table(self, tmp_path):
        sent = terminal("table", "zf", width=80, cwd=tmp_path)
        assert "\x1b[1m" in sent
        assert ESCAPE.sub("", sent) == (GOLDEN / "zf-80.txt").read_text()

    @pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
    def test_without_colour(self, variables, tmp_path):
        assert terminal("table", "zf", width=80, cwd=tmp_path, **variables) == (GOLDEN / "zf-80.txt").read_text()

    def test_an_empty_no_color_says_nothing(self, tmp_path):
        assert "\x1b[1m" in terminal("table", "zf", width=80, cwd=tmp_path, NO_COLOR="")


def test_what_a_stream_cannot_encode_is_no_traceback(tmp_path):
    (tmp_path / "net.yaml").write_text(NET.replace("name: net", "name: net\ntitle: a → b"), encoding="utf-8")
    for encoding in ("ascii", "latin-1"):
        done = process("table", "net.yaml", cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": encoding})
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("a \\u2192 b\n")
        assert done.stdout.isascii()


@pytest.mark.parametrize(
    ("redirected", "status", "message"),
    [
        (">/dev/full", 2, "cannot write to standard output: No space left on device\n"),
        (">&-", 0, ""),
        ("-f json >&-", 0, ""),
    ],
)
def test_standard_output_that_takes_nothing(tmp_path, redirected, status, message):
    python = "from archprof.cli import main; main()"
    command = f'"$0" -c "{python}" table zf {redirected}'
    done = subprocess.run(["bash", "-c", command, sys.executable], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", message)


def test_standard_input_that_is_closed(tmp_path):
    command = '"$0" -c "from archprof.cli import main; main()" table - <&-'
    done = subprocess.run(["bash", "-c", command, sys.executable], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "<stdin>: standard input is closed [unreadable-file]\n")


@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_a_reader_that_leaves_early(tmp_path, reader):
    """`archprof table ... | head -1`: no traceback, and a status that says so where the pipe was closed first."""
    python = "import sys; from archprof.cli import main; main()"
    command = f'"$0" -c "{python}" table resnet-cifar --set depth=1202 --fold all | {reader}; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert int(done.stdout.splitlines()[-1]) in (
        (0, 128 + signal.SIGPIPE) if "head" in reader else (128 + signal.SIGPIPE,)
    )
