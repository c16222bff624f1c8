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
from archprof.analysis.numbers import agrees, exact, is_printed, parse_printed
from archprof.analysis.published import (
    PublishedCell,
    PublishedColumn,
    PublishedException,
    PublishedTable,
    published_for,
    read_published,
)
from archprof.analysis.table import Row, Table, cell_text, make_table
from archprof.errors import UsageError
from archprof.graph import Graph
from archprof.operators import hint
from archprof.spec import expand, find_spec, load_document
from archprof.spec.document import Document, Variant
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
        if quantity == "receptive_field":
            sizes = set(self.analysis.receptive_field or ())
            size = sizes.pop() if len(sizes) == 1 else None
            return size if isinstance(size, int) else None
        if quantity not in QUANTITIES:
            raise UsageError(f"unknown quantity {quantity}: {hint(quantity, QUANTITIES)}")
        if self.analysis.lower_bound:
            return None
        if quantity == "activations":
            return total.activations
        if quantity == "flops":
            return total.flops
        return CONVENTIONS[quantity].count(total.cost)

    def title(self, quantity: str) -> str:
        """A quantity as a message names it; flops with the convention that counts them."""
        return f"flops ({self.analysis.counting})" if quantity == "flops" else quantity


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
    findings.extend(_limit(quantity, limit, figures, file, place) for quantity, limit in limits.items())
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
            yield _finding(quantity, _said(written), _said(found), _listed(written) == found, file, tree)
            continue
        number = figures.number(quantity)
        what = figures.title(quantity)
        if number is None:
            yield _finding(what, _said(written), "not counted", False, file, tree)
        elif isinstance(written, int) and not isinstance(written, bool):
            yield _finding(what, exact(written), exact(number), number == written, file, tree)
        elif isinstance(written, str) and is_printed(written):
            holds = agrees(number, written) or agrees(number, written, "cut_off")
            yield _finding(what, written, exact(number), holds, file, tree)
        else:
            message = f"expect: {quantity} must be an integer or a printed number such as 3.8B, not {_said(written)}"
            raise SpecError([Mistake(document.file, tree.line, tree.column, message, "not-a-printed-number")])


def _finding(
    what: str, expected: str, found: str, holds: bool, file: str, place: Any, note: str | None = None
) -> Finding:
    return Finding(
        what=what,
        expected=expected,
        found=found,
        status=PASSED if holds else FAILED,
        note=note,
        file=file,
        line=place.line,
        column=place.column,
    )


def _output(figures: Figures) -> list[list[int]]:
    return [
        list(figures.graph.nodes[value.node].output_shapes[value.output].dims)
        for value in figures.graph.outputs.values()
    ]


def _receptive_field(figures: Figures) -> list[list[int]]:
    sizes = figures.analysis.receptive_field or ()
    return [[int(size) if size == int(size) else float(size) for size in sizes]]  # type: ignore[misc]


def _listed(written: Any) -> Any:
    """What was written of an output or a receptive field, as a list of lists: 212 stands for [212, 212]."""
    if isinstance(written, list):
        return written if written and isinstance(written[0], list) else [written]
    return [[written, written]]


def _said(value: Any) -> str:
    if isinstance(value, list):
        return _said(value[0]) if len(value) == 1 else f"[{', '.join(map(_said, value))}]"
    return exact(value) if isinstance(value, int) and not isinstance(value, bool) else str(value)


# --- published tables


def _published(published: PublishedTable, figures: Figures) -> Iterator[Finding]:
    file = _shown_path(published.file)
    exceptions = {(each.path, each.column): each for each in published.exceptions}
    names = {name for column in published.columns.values() if (name := _table_column(column)) is not None}
    table = make_table(figures.analysis, fold=published.fold, columns=sorted(names)) if names else None
    rows = {row.path: row for row in table.rows} if table is not None else {}
    for row in published.rows:
        if row.path is None:
            continue
        if row.path not in rows:
            yield _finding(f"row {row.path}", "there", "in no row of the network", False, file, row)
            continue
        assert table is not None
        for name, cell in row.cells.items():
            column = published.columns[name]
            if _table_column(column) is None:
                continue  # what the source calls the row: nothing to compare with
            found = _cell(table, rows[row.path], column)
            exception = exceptions.get((row.path, name))
            yield _compared(f"{row.name}: {name}", column, cell, found, exception, file)
    for name, cell in published.total.items():
        column = published.columns[name]
        total = _total(figures, table, column)
        yield _compared(f"total: {name}", column, cell, total, exceptions.get((None, name)), file)


# the columns of a table that count a quantity of a published one
_TABLE_COLUMNS = {
    "params": "param",
    "activations": "activations",
    "receptive_field": "receptive-field",
    "depth": "depth",
    "memory": "memory",
    **{name: name for name in CONVENTIONS},
}


