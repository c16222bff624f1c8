from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archprof.analysis.numbers import (
    BYTE_UNITS,
    UNITS,
    Style,
    agrees,
    column_style,
    decimal_text,
    exact,
    is_printed,
    parse_printed,
    percentages,
)
from archprof.errors import UsageError

PARAM = {"": 0, "K": 0, "M": 0}  # the ZF table's columns
FLOPS = {"M": 0, "B": 1}


@pytest.mark.parametrize(
    ("units", "rounding", "value", "printed"),
    [
        (PARAM, "nearest", 0, "0"),
        (PARAM, "nearest", 1, "1"),
        (PARAM, "nearest", 999, "999"),
        (PARAM, "nearest", 1_000, "1K"),
        (PARAM, "nearest", 1_499, "1K"),
        (PARAM, "nearest", 1_500, "2K"),  # halves go up
        (PARAM, "cut_off", 1_999, "1K"),
        (PARAM, "nearest", 9_472, "9K"),
        (PARAM, "nearest", 524_416, "524K"),
        (PARAM, "nearest", 999_499, "999K"),
        (PARAM, "nearest", 999_500, "1M"),  # not 1000K
        (PARAM, "cut_off", 999_999, "999K"),
        (PARAM, "nearest", 140_025_664, "140M"),
        (PARAM, "nearest", 1_400_256_640, "1400M"),  # no larger unit is given
        (FLOPS, "nearest", 524_416, "0.5M"),
        (FLOPS, "nearest", 114_611_200, "115M"),
        (FLOPS, "nearest", 1_608_287_104, "1.6B"),
        (FLOPS, "nearest", 999_499_999, "999M"),
        (FLOPS, "nearest", 999_500_000, "1.0B"),
        (FLOPS, "nearest", 49_999, "0.05M"),  # one significant digit below 1
        (FLOPS, "cut_off", 49_999, "0.04M"),
        (FLOPS, "nearest", 960_000, "1M"),
        (FLOPS, "nearest", 94_999, "0.09M"),
        (FLOPS, "nearest", 95_000, "0.1M"),
        (FLOPS, "nearest", 1, "0.000001M"),
        ({"B": 1}, "cut_off", 3_663_761_408, "3.6B"),  # He et al., ResNet-34
        ({"B": 1}, "nearest", 3_663_761_408, "3.7B"),
        ({"M": 2}, "nearest", 269_722, "0.27M"),  # He et al., ResNet-20
        ({"M": 2}, "nearest", 4_999, "0.005M"),
    ],
)
def test_style(units: dict[str, int], rounding: str, value: int, printed: str) -> None:
    assert Style(units=units, rounding=rounding).print(value) == printed


@pytest.mark.parametrize(
    ("values", "total", "unit", "printed"),
    [
        ([], 0, "", []),
        ([0, 999], 999, "", ["0", "999"]),
        ([1_000, 1], 1_001, "K", ["1.000", "0.001"]),
        ([1_234, 99_999], 101_233, "K", ["1.23", "100.00"]),
        ([12_340, 99_999], 112_339, "K", ["12.3", "100.0"]),
        ([123_400, 234_500], 357_900, "K", ["123", "235"]),
        ([999_999], 999_999, "K", ["1000"]),
        ([1_000_000], 1_000_000, "M", ["1.00"]),
        ([9_472, 103_000_000, 0, 400, 500], 140_025_664, "M", ["0.009", "103.000", "0.000", "<0.001", "0.001"]),
        ([1, 2 * 10**9], 2 * 10**9 + 1, "G", ["<0.001", "2.000"]),
        ([10**21], 10**21, "P", ["1000000"]),
    ],
)
def test_column_style(values: list[int], total: int, unit: str, printed: list[str]) -> None:
    style = column_style(values, total)
    assert style.unit == unit
    assert [style.print(value) for value in values] == printed


def test_bytes_are_binary() -> None:
    style = column_style([2**20, 3 * 2**19], 2**20 + 3 * 2**19, BYTE_UNITS)
    assert (style.unit, style.print(2**20), style.print(3 * 2**19)) == ("MiB", "1.00", "1.50")
    assert column_style([1023], 1023, BYTE_UNITS).unit == "bytes"


def test_exact() -> None:
    assert exact(140_025_664) == "140,025,664"


