"""What tells the cells of a table apart: columns for what varies, words for what all have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from archprof.analysis.numbers import ColumnStyle, column_style
from archprof.profiling.records import Key
from archprof.report.sheet import plain

AXES = ("network", "batch", "input", "pass", "dtype", "amp", "layout", "mode")
_USUAL = {"dtype": "float32", "amp": "none", "layout": "nchw", "mode": "eager"}
_UNITS: Mapping[str, int] = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}


def fields(key: Key) -> dict[str, Any]:
    """A key for programs, by the names that the columns have."""
    return {axis: getattr(key, "pass_" if axis == "pass" else axis) for axis in (*AXES, "multiply_adds")}


def axis(key: Key, name: str) -> str:
    """One of AXES in words, on one line whatever the results file holds."""
    value = getattr(key, "pass_" if name == "pass" else name)
    return "none" if value is None else plain(str(value))


def varying(keys: Sequence[Key]) -> tuple[tuple[str, ...], str]:
    """The axes that columns are needed for, the network's always; and what all share, as "batch 1, float32".

    An input that follows from the network is neither.
    """
    values = {name: {axis(key, name) for key in keys} for name in AXES}
    networks_and_inputs = {(key.network, key.input) for key in keys}
    different = tuple(
        name
        for name in AXES
        if name == "network"
        or (len(values[name]) > 1 and (name != "input" or len(networks_and_inputs) > len(values["network"])))
    )
    shared = [name for name in AXES if len(values[name]) == 1 and name not in different]
    return different, ", ".join(f"{name} {axis(keys[0], name)}" for name in shared)


def label(key: Key) -> str:
    """A cell in words, without what is usual: resnet-50, batch 8, 3x224x224, forward, nhwc."""
    words = [axis(key, "network"), f"batch {key.batch}", axis(key, "input"), key.pass_]
    for name, usual in _USUAL.items():
        value = axis(key, name)
        if value != usual:
            words.append(f"autocast {value}" if name == "amp" else value)
    return ", ".join(words)


def times(seconds: Iterable[float | None]) -> tuple[str, Callable[[float | None], str]]:
    """One unit for a column of times, and what prints one of them; empty for None."""
    known = [round(value * 1e9) for value in seconds if value is not None]
    style: ColumnStyle = column_style(known, sorted(known)[len(known) // 2] if known else 0, _UNITS)

    def printed(value: float | None) -> str:
        return "" if value is None else style.print(round(value * 1e9))

    return style.unit, printed


def three_digits(value: float) -> str:
    """A number above 0 with three significant digits: 0.0235, 1.56, 24.1, 1,560."""
    for decimals, least in ((0, 100), (1, 10), (2, 1), (3, 0.1)):
        if value >= least:
            return f"{value:,.{decimals}f}"
    return f"{value:.3g}"
