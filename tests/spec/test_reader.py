"""The reader: YAML's core schema with places, its limits, and what it says of every slip."""

import contextlib
import gc
import os
import threading
from pathlib import Path
from unittest import mock

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from archprof.spec import reader
from archprof.spec.errors import SpecError
from archprof.spec.reader import Mapping, Scalar, Sequence, missing_space, plain, read, read_file

PARSERS = [pytest.param(yaml.CSafeLoader, id="libyaml"), pytest.param(yaml.SafeLoader, id="pure")]
SPECS = sorted(Path(__file__).parents[2].joinpath("specs").glob("*.yaml"))


@pytest.fixture(params=PARSERS)
def parser(request, monkeypatch):
    monkeypatch.setattr(reader, "_Parser", request.param)
    return request.param


def told(text: str | bytes) -> list[str]:
    """The messages that a text gets."""
    with pytest.raises(SpecError) as caught:
        read(text if isinstance(text, bytes) else text.encode(), "f.yaml")
    return str(caught.value).split("\n")


# --- what a text means


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("", None), ("~", None), ("null", None), ("Null", None), ("NULL", None), ("nUll", "nUll"),
        ("true", True), ("True", True), ("TRUE", True), ("false", False), ("False", False), ("FALSE", False),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("off", "off"), ("y", "y"), ("tRUE", "tRUE"),
        ("0", 0), ("-0", 0), ("+7", 7), ("-12", -12), ("007", 7), ("0o17", 15), ("0x1F", 31), ("-0x1F", "-0x1F"),
        ("0b11", "0b11"), ("1_000", "1_000"), ("1:30", "1:30"), ("3x3", "3x3"), ("1e", "1e"), ("0o8", "0o8"),
        ("1.5", 1.5), ("-.5", -0.5), ("5.", 5.0), ("5e1", 50.0), ("1E-2", 0.01), ("+1.e3", 1000.0), (".", "."),
        (".inf", float("inf")), ("-.INF", float("-inf")), ("+.Inf", float("inf")), ("inf", "inf"), ("nan", "nan"),
        ("1-2", "1-2"), ("-a", "-a"), ("2015-01-01", "2015-01-01"), ("\u0661", "\u0661"), ("²", "²"),
        ("=", "="), ("= 3", "= 3"),
        ("=max(8, 16)", "=max(8, 16)"), ("=n[0]", "=n[0]"), ("=k == 'a'", "=k == 'a'"), ("(3, 3)", "(3, 3)"),
        ("a#b", "a#b"), ("a # b", "a"), ("https://x.y/z", "https://x.y/z"), ("<<", "<<"), ("what?", "what?"),
        ("'64'", "64"), ('"64"', "64"), ("'it''s'", "it's"), (r'"a\tb\u00e9"', "a\tbé"), ('""', ""),
        ("999999999999999999", 10**18 - 1), ("-999999999999999999", 1 - 10**18), ("0xde0b6b3a763ffff", 10**18 - 1),
        ("'1000000000000000000'", "1000000000000000000"), ("0." + "1" * 40, float("0." + "1" * 40)),
        ("|\n  a\n  b\n", "a\nb\n"), (">\n  a\n  b\n", "a b\n"), ("a\n  b", "a b"),
        ("a\n  https://x.y", "a https://x.y"),
    ],
)  # fmt: skip
def test_a_value_is_what_the_core_schema_says(written, value, parser):
    found = read(f"key: {written}".encode(), "f.yaml").get("key")
    assert (type(found.value), found.value) == (type(value), value)


def test_not_a_number_is_one_value(parser):
    found = read(b"a: [.nan, .NaN, .NAN]", "f.yaml")
    assert [value != value for value in plain(found)["a"]] == [True] * 3


