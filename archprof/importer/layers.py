"""Calls that compute: layers with weights, attention, activations, arithmetic, pools."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import fx

from archprof.cost import Cost
from archprof.importer import costs
from archprof.importer.calls import (
    call_name,
    first_of,
    is_scaled,
    nodes_of,
    pair,
    pool_rank,
    spread,
    tensor_of,
    tensors_of,
)
from archprof.importer.conversion import Conversion, Lazy, converts
from archprof.importer.operators import Variant
from archprof.operators.activation import (
    Gelu,
    Hardsigmoid,
    Hardswish,
    LeakyRelu,
    Relu,
    Relu6,
    Sigmoid,
    Silu,
    Softmax,
    Tanh,
)
from archprof.operators.attention import ScaledDotProductAttention
from archprof.operators.base import WHOLE, Operator, Window
from archprof.operators.convolution import Conv1d, Conv2d, Conv3d, ConvTranspose2d
from archprof.operators.elementwise import Abs, Add, Dropout, Multiply, Subtract
from archprof.operators.embedding import Embedding
from archprof.operators.layout import Flatten, Upsample
from archprof.operators.linear import Linear, Matmul
from archprof.operators.normalization import BatchNorm2d, GroupNorm, LayerNorm
from archprof.operators.pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d, taps_below
from archprof.operators.recurrent import Gru, Lstm
from archprof.shape import Shape

_SIMPLE: Mapping[str, Operator] = {
    "relu": Relu(),
    "relu6": Relu6(),
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "silu": Silu(),
    "hardsigmoid": Hardsigmoid(),
    "hardswish": Hardswish(),
    "abs": Abs(),
}
_BINARY: Mapping[str, Operator] = {
    "add": Add(),
    "sub": Subtract(),
    "mul": Multiply(),
    "multiply": Multiply(),
}


@converts(
    "conv1d",
    "conv2d",
    "conv3d",
    "convolution",
    "_convolution",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
)
def convolution(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    x, weight, bias = given["input"], given["weight"], given.get("bias")
    sizes = tuple(map(int, tensor_of(weight).shape))
    count = len(sizes) - 2
    if tensor_of(x).dim() == count + 2:
        shape, out = walk.batched(tensor_of(x)), walk.batched(tensor_of(call))
    else:
        shape, out = Shape(tuple(tensor_of(x).shape)), Shape(tuple(tensor_of(call).shape))
    groups = given.get("groups", 1)
    stride = spread(given.get("stride", 1), count)
    dilation = spread(given.get("dilation", 1), count)
    transposed = given.get("transposed", False) or call_name(call).startswith("conv_transpose")
    padding = given.get("padding", 0)
    weights = {"weight": weight, "bias": bias}
    if not transposed:
        cls = {1: Conv1d, 2: Conv2d, 3: Conv3d}[count]
        pads = padding if isinstance(padding, str) else tuple((pad, pad) for pad in spread(padding, count))
        operator: Operator = cls(
            out_channels=sizes[0], kernel_size=sizes[2:], stride=stride, padding=pads, dilation=dilation,
            groups=groups, bias=bias is not None,
        )  # fmt: skip
        return walk.layer(call, operator, x, weights, shape=shape, outputs=(out,))
    if count == 2:
        operator = ConvTranspose2d(
            out_channels=sizes[1] * groups, kernel_size=(sizes[2], sizes[3]), stride=(stride[0], stride[1]),
            padding=pair(padding), output_padding=pair(given.get("output_padding", 0)),
            dilation=(dilation[0], dilation[1]), groups=groups, bias=bias is not None,
        )  # fmt: skip
        return walk.layer(call, operator, x, weights, shape=shape, outputs=(out,))
    cost = Cost(
        multiply_adds=shape.numel * math.prod(sizes[1:]),
        bias_additions=0 if bias is None else out.numel,
        activations=out.numel,
    )
    return walk.weighted(call, f"conv_transpose{count}d", x, weights, cost, outputs=(out,))


@converts("mm", "bmm", "matmul", "linear", "addmm")
def matrices(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    """linear, addmm, and products of matrices, of which one may be a parameter: then it is a linear layer too."""
    name = call_name(call)
    if name == "linear":
        return _linear(walk, call, given["input"], given["weight"], given.get("bias"), turned=True)
    if name == "addmm":
        x, weight, bias = given["mat1"], given["mat2"], given["self"]
        if walk.weight(weight) is not None and walk.weight(x) is None and not is_scaled(given):
            return _linear(walk, call, x, weight, bias, turned=False)
        return False
    left, right = given["self"], given["mat2"] if "mat2" in given else given["other"]
    weight = walk.weight(right)
    if weight is not None and len(weight.shape) == 2 and walk.weight(left) is None and tensor_of(left).dim() >= 2:
        return _linear(walk, call, left, right, None, turned=False)
    places = [walk.place_of(each) for each in (left, right)]
    ranks = [tensor_of(each).dim() for each in (left, right)]
    if min(ranks) < 2 or any(
        place.axis is not None and rank - place.axis <= 2 and walk.batch > 1
        for place, rank in zip(places, ranks, strict=True)
    ):
        return False
    shapes = (walk.shape(left), walk.shape(right))
    if min(len(shape.dims) for shape in shapes) < 2:
        return False
    walk.put(call, Matmul(), (walk.value(left), walk.value(right)), input_shapes=shapes)
    return True


def _linear(walk: Conversion, call: fx.Node, x: Any, weight: Any, bias: Any, turned: bool) -> bool:
    """A product with a matrix (out, in) if turned, else (in, out)."""
    if tensor_of(x).dim() > 1 and walk.dim(x, -1) is None and walk.batch > 1:
        return False  # along the batch
    sizes = tuple(map(int, tensor_of(weight).shape))
    known = walk.weight(weight)
    if not turned and known is not None and known.turned:  # x @ w.t() is linear(x, w)
        weight, turned, sizes = known._replace(turned=False), True, known.shape
    if len(sizes) != 2:
        return False
    operator = Linear(out_features=sizes[0] if turned else sizes[1], bias=bias is not None)
    shape, out = walk.shape(x), walk.shape(call)
    if not shape.dims:
        return False
    return walk.layer(call, operator, x, {"weight": weight, "bias": bias}, shape=shape, outputs=(out,), fits=turned)


@converts(
    "batch_norm",
    "_native_batch_norm_legit_no_training",
    "native_batch_norm",
    "_native_batch_norm_legit",
    "cudnn_batch_norm",
    "_batch_norm_impl_index",
)
def batch_norm(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    x, weight, bias = given["input"], given.get("weight"), given.get("bias")
    mean, variance = given.get("running_mean"), given.get("running_var")
    operator = BatchNorm2d(
        eps=given["eps"], momentum=given["momentum"], affine=weight is not None,
        track_running_stats=mean is not None,
    )  # fmt: skip
    shape = walk.batched(tensor_of(x))
    outputs = walk.batched(first_of(call.meta["val"]))
    for each in (mean, variance):
        buffer = walk.weight(each)
        if buffer is not None:
            walk.owners.setdefault(buffer.name, len(walk.drafts))
    options: dict[str, Any] = {}
    if len(shape.dims) != 3:
        flat = (shape.dims[0], math.prod(shape.dims[1:]), 1)
        kept = tuple(operator.buffers((Shape(flat),)).items())
        rank = {1: "1d", 2: "1d", 4: "3d"}.get(len(shape.dims), "")
        options = {"name": f"batch_norm{rank}", "inner_shape": shape.with_dims(*flat), "kept": kept}
        expected = {"weight": weight, "bias": bias}
        return walk.layer(call, operator, x, expected, shape=shape, outputs=walk.like(call, outputs), **options)
    weights = {"weight": weight, "bias": bias}
    return walk.layer(call, operator, x, weights, shape=shape, outputs=walk.like(call, outputs))


@converts("layer_norm", "native_layer_norm")
def layer_norm(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    x, weight, bias = given["input"], given.get("weight"), given.get("bias")
    extent = tuple(given["normalized_shape"])
    shape = walk.shape(x)
    if shape.dims[-len(extent) :] != extent:
        return False
    operator = LayerNorm(
        normalized_shape=None if len(extent) == 1 else extent, eps=given["eps"],
        elementwise_affine=weight is not None, bias=bias is not None or weight is None,
    )  # fmt: skip
    return walk.layer(call, operator, x, {"weight": weight, "bias": bias}, shape=shape)


@converts("group_norm")
def group_norm(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    x, weight, bias = given["input"], given.get("weight"), given.get("bias")
    operator = GroupNorm(num_groups=given["num_groups"], eps=given.get("eps", 1e-5), affine=weight is not None)
    out = (walk.batched(tensor_of(call)),)
    weights = {"weight": weight, "bias": bias}
    return walk.layer(call, operator, x, weights, shape=walk.batched(tensor_of(x)), outputs=out)


@converts("instance_norm")
def instance_norm(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    x, weight, bias = given["input"], given.get("weight"), given.get("bias")
    shape = walk.batched(tensor_of(x))
    operator = GroupNorm(num_groups=shape.dims[0], eps=given["eps"], affine=weight is not None)
    weights = {"weight": weight, "bias": bias}
    return walk.layer(call, operator, x, weights, shape=shape, outputs=(shape,), name="instance_norm")


@converts("rms_norm")
def rms_norm(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    count = walk.shape(call).numel
    groups = count // math.prod(given["normalized_shape"])
    weight = given.get("weight")
    cost = costs.rms_norm(count, groups, weight is not None)
    return walk.weighted(call, "rms_norm", given["input"], {"weight": weight}, cost, weight_layers=0, sees=None)


@converts("prelu")
def prelu(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    cost = costs.ELEMENTWISE["prelu"] * walk.shape(call).numel
    weights = {"weight": given["weight"]}
    return walk.weighted(call, "prelu", given["self"], weights, cost, weight_layers=0, sees=None)


@converts("embedding")
def embedding(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    weight, x = given["weight"], given["indices"]
    rows, width = map(int, tensor_of(weight).shape)
    operator = Embedding(num_embeddings=rows, embedding_dim=width)
    return walk.layer(call, operator, x, {"weight": weight})


@converts("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrent(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    name = call_name(call)
    if "params" not in given or "batch_sizes" in given:  # packed sequences
        return False
    x, params, layers = given["input"], given["params"], given["num_layers"]
    states = given["hx"] if isinstance(given["hx"], (list, tuple)) else [given["hx"]]
    both = given["bidirectional"]
    sizes = [tuple(map(int, tensor_of(each).shape)) for each in params]
    gates = {"lstm": 4, "gru": 3}.get(name, 1)
    hidden = sizes[0][0] // gates
    steps_at = 1 if given["batch_first"] else 0
    if tensor_of(x).dim() != 3:
        return False
    steps = int(tensor_of(x).shape[steps_at])
    samples = int(tensor_of(x).shape[1 - steps_at])
    steps, samples = (size // walk.batch if size % walk.batch == 0 else size for size in (steps, samples))
    shape = Shape((steps, int(tensor_of(x).shape[2])), samples)
    more = [walk.value(each) for each in states if not isinstance(walk.held.get(each), Lazy)]
    if name in ("lstm", "gru"):
        cls = Lstm if name == "lstm" else Gru
        operator = cls(hidden_size=hidden, num_layers=layers, bidirectional=both, bias=given["has_biases"])
        expected = operator.parameters((shape,))
        if [tuple(dims) for dims in expected.values()] == sizes:
            weights = dict(zip(expected, params, strict=True))
            plain = walk.place_of(x).axis == 1 - steps_at and not (given["train"] and given["dropout"])
            return walk.layer(call, operator, x, weights, shape=shape, beside=more, fits=plain)
    usual = Lstm(hidden_size=hidden, num_layers=layers, bidirectional=both, bias=given["has_biases"])
    names = list(usual.parameters((shape,)))
    if len(names) != len(params):  # a projection
        names = [f"weight_{i}" for i in range(len(params))]
    each = {"lstm": Lstm.each, "gru": Gru.each, "rnn_relu": Cost(comparisons=1)}.get(name, Cost(special=1))
    directions = 2 if both else 1
    products = sum(math.prod(dims) for dims in sizes if len(dims) == 2)
    biases = sum(dims[0] for dims in sizes if len(dims) == 1)
    cost = costs.cells(gates, hidden * layers * directions, products, biases, each, steps * samples)
    of_input = gates * hidden * directions * shape.numel
    return walk.weighted(
        call,
        name,
        x,
        dict(zip(names, params, strict=True)),
        cost,
        more=more,
        weight_layers=layers,
        sees=WHOLE,
        products=(of_input,),
        inside=cost.multiply_adds - of_input,
    )


@converts("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
def cell(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    name = call_name(call)
    gates = {"lstm_cell": 4, "gru_cell": 3}.get(name, 1)
    x = given["input"]
    fields = ("w_ih", "w_hh", "b_ih", "b_hh")
    weights = {field: given.get(field) for field in fields}
    sizes = [tuple(map(int, tensor_of(each).shape)) for each in weights.values() if each is not None]
    each = {"lstm_cell": Lstm.each, "gru_cell": Gru.each, "rnn_relu_cell": Cost(comparisons=1)}
    calls = walk.shape(x).numel // int(tensor_of(x).shape[-1])
    cost = costs.cells(
        gates,
        sizes[0][0] // gates,
        sum(math.prod(dims) for dims in sizes if len(dims) == 2),
        sum(dims[0] for dims in sizes if len(dims) == 1),
        each.get(name, Cost(special=1)),
        calls,
    )
    states = given["hx"] if isinstance(given["hx"], (list, tuple)) else [given["hx"]]
    products = (math.prod(sizes[0]) * calls, math.prod(sizes[1]) * calls, 0)
    more = [walk.value(state) for state in states]
    return walk.weighted(call, name, x, weights, cost, more=more, products=products[: 1 + len(more)])


@converts(
    "scaled_dot_product_attention",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "flex_attention",
)
def attention(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    query, key, value = list(given.values())[:3]
    tensors = (query, key, value)
    if any(tensor_of(each).dim() < 2 for each in tensors):
        return False
    shapes = tuple(walk.shape(each) for each in tensors)
    if any(len(shape.dims) < 2 for shape in shapes):
        return False
    values = [walk.value(each) for each in tensors]
    masks = [walk.value(each) for each in nodes_of(call)[3:] if tensors_of(each.meta.get("val"))]
    plain = (
        call_name(call) == "scaled_dot_product_attention"
        and not masks
        and not given.get("is_causal")
        and not given.get("dropout_p")
        and given.get("scale") is None
        and shapes[0].dims[:-2] == shapes[1].dims[:-2]
    )
    operator: Operator = ScaledDotProductAttention()
    if not plain:
        operator = Variant(name=operator.op, inner=operator, taken=3)
    outputs = (walk.shapes(call)[0].with_dims(*shapes[0].dims[:-1], shapes[2].dims[-1]), *walk.shapes(call)[1:])
    walk.put(call, operator, (*values, *masks), input_shapes=shapes, outputs=outputs)
    return True


@converts(*_SIMPLE)
def simple(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    walk.put(call, _SIMPLE[call_name(call)], (walk.value(nodes_of(call)[0]),))
    return True


@converts("hardtanh")
def hardtanh(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    if (given["min_val"], given["max_val"]) != (0, 6):
        return False
    walk.put(call, Relu6(), (walk.value(given["self"]),))
    return True


@converts("leaky_relu")
def leaky_relu(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    operator = LeakyRelu(negative_slope=float(given.get("negative_slope", 0.01)))
    walk.put(call, operator, (walk.value(given["self"]),))
    return True


@converts("gelu")
def gelu(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    walk.put(call, Gelu(approximate=given.get("approximate", "none")), (walk.value(given["self"]),))
    return True


@converts("softmax", "_softmax", "log_softmax", "_log_softmax")
def softmax(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    x, name = given["self"], call_name(call).lstrip("_")
    dim = walk.dim(x, given["dim"])
    shape = walk.shape(x)
    if name == "softmax" and dim is not None:
        walk.put(call, Softmax(dim=dim), (walk.value(x),))
        return True
    size = int(tensor_of(x).shape[given["dim"]])
    groups = shape.numel // size if dim is not None else shape.numel
    return walk.generic(call, costs.softmax(name, shape.numel, max(groups, 1)))


@converts(*_BINARY)
def binary(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    tensors = nodes_of(call)
    if len(tensors) != 2 or given.get("alpha", 1) != 1 or not tensor_of(call).is_floating_point():
        return False
    if any(not tensor_of(each).is_floating_point() or tensor_of(each).dim() == 0 for each in tensors):
        return False
    walk.put(call, _BINARY[call_name(call)], [walk.value(each) for each in (given["self"], given["other"])])
    return True


@converts("dropout", "native_dropout")
def dropout(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    walk.put(call, Dropout(p=float(given["p"])), (walk.value(given["input"]),))
    return True


@converts("mean")
def mean(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    """Over all positions of a map: written as a pool."""
    x = given["self"]
    shape, dims = walk.shape(x), given.get("dim")
    if dims is None or len(shape.dims) != 3:
        return False
    over = {walk.dim(x, dim) for dim in (dims if isinstance(dims, (list, tuple)) else [dims])}
    if over != {2, 3}:
        return False
    pool: tuple[Operator, ...] = (AdaptiveAvgPool2d(output_size=(1, 1)),)
    written = pool if given.get("keepdim") else (*pool, Flatten())
    cost = costs.REDUCTIONS["mean"](shape.numel, walk.shape(call).numel)
    return walk.generic(call, cost, sees=WHOLE, written=written)


@converts(
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
    "max_pool1d_with_indices",
)
def max_pool(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    def make(shape: Shape, **fields: Any) -> Operator:
        return MaxPool2d(**fields, dilation=pair(given.get("dilation", 1)))

    return _pool(walk, call, given, make, spread(given.get("dilation", 1), pool_rank(given["kernel_size"], call)))


@converts("avg_pool1d", "avg_pool2d", "avg_pool3d")
def avg_pool(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    def make(shape: Shape, **fields: Any) -> Operator:
        return AvgPool2d(
            **fields, count_include_pad=given.get("count_include_pad", True),
            divisor_override=given.get("divisor_override"),
        )  # fmt: skip

    return _pool(walk, call, given, make, None)


def _pool(
    walk: Conversion,
    call: fx.Node,
    given: dict[str, Any],
    make: Callable[..., Operator],
    dilation: tuple[int, ...] | None,
) -> bool:
    x = given["self"]
    count = pool_rank(given["kernel_size"], call)
    kernel = spread(given["kernel_size"], count)
    stride = spread(given["stride"], count) if given.get("stride") else kernel
    padding = spread(given.get("padding", 0), count)
    out = tensors_of(call.meta["val"])[0]
    if tensor_of(x).dim() != count + 2:
        return False
    shape = walk.batched(tensor_of(x))
    if count == 2:
        operator = make(
            shape, kernel_size=kernel, stride=None if stride == kernel else stride, padding=padding,
            ceil_mode=given.get("ceil_mode", False),
        )  # fmt: skip
        walk.put(call, operator, (walk.value(x),), input_shapes=(shape,), outputs=walk.like(call, walk.batched(out)))
        return True
    elements = windows = shape.dims[0] * shape.samples
    for size, outs, width, step, pad, apart in zip(
        shape.dims[1:], out.shape[2:], kernel, stride, padding, dilation or (1,) * count, strict=True
    ):
        inside = taps_below(size + pad, int(outs), step, width, apart)
        elements *= inside - taps_below(pad, int(outs), step, width, apart)
        windows *= int(outs)
    is_max = "max" in call_name(call)
    cost = Cost(comparisons=elements - windows) if is_max else Cost(additions=elements - windows, divisions=windows)
    extents = tuple(d * (k - 1) + 1 for d, k in zip(dilation or (1,) * count, kernel, strict=True))
    return walk.generic(call, cost, sees=Window(extents, stride, padding))


@converts(
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
)
def adaptive_pool(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    x, name = given["self"], call_name(call).lstrip("_")
    out = tensors_of(call.meta["val"])[0]
    count = int(name[-2])
    if tensor_of(x).dim() != count + 2:
        return False
    shape = walk.batched(tensor_of(x))
    sizes = tuple(map(int, out.shape[2:]))
    is_max = "max" in name
    if count == 2:
        cls = AdaptiveMaxPool2d if is_max else AdaptiveAvgPool2d
        outputs = walk.like(call, walk.batched(out))
        walk.put(call, cls(output_size=sizes), (walk.value(x),), input_shapes=(shape,), outputs=outputs)
        return True
    elements = shape.dims[0] * shape.samples
    for size, outs in zip(shape.dims[1:], sizes, strict=True):
        elements *= size + outs - math.gcd(size, outs)
    windows = shape.dims[0] * shape.samples * math.prod(sizes)
    cost = Cost(comparisons=elements - windows) if is_max else Cost(additions=elements - windows, divisions=windows)
    return walk.generic(call, cost, sees=WHOLE)


@converts("upsample_nearest2d", "upsample_bilinear2d")
def upsample(walk: Conversion, call: fx.Node, given: dict[str, Any]) -> bool:
    x = given.get("input", given.get("self"))
    if tensor_of(x).dim() != 4:
        return False
    bilinear = "bilinear" in call_name(call)
    out = tensor_of(call)
    operator = Upsample(
        size=tuple(map(int, out.shape[2:])), mode="bilinear" if bilinear else "nearest",
        align_corners=bool(given.get("align_corners", False)),
    )  # fmt: skip
    walk.put(call, operator, (walk.value(x),), input_shapes=(walk.batched(tensor_of(x)),), outputs=(walk.batched(out),))
    return True
