"""YAML with places: the text of a spec as a tree in which every key and value knows its line and column.

The tree is built from libyaml's events, so limits hold as events arrive and nothing is constructed that the
text only promises. Plain scalars are resolved here by the core schema of YAML 1.2 (`yes` and `no` are words);
tags, anchors, aliases, merge keys, duplicate keys and a second document are refused.
"""

from __future__ import annotations

import codecs
import itertools
import re
import stat
from pathlib import Path
from typing import Any, NoReturn, Union

import msgspec
import yaml

from archprof.collector import rare_collections
from archprof.operators.base import nearest
from archprof.spec.errors import MAX_MISTAKES, Mistake, SpecError

MAX_BYTES = 64_000_000
MAX_EVENTS = 3_000_000
MAX_DEPTH = 50
MAX_DIGITS = 18
_REMEMBERED = 50_000  # resolved texts that are kept for their next use

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Scalar(msgspec.Struct, frozen=True, gc=False):
    """One value or key. `text` is it as written, before it was resolved; `quoted` is true of block text too."""

    value: bool | int | float | str | None
    text: str
    quoted: bool
    line: int
    column: int


class Sequence(msgspec.Struct, frozen=True, gc=False):
    """A list; `flow` where it was written in [ ]."""

    items: tuple[Tree, ...]
    flow: bool
    line: int
    column: int


class Mapping(msgspec.Struct, frozen=True, gc=False):
    """A map in the order of its text; `flow` where it was written in { }."""

    entries: tuple[tuple[Scalar, Tree], ...]
    flow: bool
    line: int
    column: int

    def get(self, key: str | int) -> Tree | None:
        """The value under a key, or None where the map has no such key."""
        for name, tree in self.entries:
            if name.value == key and type(name.value) is type(key):
                return tree
        return None


Tree = Union[Scalar, Sequence, Mapping]  # noqa: UP007  (msgspec resolves it at run time)


def plain(tree: Tree) -> Any:
    """The tree as dicts, lists and scalars, its places dropped."""
    if isinstance(tree, Scalar):
        return tree.value
    if isinstance(tree, Sequence):
        return [plain(item) for item in tree.items]
    return {key.value: plain(item) for key, item in tree.entries}


def read_file(path: Path) -> bytes:
    """The bytes of a spec file.

    Raises SpecError for a file that is missing, a directory, unreadable, or over MAX_BYTES (unread).
    """
    file = str(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise _refusal(file, "is-a-directory", "this is a directory; a spec is a file")
        if status.st_size > MAX_BYTES:
            raise _too_large(file)
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES + 1)  # a pipe has no size, and a file may grow
    except FileNotFoundError:
        raise _refusal(file, "no-such-file", f"there is no such file{_neighbour(path)}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, ValueError):
            reason = "no file's name has a null byte"  # what Python says of it differs by version
        raise _refusal(file, "unreadable-file", f"this file cannot be read: {reason}") from None
    if len(text) > MAX_BYTES:
        raise _too_large(file)
    return text


def read(text: bytes, file: str) -> Mapping:
    """The tree of a spec's text; `file` is the name that messages give it.

    Raises SpecError with every mistake of YAML that could be told; a mistake of syntax ends the reading.
    """
    tree, mistakes = read_partly(text, file)
    if mistakes:
        raise SpecError(mistakes)
    return tree


@rare_collections()
def read_partly(text: bytes, file: str) -> tuple[Mapping, tuple[Mistake, ...]]:
    """The tree of a spec's text without what its mistakes spoil, and those mistakes.

    Raises SpecError for a mistake that ends the reading, with those before it.
    """
    if len(text) > MAX_BYTES:
        raise _too_large(file)
    reader = _Reader(file, _decoded(text, file))
    return reader.read(), tuple(reader.mistakes)


def missing_space(text: str) -> str | None:
    """What `op:relu` was meant to be (`op: relu`), or None for a text that is no key and value run together."""
    match = _RUN_TOGETHER.match(text)
    return f"{match[1]}: {match[2]}" if match else None


def _refusal(file: str, code: str, message: str, line: int = 0, column: int = 0) -> SpecError:
    return SpecError([Mistake(file, line, column, message, code)])


def _too_large(file: str) -> SpecError:
    return _refusal(file, "file-too-large", f"this file is larger than {MAX_BYTES // 10**6} MB, the most a spec may be")


def _neighbour(path: Path) -> str:
    try:
        specs = (entry.name for entry in path.parent.iterdir() if entry.suffix in (".yaml", ".yml"))
        close = nearest(path.name, itertools.islice(specs, 1000))
    except OSError:
        return ""
    return f": did you mean {path.with_name(close)}?" if close else ""


def _decoded(text: bytes, file: str) -> str:
    text = text.removeprefix(codecs.BOM_UTF8)
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        before = text[: error.start].decode()
        line = before.count("\n") + 1
        column = len(before) - before.rfind("\n")
        message = f"byte 0x{text[error.start]:02x} is not UTF-8: save the file as UTF-8"
        if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            message = "this file is UTF-16: save it as UTF-8"
        raise _refusal(file, "not-utf-8", message, line, column) from None


# --- scalars

_NAN = float("nan")  # one object, so that two keys .nan are the same key
_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), _NAN),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_RUN_TOGETHER = re.compile(r"([A-Za-z_]\w*):(?!/)(\S.*)")
_RUN_TOGETHER_INSIDE = re.compile(r" [A-Za-z_]\w*:(?!/)\S")
_RUN_TOGETHER_LINE = re.compile(r"[ \t]*(?:- +)*([A-Za-z_]\w*):(?!/)([^\s#][^\n]*)")
_RUN_TOGETHER_BELOW = re.compile("(?m)^" + _RUN_TOGETHER_LINE.pattern)
_UNPRINTABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")