def test_every_key_and_value_knows_its_place(parser):
    text = "# a comment\nname: zf\nlayers:\n  - {op: 'relu', kinds: [0x10, 2]}\n  - é: 5e1\nempty:\n"
    assert read(text.encode(), "f.yaml") == Mapping(
        (
            (Scalar("name", "name", False, 2, 1), Scalar("zf", "zf", False, 2, 7)),
            (
                Scalar("layers", "layers", False, 3, 1),
                Sequence(
                    (
                        Mapping(
                            (
                                (Scalar("op", "op", False, 4, 6), Scalar("relu", "relu", True, 4, 10)),
                                (
                                    Scalar("kinds", "kinds", False, 4, 18),
                                    Sequence(
                                        (Scalar(16, "0x10", False, 4, 26), Scalar(2, "2", False, 4, 32)), True, 4, 25
                                    ),
                                ),
                            ),
                            True, 4, 5,
                        ),
                        Mapping(((Scalar("é", "é", False, 5, 5), Scalar(50.0, "5e1", False, 5, 8)),), False, 5, 5),
                    ),
                    False, 4, 3,
                ),
            ),
            (Scalar("empty", "empty", False, 6, 1), Scalar(None, "", False, 6, 1)),
        ),
        False, 2, 1,
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["\ufeffa: é\nb: 1", "a: é\r\nb: 1\r\n", "a: é\rb: 1", "---\na: é\nb: 1\n...\n", "%YAML 1.1\n---\na: é\nb: 1"],
)
def test_byte_order_mark_line_ends_and_document_marks_change_nothing(text, parser):
    assert plain(read(text.encode(), "f.yaml")) == {"a": "é", "b": 1}


def test_get_finds_a_key_by_value_and_type():
    found = read(b"{1: one, '1': word, a: null}", "f.yaml")
    assert [found.get(1).value, found.get("1").value, found.get("a").value] == ["one", "word", None]
    assert found.get("b") is None
    assert read(b"true: 1", "f.yaml").get(1) is None


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_shipped_specs_read_alike_in_both_parsers(path, monkeypatch):
    tree = read(read_file(path), path.name)
    monkeypatch.setattr(reader, "_Parser", yaml.SafeLoader)
    assert read(read_file(path), path.name) == tree


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("op:relu", "op: relu"),
        ("kernel_size:3", "kernel_size: 3"),
        ("op: relu", None),
        ("https://x", None),
        ("a", None),
    ],
)
def test_missing_space(text, meant):
    assert missing_space(text) == meant


# --- what it says of slips

