"""What calls that the language has no operator for compute, by the names that torch gives them (torch.ops.aten).

As everywhere, a cost is what the definition of an operation computes. Here "an element" is one of the first output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set

from archprof.cost import Cost

_COMPARISON = Cost(comparisons=1)
_ADDITION = Cost(additions=1)
_MULTIPLICATION = Cost(multiplications=1)
_DIVISION = Cost(divisions=1)
_SPECIAL = Cost(special=1)
_SIGMOID = Cost(special=1, additions=1, divisions=1)

# of an element
ELEMENTWISE: Mapping[str, Cost] = {
    **dict.fromkeys(("add", "sub", "rsub", "subtract", "neg", "negative"), _ADDITION),
    **dict.fromkeys(("mul", "multiply", "square"), _MULTIPLICATION),
    **dict.fromkeys(("div", "divide", "true_divide", "floor_divide", "remainder", "fmod", "reciprocal"), _DIVISION),
    **dict.fromkeys(
        (
            *("pow", "float_power", "sqrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "erf", "erfc"),
            *("erfinv", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "asinh", "acosh"),
            *("atanh", "floor", "ceil", "round", "trunc", "frac", "lgamma", "digamma", "special_expit", "hypot"),
        ),
        _SPECIAL,
    ),
    **dict.fromkeys(
        (
            *("abs", "maximum", "minimum", "fmax", "fmin", "clamp_min", "clamp_max", "clip_min", "clip_max", "sign"),
            *("eq", "ne", "lt", "le", "gt", "ge", "greater", "less", "isnan", "isinf", "isfinite", "threshold"),
            *("greater_equal", "less_equal", "not_equal", "heaviside", "hardshrink", "sgn", "isclose", "nan_to_num"),
        ),
        _COMPARISON,
    ),
    **dict.fromkeys(("clamp", "clip", "hardtanh", "relu6"), Cost(comparisons=2)),
    "relu": _COMPARISON,
    "rsqrt": Cost(special=1, divisions=1),
    "tanh": _SPECIAL,
    "sigmoid": _SIGMOID,
    "log_sigmoid": Cost(special=2, additions=1),
    "logit": Cost(special=1, additions=1, divisions=1),
    "silu": _SIGMOID + _MULTIPLICATION,
    "glu": _SIGMOID + _MULTIPLICATION,
    "gelu": Cost(special=1, additions=1, multiplications=3),
    "leaky_relu": Cost(comparisons=1, multiplications=1),
    "prelu": Cost(comparisons=1, multiplications=1),
    "rrelu": Cost(comparisons=1, multiplications=1),
    "elu": Cost(comparisons=1, special=1, additions=1, multiplications=1),
    "celu": Cost(comparisons=1, special=1, additions=1, multiplications=1, divisions=1),
    "selu": Cost(comparisons=1, special=1, additions=1, multiplications=2),
    "softplus": Cost(special=2, additions=1),
    "softsign": Cost(comparisons=1, additions=1, divisions=1),
    "softshrink": Cost(comparisons=2, additions=1),
    "mish": Cost(special=3, additions=1, multiplications=1),
    "hardsigmoid": Cost(additions=1, comparisons=2, divisions=1),
    "hardswish": Cost(additions=1, comparisons=2, divisions=1, multiplications=1),
    "addcmul": Cost(multiplications=2, additions=1),
    "addcdiv": Cost(multiplications=1, divisions=1, additions=1),
    "lerp": Cost(multiplications=1, additions=2),
    # weights of four taps a dimension are interpolated from a table of the size's; products and sums
    "upsample_bicubic2d": Cost(multiplications=16, additions=15),
    "upsample_linear1d": Cost(multiplications=2, additions=1),
    "upsample_bilinear2d": Cost(multiplications=4, additions=3),
    "upsample_trilinear3d": Cost(multiplications=8, additions=7),
}

# of (elements of the first input, of the first output)
REDUCTIONS: Mapping[str, Callable[[int, int], Cost]] = {
    "sum": lambda n, out: Cost(additions=n - out),
    "nansum": lambda n, out: Cost(additions=n - out),
    "mean": lambda n, out: Cost(additions=n - out, divisions=out),
    "prod": lambda n, out: Cost(multiplications=n - out),
    # mean, differences, their squares, the mean of these
    "var": lambda n, out: Cost(additions=3 * n - 2 * out, multiplications=n, divisions=2 * out),
    "std": lambda n, out: Cost(additions=3 * n - 2 * out, multiplications=n, divisions=2 * out, special=out),
    "linalg_vector_norm": lambda n, out: Cost(multiplications=n, additions=n - out, special=out),
    "norm": lambda n, out: Cost(multiplications=n, additions=n - out, special=out),
    "logsumexp": lambda n, out: Cost(comparisons=n - out, additions=2 * n, special=n + out),
    **{
        name: lambda n, out: Cost(comparisons=n - out)
        for name in ("amax", "amin", "max", "min", "argmax", "argmin", "any", "all", "count_nonzero", "median")
    },
}

# calls that compute nothing: they lay out, copy, pick or make elements; those of VIEWS move none
VIEWS = frozenset(
    (
        *(
            "view",
            "reshape",
            "_unsafe_view",
            "flatten",
            "unflatten",
            "transpose",
            "swapaxes",
            "permute",
            "t",
            "numpy_T",
        ),
        *("mT", "movedim", "moveaxis", "squeeze", "unsqueeze", "expand", "expand_as", "view_as", "slice", "select"),
        *("split", "split_with_sizes", "chunk", "tensor_split", "unbind", "narrow", "unfold", "diagonal", "alias"),
        *("detach", "as_strided", "broadcast_to", "real", "imag", "view_as_real", "view_as_complex", "unsafe_chunk"),
        *("unsafe_split", "unsafe_split_with_sizes", "reshape_as", "hsplit", "vsplit", "dsplit", "atleast_1d"),
        *("atleast_2d", "atleast_3d", "lift_fresh", "view_copy", "swapdims", "adjoint", "matrix_H", "ravel"),
    )
)
COPIES = frozenset(
    (
        *("clone", "contiguous", "copy", "to", "_to_copy", "type_as", "float", "half", "double", "bfloat16", "int"),
        *("long", "bool", "cat", "concat", "concatenate", "stack", "hstack", "vstack", "repeat", "repeat_interleave"),
        *(
            "tile",
            "roll",
            "flip",
            "fliplr",
            "flipud",
            "rot90",
            "index",
            "index_select",
            "gather",
            "take",
            "take_along_dim",
        ),
        *("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d"),
        *("replication_pad2d", "replication_pad3d", "zero", "fill", "masked_fill", "masked_select", "where", "tril"),
        *("triu", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "im2col", "one_hot", "meshgrid", "diag"),
        *("diag_embed", "scatter", "index_put", "index_copy", "index_fill", "slice_scatter", "select_scatter", "_cast"),
        *("logical_and", "logical_or", "logical_not", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_not"),
        *("bitwise_xor", "__and__", "__or__", "__xor__", "__lshift__", "__rshift__", "upsample_nearest1d"),
        *("upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact2d", "embedding", "lift_fresh_copy"),
        *("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "identity", "complex", "expand_copy"),
    )
)
CREATORS = frozenset(
    (
        *("zeros", "ones", "full", "empty", "arange", "linspace", "eye", "scalar_tensor", "zeros_like", "ones_like"),
        *("full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty", "rand", "randn", "randint"),
        *(
            "rand_like",
            "randn_like",
            "randint_like",
            "tril_indices",
            "triu_indices",
            "hann_window",
            "randperm",
            "bernoulli",
        ),
    )
)


def softmax(name: str, count: int, groups: int) -> Cost:
    """Of `count` elements in so many groups: `softmax`, or `log_softmax`, which subtracts a logarithm."""
    if name == "softmax":
        return Cost(comparisons=count - groups, additions=2 * count - groups, special=count, divisions=count)
    return Cost(comparisons=count - groups, additions=3 * count - groups, special=count + groups)


def rms_norm(count: int, groups: int, affine: bool) -> Cost:
    """x / sqrt(mean x^2 + eps): squares and their mean, eps, a root and its inverse a group, then products."""
    return Cost(multiplications=count * (3 if affine else 2), additions=count, divisions=2 * groups, special=groups)


def einsum(equation: str, shapes: Sequence[tuple[int, ...]]) -> Cost | None:
    """Of operands from left to right, two at a time, as torch does without opt_einsum.

    A pair with a common index that goes is a matrix product: a multiply-add for each combination of indices of
    both. Without one it is multiplications. None where the equation cannot be read.
    """
    inputs, _, output = equation.replace(" ", "").partition("->")
    if "->" not in equation:
        letters = inputs.replace(",", "").replace(".", "")
        output = ("..." if "..." in inputs else "") + "".join(sorted({c for c in letters if letters.count(c) == 1}))
    terms = inputs.split(",")
    if len(terms) != len(shapes):
        return None
    sizes: dict[str, int] = {}
    spelt = []
    for term, shape in zip(terms, shapes, strict=True):
        names = _spelt(term, len(shape))
        if len(names) != len(shape):
            return None
        for letter, size in zip(names, shape, strict=True):
            sizes[letter] = max(sizes.get(letter, 1), size)
        spelt.append(frozenset(names))
    wide = max((sum(1 for letter in names if letter.startswith(".")) for names in spelt), default=0)
    kept = frozenset(_spelt(output, len(output.replace("...", "")) + (wide if "..." in output else 0)))
    cost = Cost()
    left = spelt[0]
    for place, right in enumerate(spelt[1:], 1):
        needed = kept.union(*spelt[place + 1 :])
        alone = (left ^ right) - needed  # an index of one operand alone is summed first
        cost += Cost(additions=_size(left, sizes) - _size(left - alone, sizes))
        cost += Cost(additions=_size(right, sizes) - _size(right - alone, sizes))
        left, right = left - alone, right - alone
        products = _size(left | right, sizes)
        contracted = (left | right) - needed
        cost += Cost(multiply_adds=products) if contracted else Cost(multiplications=products)
        left = (left | right) & needed
    if len(spelt) == 1:
        cost += Cost(additions=_size(left, sizes) - _size(left & kept, sizes))
    return cost


def _size(letters: Set[str], sizes: Mapping[str, int]) -> int:
    """How many combinations of indices there are."""
    return math.prod(sizes[letter] for letter in letters)


def _spelt(term: str, rank: int) -> tuple[str, ...]:
    """The indices of a term, an ellipsis as .1, .2, ... counted from the right."""
    before, dots, after = term.partition("...")
    wide = rank - len(before) - len(after) if dots else 0
    return (*before, *(f".{place}" for place in range(wide, 0, -1)), *after)


def cells(gates: int, hidden: int, products: int, biases: int, each: Cost, calls: int) -> Cost:
    """Recurrent cells: `products` elements of weights and `biases` of biases, used in each of `calls` steps."""
    inner = Cost(multiply_adds=products, bias_additions=biases, activations=2 * gates * hidden)
    return (inner + Cost(additions=gates * hidden) + each * hidden) * calls
