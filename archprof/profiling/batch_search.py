"""The largest batch that fits: from the memory model's prediction outwards, then by halves. Without torch."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

MOST = 65_536  # a larger batch is not looked for
FINE = 64  # the search ends where what fits and what does not are within 1/64 of each other


class Found(msgspec.Struct, frozen=True):
    """Where a search ended. `fits` 0: not even a batch of 1; `refused` None: none up to MOST was too large."""

    fits: int
    refused: int | None
    trials: tuple[tuple[int, bool], ...]  # in order: the batch, and whether it fitted


def predict(peak: Callable[[int], int], limit: int) -> int:
    """The largest batch whose predicted peak (bytes, rising with the batch) is within a limit; 0 to MOST."""
    low, high = 0, MOST + 1
    while high - low > 1:
        middle = (low + high) // 2
        if peak(middle) <= limit:
            low = middle
        else:
            high = middle
    return low


def search(fits: Callable[[int], bool], predicted: int) -> Found:
    """The largest batch for which `fits` holds, to within 1/64 of it; exact below 64.

    The prediction is tried first, then batches an eighth, a quarter, half ... of it away until one fits and one does
    not, then halves of what lies between. What `fits` raises ends the search.
    """
    trials: list[tuple[int, bool]] = []

    def trial(batch: int) -> bool:
        fitted = fits(batch)
        trials.append((batch, fitted))
        return fitted

    start = max(1, min(predicted, MOST))
    low, high = 0, MOST + 1
    batch, step = start, max(1, start // 8)
    while low < batch < high:
        if trial(batch):
            low = batch
            if high <= MOST:
                break
            batch = min(low + step, MOST)
        else:
            high = batch
            if low:
                break
            batch = max(high - step, 1)
        step *= 2
    while high <= MOST and high - low > max(1, low // FINE):
        middle = (low + high) // 2
        if trial(middle):
            low = middle
        else:
            high = middle
    return Found(low, high if high <= MOST else None, tuple(trials))