SLIPS = [
    # an expression in { } or [ ]
    (
        "{out_channels: =max(8, 16), kernel_size: 3}",
        '1:16: the expression ends at the comma; inside { } or [ ] put quotes around it: "=max(8, 16)" '
            '[comma-in-expression]',
    ),
    (
        "a: [=max(8, 16, n), 3]",
        '1:5: the expression ends at the comma; inside { } or [ ] put quotes around it: "=max(8, 16, n)" '
        "[comma-in-expression]",
    ),
    (
        "{a: =max(8, 16), b: =max(4, 16)}",
        '1:5: the expression ends at the comma; inside { } or [ ] put quotes around it: "=max(8, 16)" '
            '[comma-in-expression]',
        '1:21: the expression ends at the comma; inside { } or [ ] put quotes around it: "=max(4, 16)" '
            '[comma-in-expression]',
    ),
    (
        "{a: =f(a, 'x'), b: 1}",
        '1:5: the expression ends at the comma; inside { } or [ ] put quotes around it: "=f(a, \'x\')" '
            '[comma-in-expression]',
    ),
    (
        "{when: =k == 'a, b', op: relu}",
        "1:8: the expression ends at the comma; inside { } or [ ] put quotes around it: \"=k == 'a, b'\" "
        "[comma-in-expression]",
    ),
    (
        '{when: =k == "a, b"}',
        "1:8: the expression ends at the comma; inside { } or [ ] put quotes around it: '=k == \"a, b\"' "
        "[comma-in-expression]",
    ),
    (
        "{a: =f(x, [1, 2])}",
        '1:5: the expression ends at the comma; inside { } or [ ] put quotes around it: "=f(x, [1, 2])" '
            '[comma-in-expression]',
    ),
    (
        "{a: =f(1, @x)}",
        '1:5: the expression ends at the comma; inside { } or [ ] put quotes around it: "=f(1, @x)" '
            '[comma-in-expression]',
    ),
    (
        "{out_channels: =n[0]}",
        '1:16: a bracket inside { } ends the value; quote the expression: "=n[0]" [bracket-in-expression]',
    ),
    (
        "{when: =k in ['a', 'b'], op: relu}",
        "1:8: a bracket inside { } ends the value; quote the expression: \"=k in ['a', 'b']\" [bracket-in-expression]",
    ),
    ("a: [1, =n[0]]", '1:8: a bracket inside { } ends the value; quote the expression: "=n[0]" '
        '[bracket-in-expression]'),
    ("m: ={18: 2}[18]", "1:4: an expression holds no map: write the map as YAML under `let` and index it "
        "[map-in-expression]"),
    ("{m: ={18: 2}[18]}", "1:5: an expression holds no map: write the map as YAML under `let` and index it "
        "[map-in-expression]"),
    ("x: =a[1: 2]  # cut", '1:4: a colon and a space end the expression: put quotes around it: "=a[1: 2]" '
        '[colon-in-expression]'),
    ("{=x: 3}", "1:2: =x stands as a key; an expression may only be a value [expression-as-key]"),
    ('"=x": 3', "1:1: =x stands as a key; an expression may only be a value [expression-as-key]"),
    # a list in parentheses
    ("{kernel_size: (3, 3), stride: 2}", "1:15: a list is written [3, 3] [list-in-parentheses]"),
    ("{kernel_size: (3, 5, 7)}", "1:15: a list is written [3, 5, 7] [list-in-parentheses]"),
    # a space after the colon
    ("{op:relu, p: 1}", "1:2: a space is missing after the colon: write op: relu [missing-space]"),
    (
        "{op:relu, kernel_size:3}",
        "1:2: a space is missing after the colon: write op: relu [missing-space]",
        "1:11: a space is missing after the colon: write kernel_size: 3 [missing-space]",
    ),
    ("{op:}", "1:4: a space is missing after the colon [missing-space]"),
    ("name:zf", "1:1: a space is missing after the colon: write name: zf [missing-space]"),
    ("name:zf\ninput: [1]", "1:1: a space is missing after the colon: write name: zf [missing-space]"),
    ("a:\n  - op:relu\n    name: b", "2:5: a space is missing after the colon: write op: relu [missing-space]"),
    ("a:\n  - name: b\n    op:relu\n", "3:5: a space is missing after the colon: write op: relu [missing-space]"),
    ("a:\n  - {name: b\n     op:relu}", "3:6: a space is missing after the colon: write op: relu [missing-space]"),
    ("'a':1", "1:4: a space is missing after the colon [missing-space]"),
    # tabs
    ("a:\n\tb: 1", "2:1: a tab stands where YAML takes spaces: indent by spaces [tab]"),
    ("a: 1\n\tb: 2", "2:1: a tab stands where YAML takes spaces: indent by spaces [tab]"),
    ("a:\n  - x\n\t- y", "3:1: a tab stands where YAML takes spaces: indent by spaces [tab]"),
    ("a:\n  - {x: 1}\n  \t- {y: 1}", "3:3: a tab stands where YAML takes spaces: indent by spaces [tab]"),
    # keys
    ("a: 1\nb: 2\na: 3", "3:1: key a is given twice, first in line 1 [duplicate-key]"),
    ("{18: 1, 0x12: 2}", "1:9: key 0x12 is given twice, first in line 1 [duplicate-key]"),
    ("{a: 1, 'a': 2, \"a\": 3}", "1:8: key a is given twice, first in line 1 [duplicate-key]",
     "1:16: key a is given twice, first in line 1 [duplicate-key]"),
    ("{1: 1, true: 2}", "1:8: key true is given twice, first in line 1 [duplicate-key]"),
    ("{.nan: 1, .NaN: 2}", "1:11: key .NaN is given twice, first in line 1 [duplicate-key]"),
    ("{[1, 2]: a, b: 1}", "1:2: a key must be a word or a number, not a list or map [key-not-a-word]"),
    ("{{a}: 1}", "1:2: a key must be a word or a number, not a list or map [key-not-a-word]"),
    ("{: 1}", "1:2: a key is missing before the colon [missing-key]"),
    (": 1", "1:1: a key is missing before the colon [missing-key]"),
    ("a: 1\nb\n", "2:1: b stands alone: a key is followed by a colon and its value [key-without-colon]"),
    ("layers\n  - {op: relu}", "1:1: layers stands alone: a key is followed by a colon and its value "
        "[key-without-colon]"),
    # what YAML has and a spec does not take
    ("a: &x 1\nb: *x",
     "1:4: &x is an anchor, which a spec does not take: share values by defaults, let or blocks "
     "(a text that begins with & needs quotes) [anchor]",
     "2:4: *x is an alias, which a spec does not take: share values by defaults, let or blocks "
     "(a text that begins with * needs quotes) [alias]"),
    ("a: &x [1]\nb: &y {c: 1}",
     "1:4: &x is an anchor, which a spec does not take: share values by defaults, let or blocks "
     "(a text that begins with & needs quotes) [anchor]",
     "2:4: &y is an anchor, which a spec does not take: share values by defaults, let or blocks "
     "(a text that begins with & needs quotes) [anchor]"),
    ("*x",
     "1:1: *x is an alias, which a spec does not take: share values by defaults, let or blocks "
     "(a text that begins with * needs quotes) [alias]"),
    ("*x : 1",
     "1:1: *x is an alias, which a spec does not take: share values by defaults, let or blocks "
     "(a text that begins with * needs quotes) [alias]"),
    ("<<: {a: 1}", "1:1: << is a merge key, which a spec does not take: share values by defaults or blocks "
        "[merge-key]"),
    ("a: !foo 1",
     "1:4: !foo is a tag, which a spec does not take: leave it out (a text that begins with ! needs quotes) [tag]"),
    ("a: !!python/object:os.system {}",
     "1:4: !!python/object:os.system is a tag, which a spec does not take: leave it out "
     "(a text that begins with ! needs quotes) [tag]"),
    ("a: 1\n---\nb: 2", "2:1: a second document begins; a file is one spec [second-document]"),
    ("%x\n---\na: 1", "1:1: a line that begins with % is a directive, which a spec does not take [directive]"),
    ("", ": this file is empty; a spec has at least input and layers [empty-file]"),
    ("# nothing\n\n", ": this file is empty; a spec has at least input and layers [empty-file]"),
    ("---\n", ": this file is empty; a spec has at least input and layers [empty-file]"),
    ("- a\n- b", "1:1: a spec is a map of keys (name, input, layers), not a list [not-a-map]"),
    ("hello world", "1:1: a spec is a map of keys (name, input, layers), not a single value [not-a-map]"),
    # numbers and characters
    ("a: 1000000000000000000",
     "1:4: an integer has at most 18 digits, not 1000000000000000000 (put quotes around a text) [number-too-long]"),
    ("a: -0000000000000000001",
     "1:4: an integer has at most 18 digits, not -0000000000000000001 (put quotes around a text) [number-too-long]"),
    ("a: 0xde0b6b3a7640000",
     "1:4: an integer has at most 18 digits, not 0xde0b6b3a7640000 (put quotes around a text) [number-too-long]"),
    ("1000000000000000000: a",
     "1:1: an integer has at most 18 digits, not 1000000000000000000 (put quotes around a text) [number-too-long]"),
    ("a: " + "9" * 5000,
     "1:4: an integer has at most 18 digits, not 99999999999999999999... (5000 characters) (put quotes around a text) "
     "[number-too-long]"),
    ("a: 1e999", "1:4: 1e999 is too large for a number (put quotes around a text) [number-too-large]"),
    ("a: b\x07c", "1:5: the character U+0007 may not stand in a spec [control-character]"),
    ("a: b\nb: c\0", "2:5: the character U+0000 may not stand in a spec [control-character]"),
    ('a: "\\e[31m"', "1:4: the character U+001B may not stand in a spec [control-character]"),
    ("a: b\n\ufeffc: d", "2:1: the character U+FEFF may not stand in a spec [control-character]"),
    # brackets, quotes, indentation
    ("a: [1, 2", "1:4: the [ is never closed [unclosed-bracket]"),
    ("a: {b: 1\nc: 2", "2:2: a comma or } is missing: the { at line 1, column 4 is still open [unclosed-bracket]"),
    ("{a: b c: d}", "1:8: a comma or } is missing: the { at line 1, column 1 is still open [unclosed-bracket]"),
    ("{a: [1, 2}", "1:10: a comma or ] is missing: the [ at line 1, column 5 is still open [unclosed-bracket]"),
    ("a: ]", "1:4: ] closes nothing: no [ is open here [unclosed-bracket]"),
    ("a: [1] ]", "1:8: ] closes nothing: no [ is open here [unclosed-bracket]"),
    ("{a: 1}}", "1:7: } closes nothing: no { is open here [unclosed-bracket]"),
    ("{a: 1,, b: 2}", "1:7: a value is missing before this comma [missing-value]"),
    ("a: 'x", "1:4: the quote ' is never closed [unclosed-quote]"),
    ('a: "x\nb: 1\n', '1:4: the quote " is never closed [unclosed-quote]'),
    ("a: @x", "1:4: a value cannot begin with @: put quotes around it [needs-quotes]"),
    ("a: %x", "1:4: a value cannot begin with %: put quotes around it [needs-quotes]"),
    ("a: *", "1:4: a value cannot begin with *: put quotes around it [needs-quotes]"),
    ("title: ResNet: deep",
     '1:8: a colon and a space inside a value: put quotes around it ("ResNet: deep") or the next key on its own line '
     "[colon-in-value]"),
    ("a: b\n c: d",
     "2:2: this line is indented deeper than the one above, which has a value already [bad-indentation]"),
    ("a: 1\n- b", "2:1: this line does not continue the map that begins at line 1: check its indentation "
        "[bad-indentation]"),
    ("- a\nb: 1", "2:1: this line does not continue the list that begins at line 1: check its indentation "
        "[bad-indentation]"),
    ("a:\n    b: 1\n  c: 2",
     "3:3: this line does not continue the map that begins at line 1: check its indentation [bad-indentation]"),
    ("a: - b", "1:4: a list begins on a line of its own, below its key; or is written [a, b] [bad-indentation]"),
    ("a: {b: 1} x", "1:11: x follows a value that has ended [yaml-syntax]"),
    ("a: |x\n  b", "1:5: x follows a value that has ended [yaml-syntax]"),
]  # fmt: skip


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: slip[0][:30])
def test_a_slip_gets_its_message(slip):
    text, *messages = slip
    assert told(text) == [f"f.yaml:{message}" if message[0].isdigit() else f"f.yaml{message}" for message in messages]


