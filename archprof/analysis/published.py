"""Published tables: what a source prints of a network, cell by cell, and how it prints it.

    title: the lecture's table of the ZF network
    source: ...
    fold: 1                        # the rows' depth in the node paths
    columns:                       # as the source heads them
      size-in: {column: size-in}   # text, compared as it stands
      param: {column: param, quantity: params, units: {one: 0, K: 0, M: 0}, rounding: nearest}
    rows:
      - {path: conv1, cells: {size-in: 220x220x3, param: 9K}}
      - {name: softmax, cells: {}}   # a row that the spec has no node for
    total: {param: 140M}
    exceptions:                    # cells that print otherwise than their column, or do not follow
      - {path: conv1, column: param, arithmetic: 9472, note: why}
      - {path: total, column: param, rounding: cut_off}

`quantity` is what the column counts (params, a counting convention, activations, receptive_field, depth, memory),
`units` gives the decimals by unit (`one` for none), `rounding` is nearest or cut_off. A column may have a `source`
of its own.

Of several networks (a family's variants, by name) the file has `networks` in place of rows, total and exceptions:

    columns:
      params: {quantity: params, units: {M: 0}}
    networks:
      vgg-a: {total: {params: 133M}}
      vgg-b: {total: {params: 133M}, exceptions: [...]}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from archprof.analysis.analysis import Analysis
from archprof.analysis.counting import CONVENTIONS
from archprof.analysis.numbers import ROUNDINGS, UNITS, Style, is_printed
from archprof.analysis.table import COLUMNS
from archprof.operators.base import listed, listed_and, nearest
from archprof.spec.document import Document, Variant
from archprof.spec.errors import Mistake, SpecError
from archprof.spec.reader import Mapping as TreeMapping
from archprof.spec.reader import Scalar, Sequence, Tree, read, read_file

QUANTITIES = ("params", *CONVENTIONS, "activations", "receptive_field", "depth", "memory")


class PublishedColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a source's table."""

    name: str  # the source's heading
    column: str | None = None  # the column of ours that shows the same, if one does
    quantity: str | None = None  # what it counts; None for text
    style: Style | None = None  # how it prints numbers
    source: str | None = None  # where it is printed, if not where the rest is


class PublishedCell(msgspec.Struct, frozen=True):
    """A cell as printed, with its place in the published file."""

    text: str
    line: int
    column: int


class PublishedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a source's table: of a node path, or named only, where the spec has no counterpart."""

    path: str | None
    name: str
    cells: Mapping[str, PublishedCell]
    line: int
    column: int


