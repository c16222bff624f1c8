"""What every picture shows: boxes with their text and shade, and arrows between them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from archprof.analysis import Analysis, AtLeast, Cell, Column, make_table
from archprof.analysis.numbers import BYTE_UNITS, column_style
from archprof.analysis.table import Group, column, fold_groups
from archprof.errors import UsageError
from archprof.report.layout import lay_out

DIRECTIONS: Mapping[str, str] = {"down": "TB", "right": "LR"}
MOST_BOXES = 2000  # a picture of more is no longer looked at, and takes graphviz minutes

# shares of the total from which each shade is used: ColorBrewer's Blues, which the colour-blind tell apart
SHADES = (
    (0.20, "#2171b5"),
    (0.10, "#6baed6"),
    (0.05, "#9ecae1"),
    (0.02, "#c6dbef"),
    (0.005, "#deebf7"),
    (0.0, "#ffffff"),
)
DARK = ("#2171b5",)  # the text on these is white


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """A group of nodes, or an input of the network."""

    lines: tuple[str, ...]  # the first is its name
    shade: str = "#ffffff"
    is_input: bool = False
    training_only: bool = False


class Diagram(msgspec.Struct, frozen=True, kw_only=True):
    """Boxes in order of execution, and arrows between them by their places."""

    title: str
    caption: str
    direction: str  # TB or LR
    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int], ...]


def make_diagram(
    analysis: Analysis, *, fold: int | None, repeats: bool = True, color_by: str = "FLOPs", direction: str = "down"
) -> Diagram:
    """Fold a network as `make_table` does and lay a box on every row, shaded by its share of a column's total.

    Raises UsageError for a column that does not add up, a fold below 1, or more than MOST_BOXES boxes.
    """
    counted = column("param" if color_by == "params" else color_by)
    if not counted.sums or counted.form != "plain":
        raise UsageError(
            f"--color-by {color_by}: choose a column that adds up, as params, FLOPs, activations or memory"
        )
    groups = fold_groups(analysis, fold=fold, repeats=repeats)
    inputs = [node for node in analysis.graph.nodes if node.is_input]
    if len(groups) + len(inputs) > MOST_BOXES:
        raise UsageError(f"{len(groups) + len(inputs):,} boxes are too many to look at: fold them (--fold 1)")
    title = "parameters" if counted.name == "param" else counted.title
    table = make_table(analysis, fold=fold, repeats=repeats, columns=("layer", "kernel", "size-out", counted.name))
    layout = lay_out(table, data=True)
    total = _number(table.total.cells[3])
    boxes = [Box(lines=(node.path, str(node.output_shapes[0])), is_input=True) for node in inputs] + [
        Box(
            lines=tuple(
                filter(None, (line.cells[0], line.cells[1], line.cells[2], _amount(line.row.cells[3], counted, title)))
            ),
            shade=_shade(_number(line.row.cells[3]), total),
            training_only=line.row.training_only,
        )
        for line in layout.lines
        if line.row.kind == "row"
    ]
    graph = analysis.graph
    return Diagram(
        title=" ".join((graph.title or graph.name).split()),
        caption=(
            f"{analysis.total.params:,} parameters, {'at least ' if analysis.lower_bound else ''}{analysis.flops:,} "
            f"FLOPs ({analysis.counting}); darker: a larger share of {title}, from 0.5, 2, 5, 10 and 20 %"
        ),
        direction=DIRECTIONS[direction],
        boxes=tuple(boxes),
        arrows=_arrows(analysis, groups, [node.path for node in inputs]),
    )


def _arrows(analysis: Analysis, groups: list[Group], inputs: list[str]) -> tuple[tuple[int, int], ...]:
    places = {path: place for place, path in enumerate(inputs)}
    for place, group in enumerate(groups, len(inputs)):
        places.update((each.node.path, place) for each in group.figures)
    nodes = analysis.graph.nodes
    found: dict[tuple[int, int], None] = {}
    for node in nodes:
        target = places.get(node.path)
        if target is None:  # left out: a head for training
            continue
        for value in node.inputs:
            source = places[nodes[value.node].path]
            if source != target:
                found[source, target] = None
    return tuple(found)


def _amount(cell: Cell, counted: Column, title: str) -> str:
    if isinstance(cell, AtLeast):
        return f"at least {_printed(cell.value, counted)} {title}"
    return f"{_printed(cell, counted)} {title}" if isinstance(cell, int) and cell else ""


def _printed(value: int, counted: Column) -> str:
    style = column_style((value,), value, BYTE_UNITS if counted.unit == "bytes" else None)
    return f"{style.print(value)}{' ' * (counted.unit == 'bytes')}{style.unit}"


def _number(cell: Cell) -> int:
    if isinstance(cell, AtLeast):
        return cell.value
    return cell if isinstance(cell, int) else 0


def _shade(part: int, whole: int) -> str:
    share = part / whole if whole else 0.0
    return next(shade for least, shade in SHADES if share >= least)