def test_mistakes_come_together_in_the_order_of_lines_up_to_the_one_that_ends_the_reading():
    text = "b: 1\nb: 2\nc: !t x\nd: {op:relu}\ne: [\n"
    assert [line.rsplit(" ", 1)[1] for line in told(text)] == [
        "[duplicate-key]", "[tag]", "[missing-space]", "[unclosed-bracket]",
    ]  # fmt: skip


def test_the_pure_parser_gives_the_same_codes(monkeypatch):
    """Its places and reasons differ in detail; what the mistake is called must not."""
    differ = {"{op:}", "a: 1\n\tb: 2", "a:\n  - {x: 1}\n  \t- {y: 1}", "%x\n---\na: 1"}
    for text, *messages in SLIPS:
        if text in differ:
            continue
        monkeypatch.setattr(reader, "_Parser", yaml.SafeLoader)
        codes = [message.rsplit(" ", 1)[1] for message in told(text)]
        assert (text, codes) == (text, [message.rsplit(" ", 1)[1] for message in messages])


def test_too_many_mistakes_end_the_reading():
    lines = told("a: 1\n" * 5000)
    assert len(lines) == reader.MAX_MISTAKES + 1
    assert lines[-1] == "f.yaml:101:1: key a is given twice, first in line 1 [duplicate-key]"
    assert "f.yaml:101:1: 100 mistakes so far; the rest was not read [too-many-mistakes]" in lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: \xff", "f.yaml:1:4: byte 0xff is not UTF-8: save the file as UTF-8 [not-utf-8]"),
        ("a: é\nbé: ".encode() + b"\xe9", "f.yaml:2:5: byte 0xe9 is not UTF-8: save the file as UTF-8 [not-utf-8]"),
        (b"\xef\xbb\xbfa: \xff", "f.yaml:1:4: byte 0xff is not UTF-8: save the file as UTF-8 [not-utf-8]"),
        ("a: 1".encode("utf-16"), "f.yaml:1:1: this file is UTF-16: save it as UTF-8 [not-utf-8]"),
    ],
)
def test_what_is_not_utf_8_is_told_with_its_place(text, message):
    assert told(text) == [message]


