"""Expressions: what stands behind `=` in a spec, parsed once, evaluated fast, unable to do harm.

A whitelist over Python's own syntax tree, turned into closures: whatever is not named here does not exist.
Numbers stay finite and within 64 bits, strings and lists within MAX_LENGTH, and nothing larger is made on the way.
"""

from __future__ import annotations

import ast
import keyword
import math
import operator
import re
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Union

import msgspec

from archprof.errors import ArchprofError
from archprof.operators.base import nearest, shown

MAX_CHARACTERS = 1_000
MAX_NODES = 200
MAX_LENGTH = 10_000
MAX_DEPTH = 50
MAX_DIGITS = 18
MAX_EXPRESSIONS = 10_000  # different ones in a file; each is parsed once
MAX_SOURCE = 400_000  # characters of all of them
_LARGEST = 2**63 - 1
_SMALLEST = -(2**63)

Value = Union[None, bool, int, float, str, "list[Any]", "dict[Any, Any]"]
Names = Mapping[str, Value]
_Run = Callable[[Names], Any]

# Words that no parameter can have, since an expression reads them as its own.
RESERVED = frozenset({*keyword.kwlist, "true", "false", "null"})


class ExpressionError(ArchprofError):
    """An expression that cannot be read or evaluated; `code` names the kind of mistake."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class UnknownName(ExpressionError):
    """A name that nothing has in this scope."""

    def __init__(self, name: str) -> None:
        super().__init__("unknown-name", f"unknown name {_quoted(name)}: {name_hint(name)}")
        self.name = name


class Expression(msgspec.Struct, frozen=True, eq=False):
    """A parsed expression. `names` are those it needs from its scope, functions excluded."""

    source: str
    names: frozenset[str]
    run: _Run

    def evaluate(self, names: Names) -> Value:
        """The value in a scope. Raises ExpressionError, UnknownName among them."""
        value: Value = self.run(names)
        return value


class _Meter(threading.local):
    """How many items of lists this thread's expressions have gone through: whoever evaluates many can bound it."""

    spent = 0


METER = _Meter()


@lru_cache(maxsize=2 * MAX_EXPRESSIONS)
def parse(source: str) -> Expression:
    """Parse what stands behind the `=`. Raises ExpressionError."""
    source = source.strip()
    if len(source) > MAX_CHARACTERS:
        raise ExpressionError(
            "expression-too-long", f"an expression has at most {MAX_CHARACTERS:,} characters, not {len(source):,}"
        )
    _check_tokens(source)
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise _syntax(f"{_quoted(source)} cannot be read as an expression") from None
    size = sum(isinstance(node, ast.expr) for node in ast.walk(tree))
    if size > MAX_NODES:
        raise ExpressionError("expression-too-long", f"an expression has at most {MAX_NODES} parts, not {size}")
    compiler = _Compiler(source)
    run = compiler.compile(tree)
    return Expression(source, frozenset(compiler.names), run)


def name_hint(name: str, known: Collection[str] = ()) -> str:
    """What an unknown name may have been meant to be, of `known` names or otherwise."""
    if name in ("none", "nil", "NULL", "Null"):
        return f"for the word write '{name}', for no value null"
    if name in FUNCTIONS:
        return f"{name} is a function: write {name}(...)"
    close = nearest(name, known)
    return f"did you mean {close}?" if close else f"for the word write '{_quoted(name)}'"


# --- syntax: what Python would tell in its own words, or not at all