# What makes a plain scalar worth a second look where it stands. Most have nothing.
_EMPTY, _LONG, _LARGE, _EXPRESSION, _OPEN, _MERGE, _SPREAD = range(1, 8)


def _resolve(text: str) -> tuple[bool | int | float | str | None, int]:
    """The value of a plain scalar by the core schema, and what makes it doubtful (0: nothing)."""
    if text in _WORDS:
        return _WORDS[text], 0 if text else _EMPTY
    first = text[0]
    if first in "0123456789+-.":
        if len(text) <= MAX_DIGITS and text.isascii() and text.isdigit():
            return int(text), 0
        if _INTEGER.fullmatch(text):
            return (text, _LONG) if len(text.lstrip("+-")) > MAX_DIGITS else (int(text), 0)
        if _BASED.fullmatch(text):
            number = int(text[2:], 8 if text[1] == "o" else 16)  # a power of two as base: linear in its digits
            return (text, _LONG) if number >= 10**MAX_DIGITS else (number, 0)
        if _FLOAT.fullmatch(text):
            value = float(text)
            return (value, 0) if abs(value) != float("inf") else (text, _LARGE)
    if first == "=" or first == "(":
        balanced = text.count("(") == text.count(")") and text.count("'") % 2 == 0 and text.count('"') % 2 == 0
        return text, _OPEN if not balanced else _EXPRESSION if first == "=" else 0
    if text == "<<":
        return text, _MERGE
    return text, _SPREAD if _RUN_TOGETHER_INSIDE.search(text) else 0


# --- the reader


class _Frame:
    """A list or map that is still open."""

    __slots__ = ("column", "flow", "index", "items", "key", "line", "seen")

    def __init__(self, event: Any, is_map: bool) -> None:
        mark = event.start_mark
        self.line = mark.line + 1
        self.column = mark.column + 1
        self.index = mark.index
        self.flow = bool(event.flow_style)
        self.items: list[Any] = []
        self.seen: dict[Any, Scalar] | None = {} if is_map else None
        self.key: Scalar | None = None

    def close(self) -> Sequence | Mapping:
        kind = Sequence if self.seen is None else Mapping
        return kind(tuple(self.items), self.flow, self.line, self.column)


_NOT_SHARED = (
    "which a spec does not take: share values by defaults, let or blocks (a text that begins with {} needs quotes)"
)
_TOO_DEEP = ("nested-too-deeply", f"lists and maps nest deeper than {MAX_DEPTH}")
_DROPPED = Scalar(None, "", False, 0, 0)  # stands for a key that was refused, so that its value is dropped


