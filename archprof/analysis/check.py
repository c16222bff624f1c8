"""Holding a network against what was said of it: its `expect` block, its published table, limits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from archprof.analysis.analysis import Analysis, analyse
from archprof.analysis.counting import CONVENTIONS
from archprof.analysis.memory import memory
from archprof.analysis.numbers import BYTE_UNITS, agrees, exact, is_printed, parse_printed
from archprof.analysis.published import (
    Published,
    PublishedCell,
    PublishedException,
    PublishedTable,
    published_for,
    read_published,
)
from archprof.analysis.table import Row, Table, make_table
from archprof.errors import UsageError
from archprof.graph import Graph
from archprof.operators.base import listed, nearest
from archprof.shape import Shape
from archprof.spec import Document, Variant, expand
from archprof.spec.errors import Mistake, SpecError
from archprof.spec.reader import Scalar, Tree, plain

PASSED, FAILED, EXCEPTION = "passed", "failed", "exception"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was checked: what it says, what the analysis gives, where it is written.

    An `exception` is a published cell that is known not to follow from the architecture, and does not.
    """

    what: str
    expected: str
    found: str
    status: str
    note: str | None = None
    file: str
    line: int
    column: int

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        said = f"{place}: {self.what} is {self.found}, not {self.expected}"
        if self.status == PASSED:
            said = f"{place}: {self.what} is {self.expected}"
        return said + (f" ({self.note})" if self.note else "")


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A network and all that was checked of it."""

    name: str
    file: str
    findings: tuple[Finding, ...]
    unlisted: tuple[str, ...] = ()  # rows that the published table has no counterpart for

    def count(self, status: str) -> int:
        """How many findings have a status."""
        return sum(finding.status == status for finding in self.findings)


class Figures(msgspec.Struct, frozen=True):
    """The quantities that can be expected of a network or limited, each computed when asked for."""

    graph: Graph
    analysis: Analysis

    def number(self, quantity: str) -> int | None:
        """A quantity as an integer (bytes, for memory); None where archprof cannot say.

        Raises UsageError for a quantity that it does not know.
        """
        total = self.analysis.total
        if quantity == "params":
            return total.params
        if quantity == "training_params":
            return analyse(self.graph, train=True).total.params
        if quantity == "depth":
            return self.analysis.depth
        if quantity == "memory":
            return memory(self.graph).inference_peak
        if quantity not in QUANTITIES:
            close = nearest(quantity, QUANTITIES)
            raise UsageError(
                f"unknown quantity {quantity}: " + (f"did you mean {close}?" if close else f"take {listed(QUANTITIES)}")
            )
        if self.analysis.lower_bound:
            return None
        if quantity == "activations":
            return total.activations
        if quantity == "flops":
            return total.flops
        return CONVENTIONS[quantity].count(total.cost)


QUANTITIES = ("params", "training_params", "flops", *CONVENTIONS, "activations", "depth", "memory")


def check(
    document: Document, variant: Variant | None, limits: Mapping[str, int] = {}, settings: Mapping[str, Any] = {}
) -> Checked:
    """Everything that the spec says of one network of it, and limits of the caller's.

    Raises SpecError for a network that cannot be expanded or a published file that cannot be read,
    UsageError for a limit on what is not known.
    """
    graph = expand(document, variant, settings)
    figures = Figures(graph, analyse(graph))
    file = _shown_path(document.file)
    findings = list(_expectations(document, variant, figures, file))
    unlisted: tuple[str, ...] = ()
    published = published_table(document, variant)
    if published is not None:
        findings.extend(_published(published, figures))
        unlisted = tuple(row.name for row in published.rows if row.path is None)
    place = variant if variant is not None else document.layers[0]
    for quantity, limit in limits.items():
        findings.append(_limit(quantity, limit, figures, file, 1 if variant is None else place.line, 1))
    return Checked(name=graph.name, file=file, findings=tuple(findings), unlisted=unlisted)


def published_file(document: Document, variant: Variant | None) -> Scalar | None:
    """Where the spec says that its published figures are."""
    return (variant.expect.published if variant is not None else None) or document.expect.published


def published_table(document: Document, variant: Variant | None) -> PublishedTable | None:
    """The published figures of one network of a spec, if there are any."""
    where = published_file(document, variant)
    if where is None:
        return None
    path = Path(document.file).parent / where.text
    if not path.is_file():
        message = f"expect: published: there is no file {where.text} beside the spec"
        raise SpecError([Mistake(document.file, where.line, where.column, message, "no-such-file")])
    return published_for(read_published(path), variant.name if variant is not None else document.name)


def expectations(document: Document, variant: Variant | None) -> dict[str, Tree]:
    """What is expected of one network: a variant's keys override the file's."""
    own = variant.expect.values if variant is not None else {}
    return {**document.expect.values, **own}


def _expectations(document: Document, variant: Variant | None, figures: Figures, file: str) -> Iterator[Finding]:
    for quantity, tree in expectations(document, variant).items():
        written = plain(tree)
        if quantity in ("output", "receptive_field"):
            found = _output(figures) if quantity == "output" else _receptive_field(figures)
            holds = _normal(written) == found
            yield _finding(quantity, _said(written), _said(found), holds, file, tree)
            continue
        number = figures.number(quantity)
        what = _what(quantity, figures)
        if number is None:
            yield _finding(what, str(written), "not counted", False, file, tree)
        elif isinstance(written, int) and not isinstance(written, bool):
            yield _finding(what, exact(written), exact(number), number == written, file, tree)
        elif isinstance(written, str) and is_printed(written):
            holds = agrees(number, written) or agrees(number, written, "cut_off")
            yield _finding(what, written, exact(number), holds, file, tree)
        else:
            message = f"expect: {quantity} must be an integer or a printed number such as 3.8B, not {written}"
            raise SpecError([Mistake(document.file, tree.line, tree.column, message, "not-a-printed-number")])
