"""What data sheets promise of known cards: dense peaks by dtype, and the memory's bandwidth."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from archprof.errors import UsageError

PEAKS_FILE = Path(__file__).with_name("peaks.yaml")
_MAKERS = ("nvidia", "geforce", "tesla")  # words that names are written with or without


class Peak(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One card of the data sheets, as `peaks.yaml` has it and says."""

    name: str
    reported: tuple[str, ...] = ()
    form: str
    memory: str
    tflops: dict[str, float]  # 10^12 operations a second, dense, by dtype
    bandwidth: float  # 10^9 bytes a second
    source: str


@functools.cache
def known_peaks() -> tuple[Peak, ...]:
    """All cards of the data file, in its order."""
    import yaml

    return msgspec.convert(yaml.safe_load(PEAKS_FILE.read_text(encoding="utf-8")), tuple[Peak, ...])


def peak_of(hardware: str) -> Peak | None:
    """The card that torch calls so; None for one that the file does not know."""
    wanted = _words(hardware)
    for peak in known_peaks():
        if wanted in map(_words, (peak.name, *peak.reported)):
            return peak
    return None


def find_peak(name: str) -> Peak:
    """The card that a person calls so: "RTX 3090", "a100 sxm 80gb", "Pascal Titan X".

    Raises UsageError where several fit ("A100"), and with the nearest names where none does.
    """
    exact = peak_of(name)
    if exact is not None:
        return exact
    wanted = set(_words(name))
    fitting = [peak for peak in known_peaks() if wanted and wanted <= set(_words(peak.name))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UsageError(f"{name} may be {_choice([peak.name for peak in fitting])}: give the whole name")
    import difflib

    names = {" ".join(_words(peak.name)): peak.name for peak in known_peaks()}
    near = [names[words] for words in difflib.get_close_matches(" ".join(_words(name))[:100], names)]
    means = f"did you mean {_choice(near)}? " if near else ""
    raise UsageError(f"no data sheet of {name} is known: {means}archprof device --list shows those that are")


def _words(name: str) -> tuple[str, ...]:
    """A name's words in lower case without the maker's: RTX 3090 is NVIDIA GeForce RTX 3090."""
    return tuple(word for word in re.findall(r"[a-z0-9]+", name.lower()) if word not in _MAKERS)


def _choice(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