class _Reader:
    """One reading of one text."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.mistakes: list[Mistake] = []
        self.stack: list[_Frame] = []

    def add(self, line: int, column: int, code: str, message: str) -> None:
        self.mistakes.append(Mistake(self.file, line, column, message, code))
        if len(self.mistakes) >= MAX_MISTAKES:
            self.stop(line, column, "too-many-mistakes", f"{MAX_MISTAKES} mistakes so far; the rest was not read")

    def stop(self, line: int, column: int, code: str, message: str) -> NoReturn:
        self.mistakes.append(Mistake(self.file, line, column, message, code))
        raise SpecError(self.mistakes)

    def read(self) -> Mapping:
        mark = self.text.find("\ufeff")
        if mark >= 0:  # invisible, and the two parsers of PyYAML differ on it
            self.stop(*_place(self.text, mark), *_unprintable("\ufeff"))
        try:
            root = self.build()
        except yaml.reader.ReaderError:
            self.refuse_unprintable()
        except yaml.MarkedYAMLError as error:
            self.mistakes.append(_told(error, self.text, self.file, self.stack))
            raise SpecError(self.mistakes) from None
        if root is None or (isinstance(root, Scalar) and not root.text):
            self.stop(0, 0, "empty-file", "this file is empty; a spec has at least input and layers")
        if not isinstance(root, Mapping):
            self.refuse_root(root)
        return root

    def refuse_root(self, root: Scalar | Sequence) -> NoReturn:
        meant = missing_space(root.text) if isinstance(root, Scalar) and not root.quoted else None
        if meant:
            self.stop(root.line, root.column, "missing-space", f"a space is missing after the colon: write {meant}")
        what = "a list" if isinstance(root, Sequence) else "a single value"
        self.stop(root.line, root.column, "not-a-map", f"a spec is a map of keys (name, input, layers), not {what}")

    def refuse_unprintable(self) -> NoReturn:
        match = _UNPRINTABLE.search(self.text)
        assert match, "libyaml refuses what the YAML standard calls not printable"
        line, column = _place(self.text, match.start())
        self.stop(line, column, *_unprintable(match[0]))

    def build(self) -> Tree | None:
        """The tree of the first document; None where there is none."""
        parser = _Parser(self.text)
        next_event = parser.get_event
        scalar_event, mapping_start, sequence_start = yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent
        ends = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
        known: dict[str, tuple[str, Any, int]] = {}  # plain text: one object for all its uses, value, doubt
        stack = self.stack
        frame: _Frame | None = None
        root: Tree | None = None
        split = start = -1  # between these the text belongs to an expression that a comma split
        line = 0
        tree: Tree
        for count, event in enumerate(iter(next_event, None)):
            if count >= MAX_EVENTS:
                mark = event.start_mark
                self.stop(
                    mark.line + 1, mark.column + 1, "too-many-values", f"more than {MAX_EVENTS:,} keys and values"
                )
            kind = type(event)
            if kind is scalar_event:
                mark = event.start_mark
                column = mark.column + 1
                if mark.line + 1 != line:
                    line = mark.line + 1  # one object for all that stands on the line
                text = event.value
                if event.style:
                    tree = Scalar(text, text, True, line, column)
                    doubt = 0
                    if not text.isprintable():
                        escaped = _UNPRINTABLE.search(text)
                        if escaped:
                            self.add(line, column, *_unprintable(escaped[0]))
                else:
                    found = known.get(text)
                    if found is None:
                        if len(known) >= _REMEMBERED:
                            known.clear()
                        found = known[text] = (text, *_resolve(text))
                    text, value, doubt = found
                    tree = Scalar(value, text, False, line, column)
                if event.anchor is not None or event.tag is not None:
                    self.refuse_properties(event)
                if frame is None:
                    root = tree
                    continue
                if mark.index < split:
                    if frame.seen is not None:
                        frame.key = _DROPPED if frame.key is None else None
                    continue
                if frame.seen is None:
                    if doubt:
                        start = mark.index
                        split = self.check_value(tree, doubt, start, event.end_mark.index, None)
                    frame.items.append(tree)
                elif frame.key is None:
                    frame.key = self.check_key(tree, doubt, frame.seen)
                else:
                    key = frame.key
                    frame.key = None
                    if key is not _DROPPED:
                        if doubt:
                            start = mark.index
                            split = self.check_value(tree, doubt, start, event.end_mark.index, key)
                            if doubt == _EMPTY:  # the parsers differ on where nothing stands
                                tree = Scalar(None, "", False, key.line, key.column)
                        frame.items.append((key, tree))
                continue
            mark = event.start_mark
            place = (mark.line + 1, mark.column + 1)
            if kind in ends:
                assert frame is not None
                closed = stack.pop()
                frame = stack[-1] if stack else None
                if frame is None:
                    root = closed.close()
                else:
                    self.put(frame, closed.close(), start <= closed.index < split)
            elif kind is mapping_start or kind is sequence_start:
                self.refuse_properties(event)
                frame = _Frame(event, kind is mapping_start)
                if len(stack) >= MAX_DEPTH:
                    self.stop(*place, *_TOO_DEEP)
                stack.append(frame)
            elif kind is yaml.AliasEvent:
                alias = ("alias", f"*{event.anchor} is an alias, {_NOT_SHARED.format('*')}")
                if frame is None:
                    self.stop(*place, *alias)
                self.add(*place, *alias)
                self.put(frame, Scalar(None, "", True, *place), True)
            elif kind is yaml.DocumentStartEvent and root is not None:
                self.stop(*place, "second-document", "a second document begins; a file is one spec")
        return root

    def put(self, frame: _Frame, tree: Tree, refused: bool) -> None:
        """Put what is no scalar where it stands in an open list or map; refused, it leaves nothing there."""
        if frame.seen is None:
            if not refused:
                frame.items.append(tree)
        elif frame.key is None:
            if not refused:
                message = "a key must be a word or a number, not a list or map"
                self.add(tree.line, tree.column, "key-not-a-word", message)
            frame.key = _DROPPED
        else:
            if not refused and frame.key is not _DROPPED:
                frame.items.append((frame.key, tree))
            frame.key = None

    def refuse_properties(self, event: Any) -> None:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if event.anchor is not None:
            self.add(line, column, "anchor", f"&{event.anchor} is an anchor, {_NOT_SHARED.format('&')}")
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!", 1)
            message = (
                f"{tag} is a tag, which a spec does not take: leave it out (a text that begins with ! needs quotes)"
            )
            self.add(line, column, "tag", message)

    def check_key(self, key: Scalar, doubt: int, seen: dict[Any, Scalar]) -> Scalar:
        """The key, or _DROPPED where it cannot stand."""
        first = seen.setdefault(key.value, key)
        place = (key.line, key.column)
        if doubt == _MERGE:
            self.add(
                *place, "merge-key", "<< is a merge key, which a spec does not take: share values by defaults or blocks"
            )
        elif doubt == _EMPTY:
            self.add(*place, "missing-key", "a key is missing before the colon")
        elif key.text.startswith("="):
            self.add(*place, "expression-as-key", f"{key.text} stands as a key; an expression may only be a value")
        elif first is not key:
            self.add(*place, "duplicate-key", f"key {key.text} is given twice, first in line {first.line}")
        elif doubt in (_LONG, _LARGE):
            self.refuse_number(key, doubt)
        else:
            return key
        return _DROPPED

    def check_value(self, scalar: Scalar, doubt: int, start: int, end: int, key: Scalar | None) -> int:
        """Look twice at a doubtful plain value; the index up to which a comma split it, or -1."""
        flow = self.stack[-1].flow
        if doubt in (_LONG, _LARGE):
            self.refuse_number(scalar, doubt)
        elif doubt == _EMPTY and flow and key is not None and not key.quoted:
            meant = missing_space(key.text)
            if meant:
                self.add(key.line, key.column, "missing-space", f"a space is missing after the colon: write {meant}")
        elif doubt == _OPEN and flow:
            whole = _whole(self.text, start)
            if whole and len(whole) > end - start:
                self.add(scalar.line, scalar.column, *_split_by_comma(whole))
                return start + len(whole)
        elif doubt == _SPREAD:
            for match in _RUN_TOGETHER_BELOW.finditer(self.text, start, end):
                line, column = _place(self.text, match.start(1), start, scalar.line)
                meant = f"{match[1]}: {match[2].rstrip()}"
                self.add(line, column, "missing-space", f"a space is missing after the colon: write {meant}")
        return -1

    def refuse_number(self, scalar: Scalar, doubt: int) -> None:
        text = _clipped(scalar.text)
        if doubt == _LONG:
            message = f"an integer has at most {MAX_DIGITS} digits, not {text} (put quotes around a text)"
            self.add(scalar.line, scalar.column, "number-too-long", message)
        else:
            message = f"{text} is too large for a number (put quotes around a text)"
            self.add(scalar.line, scalar.column, "number-too-large", message)


def _unprintable(char: str) -> tuple[str, str]:
    return "control-character", f"the character U+{ord(char):04X} may not stand in a spec"


def _clipped(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:20]}... ({len(text)} characters)"


# --- slips of syntax, told in the house voice

_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_EXPRESSION_START = re.compile(r"(?:^|[:\-,]\s+|[\[{,]\s*)(=(?!=))")
_JUST_A_KEY = re.compile(r"\s*(?:- +)*(?:[^\s:'\"]+|'[^']*'|\"[^\"]*\")\s*")


def _place(text: str, index: int, start: int = 0, line: int = 1) -> tuple[int, int]:
    """Line and column, from 1, of an index; `start` is an index on `line` to count from, on a line before."""
    for match in _LINE_BREAK.finditer(text, start, index):
        line, start = line + 1, match.end()
    return line, index - start + 1


def _line_bounds(text: str, index: int) -> tuple[int, int]:
    start = max(text.rfind(mark, 0, index) for mark in "\n\r\x85\u2028\u2029") + 1
    end = _LINE_BREAK.search(text, index)
    return start, end.start() if end else len(text)


def _whole(text: str, start: int) -> str | None:
    """The balanced expression or bracketed text that begins at an index, as its author meant it; None if unbalanced.

    It ends before a comma or closing bracket that is not its own, or at the end of its line.
    """
    closers: list[str] = []
    quote = ""
    for index in range(start, min(len(text), start + 1000)):
        char = text[index]
        if char in "\n\r":
            break
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in _PAIRS:
            closers.append(_PAIRS[char])
        elif closers and char == closers[-1]:
            closers.pop()
        elif char in ")]}" or (char == "," and not closers) or (char == "#" and text[index - 1] == " "):
            break
    else:
        index = min(len(text), start + 1000)
    return None if closers or quote else text[start:index].rstrip()


def _in_quotes(text: str) -> str:
    """A text as YAML takes it quoted."""
    if '"' not in text and "\\" not in text:
        return f'"{text}"'
    return "'" + text.replace("'", "''") + "'"


def _split_by_comma(whole: str) -> tuple[str, str]:
    """Code and message for a value in { } or [ ] that YAML split at its comma."""
    if whole.startswith("("):
        return "list-in-parentheses", f"a list is written [{whole[1:].removesuffix(')')}]"
    return (
        "comma-in-expression",
        f"the expression ends at the comma; inside {{ }} or [ ] put quotes around it: {_in_quotes(whole)}",
    )


def _told(error: yaml.MarkedYAMLError, text: str, file: str, stack: list[_Frame]) -> Mistake:
    """A mistake of syntax as our own: the slips we know by name, else what YAML's parser says."""
    line, column, code, message = _diagnosed(error, text, stack)
    return Mistake(file, line, column, message, code)


