"""Calls that lay elements out anew, join or cut tensors."""

from __future__ import annotations

from typing import Any

from torch import fx

from archprof.cost import Cost
from archprof.graph import Value
from archprof.importer.calls import call_name, index_from_start, nodes_of, permutation, tensor_of
from archprof.importer.conversion import Conversion, Held, Lazy, Weight, converts
from archprof.importer.operators import Traced
from archprof.operators.base import Operator, Window
from archprof.operators.elementwise import Identity
from archprof.operators.layout import Concat, Flatten, Pad, Permute, Reshape, Select, Split, Transpose
from archprof.operators.pooling import MaxPool2d

_SAME = frozenset(("contiguous", "clone", "alias", "lift_fresh_copy", "lift_fresh", "positive", "view_as"))


@converts(*_SAME)
def same(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    """A call whose result is its input, as far as a graph is concerned."""
    source = nodes_of(call)[0]
    if tensor_of(source).shape != tensor_of(call).shape:
        return False
    walk.held[call] = walk.held[source]
    return True


@converts("detach")
def detach(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    """A node of its own where it keeps a gradient from passing."""
    held = walk.held[given["self"]]
    if not isinstance(held, Value) or not walk.trained[held.node]:
        return same(walk, call, given)
    operator = Traced(name="detach", outputs=walk.shapes(call), view=True, detached=True, written=(Identity(),))
    return walk.viewed(call, operator, given["self"])


@converts("to", "_to_copy", "type_as", "float", "half", "double")
def cast(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    source = nodes_of(call)[0]
    if tensor_of(source).dtype != tensor_of(call).dtype:
        return False
    return same(walk, call, given)


@converts("view", "reshape", "_unsafe_view", "unflatten", "squeeze", "unsqueeze")
def reshape(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    """Another shape, where the batch keeps its place between the elements before and after it."""
    source = nodes_of(call)[0]
    place, out = walk.place_of(source), walk.place_of(call)
    if place.samples != out.samples or not walk.keeps_batch(source, call):
        return False
    if walk.alike(call, source):
        return True
    return bool(out.dims) and walk.viewed(call, Reshape(shape=out.dims), source)


@converts("flatten")
def flatten(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    source = given["self"]
    if not walk.keeps_batch(source, call) or walk.place_of(source).samples != walk.place_of(call).samples:
        return False
    if walk.alike(call, source):
        return True
    start, end = (walk.dim(source, given.get(key, default)) for key, default in (("start_dim", 0), ("end_dim", -1)))
    if start is None or end is None:
        return reshape(walk, call, given)
    rank = len(walk.shape(source).dims)
    return walk.viewed(call, Flatten(start_dim=start, end_dim=-1 if end == rank else end), source)


@converts("permute", "transpose", "t", "numpy_T", "movedim", "mT", "swapaxes")
def permute(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    source = nodes_of(call)[0]
    weight = walk.weight(source)
    rank = tensor_of(source).dim()
    order = permutation(call_name(call), given, rank)
    if order is None:
        return False
    if weight is not None and order == [1, 0]:
        walk.held[call] = weight._replace(turned=not weight.turned)
        return True
    place, out = walk.place_of(source), walk.place_of(call)
    if place.axis is None or out.axis is None:
        if place.axis is not out.axis:
            return False
        ours = [dim + 1 for dim in order]
    else:
        ours = [walk.dim(source, dim) or 0 for dim in order if dim != place.axis]
        if order[out.axis] != place.axis:
            return False
    if ours == sorted(ours):
        if isinstance(walk.held[source], (Weight, Lazy)):
            return False
        walk.held[call] = walk.held[source]
        return True
    moved = [dim for place, dim in enumerate(ours, 1) if place != dim]
    if len(moved) == 2:
        return walk.viewed(call, Transpose(dim0=min(moved), dim1=max(moved)), source)
    return walk.viewed(call, Permute(dims=(0, *ours)), source)


@converts("expand", "expand_as", "broadcast_to")
def expand(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    source = nodes_of(call)[0]
    held = walk.held[source]
    if isinstance(held, Weight) and not held.turned:
        place = walk.place_of(call)
        if walk.weight_shape(held).dims == place.dims and place.samples == 1:
            walk.held[call] = walk.stand(held)
            return True
    return walk.alike(call, source)


@converts("select")
def select(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    source = given["self"]
    dim = walk.dim(source, given["dim"])
    if dim is None and walk.batch == 1:
        return walk.alike(call, source)
    shape = walk.shape(source)
    if dim is None or walk.place_of(call).samples != shape.samples or not len(shape.dims) > 1:
        return False
    if walk.shape(call).dims != tuple(size for place, size in enumerate(shape.dims, 1) if place != dim):
        return False
    return walk.viewed(call, Select(dim=dim, index=given["index"]), source)


@converts("slice")
def slice_(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    source = given["self"]
    if tensor_of(source).shape == tensor_of(call).shape:
        walk.held[call] = walk.held[source]
        return True
    dim = walk.dim(source, given.get("dim", 0))
    if dim is None:
        return False
    shape = walk.shape(source)
    size = shape.dims[dim - 1]
    start = min(max(index_from_start(given.get("start") or 0, size), 0), size)
    step = given.get("step", 1)
    taken = walk.shape(call).dims[dim - 1]
    spatial = len(shape.dims) - 1
    sees: Window | None = None
    if dim >= 2 and spatial in (1, 2, 3):
        strides, before = [1] * spatial, [0] * spatial
        strides[dim - 2], before[dim - 2] = step, -start
        sees = Window((1,) * spatial, tuple(strides), tuple(before))
    cut = (0, 0) * (len(shape.dims) - dim) + (-start, start + taken - size)
    written: tuple[Operator, ...] = ()
    if step == 1:
        written = (Pad(padding=cut),)
    elif start == 0 and len(shape.dims) == 3 and dim > 1:  # every step-th: a pool of windows of one element
        written = (MaxPool2d(kernel_size=(1, 1), stride=(step, 1) if dim == 2 else (1, step)),)
    return walk.generic(call, Cost(), view=True, sees=sees, written=written)


@converts(
    "split", "split_with_sizes", "chunk", "tensor_split", "unsafe_split", "unsafe_chunk", "unsafe_split_with_sizes"
)
def split(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    source = given["self"]
    dim = walk.dim(source, given.get("dim", 0))
    if dim is None:
        return False
    outputs = walk.shapes(call)
    if any(len(shape.dims) != len(walk.shape(source).dims) for shape in outputs):
        return False
    sizes = tuple(shape.dims[dim - 1] for shape in outputs)
    if min(sizes) < 1:
        return False
    return walk.viewed(call, Split(split_size=sizes, dim=dim), source)


@converts("unbind")
def unbind(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    source = given["self"]
    dim = walk.dim(source, given.get("dim", 0))
    shape = walk.shape(source)
    if dim is None or len(shape.dims) < 2:
        return False
    value = walk.value(source)
    taken = {user.args[1] for user in call.users if call_name(user) == "getitem"}
    held: list[Held] = []
    for place, out in enumerate(walk.shapes(call)):
        if place not in taken:
            held.append(None)
            continue
        operator = Select(dim=dim, index=place)
        held.append(Value(walk.put(call, operator, (value,), outputs=(out,), stands=False)))
    walk.held[call] = tuple(held)
    return True


@converts("cat", "concat", "concatenate")
def concat(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    tensors = given["tensors"]
    dims = {walk.dim(each, given.get("dim", 0)) for each in tensors}
    shapes = [walk.shape(each) for each in tensors]
    (dim, *others) = dims
    if others or dim is None or len({(len(shape.dims), shape.samples) for shape in shapes}) > 1:
        return False
    walk.put(call, Concat(dim=dim), [walk.value(each) for each in tensors])
    return True


@converts("pad", "constant_pad_nd")
def pad(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    source = given["self"]
    padding = tuple(given["pad"])
    while padding[-2:] == (0, 0):
        padding = padding[:-2]
    place = walk.place_of(source)
    within = tensor_of(source).dim() - (0 if place.axis is None else place.axis + 1)
    if not padding:
        return walk.alike(call, source)
    if len(padding) // 2 > within:
        return False
    operator = Pad(padding=padding, value=float(given.get("value") or 0.0))
    if given.get("mode", "constant") != "constant":
        sees = operator.window((walk.shape(source),), ())
        return walk.generic(call, Cost(), sees=sees, name=f"pad_{given['mode']}")
    return walk.viewed(call, operator, source)