class PublishedException(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that its column's rule does not give.

    With `rounding` it follows when rounded that way instead; with `arithmetic` it does not follow from the
    architecture, which gives this number. `path` None stands for the total.
    """

    path: str | None
    column: str
    arithmetic: int | None = None
    rounding: str | None = None
    note: str | None = None
    line: int
    place: int  # the column of the file at which it is written


class PublishedTable(msgspec.Struct, frozen=True, kw_only=True):
    """What is published of one network."""

    file: str
    title: str | None
    source: str | None
    fold: int
    columns: Mapping[str, PublishedColumn]
    rows: tuple[PublishedRow, ...]
    total: Mapping[str, PublishedCell]
    exceptions: tuple[PublishedException, ...]


class Published(msgspec.Struct, frozen=True):
    """A published file: one table, of whichever network names it, or several by the network's name."""

    table: PublishedTable | None
    networks: Mapping[str, PublishedTable] = {}


def read_published(path: Path) -> Published:
    """Read a published file. Raises SpecError with all its mistakes."""
    return parse_published(read_file(path), str(path))


def published_for(published: Published, network: str) -> PublishedTable | None:
    """What a file says of a network, by its name: a variant's, or the spec's own; None where it says nothing."""
    return published.table or published.networks.get(network)


def published_table(document: Document, variant: Variant | None) -> PublishedTable | None:
    """The published figures of one network of a spec, from the file beside it that its `expect` names.

    Raises SpecError for a file that is not there or cannot be read.
    """
    where = (variant.expect.published if variant is not None else None) or document.expect.published
    if where is None:
        return None
    path = Path(document.file).parent / where.text
    if not path.is_file():
        message = f"expect: published: there is no file {where.text} beside the spec"
        raise SpecError([Mistake(document.file, where.line, where.column, message, "no-such-file")])
    return published_for(read_published(path), variant.name if variant is not None else document.name)


def parse_published(text: bytes, file: str) -> Published:
    """Read the text of a published file; `file` is the name that messages give it. Raises SpecError."""
    return _Parser(file).published(read(text, file))


def column_styles(table: PublishedTable, analysis: Analysis) -> dict[str, Style]:
    """The styles that a source prints the numbers of rows in, by the column of ours that counts the same.

    FLOPs of another convention than the source's are no figure of its table: they have no style here.
    Nor has what is printed of the total alone: 133M says nothing of how a row of 2K would be printed.
    """
    columns = {"params": "param", "activations": "activations", analysis.counting: "FLOPs"}
    return {
        columns[column.quantity]: column.style
        for column in table.columns.values()
        if column.style is not None
        and column.quantity in columns
        and any(column.name in row.cells for row in table.rows)
    }


class _Parser:
    """One parsing of one file: mistakes are gathered, and raised at the end."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.mistakes: list[Mistake] = []

    def add(self, place: Tree, code: str, message: str) -> None:
        self.mistakes.append(Mistake(self.file, place.line, place.column, message, code))

    def published(self, root: TreeMapping) -> Published:
        own = ("rows", "total", "exceptions")
        top = self.map(root, "a published file", ("title", "source", "fold", "columns", *own, "networks"), ("columns",))
        common = PublishedTable(
            file=self.file,
            title=self.text(top.get("title"), "title"),
            source=self.text(top.get("source"), "source"),
            fold=self.integer(top.get("fold"), "fold", 1) or 1,
            columns={name.text: self.column(name, tree) for name, tree in self.entries(top.get("columns"), "columns")},
            rows=(),
            total={},
            exceptions=(),
        )
        if "networks" in top:
            for key in own:
                if key in top:
                    self.add(top[key], "conflicting-keys", f"with networks, {key} stands under each of them")
            networks = {}
            for name, tree in self.entries(top["networks"], "networks"):
                entries = self.map(tree, f"network {name.text}", ("title", "source", *own))
                networks[name.text] = self.table(tree, f"network {name.text}", entries, common)
            made = Published(None, networks)
        else:
            made = Published(self.table(root, "a published file", top, common))
        if self.mistakes:
            raise SpecError(self.mistakes)
        return made

    def table(self, place: Tree, what: str, entries: Mapping[str, Tree], common: PublishedTable) -> PublishedTable:
        """The table of one network: its own entries, and what all tables of the file have in common."""
        if "rows" not in entries and "total" not in entries and isinstance(place, TreeMapping):
            self.add(place, "missing-key", f"{what} needs rows or total")
        rows = tuple(self.row(tree, common.columns) for tree in self.items(entries.get("rows"), "rows"))
        total = self.cells(entries.get("total"), "total", common.columns)
        cells = {row.path: row.cells for row in rows if row.path is not None}
        listed_exceptions = self.items(entries.get("exceptions"), "exceptions")
        exceptions = tuple(self.exception(tree, common.columns, cells, total) for tree in listed_exceptions)
        placed: set[tuple[str | None, str]] = set()
        for tree, each in zip(listed_exceptions, exceptions, strict=True):
            if (each.path, each.column) in placed:
                message = f"two exceptions of one cell, {each.path or 'total'}: {each.column}"
                self.add(tree, "duplicate-name", message)
            placed.add((each.path, each.column))
        return msgspec.structs.replace(
            common,
            title=self.text(entries.get("title"), "title") or common.title,
            source=self.text(entries.get("source"), "source") or common.source,
            rows=rows,
            total=total,
            exceptions=exceptions,
        )

    def column(self, name: Scalar, tree: Tree) -> PublishedColumn:
        what = f"column {name.text}"
        found = self.map(tree, what, ("column", "quantity", "units", "rounding", "source"))
        quantity = self.choice(found.get("quantity"), f"{what}: quantity", QUANTITIES)
        rounding = self.choice(found.get("rounding"), f"{what}: rounding", ROUNDINGS)
        units: dict[str, int] = {}
        for key, value in self.entries(found.get("units"), f"{what}: units"):
            unit = "" if key.text == "one" else key.text
            if unit not in UNITS or key.text == "":
                names = listed(("one", *filter(None, UNITS)))
                self.add(key, "not-a-choice", f"{what}: unit must be {names}, not {key.text}")
                continue
            units[unit] = self.integer(value, f"{what}: decimals of {key.text}", 0) or 0
        if (units or rounding) and quantity is None and "quantity" not in found:
            self.add(name, "missing-key", f"{what} needs quantity: {listed(QUANTITIES)}")
        if quantity is not None and not units:
            self.add(name, "missing-key", f"{what} needs units, the decimals by unit: units: {{K: 0, M: 1}}")
        return PublishedColumn(
            name=name.text,
            column=self.choice(found.get("column"), f"{what}: column", COLUMNS),
            quantity=quantity,
            style=Style(units=units, rounding=rounding or "nearest") if units else None,
            source=self.text(found.get("source"), f"{what}: source"),
        )

    def row(self, tree: Tree, columns: Mapping[str, PublishedColumn]) -> PublishedRow:
        found = self.map(tree, "a row", ("path", "name", "cells"), needed=("cells",))
        path = self.text(found.get("path"), "path")
        name = self.text(found.get("name"), "name") or path
        if name is None and isinstance(tree, TreeMapping):
            self.add(tree, "missing-key", "a row needs path, or name where the spec has no counterpart")
        cells = self.cells(found.get("cells"), f"row {name}" if name else "a row", columns)
        return PublishedRow(path=path, name=name or "", cells=cells, line=tree.line, column=tree.column)

    def cells(self, tree: Tree | None, what: str, columns: Mapping[str, PublishedColumn]) -> dict[str, PublishedCell]:
        found = self.map(tree, what, columns) if tree is not None else {}
        cells = {}
        for name, value in found.items():
            if not isinstance(value, Scalar):
                self.add(value, "wrong-type", f"{what}: {name} must be a cell as printed")
                continue
            column = columns[name]
            if column.style is not None and value.text and not is_printed(value.text):
                message = f"{what}: {name} must be a printed number such as 9K, not {value.text}"
                self.add(value, "not-a-printed-number", message)
            cells[name] = PublishedCell(value.text, value.line, value.column)
        return cells

    def exception(
        self,
        tree: Tree,
        columns: Mapping[str, PublishedColumn],
        rows: Mapping[str, Mapping[str, PublishedCell]],
        total: Mapping[str, PublishedCell],
    ) -> PublishedException:
        keys = ("path", "column", "arithmetic", "rounding", "note")
        found = self.map(tree, "an exception", keys, needed=("path", "column"))
        path = self.choice(found.get("path"), "an exception: path", (*rows, "total"))
        arithmetic = self.integer(found.get("arithmetic"), "an exception: arithmetic", 0)
        rounding = self.choice(found.get("rounding"), "an exception: rounding", ROUNDINGS)
        if ("arithmetic" in found) == ("rounding" in found):
            self.add(tree, "missing-key", "an exception needs arithmetic (what the architecture gives) or rounding")
        column = self.choice(found.get("column"), "an exception: column", columns)
        if path is not None and column is not None:
            if column not in (total if path == "total" else rows[path]):
                self.add(tree, "no-such-cell", f"an exception: {path} has no cell {column}")
            elif columns[column].style is None:
                self.add(tree, "no-such-cell", f"an exception: {column} has no numbers: exceptions are of counts alone")
        return PublishedException(
            path=None if path == "total" else path,
            column=column or "",
            arithmetic=arithmetic,
            rounding=rounding,
            note=self.text(found.get("note"), "an exception: note"),
            line=tree.line,
            place=tree.column,
        )

    # --- small pieces

    def entries(self, tree: Tree | None, what: str) -> tuple[tuple[Scalar, Tree], ...]:
        if tree is None:
            return ()
        if not isinstance(tree, TreeMapping):
            self.add(tree, "wrong-type", f"{what} must be a map")
            return ()
        return tree.entries

    def map(self, tree: Tree, what: str, allowed: Iterable[str], needed: tuple[str, ...] = ()) -> dict[str, Tree]:
        found: dict[str, Tree] = {}
        known = tuple(allowed)
        for key, value in self.entries(tree, what):
            if key.text in known:
                found[key.text] = value
                continue
            close = nearest(key.text, known)
            hint = f"did you mean {close}?" if close else f"its keys are {listed_and(known)}"
            self.add(key, "unknown-key", f"{what}: unknown key {key.text}: {hint}")
        for key_needed in needed:
            if key_needed not in found and isinstance(tree, TreeMapping):
                self.add(tree, "missing-key", f"{what} needs {key_needed}")
        return found

    def items(self, tree: Tree | None, what: str) -> tuple[Tree, ...]:
        if tree is None:
            return ()
        if not isinstance(tree, Sequence):
            self.add(tree, "wrong-type", f"{what} must be a list")
            return ()
        return tree.items

    def text(self, tree: Tree | None, what: str) -> str | None:
        if tree is None:
            return None
        if not isinstance(tree, Scalar):
            self.add(tree, "wrong-type", f"{what} must be text")
            return None
        return tree.text

    def integer(self, tree: Tree | None, what: str, minimum: int) -> int | None:
        if tree is None:
            return None
        value = tree.value if isinstance(tree, Scalar) else None
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            got = tree.text if isinstance(tree, Scalar) else "a list or map"
            self.add(tree, "wrong-type", f"{what} must be an integer of at least {minimum}, not {got}")
            return None
        return value

    def choice(self, tree: Tree | None, what: str, allowed: Iterable[str]) -> str | None:
        text = self.text(tree, what)
        known = tuple(allowed)
        if tree is None or text is None or text in known:
            return text
        close = nearest(text, known)
        hint = f": did you mean {close}?" if close else ""
        self.add(tree, "not-a-choice", f"{what} must be {listed(known)}, not {text}{hint}")
        return None
