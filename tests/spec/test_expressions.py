"""Expressions: what they mean, what they refuse and how they say it, and that nothing slips through."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from archprof.spec import expressions
from archprof.spec.expressions import MAX_LENGTH, ExpressionError, UnknownName, name_hint, parse

SCOPE = {
    "n": [1, 2, 3],
    "w": 32,
    "k": "basic",
    "flag": True,
    "nothing": None,
    "half": 0.5,
    "depth": 50,
    "table": {18: [2, 2, 2, 2], 50: [3, 4, 6, 3]},
    "item": {"t": 6, "c": 24, "class": "x", "3x3": 9},
    "by_flag": {True: "yes", False: "no"},
    "by_one": {1: "one"},
    "φ": 1.2,
    "ﬁ": 7,
    "infinite": math.inf,
}


def value_of(source):
    return parse(source).evaluate(SCOPE)


def outcome(source):
    """The value, or the error that came instead."""
    try:
        return value_of(source)
    except ExpressionError as error:
        return error


def told(source):
    error = outcome(source)
    assert isinstance(error, ExpressionError)
    return f"{error.message} [{error.code}]"


@pytest.mark.parametrize(
    ("source", "value"),
    [
        # arithmetic
        ("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("w / 2", 16.0), ("w // 2", 16), ("-7 // 2", -4), ("-7 % 3", 2),
        ("2 ** 10", 1024), ("-2 ** 2", -4), ("2 ** -1", 0.5), ("+w", 32), ("5.0 // 2", 2.0), ("0x10 + 0b1", 17),
        ("1_000", 1000), (".5 + 1.", 1.5), ("1e3", 1000.0), ("  w  ", 32), ("2 ** 62 - 1 + 2 ** 62", 2**63 - 1),
        ("1 ** 10 ** 18", 1), ("(-1) ** 1000001", -1), ("0 ** 10 ** 18", 0), ("0 ** 0", 1),
        ("9223372036854775807", 2**63 - 1), ("-9223372036854775807 - 1", -(2**63)), ("φ * 2", 2.4), ("ﬁ", 7),
        # words, comparison, choice
        ("true", True), ("false", False), ("null", None), ("nothing == null", True), ("k == 'basic'", True),
        ('k != "basic"', False), ("1 < 2 <= 2", True), ("3 > 2 > 2", False), ("'a' < 'b'", True), ("w >= 32.0", True),
        ("flag == 1", False), ("flag == true", True), ("[true] == [1]", False), ("[1, [2]] == [1.0, [2]]", True),
        ("table == table", True), ("n == k", False), ("item == 1", False), ("not flag", False),
        ("flag and not nothing", True), ("nothing or w", 32), ("w and 'x'", "x"), ("0 or null", None),
        ("2 if depth == 50 else 1", 2), ("2 if depth == 18 else 1", 1), ("1 if nothing else 2 if flag else 3", 2),
        ("w > 1 or 1 / 0", True), ("w < 1 and 1 / 0", False), ("1 if flag else 1 / 0", 1), ("2 < 1 < 1 / 0", False),
        ("k in ['basic', 'x']", True), ("1 in [true]", False), ("2 not in n", False), ("'as' in k", True),
        ("18 in table", True),
        ("18.0 in table", False), ("'18' in table", False), ("true in by_one", False), ("1 in by_flag", False),
        # lists, maps, texts
        ("[]", []), ("[1, [w, k]]", [1, [32, "basic"]]), ("n + [4]", [1, 2, 3, 4]), ("'a' + k", "abasic"), ("n[0]", 1),
        ("n[-1]", 3), ("n[-3]", 1), ("n[1:]", [2, 3]), ("n[:-1]", [1, 2]), ("n[::-1]", [3, 2, 1]), ("n[5:]", []),
        ("k[0]", "b"),
        ("k[1:3]", "as"),
        ("table[depth]", [3, 4, 6, 3]), ("table[18][0]", 2), ("item.t", 6), ("item . c", 24), ("item['class']", "x"),
        ("item['3x3']", 9), ("by_flag[flag]", "yes"), ("by_flag[not flag]", "no"), ("n[1 if flag else 0]", 2),
        # functions
        ("min(3, 1, 2)", 1), ("max(n)", 3), ("max(1, 2.5)", 2.5), ("sum(n)", 6), ("sum([])", 0),
        ("sum([1, 0.5])", 1.5), ("len(n)", 3),
        ("len(table)", 2), ("len(k)", 5), ("abs(-3)", 3), ("int(2.7)", 2), ("int(-2.7)", -2), ("ceil(2.1)", 3),
        ("floor(-2.1)", -3),
        ("round(2.5)", 2), ("round(3.5)", 4), ("round(2.567, 1)", 2.6), ("round(1234, -2)", 1200), ("log2(8)", 3.0),
        ("sqrt(16)", 4.0), ("range(3)", [0, 1, 2]), ("range(1, 7, 2)", [1, 3, 5]), ("range(3, 0, -1)", [3, 2, 1]),
        ("range(5, 1)", []),
        ("len(range(10000))", 10_000), ("len(range(0, 20000, 2))", 10_000), ("range(0, 10 ** 18, 10 ** 18)", [0]),
        # torchvision's MobileNetV2 at widths 0.75, 0.35 and 1.4: 24, 16 (11.2 would be 8, below 90 %), 48
        ("make_divisible(32 * 0.75, 8)", 24), ("make_divisible(32 * 0.35, 8)", 16), ("make_divisible(32 * 1.4, 8)", 48),
        ("make_divisible(1280 * max(1.0, 1.4), 8)", 1792), ("make_divisible(1, 8)", 8),
        ("make_divisible(9.4, 8)", 16), ("make_divisible(8.8, 8)", 8), ("make_divisible(12, 8)", 16),
    ],
)  # fmt: skip
def test_a_good_expression_has_its_value(source, value):
    found = value_of(source)
    assert (type(found), found) == (type(value), value)


FUNCTION_NAMES = "min, max, sum, len, abs, int, ceil, floor, round, log2, sqrt, range, make_divisible"

BAD = {
    # syntax
    "": "an expression is missing after the = [empty-expression]",
    "   ": "an expression is missing after the = [empty-expression]",
    "=1": "an expression begins with one =, not with two [expression-syntax]",
    "1\n+ 2": "an expression stands on one line [expression-syntax]",
    "(1": "( is never closed [expression-syntax]",
    "n[0": "[ is never closed [expression-syntax]",
    "1)": ") closes nothing that is open [expression-syntax]",
    "(1]": "] closes nothing that is open [expression-syntax]",
    "'a": "the quote ' is never closed [expression-syntax]",
    "'a\\n'": "a text in an expression holds no backslash [expression-syntax]",
    "1 +": "something is missing after + [expression-syntax]",
    "w if": "something is missing after if [expression-syntax]",
    "not": "something is missing after not [expression-syntax]",
    "1 2": "an operator is missing between 1 and 2 [expression-syntax]",
    "k basic": "an operator is missing between k and basic [expression-syntax]",
    "(w) 2": "an operator is missing between ) and 2 [expression-syntax]",
    "'a' 'b'": "an operator is missing between 'a' and 'b' [expression-syntax]",
    "2x": "2x is neither a number nor a name [expression-syntax]",
    "1and-2": "1and is neither a number nor a name [expression-syntax]",
    "1.5.2": "1.5.2 is neither a number nor a name [expression-syntax]",
    "1j": "1j is neither a number nor a name [expression-syntax]",
    "007": "007 cannot be read as an expression [expression-syntax]",
    "and 1": "and 1 cannot be read as an expression [expression-syntax]",
    "1 + * 2": "1 + * 2 cannot be read as an expression [expression-syntax]",
    "1 if 2": "1 if 2 cannot be read as an expression [expression-syntax]",
    "1 if 2 " + " " * 60 + "+ w": "1 if 2 " + " " * 50 + "... cannot be read as an expression [expression-syntax]",
    "1 $ 2": "$ has no meaning in an expression [expression-syntax]",
    "w # width": "# has no meaning in an expression [expression-syntax]",
    "\0": "\\x00 has no meaning in an expression [expression-syntax]",
    "'\ud800'": "'\\ud800' cannot be read as an expression [expression-syntax]",
    "item.class": "the key class is written ['class'] [expression-syntax]",
    "item.3x3": "the key 3x3 is written ['3x3'] [expression-syntax]",
    "table.18": "the key 18 is written [18] [expression-syntax]",
    "class + 1": "class is a word that an expression cannot use as a name [reserved-word]",
    "yield": "yield is a word that an expression cannot use as a name [reserved-word]",
    "import os": "import is a word that an expression cannot use as a name [reserved-word]",
    "k = 'a'": "= compares nothing: write == [assignment-in-expression]",
    "(k = 'a')": "= compares nothing: write == [assignment-in-expression]",
    "1;2": "an expression is a single one: ; does not join two [not-in-expressions]",
    # what Python has and an expression has not
    "x := 2": "an expression gives no names: write them under `let` [not-in-expressions]",
    "k == None": "None is written null (the word: 'None') [not-in-expressions]",
    "True": "True is written true (the word: 'True') [not-in-expressions]",
    "False": "False is written false (the word: 'False') [not-in-expressions]",
    "k is null": "is compares no values here: write == [not-in-expressions]",
    "[x for x in n]": "an expression has no loops: write a list, range(n) or `repeat` [not-in-expressions]",
    "lambda: 1": "an expression defines no functions [not-in-expressions]",
    "flag && flag": "&& is written and [not-in-expressions]",
    "flag || flag": "|| is written or [not-in-expressions]",
    "!flag": "! is written not [not-in-expressions]",
    "1 <> 2": "<> is written != [not-in-expressions]",
    "flag ? 1 : 2": "a ? b : c is written b if a else c [not-in-expressions]",
    "2 ^ 3": "^ is no operator here: a power is written ** [not-in-expressions]",
    "1 & 2": "& is no operator here: write and [not-in-expressions]",
    "1 | 2": "| is no operator here: write or [not-in-expressions]",
    "~1": "~ is no operator here: write not [not-in-expressions]",
    "1 << 62": "<< is no operator here: write * 2 ** n [not-in-expressions]",
    "8 >> 1": ">> is no operator here: write // 2 ** n [not-in-expressions]",
    "f'{w}'": "a text has no letter before its quote: write '{w}' [not-in-expressions]",
    "b'x'": "a text has no letter before its quote: write 'x' [not-in-expressions]",
    "n[...]": "... has no meaning in an expression [not-in-expressions]",
    "max(*n)": "* before a value has no meaning in an expression [not-in-expressions]",
    "[*n]": "* before a value has no meaning in an expression [not-in-expressions]",
    "max(a=1)": "functions take their values in order, without names [not-in-expressions]",
    "max(**item)": "max takes 1 to 200 values, not 0 [wrong-arguments]",
    "{18: 2}[18]": "an expression holds no map: write the map as YAML under `let` and index it [not-in-expressions]",
    "{1, 2}": "an expression holds no set: write a list in [ ] [not-in-expressions]",
    "(3, 3)": "a list is written [3, 3] [not-in-expressions]",
    "3, 3": "a list is written [3, 3] [not-in-expressions]",
    "k.upper()": f"k.upper cannot be called; the functions are {FUNCTION_NAMES} [unknown-function]",
    "(1)(2)": f"1 cannot be called; the functions are {FUNCTION_NAMES} [unknown-function]",
    "__import__('os')": f"unknown function __import__: the functions are {FUNCTION_NAMES} [unknown-function]",
    "print(1)": "unknown function print: did you mean int? [unknown-function]",
    "maxx(1, 2)": "unknown function maxx: did you mean max? [unknown-function]",
    "item.__class__": "the map has no key __class__: did you mean class? [no-such-key]",
    "''.__class__": '.__class__ takes a map\'s key, and this is the word "", not a map [wrong-type]',
    "k == 'a' or 'b'": "'b' alone compares nothing: write k in [...] or repeat k == [constant-condition]",
    "item.t == 1 or 'b'": "'b' alone compares nothing: write item.t in [...] or repeat item.t == [constant-condition]",
    # names
    "k == none": "unknown name none: for the word write 'none', for no value null [unknown-name]",
    "k == bottleneck": "unknown name bottleneck: for the word write 'bottleneck' [unknown-name]",
    "max": "unknown name max: max is a function: write max(...) [unknown-name]",
    # values
    "flag + 1": "+ adds numbers, or joins two texts or two lists, not true and 1 [wrong-type]",
    "k + 1": '+ adds numbers, or joins two texts or two lists, not the word "basic" and 1 [wrong-type]',
    "flag * 2": "* takes numbers, not true [wrong-type]",
    "-flag": "- takes numbers, not true [wrong-type]",
    "+k": '+ takes numbers, not the word "basic" [wrong-type]',
    "'a' * 3": '* takes numbers, not the word "a" [wrong-type]',
    "n * 2": "* takes numbers, not [1, 2, 3] [wrong-type]",
    "'%999999999d' % 1": '% takes numbers, not the word "%999999999d" [wrong-type]',
    "nothing // 2": "// takes numbers, not null [wrong-type]",
    "1 < 'a'": '< compares two numbers or two texts, not 1 and the word "a" [wrong-type]',
    "flag < 2": "< compares two numbers or two texts, not true and 2 [wrong-type]",
    "n < n": "< compares two numbers or two texts, not [1, 2, 3] and [1, 2, 3] [wrong-type]",
    "1 in 'abc'": "in looks for a text in a text, not for 1 [wrong-type]",
    "1 in 2": "in looks into a list, a map or a text, not into 2 [wrong-type]",
    "n in table": "a key is a word or a number, not [1, 2, 3] [wrong-type]",
    "w[0]": "only a list, a map or a text can be indexed, not 32 [wrong-type]",
    "n[1.0]": "an index must be an integer, not 1.0: write a // b for a whole division [wrong-type]",
    "n[flag]": "an index must be an integer, not true [wrong-type]",
    "n['a']": 'an index must be an integer, not the word "a" [wrong-type]',
    "n[3]": "index 3 is out of range: the list has 3 items, 0 to 2 [index-out-of-range]",
    "n[-4]": "index -4 is out of range: the list has 3 items, 0 to 2 [index-out-of-range]",
    "[][0]": "index 0 is out of range: the list is empty [index-out-of-range]",
    "n[0, 1]": "a list is written [3, 3] [not-in-expressions]",
    "n['a':]": 'each end of a slice must be an integer, not the word "a" [wrong-type]',
    "n[::0]": "a slice with a step of 0 does not end [outside-domain]",
    "table[0:1]": "only a list or a text can be sliced, not a map [wrong-type]",
    "table[51]": "the map has no key 51; it has 18, 50 [no-such-key]",
    "table['18']": "the map has no key '18', but 18: write it without quotes [no-such-key]",
    "by_one[true]": "the map has no key true; it has 1 [no-such-key]",
    "by_flag[1]": "the map has no key 1; it has true, false [no-such-key]",
    "table[n]": "a key is a word or a number, not [1, 2, 3] [wrong-type]",
    "item.klass": "the map has no key klass: did you mean class? [no-such-key]",
    "n.t": ".t takes a map's key, and this is [1, 2, 3], not a map [wrong-type]",
    "1 / 0": "1 / 0 divides by zero [division-by-zero]",
    "1 // 0": "1 // 0 divides by zero [division-by-zero]",
    "1 % 0": "1 % 0 divides by zero [division-by-zero]",
    "0 ** -1": "0 ** -1 divides by zero [division-by-zero]",
    "-2 ** 63": "the result does not fit into 64 bits [number-too-large]",  # 2 ** 63 comes first
    "2 ** 63": "the result does not fit into 64 bits [number-too-large]",
    "9223372036854775807 + 1": "the result does not fit into 64 bits [number-too-large]",
    "-9223372036854775807 - 2": "the result does not fit into 64 bits [number-too-large]",
    "9223372036854775808": "9223372036854775808 is too large for a number [number-too-large]",
    "1e999": "1e999 is too large for a number [number-too-large]",
    "9" * 900: "9" * 57 + "... is too large for a number [number-too-large]",
    "10 ** 1000000": "the result is beyond the range of numbers [number-too-large]",
    "9 ** 9 ** 9": "the result is beyond the range of numbers [number-too-large]",
    "2.0 ** 10000": "the result is beyond the range of numbers [number-too-large]",
    "1e308 * 10": "the result is beyond the range of numbers [number-too-large]",
    "infinite + 1": "the result is beyond the range of numbers [number-too-large]",
    "(-8) ** 0.5": "the result is no real number [outside-domain]",
    "sum([9223372036854775807, 1])": "the result does not fit into 64 bits [number-too-large]",
    "int(1e300)": "the result does not fit into 64 bits [number-too-large]",
    "int(infinite)": "int of inf does not exist [outside-domain]",
    "make_divisible(1e300, 8)": "the result does not fit into 64 bits [number-too-large]",
    "make_divisible(infinite, 8)": "the result is beyond the range of numbers [number-too-large]",
    # functions
    "max()": "max takes 1 to 200 values, not 0 [wrong-arguments]",
    "round(1, 2, 3)": "round takes 1 to 2 values, not 3 [wrong-arguments]",
    "len()": "len takes 1 value, not 0 [wrong-arguments]",
    "make_divisible(8)": "make_divisible takes 2 values, not 1 [wrong-arguments]",
    "max(3)": "max takes a list or several numbers, not 3 alone [wrong-type]",
    "max([])": "max of an empty list does not exist [outside-domain]",
    "min(1, true)": "min takes numbers, not true [wrong-type]",
    "min(['a', 'b'])": 'min takes numbers, not the word "a" [wrong-type]',
    "sum(3)": "sum takes a list, not 3 [wrong-type]",
    "sum([k])": 'sum takes numbers, not the word "basic" [wrong-type]',
    "len(3)": "len takes a list, a map or a text, not 3 [wrong-type]",
    "abs(k)": 'abs takes numbers, not the word "basic" [wrong-type]',
    "int('3')": 'int takes numbers, not the word "3" [wrong-type]',
    "round(flag)": "round takes numbers, not true [wrong-type]",
    "round(2.5, half)": "the digits of round must be an integer, not 0.5 [wrong-type]",
    "round(5, -10 ** 17)": "round takes -18 to 18 digits, not -100000000000000000 [outside-domain]",
    "log2(0)": "log2 of 0 does not exist [outside-domain]",
    "sqrt(-1)": "sqrt of -1 does not exist [outside-domain]",
    "range(1, 2, 0)": "range with a step of 0 does not end [outside-domain]",
    "range(2.0)": "each value of range must be an integer, not 2.0: write a // b for a whole division [wrong-type]",
    "range(10 ** 9)": "range makes at most 10,000 numbers [value-too-long]",
    "range(10001)": "range makes at most 10,000 numbers [value-too-long]",
    "range(0, -20002, -2)": "range makes at most 10,000 numbers [value-too-long]",
    "range(0, 20001, 2)": "range makes at most 10,000 numbers [value-too-long]",
    "range(5000) + range(5001)": "what + joins here is longer than 10,000 [value-too-long]",
    "[range(5000), range(5000)]": "the list is longer than 10,000 [value-too-long]",
    "make_divisible(8, 0)": "the divisor of make_divisible is at least 1, not 0 [outside-domain]",
    "make_divisible(8, 0.5)": "the divisor of make_divisible must be an integer, not 0.5 [wrong-type]",
    # size
    "1" + " " * 1000 + "+ 1": "an expression has at most 1,000 characters, not 1,004 [expression-too-long]",
    "1+" * 100 + "1": "an expression has at most 200 parts, not 201 [expression-too-long]",
    "-" * 900 + "1": "an expression has at most 200 parts, not 901 [expression-too-long]",
    "(" * 900: "( is never closed [expression-syntax]",
    "[" * 60 + "]" * 60: "lists nest deeper than 50 [value-too-long]",
}


@pytest.mark.parametrize("source", BAD, ids=lambda source: ascii(source[:25]))
def test_a_bad_expression_is_told(source):
    assert told(source) == BAD[source]


@pytest.mark.parametrize("source", ["10 ** 1000000", "2 ** 9223372036854775807", "(-3) ** 10 ** 15"])
def test_a_number_of_a_million_digits_is_never_made(source, monkeypatch):
    made = []
    check = expressions._checked
    monkeypatch.setattr(expressions, "_checked", lambda value: made.append(value) or check(value))
    with pytest.raises(ExpressionError, match="beyond the range of numbers"):
        value_of(source)
    assert all(abs(value) < 2**64 for value in made)


def test_an_unknown_key_of_a_large_map_lists_ten():
    with pytest.raises(ExpressionError) as caught:
        parse("m[0]").evaluate({"m": {number: number for number in range(1, 31)}})
    assert caught.value.message == "the map has no key 0; it has 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 20 more"
    with pytest.raises(ExpressionError) as caught:
        parse("m[18]").evaluate({"m": {"18": 1}})
    assert caught.value.message == "the map has no key 18, but the word: write '18'"
    with pytest.raises(ExpressionError) as caught:
        parse("m.a").evaluate({"m": {}})
    assert caught.value.message == "the map has no key a; it has none"


def test_shared_lists_cannot_pile_up_by_let():
    """Each line doubles what the one before holds: fifty of them would be 2 ** 50 values in a few bytes."""
    value = [1]
    for _ in range(11):
        value = parse("[a, a]").evaluate({"a": value})
    with pytest.raises(ExpressionError, match="the list is longer than 10,000"):
        parse("[a, a]").evaluate({"a": value})
    value = {"x": 1}
    for _ in range(40):
        value = {"x": value, "y": value}
    with pytest.raises(ExpressionError, match="what is compared is longer than 10,000"):
        parse("a == b").evaluate({"a": value, "b": dict(value)})


@pytest.mark.parametrize(
    "source",
    [
        "x @ y", "~x", "1 << 2", "1 >> 2", "1 & 2", "1 | 2", "1 ^ 2", "x is y", "x is not y", "lambda: 1",
        "[x for x in y]",
        "{x for x in y}", "{x: 1 for x in y}", "(x for x in y)", "(x := 1)", "f'{x}'", "b'x'", "1j", "...",
        "None", "True",
        "x()()", "x.y()", "print(x)", "max(x, key=len)", "max(*x)",
        "{}", "{1}", "(1, 2)", "x[1:2, 3]",
    ],
)  # fmt: skip
def test_the_whitelist_holds_where_the_look_at_tokens_would_fail(source, monkeypatch):
    monkeypatch.setattr(expressions, "_check_tokens", lambda source: None)
    with pytest.raises(ExpressionError) as caught:
        parse.__wrapped__(source)
    assert caught.value.code in ("not-in-expressions", "unknown-function", "wrong-arguments")


def test_names_are_the_free_ones():
    assert parse("max(n) + item.t * w if k == 'w2' else [true, null, index][0]").names == {
        "n",
        "item",
        "w",
        "k",
        "index",
    }
    assert parse("max(max, 1)").names == {"max"}  # a parameter may have a function's name
    assert parse("max(max, 1)").evaluate({"max": 3}) == 3
    assert parse("ﬁ").names == {"ﬁ"}  # Python would make it fi


def test_an_unknown_name_says_which():
    with pytest.raises(UnknownName) as caught:
        parse("w + 1").evaluate({})
    assert caught.value.name == "w"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("none", "for the word write 'none', for no value null"),
        ("sum", "sum is a function: write sum(...)"),
        ("basic", "for the word write 'basic'"),
    ],
)
def test_name_hint(name, hint):
    assert name_hint(name) == hint


def test_an_expression_is_parsed_once_and_the_cache_is_bounded():
    assert parse("w + 41") is parse("w + 41")
    assert parse.cache_info().maxsize == 2 * expressions.MAX_EXPRESSIONS


# --- properties

PIECES = [
    "1", "2", "0", "7.5", "1e300", "9223372036854775807", "w", "n", "k", "flag", "nothing", "item", "table",
    "infinite", "none", "x",
    "'a'", '"b"', "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", ">=", " in ", " not ", " and ", " or ",
    " if ", " else ", "(", ")",
    "[", "]", ",", ":", ".t", ".", "{", "}", "=", "min(", "max(", "sum(", "len(", "round(", "range(", "int(", "sqrt(",
    "make_divisible(", "lambda", " for ", "True", "None", "^", "&", ";", "\n", "\\", "é", "#", "@", "!",
    "__class__", "[0]", "[1:]", "(3)",
]  # fmt: skip


def within_limits(value) -> bool:
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, float):
        return True
    if isinstance(value, str):
        return len(value) <= MAX_LENGTH
    if isinstance(value, list):
        return len(value) <= MAX_LENGTH and all(map(within_limits, value))
    return value in (SCOPE["item"], SCOPE["table"])


@given(st.one_of(st.text(max_size=30), st.lists(st.sampled_from(PIECES), max_size=12).map("".join)))
@settings(max_examples=400, deadline=None)
def test_any_text_gives_a_value_within_limits_or_an_expression_error(source):
    found = outcome(source)
    if isinstance(found, ExpressionError):
        assert found.message
        assert found.code.replace("-", "").isalpha()
    else:
        assert within_limits(found)


numbers = st.one_of(
    st.integers(0, 50).map(str), st.sampled_from(["0.5", "2.25", "w", "half", "n[1]", "item.t", "len(n)"])
)


def combined(inner):
    return st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        inner.map(lambda operand: f"-{operand}"),
        st.tuples(inner, st.integers(0, 4)).map(lambda parts: f"({parts[0]}) ** {parts[1]}").map("({})".format),
        st.tuples(inner, inner, inner).map(lambda parts: "({} if {} < {} else w)".format(*parts)),
        st.tuples(inner, inner).map(lambda parts: "max({}, {})".format(*parts)),
        st.tuples(inner, inner).map(lambda parts: "sum([{}, {}][::-1])".format(*parts)),
        inner.map("floor({})".format),
        inner.map("round({})".format),
    )


class _Item(dict):
    __getattr__ = dict.__getitem__


@given(st.recursive(numbers, combined, max_leaves=10))
@settings(max_examples=200, deadline=None)
def test_arithmetic_agrees_with_python(source):
    scope = {**SCOPE, "item": _Item(SCOPE["item"]), "floor": math.floor}
    found = outcome(source)
    code = found.code if isinstance(found, ExpressionError) else None
    try:
        expected = eval(source, {}, scope)  # of numbers and operators made here, in order to compare
    except ZeroDivisionError:
        assert code == "division-by-zero"
    except OverflowError:
        assert code == "number-too-large"
    else:
        assume(abs(expected) < 2**63)
        if code:
            assert code == "number-too-large"  # a step on the way was beyond 64 bits, the end is not
        else:
            assert (type(found), found) == (type(expected), expected)