# --- limits


def test_depth_of_50_is_read_and_51_is_refused(parser):
    assert read(b"a: " + b"[" * 49 + b"]" * 49, "f.yaml")
    assert told(b"a: " + b"[" * 50 + b"]" * 50) == [
        "f.yaml:1:53: lists and maps nest deeper than 50 [nested-too-deeply]"
    ]


@pytest.mark.parametrize("opening", ["[", "{", "- ", "? ", "[\n", "a: [", "{a: "])
def test_100_000_nested_brackets_get_a_message(opening, parser):
    assert told(opening * 100_000)[-1].endswith(": lists and maps nest deeper than 50 [nested-too-deeply]")


def test_events_are_bounded(monkeypatch):
    monkeypatch.setattr(reader, "MAX_EVENTS", 13)
    read(b"a: [1, 2, 3, 4]", "f.yaml")  # 5 scalars; stream, document, map and list opened and closed: 13
    assert told(b"a: [1, 2, 3, 4,\n    5, 6, 7, 8, 9]") == [
        "f.yaml:2:17: more than 13 keys and values [too-many-values]"
    ]


def test_bytes_are_bounded():
    assert told(b" " * (reader.MAX_BYTES + 1)) == [
        "f.yaml: this file is larger than 64 MB, the most a spec may be [file-too-large]"
    ]