_TOKEN = re.compile(
    r"""\s+
    | (?P<string>'[^'\\]*'|"[^"\\]*")
    | (?P<number>(?:[0-9]\w*\.?|\.[0-9])(?:(?<=[eE])[+-]?\w+|[\w.])*)
    | (?P<name>[^\W0-9]\w*)
    | (?P<symbol>\*\*|//|[=!<>]=|:=|<>|<<|>>|&&|\|\||[-+*/%<>=()\[\]{},.:!?&|^~;])""",
    re.VERBOSE,
)
_NUMBER = re.compile(
    r"0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9_]+)(?:[eE][+-]?[0-9_]+)?"
)
_CLOSERS = {"(": ")", "[": "]", "{": "}"}
_WORDS = frozenset({"and", "or", "not", "in", "if", "else", "is", "for", "lambda"})  # handled by the grammar or below
_INSTEAD = {
    "&&": "&& is written and",
    "||": "|| is written or",
    "!": "! is written not",
    "<>": "<> is written !=",
    "?": "a ? b : c is written b if a else c",
    "^": "^ is no operator here: a power is written **",
    "&": "& is no operator here: write and",
    "|": "| is no operator here: write or",
    "~": "~ is no operator here: write not",
    "<<": "<< is no operator here: write * 2 ** n",
    ">>": ">> is no operator here: write // 2 ** n",
    ";": "an expression is a single one: ; does not join two",
    ":=": "an expression gives no names: write them under `let`",
}
_PYTHON_WORDS = {
    "None": "None is written null (the word: 'None')",
    "True": "True is written true (the word: 'True')",
    "False": "False is written false (the word: 'False')",
    "is": "is compares no values here: write ==",
    "for": "an expression has no loops: write a list, range(n) or `repeat`",
    "lambda": "an expression defines no functions",
}


def _quoted(source: str) -> str:
    """A piece of an expression as a message quotes it."""
    text = source if source.isprintable() else ascii(source)[1:-1]
    return text if len(text) <= 60 else f"{text[:57]}..."


def _syntax(message: str, code: str = "expression-syntax") -> ExpressionError:
    return ExpressionError(code, message)


def _check_tokens(source: str) -> None:
    """Refuse what is no expression, as far as a look at its tokens tells."""
    if not source:
        raise _syntax("an expression is missing after the =", "empty-expression")
    if source.startswith("="):
        raise _syntax("an expression begins with one =, not with two")
    if "\n" in source or "\r" in source:
        raise _syntax("an expression stands on one line")
    opened: list[tuple[str, bool]] = []  # brackets, and whether each is a call's
    before = ""  # the kind of the token before: an operand, a word, a symbol, or nothing yet
    before_text = ""
    before_end = 0
    position = 0
    while position < len(source):
        match = _TOKEN.match(source, position)
        char = source[position]
        if match is None:
            if char in "'\"" and char not in source[position + 1 :]:
                raise _syntax(f"the quote {char} is never closed")
            if char in "'\"\\":
                raise _syntax("a text in an expression holds no backslash")
            raise _syntax(f"{_quoted(char)} has no meaning in an expression")
        position = match.end()
        kind, text = match.lastgroup, match[0]
        if kind is None:
            continue
        if before_text == "." and kind == "name" and keyword.iskeyword(text):
            raise _syntax(f"the key {text} is written ['{text}']")
        if kind == "number" and text[0] == "." and before == "operand":
            key = text[1:] if text[1:].isdigit() else f"'{text[1:]}'"
            raise _syntax(f"the key {text[1:]} is written [{key}]")
        if kind == "number" and not _NUMBER.fullmatch(text):  # Python reads `1if` as `1 if`, with a warning
            raise _syntax(f"{_quoted(text)} is neither a number nor a name")
        if kind == "name" and text in RESERVED and text not in ("true", "false", "null"):
            if text in _PYTHON_WORDS:
                raise _syntax(_PYTHON_WORDS[text], "not-in-expressions")
            if text not in _WORDS:
                raise _syntax(f"{text} is a word that an expression cannot use as a name", "reserved-word")
            kind = "word"
        if kind == "symbol":
            if text in _INSTEAD:
                raise _syntax(_INSTEAD[text], "not-in-expressions")
            if text == "=":
                if opened and opened[-1][1] and before == "operand" and before_text.isidentifier():
                    raise _syntax("functions take their values in order, without names", "not-in-expressions")
                raise _syntax("= compares nothing: write ==", "assignment-in-expression")
            if text in _CLOSERS:
                opened.append((text, text == "(" and before == "operand"))
            elif text in ")]}":
                if not opened or _CLOSERS[opened[-1][0]] != text:
                    raise _syntax(f"{text} closes nothing that is open")
                opened.pop()
                kind = "operand"
        elif kind in ("name", "number", "string"):
            if before == "operand":
                if kind == "string" and match.start() == before_end and before_text.isidentifier():
                    raise _syntax(f"a text has no letter before its quote: write {_quoted(text)}", "not-in-expressions")
                raise _syntax(f"an operator is missing between {_quoted(before_text)} and {_quoted(text)}")
            kind = "operand"
        before, before_text, before_end = kind, text, position
    if opened:
        raise _syntax(f"{opened[-1][0]} is never closed")
    if before != "operand":
        raise _syntax(f"something is missing after {before_text}")


