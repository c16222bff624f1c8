"""Holding a network against what was said of it: its `expect` block, its published table, limits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from archprof.analysis.analysis import Analysis, analyse
from archprof.analysis.counting import CONVENTIONS
from archprof.analysis.memory import memory
from archprof.analysis.numbers import ROUNDINGS, agrees, exact, is_printed, parse_printed
from archprof.analysis.published import (
    PublishedCell,
    PublishedColumn,
    PublishedException,
    PublishedTable,
    published_table,
)
from archprof.analysis.table import Row, Table, cell_text, make_table
from archprof.errors import UsageError
from archprof.graph import Graph
from archprof.operators import hint, listed, nearest
from archprof.operators.base import shown
from archprof.spec import expand, find_spec
from archprof.spec.document import Document, Variant
from archprof.spec.errors import Mistake, SpecError
from archprof.spec.reader import Tree, plain

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


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A network and all that was checked of it."""

    name: str
    file: str
    findings: tuple[Finding, ...]
    unlisted: tuple[str, ...] = ()  # rows of the published table that the spec has no node for
    family: bool = False  # the base of a file with variants, which are checked for themselves

    def count(self, status: str) -> int:
        """How many findings have a status."""
        return sum(finding.status == status for finding in self.findings)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that a command line named: the networks that could be checked, and the mistakes of the other files."""

    networks: tuple[Checked, ...]
    mistakes: tuple[Mistake, ...] = ()

    def count(self, status: str) -> int:
        """How many findings have a status, over all networks."""
        return sum(network.count(status) for network in self.networks)

    @property
    def failures(self) -> list[tuple[Checked, Finding]]:
        """The findings that failed, each with its network."""
        return [(network, each) for network in self.networks for each in network.findings if each.status == FAILED]


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

    def counted(self, quantity: str) -> str:
        """What is counted: for flops the convention in force."""
        return self.analysis.counting if quantity == "flops" else quantity

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
    file = shown_path(document.file)
    unlisted: tuple[str, ...] = ()
    published = published_table(document, variant)
    findings = list(_expectations(document, variant, figures, published, file))
    if published is not None:
        findings.extend(_published(published, figures))
        unlisted = tuple(row.name for row in published.rows if row.path is None)
    place = variant if variant is not None else document.layers[0]
    findings.extend(_limit(quantity, limit, figures, file, place) for quantity, limit in limits.items())
    family = variant is None and bool(document.variants)
    return Checked(name=graph.name, file=file, findings=tuple(findings), unlisted=unlisted, family=family)


class Place(NamedTuple):
    """A line and column that a finding is at."""

    line: int
    column: int


def check_limits(graph: Graph, file: str, line: int, limits: Mapping[str, int]) -> Checked:
    """A network without a spec, written at a line of a file, held against limits alone. Raises UsageError."""
    figures = Figures(graph, analyse(graph))
    place = Place(line, 1)
    findings = tuple(_limit(quantity, limit, figures, file, place) for quantity, limit in limits.items())
    return Checked(name=graph.name, file=file, findings=findings)


def expectations(document: Document, variant: Variant | None) -> dict[str, Tree]:
    """What is expected of one network: a variant's keys override the file's."""
    own = variant.expect.values if variant is not None else {}
    return {**document.expect.values, **own}


def _expectations(
    document: Document, variant: Variant | None, figures: Figures, published: PublishedTable | None, file: str
) -> Iterator[Finding]:
    for quantity, tree in expectations(document, variant).items():
        written = plain(tree)
        if quantity in ("output", "receptive_field"):
            found = _output(figures) if quantity == "output" else _receptive_field(figures)
            yield _finding(quantity, _said(written), _said(found), _listed(written) == found, file, tree)
            continue
        number = figures.number(quantity)
        what = figures.title(quantity)
        if isinstance(written, int) and not isinstance(written, bool):
            found_text = "not counted" if number is None else exact(number)
            yield _finding(what, exact(written), found_text, number == written, file, tree)
        elif isinstance(written, str) and is_printed(written):
            if number is None:
                yield _finding(what, written, "not counted", False, file, tree)
                continue
            rounding = _rounding(figures.counted(quantity), published)
            holds = agrees(number, written, rounding)
            note = None if holds else _of_other_rounding(number, written, rounding)
            yield _finding(what, written, exact(number), holds, file, tree, note)
        else:
            message = f"expect: {quantity} must be an integer or a printed number such as 3.8B, not {shown(written)}"
            raise SpecError([Mistake(document.file, tree.line, tree.column, message, "not-a-printed-number")])


def _rounding(quantity: str, published: PublishedTable | None) -> str:
    """How the source of a printed figure rounds: as its published file says of the total, else to the nearest."""
    if published is not None:
        for name, column in published.columns.items():
            if column.quantity == quantity and column.style is not None:
                own = [each.rounding for each in published.exceptions if (each.path, each.column) == (None, name)]
                return next(filter(None, own), column.style.rounding)
    return "nearest"


def _of_other_rounding(number: int, written: str, rounding: str) -> str | None:
    """A word on a figure that does not hold, but would if it were rounded the other way."""
    if rounding == "nearest" and agrees(number, written, "cut_off"):
        return "it is cut off, not rounded: the published file must say so"
    if rounding == "cut_off" and agrees(number, written):
        return "it is rounded, where the published file says cut off"
    return None


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
    file = shown_path(published.file)
    exceptions = {(each.path, each.column): each for each in published.exceptions}
    names = {name for column in published.columns.values() if (name := _table_column(column)) is not None}
    table = make_table(figures.analysis, fold=published.fold, columns=("layer", *sorted(names - {"layer"})))
    rows = {row.path: row for row in table.rows}
    for row in published.rows:
        if row.path is None:
            continue
        if row.path not in rows:
            close = nearest(row.path, rows)
            note = f"did you mean {close}?" if close else f"at depth {published.fold} there is {listed(rows)}"
            yield _finding(f"row {row.path}", "a row of the network", "missing", False, file, row, note)
            continue
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


def _total(figures: Figures, table: Table, column: PublishedColumn) -> int | str | None:
    return _cell(table, table.total, column) if column.quantity is None else figures.number(column.quantity)


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
    own = column.style.rounding
    if exception is None:
        holds = _prints_as(found, cell.text, own)
        note = None if holds else _of_other_rounding(found, cell.text or "0", own)
        return _finding(what, cell.text or "empty", exact(found), holds, file, cell, note)
    note = None
    if _prints_as(found, cell.text, own):
        note = "recorded as an exception, but it agrees: take the exception away"
    elif exception.rounding is not None:
        holds = _prints_as(found, cell.text, exception.rounding)
        return _finding(what, cell.text or "empty", exact(found), holds, file, cell)
    elif any(_prints_as(found, cell.text, rounding) for rounding in ROUNDINGS):
        note = "recorded as an exception, but it follows otherwise rounded: give the exception a rounding"
    elif found != exception.arithmetic:
        note = f"recorded as an exception with the arithmetic {exact(exception.arithmetic or 0)}"
    if note is not None:
        return _finding(what, cell.text or "empty", exact(found), False, file, cell, note)
    known = _finding(what, cell.text or "empty", exact(found), True, file, cell, exception.note)
    return msgspec.structs.replace(known, status=EXCEPTION)


def _prints_as(found: int, text: str, rounding: str) -> bool:
    """Whether a count prints as a cell: a counted zero is an empty cell, or 0."""
    return found == 0 if text in ("", "0") else agrees(found, text, rounding)


# --- limits


def parse_limits(texts: Sequence[str]) -> dict[str, int]:
    """Limits such as `params=5M` or `memory=1GiB`, by quantity. Raises UsageError."""
    limits: dict[str, int] = {}
    for text in texts:
        quantity, equals, number = text.partition("=")
        if not equals or not is_printed(number):
            raise UsageError(f"--max {text}: write QUANTITY=NUMBER, as params=5M or memory=1GiB")
        if quantity not in QUANTITIES:
            raise UsageError(f"--max {text}: unknown quantity {quantity}: {hint(quantity, QUANTITIES)}")
        if quantity in limits:
            raise UsageError(f"--max {quantity} is given twice")
        limits[quantity] = int(parse_printed(number).value)
    return limits


def _limit(quantity: str, limit: int, figures: Figures, file: str, place: Any) -> Finding:
    number = figures.number(quantity)
    if number is None:
        raise UsageError(f"{figures.graph.name}: {quantity} is not known, since not every operator is counted")
    said = f"at most {exact(limit)}"
    return _finding(figures.title(quantity), said, exact(number), number <= limit, file, place)


# --- which networks

Network: TypeAlias = "tuple[Document, Variant | None]"


def check_all(arguments: Sequence[str], limits: Mapping[str, int] = {}, settings: Mapping[str, Any] = {}) -> Report:
    """Check the networks that a command line names; the mistakes of some files keep no other from being checked.

    Raises UsageError for a folder or a pattern without a spec, and for a limit on what is not known.
    """
    found, mistakes = _networks(arguments, settings)
    checked = []
    for document, variant in found:
        try:
            checked.append(check(document, variant, limits, settings))
        except SpecError as error:
            mistakes.extend(error.mistakes)
    return Report(networks=tuple(checked), mistakes=tuple(sorted(set(mistakes))))


def networks(arguments: Sequence[str], settings: Mapping[str, Any] = {}) -> list[Network]:
    """The networks that a command line names: of a file its base and all variants, of a folder its spec files.

    Raises UsageError for a folder or a pattern without a spec, SpecError with all mistakes of all files.
    """
    found, mistakes = _networks(arguments, settings)
    if mistakes:
        raise SpecError(mistakes)
    return found


def _networks(arguments: Sequence[str], settings: Mapping[str, Any]) -> tuple[list[Network], list[Mistake]]:
    found: list[Network] = []
    mistakes: list[Mistake] = []
    for argument in arguments:
        for spec in _files(argument):
            try:
                document, variant = find_spec(spec)
            except SpecError as error:
                mistakes.extend(error.mistakes)
                continue
            found.extend(((document, variant),) if variant is not None else _members(document, settings))
    return found, mistakes


def _members(document: Document, settings: Mapping[str, Any]) -> Iterator[Network]:
    """The base of a file and its variants, without a base that only variants give all parameters."""
    missing = any(each.required and each.name not in settings for each in document.parameters.values())
    if not (missing and document.variants):
        yield document, None
    for variant in document.variants.values():
        yield document, variant


def _files(argument: str) -> list[str]:
    """The spec files of a folder or a pattern; anything else stands for itself."""
    if Path(argument).is_dir():
        what = "no spec file (.yaml, .yml) is in this folder"
        paths = sorted(str(path) for path in Path(argument).iterdir() if path.suffix in (".yaml", ".yml"))
    elif any(char in argument for char in "*?[") and not Path(argument).exists():
        import glob

        what = "no file fits this pattern"
        paths = sorted(path for path in glob.glob(argument, recursive=True) if Path(path).is_file())
    else:
        return [argument]
    if not paths:
        raise UsageError(f"{argument}: {what}")
    return paths


def shown_path(path: str) -> str:
    """A path relative to this folder where it lies in it: what an annotation needs."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive
        return path
    return path if relative.startswith("..") else relative