def test_a_hundred_thousand_keys_are_compared_in_no_time():
    text = "".join(f"k{number}: {number}\n" for number in range(100_000)) + "k7: again\n"
    assert told(text) == ["f.yaml:100001:1: key k7 is given twice, first in line 8 [duplicate-key]"]


@pytest.mark.parametrize("text", [b"a: 1", b"a: ["])
def test_the_garbage_collector_is_left_as_it_was(text, monkeypatch):
    before = gc.get_threshold()
    seen = []
    build = reader._Reader.build
    monkeypatch.setattr(reader._Reader, "build", lambda self: seen.append(gc.get_threshold()) or build(self))
    with contextlib.suppress(SpecError):
        read(text, "f.yaml")
    assert seen[0] > before
    assert gc.get_threshold() == before


# --- files


def refused(path: Path) -> str:
    with pytest.raises(SpecError) as caught:
        read_file(path)
    return str(caught.value)


def test_a_file_is_read_whole(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: 1\r\n")
    assert read_file(path) == b"a: 1\r\n"


def test_a_missing_file_is_told_with_its_neighbour(tmp_path):
    (tmp_path / "resnet.yaml").touch()
    path = tmp_path / "resnett.yaml"
    assert refused(path) == f"{path}: there is no such file: did you mean {tmp_path}/resnet.yaml? [no-such-file]"
    far = tmp_path / "x"
    assert refused(far) == f"{far}: there is no such file [no-such-file]"
    nowhere = tmp_path / "no" / "x.yaml"
    assert refused(nowhere) == f"{nowhere}: there is no such file [no-such-file]"


def test_a_directory_is_refused(tmp_path):
    assert refused(tmp_path) == f"{tmp_path}: this is a directory; a spec is a file [is-a-directory]"


def test_an_unreadable_file_is_refused(tmp_path):
    (tmp_path / "a").touch()
    below = tmp_path / "a" / "b"
    assert refused(below) == f"{below}: this file cannot be read: Not a directory [unreadable-file]"
    path = tmp_path / "secret.yaml"
    path.touch()
    with mock.patch.object(Path, "open", side_effect=PermissionError(13, "Permission denied")):
        assert refused(path) == f"{path}: this file cannot be read: Permission denied [unreadable-file]"
    assert refused(Path("a\0b")) == "a\0b: this file cannot be read: no file's name has a null byte [unreadable-file]"


def test_a_large_file_is_refused_unread(tmp_path):
    path = tmp_path / "large.yaml"
    path.touch()
    os.truncate(path, 100_000_000)
    with mock.patch.object(Path, "open", side_effect=AssertionError("it was opened")):
        assert refused(path) == f"{path}: this file is larger than 64 MB, the most a spec may be [file-too-large]"


def test_a_pipe_is_read_and_bounded(tmp_path, monkeypatch):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    for text in (b"a: 1", b"a: 12345678"):
        writer = threading.Thread(target=path.write_bytes, args=(text,))
        writer.start()
        monkeypatch.setattr(reader, "MAX_BYTES", 10)
        if len(text) <= 10:
            assert read_file(path) == text
        else:
            assert refused(path).endswith("[file-too-large]")
        writer.join()


# --- properties

PIECES = [
    "a", "b: ", "- ", "\n", "\n  ", "\n    ", "{", "}", "[", "]", ", ", ",", ": ", ":", "? ", "'", '"', "\\",
    "&x ", "*x",
    "!t ", "|", ">\n", "#", " #", "=", "=max(", "=n[0]", "(3, 3)", "op:relu", "\t", "%", "@", "~", "true", "1",
    "0x1f", "1e5",
    "<<: ", "---\n", "...\n", "é", "\u2028", "\x85", "\ufeff", "\r\n", "\x07", "key: value\n", "=f(1, 'x')",
    "99999999999999999999",
]  # fmt: skip


def read_by(parser, text: bytes):
    with mock.patch.object(reader, "_Parser", parser):
        try:
            return read(text, "f.yaml")
        except SpecError:
            return None


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_a_tree_or_mistakes(text):
    read_by(yaml.CSafeLoader, text)
    read_by(yaml.SafeLoader, text)


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@settings(max_examples=300, deadline=None)
def test_both_parsers_give_one_tree_from_whatever_both_read(text):
    fast, slow = read_by(yaml.CSafeLoader, text.encode()), read_by(yaml.SafeLoader, text.encode())
    if fast is not None and slow is not None:
        assert fast == slow


class _Dumper(yaml.SafeDumper):
    """Strings in quotes, since the dumper's idea of what needs them is YAML 1.1's; no aliases."""

    def ignore_aliases(self, data):
        return True


_Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))

printable = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="\ufeff"), max_size=12)
texts = printable.filter(lambda text: not text.startswith("="))
keys = st.one_of(texts, st.integers(2, 10**18 - 1))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(1 - 10**18, 10**18 - 1), st.floats(allow_nan=False), printable
)  # fmt: skip
data = st.dictionaries(
    keys,
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
    ),
)


@given(data, st.sampled_from([True, False, None]), st.booleans(), st.integers(20, 200))
@settings(max_examples=150, deadline=None)
def test_what_was_dumped_is_read(value, flow, unicode, width):
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=flow, allow_unicode=unicode, width=width, sort_keys=False
    )
    for parser in (yaml.CSafeLoader, yaml.SafeLoader):
        tree = read_by(parser, text.encode())
        assert tree is not None
        assert plain(tree) == value
