"""How numbers are printed and printed numbers are read: the only place that rounds, in integer arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from archprof.errors import UsageError

if TYPE_CHECKING:
    from fractions import Fraction

UNITS: Mapping[str, int] = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12, "P": 10**15}
BYTE_UNITS: Mapping[str, int] = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}
ROUNDINGS = ("nearest", "cut_off")

_SI = ("", "K", "M", "G", "T", "P")  # what a column of archprof's own choice is in; papers write B for G
_MOST_DECIMALS = 3


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """How a source prints the numbers of one column: decimals by unit, and rounded or cut off.

    A number is printed in the largest unit in which it is at least 1, else in the smallest, there with
    one significant digit at least: with M: 0 and B: 1, 524,416 is 0.5M.
    """

    units: Mapping[str, int]
    rounding: str = "nearest"

    def print(self, value: int) -> str:
        """A number of at least 0, its unit after it. Halves are rounded up."""
        if value == 0:
            return "0"
        ordered = sorted(self.units, key=UNITS.__getitem__)
        chosen = 0
        for place, unit in enumerate(ordered):
            if value >= UNITS[unit]:
                chosen = place
        unit = ordered[chosen]
        digits, decimals = self._digits(value, unit)
        if chosen + 1 < len(ordered) and digits * UNITS[unit] >= UNITS[ordered[chosen + 1]] * 10**decimals:
            unit = ordered[chosen + 1]  # 999,600 rounds to 1M, not to 1000K
            digits, decimals = self._digits(value, unit)
        return decimal_text(digits, decimals) + unit

    def _digits(self, value: int, unit: str) -> tuple[int, int]:
        decimals = self.units[unit]
        size = UNITS[unit]
        while value * 10**decimals < size:  # no digit but zeros yet
            decimals += 1
        digits = _scaled(value, size, decimals, self.rounding)
        if digits == 10 and decimals > self.units[unit]:  # 0.0996 rounds to 0.1, not to 0.10
            decimals -= 1
            digits = _scaled(value, size, decimals, self.rounding)
        return digits, decimals


class ColumnStyle(msgspec.Struct, frozen=True):
    """One unit and number of decimals for all of a column, chosen from its numbers."""

    unit: str
    size: int
    decimals: int

    def print(self, value: int) -> str:
        """The number without its unit, which the header has. A nonzero number never prints as 0."""
        digits = _scaled(value, self.size, self.decimals, "nearest")
        if value and not digits:
            return "<" + decimal_text(1, self.decimals)
        return decimal_text(digits, self.decimals)


def column_style(values: Iterable[int], total: int, units: Mapping[str, int] | None = None) -> ColumnStyle:
    """The style of a column: the unit by its total, decimals (at most 3) by its smallest number.

    The smallest number above 0 shows three significant digits, where 3 decimals allow it.
    """
    names = {unit: UNITS[unit] for unit in _SI} if units is None else units
    unit = next(iter(names))
    for name, size in names.items():
        if total >= size:
            unit = name
    size = names[unit]
    if size == 1:
        return ColumnStyle(unit, 1, 0)
    smallest = min((value for value in values if value), default=total)
    decimals = next((places for places in range(_MOST_DECIMALS) if smallest * 10**places >= 100 * size), _MOST_DECIMALS)
    return ColumnStyle(unit, size, decimals)


def exact(value: int) -> str:
    """All digits, in groups of three: 140,025,664."""
    return f"{value:,}"


def percentages(parts: Sequence[int], decimals: int = 1) -> list[int]:
    """The share of each part in their sum, in units of the last decimal of a percentage: 523 for 52.3 %.

    They add up to 100 % exactly, by largest remainder: all are cut off, and those that lost most get one
    unit back. Where the sum is 0 so are all shares.
    """
    whole = sum(parts)
    if whole == 0:
        return [0] * len(parts)
    scale: int = 100 * 10**decimals
    digits = [part * scale // whole for part in parts]
    missing = scale - sum(digits)
    by_loss = sorted(range(len(parts)), key=lambda place: (-(parts[place] * scale % whole), place))
    for place in by_loss[:missing]:
        digits[place] += 1
    return digits


class Printed(msgspec.Struct, frozen=True):
    """A number as a source prints it: `digits` x `unit` / 10^`decimals`."""

    digits: int
    decimals: int
    unit: int

    @property
    def value(self) -> int | Fraction:
        """Its exact value: 3.8B is 3,800,000,000."""
        return _quotient(self.digits * self.unit, 10**self.decimals)

    @property
    def precision(self) -> int | Fraction:
        """One in its last printed place: 100,000,000 for 3.8B."""
        return _quotient(self.unit, 10**self.decimals)


def parse_printed(text: str) -> Printed:
    """Read a number as a table prints it: 9K, 3.8B, 0.27M, 1.5GiB, 25,557,032. Raises UsageError."""
    number = _parsed(text)
    if number is None:
        raise UsageError(f'"{text[:40]}" is not a printed number: write it as 9K, 3.8B, 0.5M or 1,234')
    return number


def is_printed(text: str) -> bool:
    """Whether a text is a number as a table prints it."""
    return _parsed(text) is not None


def _parsed(text: str) -> Printed | None:
    number = text.strip()
    unit = 1
    for name, size in sorted({**UNITS, **BYTE_UNITS, "k": 1000}.items(), key=lambda item: -len(item[0])):
        if name and number.endswith(name):
            number, unit = number[: -len(name)].rstrip(), size
            break
    whole, point, decimals = number.partition(".")
    groups = whole.split(",")
    grouped = len(groups) > 1 and 0 < len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:])
    figures = "".join(groups) if grouped else whole
    if not _is_digits(figures) or (point and not _is_digits(decimals)) or len(figures + decimals) > 100:
        return None
    return Printed(int(figures + decimals), len(decimals), unit)


def agrees(exact: int, printed: str, rounding: str = "nearest") -> bool:
    """Whether an exact number prints as this, at the precision printed. Of a half both roundings do.

    Raises UsageError for a text that is no printed number, or a rounding other than nearest and cut_off.
    """
    if rounding not in ROUNDINGS:
        raise UsageError(f"rounding must be {' or '.join(ROUNDINGS)}, not {rounding}")
    number = parse_printed(printed)
    difference: int = exact * 10**number.decimals - number.digits * number.unit  # in units of 10^-decimals
    if rounding == "cut_off":
        return 0 <= difference < number.unit
    return 2 * abs(difference) <= number.unit


def _scaled(value: int, unit: int, decimals: int, rounding: str) -> int:
    """value / unit in units of the last decimal, rounded half up or cut off."""
    numerator: int = value * 10**decimals
    return (2 * numerator + unit) // (2 * unit) if rounding == "nearest" else numerator // unit


def decimal_text(digits: int, decimals: int) -> str:
    """A number given in units of its last decimal: 523 with 1 decimal is 52.3."""
    if not decimals:
        return str(digits)
    text = str(digits).rjust(decimals + 1, "0")
    return f"{text[:-decimals]}.{text[-decimals:]}"


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _quotient(numerator: int, denominator: int) -> int | Fraction:
    if numerator % denominator == 0:
        return numerator // denominator
    from fractions import Fraction

    return Fraction(numerator, denominator)