def _diagnosed(error: yaml.MarkedYAMLError, text: str, stack: list[_Frame]) -> tuple[int, int, str, str]:
    mark: Any = error.problem_mark or error.context_mark
    origin: Any = error.context_mark or mark
    problem, context = str(error.problem), str(error.context)
    index = min(mark.index, len(text))
    begin = min(origin.index, len(text))
    here = (mark.line + 1, mark.column + 1)
    there = (origin.line + 1, origin.column + 1)
    char = text[index : index + 1]
    start, end = _line_bounds(text, index)
    line, prefix = text[start:end], text[start:index]
    indent = len(line) - len(line.lstrip())
    in_flow = bool(stack) and stack[-1].flow

    if "nesting depth" in problem:  # libyaml's own bound, met where it reads ahead
        return *here, *_TOO_DEEP
    if char == "\t" or " tab " in problem or ("\t" in line[:indent] and not in_flow):
        return *here, "tab", "a tab stands where YAML takes spaces: indent by spaces"
    slip = _slip_in_expression(problem, text, start, index)
    if slip:
        at, code, message = slip
        return here[0], at - start + 1, code, message
    if problem.startswith("mapping values are not allowed"):
        if _JUST_A_KEY.fullmatch(prefix):
            return _second_value(text, start, (here[0], indent + 1))
        at = line.find(": ") + 2
        value = _in_quotes(line[at:].split(" #")[0].strip())
        message = f"a colon and a space inside a value: put quotes around it ({value}) or the next key on its own line"
        return here[0], at + 1, "colon-in-value", message
    if "':'" in problem or char == ":":  # a key whose colon was not found, or one that no space follows
        key_start, key_end = _line_bounds(text, begin)
        meant = _run_together(text, key_start, key_end)
        if meant:
            return *there, "missing-space", f"a space is missing after the colon: write {meant}"
        if char == ":" and text[index + 1 : index + 2].strip():
            return *here, "missing-space", "a space is missing after the colon"
        if "could not find" in problem:
            return *there, "key-without-colon", _stands_alone(text[begin:key_end])
    if "quoted scalar" in context:
        if "end of stream" in problem or "document" in problem:
            return *there, "unclosed-quote", f"the quote {text[begin]} is never closed"
        return (
            *here,
            "bad-escape",
            "a backslash in double quotes begins an escape, and this one is unknown: use single quotes",
        )
    if in_flow and ("',' or" in problem or not char):
        # `[a: b]` opens a map without a bracket, and a tag or an anchor may stand before one
        opened = next((frame for frame in reversed(stack) if text[frame.index] in _PAIRS), None)
        if opened is None:
            return *here, "unclosed-bracket", "a comma or a closing bracket is missing"
        opener = text[opened.index]
        if not char:
            return opened.line, opened.column, "unclosed-bracket", f"the {opener} is never closed"
        where = f"the {opener} at line {opened.line}, column {opened.column} is still open"
        return *here, "unclosed-bracket", f"a comma or {_PAIRS[opener]} is missing: {where}"
    if char == "," and "node" in problem:
        return *here, "missing-value", "a value is missing before this comma"
    if char in ("]", "}"):
        return *here, "unclosed-bracket", f"{char} closes nothing: no {'[' if char == ']' else '{'} is open here"
    if "entries are not allowed" in problem:
        return *here, "bad-indentation", "a list begins on a line of its own, below its key; or is written [a, b]"
    if char == ":":
        return *here, "missing-key", "a key is missing before the colon"
    if line.startswith("%"):
        return here[0], 1, "directive", "a line that begins with % is a directive, which a spec does not take"
    if "cannot start any token" in problem or "alphabetic or numeric" in problem or "node content" in problem:
        return *there, "needs-quotes", f"a value cannot begin with {text[begin : begin + 1]}: put quotes around it"
    if prefix.strip() or "<document start>" in problem:
        return *here, "yaml-syntax", f"{_clipped(line[index - start :].strip())} follows a value that has ended"
    if "block mapping" in context or "block collection" in context:
        what = "map" if "mapping" in context else "list"
        message = f"this line does not continue the {what} that begins at line {there[0]}: check its indentation"
        return *here, "bad-indentation", message
    return *here, "yaml-syntax", f"this is not YAML: {problem}"


