"""Holds the analysis against the real thing: torch's shapes and parameters, FlopCounterMode's and fvcore's counts.

Importing it imports no torch; `verify` does.
"""

from archprof.verification.findings import AGREES, EXPLAINED, UNEXPLAINED, Finding
from archprof.verification.reasons import REASONS, Reason
from archprof.verification.verify import DEVICES, Verified, tools, verify, verify_imported

__all__ = [
    "AGREES",
    "DEVICES",
    "EXPLAINED",
    "REASONS",
    "UNEXPLAINED",
    "Finding",
    "Reason",
    "Verified",
    "tools",
    "verify",
    "verify_imported",
]
