"""Letting Python's garbage collector rest while many objects without cycles are made."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

_OBJECTS = 1_000_000  # more than these at once, and it looks for cycles after all

_lock = threading.Lock()
_resting = 0  # how many wait for it, nested or in other threads
_thresholds = gc.get_threshold()


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Make collections rare: what is read, expanded or analysed has no cycles, and the collector looks often."""
    global _resting, _thresholds
    with _lock:
        if _resting == 0:
            _thresholds = gc.get_threshold()
            if 0 < _thresholds[0] < _OBJECTS:
                gc.set_threshold(_OBJECTS, *_thresholds[1:])
        _resting += 1
    try:
        yield
    finally:
        with _lock:
            _resting -= 1
            if _resting == 0:
                gc.set_threshold(*_thresholds)
