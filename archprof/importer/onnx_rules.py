"""What the operators of ONNX are in torch. A rule takes a node's inputs and its attributes by name.

Inputs that are numbers (shapes, axes, bounds) come as arrays, those left out as None.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from onnx import helper
from torch import Tensor, nn
from torch.nn import functional

Attributes = Mapping[str, Any]
Rule = Callable[[Sequence[Any], Attributes], Any]


def _sides(x: Tensor, attributes: Attributes, kernel: Sequence[int]) -> list[int]:
    """Padding in ONNX's order: all befores, then all afters."""
    count = len(kernel)
    auto = attributes.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID", ""):
        return list(attributes.get("pads", [0] * 2 * count)) if auto == "NOTSET" else [0] * 2 * count
    strides = attributes.get("strides", [1] * count)
    dilations = attributes.get("dilations", [1] * count)
    before, after = [], []
    for size, width, step, apart in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max((-(-int(size) // step) - 1) * step + (width - 1) * apart + 1 - int(size), 0)
        small, large = total // 2, total - total // 2
        before.append(large if auto == "SAME_LOWER" else small)
        after.append(small if auto == "SAME_LOWER" else large)
    return before + after


def _padded(x: Tensor, sides: Sequence[int], value: float = 0.0) -> tuple[Tensor, list[int]]:
    """A tensor padded where the sides differ, and the padding that is left for the operator."""
    count = len(sides) // 2
    before, after = sides[:count], sides[count:]
    if list(before) == list(after):
        return x, list(before)
    flat = [size for pair in zip(reversed(before), reversed(after), strict=True) for size in pair]
    return functional.pad(x, flat, value=value), [0] * count


def _conv(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x, weight = given[:2]
    bias = given[2] if len(given) > 2 else None
    count = weight.dim() - 2
    x, padding = _padded(x, _sides(x, attributes, list(weight.shape[2:])))
    run = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[count]
    ones = [1] * count
    strides, dilations = attributes.get("strides", ones), attributes.get("dilations", ones)
    made: Tensor = run(x, weight, bias, strides, padding, dilations, attributes.get("group", 1))
    return made


def _conv_transpose(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x, weight = given[:2]
    bias = given[2] if len(given) > 2 else None
    count = weight.dim() - 2
    ones = [1] * count
    strides, dilations = attributes.get("strides", ones), attributes.get("dilations", ones)
    pads = attributes.get("pads", [0] * 2 * count)
    extra = list(attributes.get("output_padding", [0] * count))
    if "output_shape" in attributes:
        full = [
            (int(size) - 1) * step + apart * (int(width) - 1) + 1
            for size, step, apart, width in zip(x.shape[2:], strides, dilations, weight.shape[2:], strict=True)
        ]
        cut = [max(size - want, 0) for size, want in zip(full, attributes["output_shape"], strict=True)]
        pads = [each // 2 for each in cut] + [each - each // 2 for each in cut]
    before, after = pads[:count], pads[count:]
    run = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}[count]
    out: Tensor = run(x, weight, bias, strides, before, extra, attributes.get("group", 1), dilations)
    cuts = [start - end for start, end in zip(before, after, strict=True)]
    if any(cuts):
        out = functional.pad(out, [each for cut in reversed(cuts) for each in (0, cut)])
    return out


def _pool(given: Sequence[Any], attributes: Attributes, largest: bool) -> Any:
    x = given[0]
    kernel = attributes["kernel_shape"]
    count = len(kernel)
    strides = attributes.get("strides", [1] * count)
    ceil = bool(attributes.get("ceil_mode", 0))
    x, padding = _padded(x, _sides(x, attributes, kernel), -math.inf if largest else 0.0)
    if largest:
        run: Any = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}[count]
        return run(x, kernel, strides, padding, attributes.get("dilations", [1] * count), ceil)
    run = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}[count]
    return run(x, kernel, strides, padding, ceil, bool(attributes.get("count_include_pad", 0)))


def _global_pool(x: Tensor, largest: bool) -> Any:
    kind = "max" if largest else "avg"
    return getattr(functional, f"adaptive_{kind}_pool{x.dim() - 2}d")(x, 1)


def _gemm(given: Sequence[Any], attributes: Attributes) -> Tensor:
    left, right = given[:2]
    bias = given[2] if len(given) > 2 else None
    left = left.t() if attributes.get("transA") else left
    right = right if attributes.get("transB") else right.t()
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    if alpha == 1 and beta == 1:
        return functional.linear(left, right, bias)
    out: Tensor = functional.linear(left, right) * alpha
    return out if bias is None else out + beta * bias


def _batch_norm(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x, scale, shift, mean, variance = given[:5]
    return functional.batch_norm(x, mean, variance, scale, shift, False, 0.1, attributes.get("epsilon", 1e-5))


def _layer_norm(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x, scale = given[:2]
    shift = given[2] if len(given) > 2 else None
    start = attributes.get("axis", -1) % x.dim()
    return functional.layer_norm(x, list(x.shape[start:]), scale, shift, attributes.get("epsilon", 1e-5))


def _numbers(value: Any) -> list[int]:
    return [int(each) for each in np.array(value).reshape(-1)]


def _axes(given: Sequence[Any], attributes: Attributes, place: int = 1) -> list[int] | None:
    if "axes" in attributes:
        return list(attributes["axes"])
    return _numbers(given[place]) if len(given) > place and given[place] is not None else None


def _reshape(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x = given[0]
    wanted = attributes["shape"] if "shape" in attributes else _numbers(given[1])
    if not attributes.get("allowzero", 0):
        wanted = [int(x.shape[place]) if size == 0 else size for place, size in enumerate(wanted)]
    made: Tensor = x.reshape(wanted)
    return made


def _flatten(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x: Tensor = given[0]
    axis = attributes.get("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    if axis == 1:
        return torch.flatten(x, 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _squeeze(given: Sequence[Any], attributes: Attributes) -> Tensor:
    axes = _axes(given, attributes)
    return given[0].squeeze() if axes is None else torch.squeeze(given[0], axes)


def _unsqueeze(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x = given[0]
    axes = _axes(given, attributes) or []
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x  # type: ignore[no-any-return]


def _slice(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x = given[0]
    starts = list(attributes["starts"]) if "starts" in attributes else _numbers(given[1])
    ends = list(attributes["ends"]) if "ends" in attributes else _numbers(given[2])
    axes = _axes(given, attributes, 3) or list(range(len(starts)))
    steps = _numbers(given[4]) if len(given) > 4 and given[4] is not None else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 0:
            x = x.flip(axis)
            size = int(x.shape[axis])
            place = [max(min(each + size if each < 0 else each, size - 1), -1) for each in (start, end)]
            start, end, step = size - 1 - place[0], size - 1 - place[1] if end > -size - 1 else size, -step
        x = torch.ops.aten.slice.Tensor(x, axis, start, min(end, 2**62), step)
    return x  # type: ignore[no-any-return]


def _split(given: Sequence[Any], attributes: Attributes) -> Any:
    x, axis = given[0], attributes.get("axis", 0)
    sizes = attributes.get("split") or (_numbers(given[1]) if len(given) > 1 and given[1] is not None else None)
    if sizes is None:
        sizes = -(-int(x.shape[axis]) // attributes.get("num_outputs", attributes["outputs"]))
    return torch.split(x, sizes, axis)


def _pad(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x = given[0]
    pads = list(attributes["pads"]) if "pads" in attributes else _numbers(given[1])
    axes = _axes(given, {}, 3) or list(range(x.dim()))
    count = len(axes)
    flat = [0] * 2 * x.dim()
    for place, axis in enumerate(axes):
        at = 2 * (x.dim() - 1 - axis % x.dim())
        flat[at], flat[at + 1] = pads[place], pads[place + count]
    while flat[-2:] == [0, 0]:
        flat = flat[:-2]
    said = str(attributes.get("mode", "constant"))
    mode = {"edge": "replicate", "wrap": "circular"}.get(said, said)
    value = attributes.get("value", 0.0)
    if len(given) > 2 and isinstance(given[2], np.ndarray):
        value = float(given[2].reshape(-1)[0])
    return functional.pad(x, flat, mode, value) if mode == "constant" else functional.pad(x, flat, mode)


def _gather(given: Sequence[Any], attributes: Attributes) -> Tensor:
    table, indices = given[:2]
    axis = attributes.get("axis", 0)
    if isinstance(indices, np.ndarray):
        if indices.ndim == 0:
            return table.select(axis, int(indices))  # type: ignore[no-any-return]
        return torch.index_select(table, axis, torch.from_numpy(indices.reshape(-1)))
    if table.dim() == 2 and axis == 0 and isinstance(table, nn.Parameter):
        return functional.embedding(indices, table)
    shape = [*table.shape[:axis], *indices.shape, *table.shape[axis + 1 :]]
    return torch.index_select(table, axis, indices.reshape(-1)).reshape(shape)


def _resize(given: Sequence[Any], attributes: Attributes) -> Tensor:
    x = given[0]
    sizes = given[3] if len(given) > 3 else None
    scales = given[2] if len(given) > 2 else given[1] if len(given) > 1 else attributes.get("scales")
    if sizes is not None and len(sizes):
        wanted = _numbers(sizes)[2:]
    else:
        wanted = [int(int(size) * float(by)) for size, by in zip(x.shape, np.array(scales).reshape(-1), strict=True)][
            2:
        ]
    mode = attributes.get("mode", "nearest")
    if mode == "nearest":
        return functional.interpolate(x, size=wanted, mode="nearest")
    names = {1: "linear", 2: "bilinear", 3: "trilinear"}
    name = "bicubic" if mode == "cubic" else names[x.dim() - 2]
    corners = attributes.get("coordinate_transformation_mode", "half_pixel") == "align_corners"
    return functional.interpolate(x, size=wanted, mode=name, align_corners=corners)


def _recurrent(given: Sequence[Any], attributes: Attributes, kind: str) -> Any:
    x, weights, states = given[:3]
    biases = given[3] if len(given) > 3 else None
    batch_first = bool(attributes.get("layout", 0))
    hidden = attributes["hidden_size"]
    directions = int(weights.shape[0])
    params: list[Tensor] = []
    for way in range(directions):
        params += [weights[way], states[way]]
        if biases is not None:
            params += list(biases[way].chunk(2))
    samples = int(x.shape[0 if batch_first else 1])
    zeros = x.new_zeros(directions, samples, hidden)
    options = (biases is not None, 1, 0.0, False, directions == 2, batch_first)
    if kind == "lstm":
        output, state, cell = torch.lstm(x, [zeros, zeros], params, *options)
        rest = [state, cell]
    else:
        run = torch.gru if kind == "gru" else torch.rnn_tanh
        output, state = run(x, zeros, params, *options)
        rest = [state]
    # ONNX keeps the directions apart: (L, directions, N, hidden)
    if batch_first:
        output = torch.unflatten(output, 2, (directions, hidden))
        rest = [each.transpose(0, 1) for each in rest]
    else:
        output = torch.unflatten(output, 2, (directions, hidden)).transpose(1, 2)
    return (output, *rest)


def _reduce(name: str) -> Rule:
    def run(given: Sequence[Any], attributes: Attributes) -> Tensor:
        x: Tensor = given[0]
        axes = _axes(given, attributes)
        keep = bool(attributes.get("keepdims", 1))
        if axes is None:
            axes = list(range(x.dim()))
        if name == "prod":
            for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
                x = x.prod(axis, keep)
            return x
        if name in ("l1", "l2"):
            norm: Tensor = torch.linalg.vector_norm(x, int(name[1]), axes, keep)
            return norm
        made: Tensor = getattr(torch, name)(x, axes, keep)
        return made

    return run


def _arg(name: str) -> Rule:
    return lambda given, attributes: getattr(torch, name)(
        given[0], attributes.get("axis", 0), bool(attributes.get("keepdims", 1))
    )


def _clip(given: Sequence[Any], attributes: Attributes) -> Tensor:
    bounds = [attributes.get("min"), attributes.get("max")]
    for place in (1, 2):
        if len(given) > place and given[place] is not None:
            each = given[place]
            bounds[place - 1] = float(each.reshape(-1)[0]) if isinstance(each, np.ndarray) else each
    if bounds == [0.0, 6.0]:
        return functional.relu6(given[0])
    return torch.clamp(given[0], *bounds)


def dtype_of(code: int) -> torch.dtype:
    """torch's name for one of ONNX's element types."""
    made: torch.dtype = torch.from_numpy(np.empty(0, helper.tensor_dtype_to_np_dtype(code))).dtype
    return made


def _depth_to_space(given: Sequence[Any], attributes: Attributes) -> Tensor:
    return functional.pixel_shuffle(given[0], attributes["blocksize"])


def _plain(function: Callable[..., Any]) -> Rule:
    return lambda given, attributes: function(*given)


def _chained(function: Callable[[Any, Any], Any]) -> Rule:
    def run(given: Sequence[Any], attributes: Attributes) -> Any:
        result = given[0]
        for each in given[1:]:
            result = function(result, each)
        return result

    return run


RULES: Mapping[str, Rule] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _plain(torch.matmul),
    "Einsum": lambda given, attributes: torch.einsum(attributes["equation"], *given),
    "MaxPool": lambda given, attributes: _pool(given, attributes, True),
    "AveragePool": lambda given, attributes: _pool(given, attributes, False),
    "GlobalAveragePool": lambda given, attributes: _global_pool(given[0], False),
    "GlobalMaxPool": lambda given, attributes: _global_pool(given[0], True),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "InstanceNormalization": lambda given, attributes: functional.instance_norm(
        given[0], None, None, given[1], given[2], True, 0.1, attributes.get("epsilon", 1e-5)
    ),
    "GroupNormalization": lambda given, attributes: functional.group_norm(
        given[0], attributes["num_groups"], given[1], given[2], attributes.get("epsilon", 1e-5)
    ),
    "RMSNormalization": lambda given, attributes: functional.rms_norm(
        given[0], list(given[1].shape), given[1], attributes.get("epsilon", 1e-5)
    ),
    "LRN": lambda given, attributes: functional.local_response_norm(
        given[0],
        attributes["size"],
        *(attributes.get(key, usual) for key, usual in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))),
    ),
    "LSTM": lambda given, attributes: _recurrent(given, attributes, "lstm"),
    "GRU": lambda given, attributes: _recurrent(given, attributes, "gru"),
    "RNN": lambda given, attributes: _recurrent(given, attributes, "rnn"),
    "Relu": _plain(functional.relu),
    "LeakyRelu": lambda given, attributes: functional.leaky_relu(given[0], attributes.get("alpha", 0.01)),
    "PRelu": lambda given, attributes: functional.prelu(given[0], given[1].reshape(-1)),
    "Elu": lambda given, attributes: functional.elu(given[0], attributes.get("alpha", 1.0)),
    "Selu": _plain(functional.selu),
    "Celu": lambda given, attributes: functional.celu(given[0], attributes.get("alpha", 1.0)),
    "Gelu": lambda given, attributes: functional.gelu(given[0], approximate=attributes.get("approximate", "none")),
    "Mish": _plain(functional.mish),
    "Sigmoid": _plain(torch.sigmoid),
    "Tanh": _plain(torch.tanh),
    "Softplus": _plain(functional.softplus),
    "Softsign": _plain(functional.softsign),
    "HardSigmoid": lambda given, attributes: functional.hardsigmoid(given[0]),
    "HardSwish": _plain(functional.hardswish),
    "Softmax": lambda given, attributes: torch.softmax(given[0], attributes.get("axis", -1)),
    "LogSoftmax": lambda given, attributes: torch.log_softmax(given[0], attributes.get("axis", -1)),
    "Clip": _clip,
    "Add": _plain(operator.add),
    "Sub": _plain(operator.sub),
    "Mul": _plain(operator.mul),
    "Div": _plain(operator.truediv),
    "Pow": _plain(operator.pow),
    "Mod": _plain(operator.mod),
    "Sum": _chained(torch.add),
    "Max": _chained(torch.maximum),
    "Min": _chained(torch.minimum),
    "Mean": lambda given, attributes: _chained(torch.add)(given, attributes) / len(given),
    **{
        name: _plain(getattr(torch, name.lower()))
        for name in (
            *("Abs", "Neg", "Exp", "Log", "Sqrt", "Erf", "Sin", "Cos", "Tan", "Floor", "Ceil", "Round", "Sign"),
            *("Reciprocal", "Asin", "Acos", "Atan", "Sinh", "Cosh", "IsNaN", "IsInf"),
        )
    },
    "Equal": _plain(operator.eq),
    "Less": _plain(operator.lt),
    "LessOrEqual": _plain(operator.le),
    "Greater": _plain(operator.gt),
    "GreaterOrEqual": _plain(operator.ge),
    "Not": _plain(torch.logical_not),
    "And": _plain(torch.logical_and),
    "Or": _plain(torch.logical_or),
    "Xor": _plain(torch.logical_xor),
    "Where": _plain(torch.where),
    "Cast": lambda given, attributes: given[0].to(dtype_of(attributes["to"])),
    "CastLike": lambda given, attributes: given[0].to(given[1].dtype),
    "Identity": lambda given, attributes: given[0],
    "Dropout": lambda given, attributes: functional.dropout(given[0], attributes.get("ratio", 0.5), False),
    "Concat": lambda given, attributes: torch.cat(list(given), attributes["axis"]),
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": lambda given, attributes: given[0].permute(
        attributes.get("perm") or list(range(given[0].dim()))[::-1]
    ),
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Expand": lambda given, attributes: given[0].expand(
        np.broadcast_shapes(tuple(given[0].shape), tuple(_numbers(given[1])))
    ),
    "Tile": lambda given, attributes: given[0].repeat(_numbers(given[1])),
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "GatherElements": lambda given, attributes: torch.gather(given[0], attributes.get("axis", 0), given[1]),
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _resize,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": lambda given, attributes: functional.pixel_unshuffle(given[0], attributes["blocksize"]),
    "Trilu": lambda given, attributes: (torch.triu if attributes.get("upper", 1) else torch.tril)(given[0]),
    "CumSum": lambda given, attributes: torch.cumsum(given[0], int(np.array(given[1]))),
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "ReduceMax": _reduce("amax"),
    "ReduceMin": _reduce("amin"),
    "ReduceProd": _reduce("prod"),
    "ReduceL1": _reduce("l1"),
    "ReduceL2": _reduce("l2"),
    "ReduceLogSumExp": _reduce("logsumexp"),
    "ArgMax": _arg("argmax"),
    "ArgMin": _arg("argmin"),
}  # fmt: skip

# operators that take numbers (shapes, axes, bounds) beside their first tensor
TAKES_NUMBERS = frozenset(
    (
        *("Reshape", "Squeeze", "Unsqueeze", "Slice", "Split", "Pad", "Gather", "Resize", "Upsample", "Expand", "Tile"),
        *("Clip", "CumSum", "Trilu", "Dropout", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"),
        *("ReduceL1", "ReduceL2", "ReduceLogSumExp"),
    )
)

# operators of which a number may be an operand
TAKES_SCALARS = frozenset(
    (
        *("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"),
        "Where",
    )
)