def _slip_in_expression(problem: str, text: str, start: int, index: int) -> tuple[int, str, str] | None:
    """Where an unquoted expression on the line of `start` tripped YAML at an index: its index, code and message."""
    found = list(_EXPRESSION_START.finditer(text[start : index + 1]))
    if not found:
        return None
    begin = start + found[-1].start(1)
    whole = _whole(text, begin)
    if whole is None:
        _, end = _line_bounds(text, begin)
        whole = text[begin:end].split(" #")[0].rstrip(" }],")
    if index > begin + len(whole):
        return None
    in_block = problem.startswith("mapping values")
    stop = re.search(r"[{:]" if in_block else r"[,\[\]{}]", whole)
    if stop is None:
        return None
    if stop[0] == "{":
        message = "an expression holds no map: write the map as YAML under `let` and index it"
        return begin, "map-in-expression", message
    if in_block:
        message = f"a colon and a space end the expression: put quotes around it: {_in_quotes(whole)}"
        return begin, "colon-in-expression", message
    if stop[0] == ",":
        return begin, *_split_by_comma(whole)
    message = f"a bracket inside {{ }} ends the value; quote the expression: {_in_quotes(whole)}"
    return begin, "bracket-in-expression", message


def _run_together(text: str, start: int, end: int) -> str | None:
    """What the key and value of a line were meant to be, where no space parts them."""
    match = _RUN_TOGETHER_LINE.match(text, start, end)
    return f"{match[1]}: {match[2].rstrip()}" if match else None


def _stands_alone(key: str) -> str:
    return f"{_clipped(key.strip())} stands alone: a key is followed by a colon and its value"


def _second_value(text: str, start: int, here: tuple[int, int]) -> tuple[int, int, str, str]:
    """What is wrong where a key and its value stand below a line that is complete: often that line."""
    begin, end = _line_bounds(text, len(text[:start].rstrip()))
    above = text[begin:end]
    place = (*_place(text, begin)[:1], len(above) - len(above.lstrip(" -")) + 1)
    meant = _run_together(text, begin, end)
    if meant:
        return *place, "missing-space", f"a space is missing after the colon: write {meant}"
    if re.fullmatch(r"\s*(?:- +)*\w+\s*", above):
        return *place, "key-without-colon", _stands_alone(above.lstrip(" -"))
    message = "this line is indented deeper than the one above, which has a value already"
    return *here, "bad-indentation", message
