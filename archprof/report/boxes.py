"""Rectangles in a picture, for labels that should meet as little as they can."""

from __future__ import annotations

from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle by its centre and half of its sides, all in one unit."""

    x: float
    y: float
    width: float
    height: float

    def overlap(self, other: Box) -> float:
        """The area that both cover."""
        across = self.width + other.width - abs(self.x - other.x)
        up = self.height + other.height - abs(self.y - other.y)
        return max(across, 0) * max(up, 0)