@pytest.mark.parametrize(
    ("parts", "printed"),
    [
        ([1, 1, 1], ["33.4", "33.3", "33.3"]),
        ([1, 2, 4], ["14.3", "28.6", "57.1"]),  # 14.2857, 28.5714, 57.1428
        ([0, 5], ["0.0", "100.0"]),
        ([0, 0], ["0.0", "0.0"]),
        ([], []),
    ],
)
def test_percentages(parts: list[int], printed: list[str]) -> None:
    assert [decimal_text(each, 1) for each in percentages(parts)] == printed


@given(st.lists(st.integers(0, 10**24), min_size=1, max_size=40), st.integers(0, 3))
def test_percentages_add_up(parts: list[int], decimals: int) -> None:
    shares = percentages(parts, decimals)
    if not sum(parts):
        assert shares == [0] * len(parts)
        return
    assert sum(shares) == 100 * 10**decimals
    for part, share in zip(parts, shares, strict=True):
        assert abs(Fraction(part * 100 * 10**decimals, sum(parts)) - share) < 1


@pytest.mark.parametrize(
    ("text", "value", "precision"),
    [
        ("9K", 9_000, 1_000),
        ("9k", 9_000, 1_000),
        ("3.8B", 3_800_000_000, 100_000_000),
        ("4.1G", 4_100_000_000, 100_000_000),
        ("0.27M", 270_000, 10_000),
        ("0.5", Fraction(1, 2), Fraction(1, 10)),
        ("25,557,032", 25_557_032, 1),
        ("25557032", 25_557_032, 1),
        ("1.5 GiB", 3 * 2**29, Fraction(2**30, 10)),
        ("2KiB", 2_048, 1_024),
        ("0", 0, 1),
        ("2T", 2 * 10**12, 10**12),
    ],
)
def test_parse_printed(text: str, value: object, precision: object) -> None:
    number = parse_printed(text)
    assert (number.value, number.precision) == (value, precision)
    assert is_printed(text)


@pytest.mark.parametrize(
    "text",
    ["", "K", "M9", "1.", ".5K", "-3", "+3", "1e6", "1,23", "1234,567", ",123", "3.8 B B", "٣", "1" * 101, "1_000"],
)
def test_what_is_no_printed_number(text: str) -> None:
    assert not is_printed(text)
    with pytest.raises(UsageError) as raised:
        parse_printed(text)
    assert str(raised.value) == f'"{text[:40]}" is not a printed number: write it as 9K, 3.8B, 0.5M or 1,234'


@pytest.mark.parametrize(
    ("value", "printed", "nearest", "cut_off"),
    [
        (3_663_761_408, "3.6B", False, True),
        (3_663_761_408, "3.7B", True, False),
        (3_857_973_248, "3.8B", False, True),
        (145_920_872, "145M", False, True),
        (9_472, "9K", True, True),
        (8_500, "9K", True, False),
        (8_499, "9K", False, False),
        (9_500, "9K", True, True),  # a half: both neighbours are nearest
        (9_501, "9K", False, True),
        (9_999, "9K", False, True),
        (10_000, "9K", False, False),
        (9_000, "9K", True, True),
        (25_557_032, "25,557,032", True, True),
        (25_557_033, "25,557,032", False, False),
    ],
)
def test_agrees(value: int, printed: str, nearest: bool, cut_off: bool) -> None:
    assert (agrees(value, printed), agrees(value, printed, "cut_off")) == (nearest, cut_off)


def test_agrees_knows_two_roundings() -> None:
    with pytest.raises(UsageError) as raised:
        agrees(1, "1", "up")
    assert str(raised.value) == "rounding must be nearest or cut_off, not up"


@given(
    st.integers(0, 10**16),
    st.dictionaries(st.sampled_from([unit for unit in UNITS if unit != "G"]), st.integers(0, 3), min_size=1),
    st.sampled_from(["nearest", "cut_off"]),
)
def test_what_a_style_prints_agrees(value: int, units: dict[str, int], rounding: str) -> None:
    printed = Style(units=units, rounding=rounding).print(value)
    assert agrees(value, printed, rounding), printed
    assert value == 0 or parse_printed(printed).digits > 0


@given(st.lists(st.integers(0, 10**16), min_size=1, max_size=10))
def test_what_a_column_prints_agrees(values: list[int]) -> None:
    style = column_style(values, sum(values))
    for value in values:
        printed = style.print(value)
        if printed.startswith("<"):
            assert 0 < value < parse_printed(printed[1:] + style.unit).value
        else:
            assert agrees(value, printed + style.unit)
