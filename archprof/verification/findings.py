"""What a comparison gives: one figure, ours and theirs."""

from __future__ import annotations

import msgspec

from archprof.verification.reasons import Reason

AGREES, EXPLAINED, UNEXPLAINED = "agrees", "explained", "unexplained"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity of one node, as the analysis has it and as a tool does: a count, or shapes in words."""

    node: str
    op: str
    quantity: str
    ours: int | str
    theirs: int | str
    tool: str
    reason: Reason | None = None  # why they differ, where it is known and gives this very figure

    @property
    def status(self) -> str:
        """AGREES, EXPLAINED or UNEXPLAINED."""
        if self.ours == self.theirs:
            return AGREES
        return UNEXPLAINED if self.reason is None else EXPLAINED
