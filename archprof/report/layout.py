"""The one walk over a Table: its raw cells printed and its caption worded, for every format to set out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from archprof.analysis.numbers import BYTE_UNITS, ColumnStyle, Style, column_style, decimal_text, percentages
from archprof.analysis.numbers import exact as exact_text
from archprof.analysis.table import AtLeast, Cell, Column, Row, Share, Table, cell_text
from archprof.operators.base import shown
from archprof.report.sheet import Line, Sheet, plain

NOT_COUNTED = "not counted"
_SHARE_DECIMALS = 1


class TableLine(Line, frozen=True, kw_only=True):
    """A printed row of a Table, and the row it was."""

    row: Row


class Layout(Sheet, frozen=True, kw_only=True):
    """A Table in words, with the Table itself for the formats that programs read."""

    table: Table
    lines: tuple[TableLine, ...]
    total: TableLine


def lay_out(
    table: Table, *, styles: Mapping[str, Style] | None = None, exact: bool = False, data: bool = False
) -> Layout:
    """Print the cells of a table.

    A column of `styles` is printed as its source does; other numbers get one unit a column, which the
    header names. `exact` prints whole numbers instead. `data` is for formats that programs read: there
    headers are the names of the columns, every cell carries its unit, and digits are not grouped.
    """
    rows = (*table.rows, table.total)
    headers, columns = [], []
    for place, column in enumerate(table.columns):
        printer = _Printer(column, [row.cells[place] for row in rows], rows, styles or {}, exact, data)
        headers.append(column.name if data else printer.header())
        columns.append(printer.cells())
    lines = tuple(
        TableLine(row=row, kind=row.kind, cells=cells)
        for row, cells in zip(rows, zip(*columns, strict=True), strict=True)
    )
    graph = table.analysis.graph
    return Layout(
        table=table,
        title=plain(graph.title or graph.name),
        headers=tuple(headers),
        right=tuple(column.numeric for column in table.columns),
        lines=lines[:-1],
        total=lines[-1],
        caption=tuple(map(plain, captions(table))),
    )


def captions(table: Table) -> Iterator[str]:
    """What a reader must know to use the figures: source, convention, mode, totals; a line each."""
    analysis = table.analysis
    graph = analysis.graph
    total, heads = analysis.total, analysis.heads
    if graph.source:
        yield f"source: {graph.source}"
    if graph.parameters:
        yield "settings: " + ", ".join(
            f"{name}={value if isinstance(value, str) else shown(value)}" for name, value in graph.parameters.items()
        )
    yield f"counting: {analysis.counting}: {analysis.convention.caption}"
    mode = "training" if analysis.train else "inference"
    passes = {"forward": "forward pass", "backward": "backward pass", "both": "forward and backward pass"}
    rows = "a row each node" if table.fold is None else f"rows at depth {table.fold} of the paths"
    yield f"{mode}, {passes[analysis.passes]}, batch {analysis.batch}, {analysis.dtype}; {rows}"
    least = "at least " if analysis.lower_bound else ""
    layers = "1 weight layer" if analysis.depth == 1 else f"{analysis.depth} weight layers"
    yield f"{exact_text(total.params)} parameters, {least}{exact_text(total.flops)} FLOPs, {layers} deep"
    if any(each.node.training_only for each in analysis.figures):
        yield f"of these {exact_text(heads.params)} parameters and {exact_text(heads.flops)} FLOPs in training heads"
    if analysis.lower_bound:
        unknown = dict.fromkeys(each.node.operator.op for each in analysis.figures if each.cost is None)
        nodes = "1 node" if total.uncounted == 1 else f"{total.uncounted} nodes"
        yield f"not counted, so that FLOPs are a lower bound: {nodes} ({', '.join(unknown)})"


class _Printer:
    """Prints one column: `cells` in the order of `rows`, of which the last is the total."""

    def __init__(
        self,
        column: Column,
        cells: Sequence[Cell],
        rows: Sequence[Row],
        styles: Mapping[str, Style],
        exact: bool,
        data: bool,
    ) -> None:
        self.column = column
        self.raw = cells
        self.rows = rows
        self.data = data
        self.unit = ""
        self.number: Callable[[int], str]
        style = styles.get(column.name.removeprefix("cumulative-"))
        if column.form == "share":
            self.unit = "%"
        elif exact:
            self.number = str if data else exact_text
            self.unit = column.unit
        elif style is not None:
            self.number = style.print
        elif column.count is not None:
            own = self.own_style()
            self.number = own.print
            self.unit = own.unit
        else:
            self.number = str

    def own_style(self) -> ColumnStyle:
        counts = [_known(cell) for cell in self.raw]
        return column_style(counts[:-1], counts[-1], BYTE_UNITS if self.column.unit == "bytes" else None)

    def header(self) -> str:
        return f"{self.column.title} [{self.unit}]" if self.unit else self.column.title

    def cells(self) -> tuple[str, ...]:
        if self.column.form == "share":
            return self.shares()
        return tuple(self.cell(cell, is_end=row.kind != "row") for cell, row in zip(self.raw, self.rows, strict=True))

    def cell(self, cell: Cell, is_end: bool) -> str:
        if self.column.count is None:
            return plain(cell_text(cell))
        if cell is None:
            return NOT_COUNTED
        if isinstance(cell, AtLeast):
            return f">= {self.with_unit(cell.value)}" + (" (lower bound)" if is_end else "")
        if isinstance(cell, int):
            return self.with_unit(cell) if cell or is_end else self.column.zero
        return plain(cell_text(cell))

    def with_unit(self, value: int) -> str:
        text = self.number(value)
        spaced = f" {self.unit}" if self.column.unit == "bytes" else self.unit
        return f"{text}{spaced}" if self.data else text

    def shares(self) -> tuple[str, ...]:
        """Percentages of the rows, which add up to 100 as printed; a subtotal is the sum of its rows."""
        parts = [
            cell.part if isinstance(cell, Share) and row.kind == "row" else 0
            for cell, row in zip(self.raw, self.rows, strict=True)
        ]
        digits = percentages(parts, _SHARE_DECIMALS)
        texts = []
        for place, (cell, row) in enumerate(zip(self.raw, self.rows, strict=True)):
            if cell is None:
                texts.append(NOT_COUNTED)
                continue
            assert isinstance(cell, Share)
            value = digits[place]
            if row.kind != "row":
                value = sum(
                    each
                    for each, other in zip(digits, self.rows, strict=True)
                    if row.kind == "total" or other.training_only == row.training_only
                )
            elif not cell.part:
                texts.append(self.column.zero)
                continue
            texts.append(decimal_text(value, _SHARE_DECIMALS) + ("%" if self.data else ""))
        return tuple(texts)


def _known(cell: Cell) -> int:
    return cell.value if isinstance(cell, AtLeast) else cell if isinstance(cell, int) else 0
