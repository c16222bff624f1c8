"""Receptive fields: how many pixels of the network's input one position of a node's output sees.

Arithmetic: Araujo, Norris & Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019.
The field is the theoretical one: padding counts, so it can be larger than the input.
"""

from __future__ import annotations

from operator import add, sub
from typing import TYPE_CHECKING

import msgspec

from archprof.graph import Graph, Node
from archprof.operators.base import POINTWISE, WHOLE, Window

if TYPE_CHECKING:
    from fractions import Fraction

    Number = int | Fraction

Sizes = tuple["Number", ...]


class Field(msgspec.Struct, frozen=True):
    """What the outputs of one node see of the network's input, one entry a spatial dimension.

    Output position 0 sees pixels [start, start + size); each further position `stride` pixels on,
    0 where every position sees the whole input.
    """

    start: Sizes
    size: Sizes
    stride: Sizes
    extent: tuple[int, ...]  # of the network's input


def receptive_fields(graph: Graph) -> list[Sizes | None]:
    """The receptive field of every node of the graph (by its index), in pixels of the network's input.

    None where it cannot be traced to a map (C, H, W): vectors, tokens, constants.
    """
    fields: list[Field | None] = []
    windows: dict[tuple[int, int], Window | str | None] = {}  # by identity: nodes that are alike share objects
    for node in graph.nodes:
        inputs = node.inputs
        if not inputs and node.is_input:
            dims = node.output_shapes[0].dims
            fields.append(_input_field(dims) if len(dims) >= 3 else None)
            continue
        key = (id(node.operator), id(node.input_shapes))
        if key in windows:
            window = windows[key]
        else:
            window = windows[key] = node.operator.window(node.input_shapes, node.output_shapes)
        before = fields[inputs[0].node] if len(inputs) == 1 else _union(node, [fields[value.node] for value in inputs])
        fields.append(before if window is POINTWISE else _seen_through(graph, node, window, before))
    return [None if field is None else field.size for field in fields]


def _input_field(dims: tuple[int, ...]) -> Field:
    spatial = len(dims) - 1
    return Field((0,) * spatial, (1,) * spatial, (1,) * spatial, dims[1:])


def _seen_through(graph: Graph, node: Node, window: Window | str | None, before: Field | None) -> Field | None:
    if not isinstance(window, Window):
        return _whole(before.extent) if before is not None and window == WHOLE else None
    if before is None:
        before = _sequence_field(graph, node, window)
    if before is None or len(before.size) != len(window.size):
        return None
    return Field(  # lists inside: much faster than generators, and deep networks come here often
        tuple([s - p * j for s, p, j in zip(before.start, window.before, before.stride, strict=True)]),
        tuple([r + (k - 1) * j for r, k, j in zip(before.size, window.size, before.stride, strict=True)]),
        tuple([j * step for j, step in zip(before.stride, window.stride, strict=True)]),
        before.extent,
    )


def _whole(extent: tuple[int, ...]) -> Field:
    return Field((0,) * len(extent), extent, (0,) * len(extent), extent)


def _sequence_field(graph: Graph, node: Node, window: Window) -> Field | None:
    """An input of two dimensions is (C, L) only if an operator slides over it; else it is (L, C)."""
    for value in node.inputs:
        source = graph.nodes[value.node]
        if len(window.size) == 1 and source.is_input and len(source.output_shapes[0].dims) == 2:
            return _input_field(source.output_shapes[0].dims)
    return None


def _union(node: Node, fields: list[Field | None]) -> Field | None:
    """What a node sees that joins several branches; a branch that is not a map adds nothing."""
    known = [field for field in fields if field is not None]
    if not known:
        return None
    first = known[0]
    others = [field for field in known if field != first]
    if not others:
        return first
    start, extent, strides = first.start, first.extent, {first.stride}
    end = tuple(map(add, start, first.size))
    for field in others:
        if len(field.size) != len(first.size):
            return None
        start = tuple(map(min, start, field.start))
        end = tuple(map(max, end, map(add, field.start, field.size)))
        extent = tuple(map(max, extent, field.extent))
        strides.add(field.stride)
    if any(stride[0] == 0 for stride in strides):
        return _whole(extent)
    if len(strides) == 1:
        return Field(start, tuple(map(sub, end, start)), first.stride, extent)
    dims = next(shape.dims for field, shape in zip(fields, node.input_shapes, strict=True) if field is not None)
    return _union_of_unequal_strides([first, *others], dims, extent)


def _union_of_unequal_strides(branches: list[Field], dims: tuple[int, ...], extent: tuple[int, ...]) -> Field:
    """Strides differ only where an enlarging branch is not aligned; the widest union is then at an end."""
    starts, sizes, strides = [], [], []
    for axis in range(len(extent)):
        last = dims[axis + 1] - 1 if len(dims) > axis + 1 else 0
        spans = []
        for position in (0, last):
            low = [field.start[axis] + field.stride[axis] * position for field in branches]
            high = [at + field.size[axis] for at, field in zip(low, branches, strict=True)]
            spans.append((min(low), max(high) - min(low)))
        starts.append(spans[0][0])
        sizes.append(max(size for _, size in spans))
        strides.append(max(field.stride[axis] for field in branches))
    return Field(tuple(starts), tuple(sizes), tuple(strides), extent)
