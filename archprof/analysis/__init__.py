"""Plain arithmetic on a Graph: counts, conventions, receptive fields, tables, published figures."""

from archprof.analysis.analysis import DTYPES, PASSES, Analysis, NodeFigures, Totals, analyse
from archprof.analysis.counting import CONVENTIONS, Convention, convention
from archprof.analysis.numbers import Style, agrees, parse_printed
from archprof.analysis.table import COLUMNS, DEFAULT_COLUMNS, AtLeast, Cell, Column, Row, Share, Table, make_table

__all__ = [
    "COLUMNS",
    "CONVENTIONS",
    "DEFAULT_COLUMNS",
    "DTYPES",
    "PASSES",
    "Analysis",
    "AtLeast",
    "Cell",
    "Column",
    "Convention",
    "NodeFigures",
    "Row",
    "Share",
    "Style",
    "Table",
    "Totals",
    "agrees",
    "analyse",
    "convention",
    "make_table",
    "parse_printed",
]