# --- values


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _checked(value: Any) -> Any:
    """A number that was computed, where it is one that may be."""
    if type(value) is int:
        if _SMALLEST <= value <= _LARGEST:
            return value
        raise ExpressionError("number-too-large", "the result does not fit into 64 bits")
    if type(value) is float:
        if math.isfinite(value):
            return value
        raise ExpressionError("number-too-large", "the result is beyond the range of numbers")
    raise ExpressionError("outside-domain", "the result is no real number")


def _weight(value: Any, budget: int, depth: int = MAX_DEPTH) -> int:
    """How many values a value holds, itself included; counting stops soon after `budget`, and below `depth`."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return 1
    if depth == 0:
        raise ExpressionError("value-too-long", f"lists nest deeper than {MAX_DEPTH}")
    total = 1
    for item in value:
        total += _weight(item, budget - total, depth - 1)
        if total > budget:
            break
    return total


def bounded(value: Any) -> Any:
    """A text, list or map that was made, where it is not too long. What is in it counts: shared lists may be huge."""
    METER.spent += len(value)
    if len(value) > MAX_LENGTH or (not isinstance(value, str) and _weight(value, MAX_LENGTH + 1) > MAX_LENGTH + 1):
        what = "text" if isinstance(value, str) else "list" if isinstance(value, list) else "map"
        raise ExpressionError("value-too-long", f"the {what} is longer than {MAX_LENGTH:,}")
    return value


def _wrong(message: str) -> ExpressionError:
    return ExpressionError("wrong-type", message)


def _number(value: Any, what: str) -> Any:
    if _is_number(value):
        return value
    raise _wrong(f"{what} takes numbers, not {shown(value)}")


def _integer(value: Any, what: str) -> int:
    if type(value) is int:
        return value
    hint = ": write a // b for a whole division" if type(value) is float and value.is_integer() else ""
    raise _wrong(f"{what} must be an integer, not {shown(value)}{hint}")


# --- operators

_Binary = Callable[[Any, Any], Any]


def _arithmetic(symbol: str, compute: _Binary) -> _Binary:
    def apply(a: Any, b: Any) -> Any:
        if not (_is_number(a) and _is_number(b)):
            raise _wrong(f"{symbol} takes numbers, not {shown(a if not _is_number(a) else b)}")
        try:
            return _checked(compute(a, b))
        except ZeroDivisionError:
            raise ExpressionError("division-by-zero", f"{shown(a)} {symbol} {shown(b)} divides by zero") from None
        except OverflowError:
            raise ExpressionError("number-too-large", "the result is beyond the range of numbers") from None

    return apply


def _power(a: Any, b: Any) -> Any:
    if type(a) is int and type(b) is int and b > 0 and (a.bit_length() - 1) * b > 64:
        raise OverflowError  # before a number of a million digits is made
    return a**b


def _add(a: Any, b: Any) -> Any:
    if type(a) is type(b) and isinstance(a, (str, list)):
        if len(a) + len(b) > MAX_LENGTH:
            raise ExpressionError("value-too-long", f"what + joins here is longer than {MAX_LENGTH:,}")
        return bounded(a + b)
    if not (_is_number(a) and _is_number(b)):
        raise _wrong(f"+ adds numbers, or joins two texts or two lists, not {shown(a)} and {shown(b)}")
    return _add_numbers(a, b)


_add_numbers = _arithmetic("+", operator.add)
_BINARY: dict[type[ast.operator], _Binary] = {
    ast.Add: _add,
    ast.Sub: _arithmetic("-", operator.sub),
    ast.Mult: _arithmetic("*", operator.mul),
    ast.Div: _arithmetic("/", operator.truediv),
    ast.FloorDiv: _arithmetic("//", operator.floordiv),
    ast.Mod: _arithmetic("%", operator.mod),
    ast.Pow: _arithmetic("**", _power),
}


def _equal(a: Any, b: Any) -> bool:
    """Equality by which true is not 1, nor [true] [1]."""
    if isinstance(a, (list, dict)):
        METER.spent += len(a)
        if _weight(a, MAX_LENGTH) > MAX_LENGTH:
            raise ExpressionError("value-too-long", f"what is compared is longer than {MAX_LENGTH:,}")
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(value, b[key]) for key, value in a.items())
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return bool(a == b)


def _ordered(symbol: str, compare: _Binary) -> _Binary:
    def apply(a: Any, b: Any) -> Any:
        if (_is_number(a) and _is_number(b)) or (isinstance(a, str) and isinstance(b, str)):
            return compare(a, b)
        raise _wrong(f"{symbol} compares two numbers or two texts, not {shown(a)} and {shown(b)}")

    return apply


def _has(table: Mapping[Any, Any], key: Any) -> bool:
    """Whether a map has a key, by which true is not 1 and 18.0 not 18."""
    if isinstance(key, (list, dict)):
        raise _wrong(f"a key is a word or a number, not {shown(key)}")
    if key not in table:
        return False
    if type(key) is str or (type(key) is int and key not in (0, 1)):
        return True
    return any(other == key and type(other) is type(key) for other in table)


def _contains(a: Any, b: Any) -> bool:
    if isinstance(b, list):
        METER.spent += len(b)
        return any(_equal(a, item) for item in b)
    if isinstance(b, dict):
        return _has(b, a)
    if isinstance(b, str):
        if not isinstance(a, str):
            raise _wrong(f"in looks for a text in a text, not for {shown(a)}")
        return a in b
    raise _wrong(f"in looks into a list, a map or a text, not into {shown(b)}")


_COMPARE: dict[type[ast.cmpop], _Binary] = {
    ast.Eq: _equal,
    ast.NotEq: lambda a, b: not _equal(a, b),
    ast.Lt: _ordered("<", operator.lt),
    ast.LtE: _ordered("<=", operator.le),
    ast.Gt: _ordered(">", operator.gt),
    ast.GtE: _ordered(">=", operator.ge),
    ast.In: _contains,
    ast.NotIn: lambda a, b: not _contains(a, b),
}


def _unknown_key(table: Mapping[Any, Any], key: Any, *, field: bool = False) -> ExpressionError:
    def told(what: str) -> ExpressionError:
        return ExpressionError("no-such-key", f"the map has no key {what}")

    name = _quoted(key) if isinstance(key, str) else shown(key)
    twin = next((other for other in table if str(other) == str(key)), key)  # 18 for '18', or the other way round
    if isinstance(key, str) and not isinstance(twin, str):
        return told(f"'{name}', but {shown(twin)}: write it without quotes")
    if isinstance(twin, str) and not isinstance(key, str):
        return told(f"{name}, but the word: write '{twin}'")
    close = nearest(key, [other for other in table if isinstance(other, str)][:1000]) if isinstance(key, str) else None
    if close:
        return told(f"{name}: did you mean {close}?")
    keys = [other if isinstance(other, str) else shown(other) for other in list(table)[:10]]
    more = f" and {len(table) - len(keys)} more" if len(table) > len(keys) else ""
    ask = f" (where only some have it, ask first: '{name}' in ...)" if field and table else ""
    return told(f"{name}; it has {', '.join(keys) or 'none'}{more}{ask}")


def _index(value: Any, key: Any) -> Any:
    if isinstance(value, dict):
        if _has(value, key):
            return value[key]
        raise _unknown_key(value, key)
    if not isinstance(value, (list, str)):
        raise _wrong(f"only a list, a map or a text can be indexed, not {shown(value)}")
    index = _integer(key, "an index")
    if -len(value) <= index < len(value):
        return value[index]
    what = "list" if isinstance(value, list) else "text"
    extent = f"has {len(value)} items, 0 to {len(value) - 1}" if value else "is empty"
    raise ExpressionError("index-out-of-range", f"index {index} is out of range: the {what} {extent}")


def _key(value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(f".{name} takes a map's key, and this is {shown(value)}, not a map")
    if name in value:
        return value[name]
    raise _unknown_key(value, name, field=True)


# --- functions


def _numbers(values: Sequence[Any], what: str) -> Sequence[Any]:
    METER.spent += len(values)
    for value in values:
        _number(value, what)
    return values


def _extreme(name: str, choose: Callable[[Any], Any]) -> Callable[..., Any]:
    def apply(*values: Any) -> Any:
        items = values[0] if len(values) == 1 else values
        if not isinstance(items, (list, tuple)):
            raise _wrong(f"{name} takes a list or several numbers, not {shown(items)} alone")
        if not items:
            raise ExpressionError("outside-domain", f"{name} of an empty list does not exist")
        return choose(_numbers(items, name))

    return apply


def _sum(values: Any) -> Any:
    if not isinstance(values, list):
        raise _wrong(f"sum takes a list, not {shown(values)}")
    total: Any = 0
    for value in _numbers(values, "sum"):
        total = _add_numbers(total, value)
    return total


def _len(value: Any) -> int:
    if isinstance(value, (str, list, dict)):
        return len(value)
    raise _wrong(f"len takes a list, a map or a text, not {shown(value)}")


def _one_number(name: str, compute: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(value: Any) -> Any:
        _number(value, name)
        try:
            return _checked(compute(value))
        except (ValueError, OverflowError):  # of a negative number, or of .inf and .nan, which YAML may give
            raise ExpressionError("outside-domain", f"{name} of {shown(value)} does not exist") from None

    return apply


def _round(value: Any, digits: Any = 0) -> Any:
    if not -MAX_DIGITS <= _integer(digits, "the digits of round") <= MAX_DIGITS:
        raise ExpressionError(
            "outside-domain", f"round takes -{MAX_DIGITS} to {MAX_DIGITS} digits, not {shown(digits)}"
        )
    return _one_number("round", lambda number: round(number, digits) if digits else round(number))(value)


def _range(*values: Any) -> list[int]:
    bounds = [_integer(value, "each value of range") for value in values]
    start, stop = (0, bounds[0]) if len(bounds) == 1 else bounds[:2]
    step = bounds[2] if len(bounds) == 3 else 1
    if step == 0:
        raise ExpressionError("outside-domain", "range with a step of 0 does not end")
    if -((start - stop) // step) > MAX_LENGTH:
        raise ExpressionError("value-too-long", f"range makes at most {MAX_LENGTH:,} numbers")
    return bounded(list(range(start, stop, step)))  # type: ignore[no-any-return]


def _make_divisible(value: Any, divisor: Any) -> int:
    """The multiple of `divisor` nearest to `value`, never below 90 % of it (MobileNet's `_make_divisible`)."""
    _number(value, "make_divisible")
    if _integer(divisor, "the divisor of make_divisible") < 1:
        raise ExpressionError("outside-domain", f"the divisor of make_divisible is at least 1, not {divisor}")
    _checked(value)
    made = max(divisor, int(value + divisor / 2) // divisor * divisor)
    if made < 0.9 * value:
        made += divisor
    result: int = _checked(made)
    return result


class _Function(msgspec.Struct, frozen=True):
    apply: Callable[..., Any]
    fewest: int
    most: int


FUNCTIONS: Mapping[str, _Function] = {
    "min": _Function(_extreme("min", min), 1, MAX_NODES),
    "max": _Function(_extreme("max", max), 1, MAX_NODES),
    "sum": _Function(_sum, 1, 1),
    "len": _Function(_len, 1, 1),
    "abs": _Function(_one_number("abs", abs), 1, 1),
    "int": _Function(_one_number("int", int), 1, 1),
    "ceil": _Function(_one_number("ceil", math.ceil), 1, 1),
    "floor": _Function(_one_number("floor", math.floor), 1, 1),
    "round": _Function(_round, 1, 2),
    "log2": _Function(_one_number("log2", math.log2), 1, 1),
    "sqrt": _Function(_one_number("sqrt", math.sqrt), 1, 1),
    "range": _Function(_range, 1, 3),
    "make_divisible": _Function(_make_divisible, 2, 2),
}


# --- from the syntax tree to closures

_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_REFUSED: dict[type[ast.AST], str] = {
    ast.Tuple: "a list is written [3, 3]",
    ast.Dict: "an expression holds no map: write the map as YAML under `let` and index it",
    ast.Set: "an expression holds no set: write a list in [ ]",
    ast.Starred: "* before a value has no meaning in an expression",
}


class _Compiler:
    """Turns one syntax tree into closures and gathers the names it needs."""

    def __init__(self, source: str) -> None:
        self.source = source.encode()  # offsets of the tree count bytes
        self.names: set[str] = set()

    def compile(self, node: ast.expr) -> _Run:
        if isinstance(node, ast.Constant):
            return self.constant(node)
        if isinstance(node, ast.Name):
            return self.name(self.spelt(node))
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            return _binary(_BINARY[type(node.op)], self.compile(node.left), self.compile(node.right))
        if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Invert):
            return self.unary(node)
        if isinstance(node, ast.Compare) and all(type(op) in _COMPARE for op in node.ops):
            return self.compare(node)
        if isinstance(node, ast.BoolOp):
            return self.boolean(node)
        if isinstance(node, ast.IfExp):
            condition, then, other = map(self.compile, (node.test, node.body, node.orelse))
            return lambda names: then(names) if condition(names) else other(names)
        if isinstance(node, ast.List):
            items = [self.compile(item) for item in node.elts]
            return lambda names: bounded([item(names) for item in items])
        if isinstance(node, ast.Subscript):
            return self.subscript(node)
        if isinstance(node, ast.Attribute):
            value, key = self.compile(node.value), self.spelt(node).rpartition(".")[2].strip()
            return lambda names: _key(value(names), key)
        if isinstance(node, ast.Call):
            return self.call(node)
        raise self.refused(node)

    def refused(self, node: ast.expr) -> ExpressionError:
        message = _REFUSED.get(type(node), f"{_quoted(self.spelt(node))} has no meaning in an expression")
        return ExpressionError("not-in-expressions", message)

    def spelt(self, node: ast.expr) -> str:
        """The source of a node: Python normalises names (its ﬁ is fi), we take them as written."""
        return self.source[node.col_offset : node.end_col_offset].decode()

    def constant(self, node: ast.Constant) -> _Run:
        value: Any = node.value
        if not isinstance(value, str) and not _is_number(value):
            raise self.refused(node)
        if not isinstance(value, str) and value > (_LARGEST if isinstance(value, int) else sys.float_info.max):
            raise ExpressionError("number-too-large", f"{_quoted(self.spelt(node))} is too large for a number")
        return lambda names: value

    def name(self, name: str) -> _Run:
        if name in _CONSTANTS:
            constant = _CONSTANTS[name]
            return lambda names: constant
        self.names.add(name)

        def look_up(names: Names) -> Any:
            try:
                return names[name]
            except KeyError:
                raise UnknownName(name) from None

        return look_up

    def unary(self, node: ast.UnaryOp) -> _Run:
        value = self.compile(node.operand)
        if isinstance(node.op, ast.Not):
            return lambda names: not value(names)
        if isinstance(node.op, ast.USub):
            return lambda names: _checked(-_number(value(names), "-"))
        return lambda names: _number(value(names), "+")

    def compare(self, node: ast.Compare) -> _Run:
        first = self.compile(node.left)
        rest = [(_COMPARE[type(op)], self.compile(item)) for op, item in zip(node.ops, node.comparators, strict=True)]
        if len(rest) == 1:
            return _binary(rest[0][0], first, rest[0][1])

        def chain(names: Names) -> bool:
            left = first(names)
            for holds, item in rest:
                right = item(names)
                if not holds(left, right):
                    return False
                left = right
            return True

        return chain

    def boolean(self, node: ast.BoolOp) -> _Run:
        for before, after in zip(node.values, node.values[1:], strict=False):
            if isinstance(before, ast.Compare) and isinstance(after, ast.Constant) and isinstance(after.value, str):
                left, right = _quoted(self.spelt(before.left)), _quoted(after.value)
                raise ExpressionError(
                    "constant-condition",
                    f"'{right}' alone compares nothing: write {left} in [...] or repeat {left} ==",
                )
        values = [self.compile(value) for value in node.values]
        stop_at = isinstance(node.op, ast.Or)

        def decide(names: Names) -> Any:
            value = None
            for item in values:
                value = item(names)
                if bool(value) is stop_at:
                    break
            return value

        return decide

    def subscript(self, node: ast.Subscript) -> _Run:
        value = self.compile(node.value)
        if not isinstance(node.slice, ast.Slice):
            return _binary(_index, value, self.compile(node.slice))
        bounds = [part and self.compile(part) for part in (node.slice.lower, node.slice.upper, node.slice.step)]

        def cut(names: Names) -> Any:
            whole = value(names)
            if not isinstance(whole, (list, str)):
                raise _wrong(f"only a list or a text can be sliced, not {shown(whole)}")
            ends = [part and part(names) for part in bounds]
            start, stop, step = (None if end is None else _integer(end, "each end of a slice") for end in ends)
            if step == 0:
                raise ExpressionError("outside-domain", "a slice with a step of 0 does not end")
            return bounded(whole[start:stop:step])

        return cut

    def call(self, node: ast.Call) -> _Run:
        if not isinstance(node.func, ast.Name):
            called = _quoted(self.spelt(node.func))
            raise ExpressionError(
                "unknown-function", f"{called} cannot be called; the functions are {', '.join(FUNCTIONS)}"
            )
        name = self.spelt(node.func)
        function = FUNCTIONS.get(name)
        if function is None:
            close = nearest(name, FUNCTIONS)
            hint = f"did you mean {close}?" if close else f"the functions are {', '.join(FUNCTIONS)}"
            raise ExpressionError("unknown-function", f"unknown function {_quoted(name)}: {hint}")
        if not function.fewest <= len(node.args) <= function.most or node.keywords:
            few, most = function.fewest, function.most
            takes = f"{few} value{'s' * (few != 1)}" if few == most else f"{few} to {most} values"
            raise ExpressionError("wrong-arguments", f"{name} takes {takes}, not {len(node.args)}")
        apply = function.apply
        arguments = [self.compile(argument) for argument in node.args]
        if len(arguments) == 1:
            only = arguments[0]
            return lambda names: apply(only(names))
        return lambda names: apply(*[argument(names) for argument in arguments])


def _binary(apply: _Binary, left: _Run, right: _Run) -> _Run:
    return lambda names: apply(left(names), right(names))