def _table_column(column: PublishedColumn) -> str | None:
    """The column of a table that shows what a published one does, if one does."""
    return _TABLE_COLUMNS.get(column.quantity or "") or column.column


def _cell(table: Table, row: Row, column: PublishedColumn) -> int | str | None:
    """What the analysis has in a cell: a count where the column has a quantity, else the text that is printed."""
    cell = row.cells[[each.name for each in table.columns].index(_table_column(column) or "")]
    if column.quantity == "receptive_field" and isinstance(cell, tuple) and len(set(cell)) == 1:
        cell = cell[0]  # type: ignore[assignment]
    if column.quantity is not None:
        return cell if isinstance(cell, int) else None
    return cell_text(cell)


def _total(figures: Figures, table: Table | None, column: PublishedColumn) -> int | str | None:
    if column.quantity is not None:
        return figures.number(column.quantity)
    assert table is not None
    return _cell(table, table.total, column)


def _compared(
    what: str,
    column: PublishedColumn,
    cell: PublishedCell,
    found: int | str | None,
    exception: PublishedException | None,
    file: str,
) -> Finding:
    """A published cell against the analysis: at the printed precision, or as its exception says."""
    if isinstance(found, str) or column.style is None:
        return _finding(what, cell.text or "empty", str(found) or "empty", cell.text == found, file, cell)
    if found is None:
        return _finding(what, cell.text, "not counted", False, file, cell)
    rounding = exception.rounding if exception is not None and exception.rounding else column.style.rounding
    # a counted zero is an empty cell, or 0
    holds = found == 0 if cell.text in ("", "0") else agrees(found, cell.text, rounding)
    if exception is None or exception.arithmetic is None:
        return _finding(what, cell.text or "empty", exact(found), holds, file, cell)
    if holds:
        note = "recorded as an exception, but it agrees: take the exception away"
        return _finding(what, cell.text, exact(found), False, file, cell, note)
    if found != exception.arithmetic:
        note = f"recorded as an exception with the arithmetic {exact(exception.arithmetic)}"
        return _finding(what, cell.text, exact(found), False, file, cell, note)
    known = _finding(what, cell.text, exact(found), True, file, cell, exception.note)
    return msgspec.structs.replace(known, status=EXCEPTION)


# --- limits


def parse_limit(text: str) -> tuple[str, int]:
    """`params=5M` as a quantity and a number. Raises UsageError."""
    quantity, equals, number = text.partition("=")
    if not equals or not is_printed(number):
        raise UsageError(f"--max {text}: write --max params=5M")
    if quantity not in QUANTITIES:
        raise UsageError(f"--max {text}: unknown quantity {quantity}: {hint(quantity, QUANTITIES)}")
    return quantity, int(parse_printed(number).value)


def _limit(quantity: str, limit: int, figures: Figures, file: str, place: Any) -> Finding:
    number = figures.number(quantity)
    if number is None:
        raise UsageError(f"{figures.graph.name}: {quantity} is not known, since not every operator is counted")
    said = f"at most {exact(limit)}"
    return _finding(figures.title(quantity), said, exact(number), number <= limit, file, place)


# --- which networks


def networks(arguments: Sequence[str]) -> list[tuple[Document, Variant | None]]:
    """The networks that a command line names: of a file its base and all variants, of a folder its spec files.

    A base with parameters that must be given is left out. Raises UsageError for a folder or a pattern
    without a spec, SpecError for what cannot be read.
    """
    found: list[tuple[Document, Variant | None]] = []
    for argument in arguments:
        paths = _files(argument)
        if paths is None:
            document, variant = find_spec(argument)
            if variant is not None:
                found.append((document, variant))
                continue
            documents = [document]
        else:
            documents = [load_document(path) for path in paths]
        for document in documents:
            if not any(parameter.required for parameter in document.parameters.values()):
                found.append((document, None))
            found.extend((document, variant) for variant in document.variants.values())
    return found


def _files(argument: str) -> list[str] | None:
    """The spec files of a folder or a pattern; None for anything else."""
    folder = Path(argument).is_dir()
    if folder:
        paths = sorted(str(path) for path in Path(argument).iterdir() if path.suffix in (".yaml", ".yml"))
    elif any(char in argument for char in "*?[") and not Path(argument).exists():
        import glob

        paths = sorted(glob.glob(argument, recursive=True))
    else:
        return None
    if not paths:
        raise UsageError(f"{argument}: {'no spec file is in this folder' if folder else 'no file fits this pattern'}")
    return paths


def _shown_path(path: str) -> str:
    """A path relative to this folder where it lies in it: what an annotation needs."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive
        return path
    return path if relative.startswith("..") else relative
