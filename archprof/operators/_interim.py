"""Interim operators until the real families land (lead; delete)."""
from __future__ import annotations
import math
from typing import ClassVar
from archprof.cost import Cost
from archprof.operators.base import *
from archprof.operators.base import Inputs, Operator, register, Integer, Integers, Number, Flag, Choice, Optional, Window, WHOLE
from archprof.shape import Shape


class _Same(Operator, frozen=True, kw_only=True):
    def infer(self, inputs): return (inputs[0],)

@register("relu")
class Relu(_Same, frozen=True, kw_only=True):
    """relu"""
@register("relu6")
class Relu6(_Same, frozen=True, kw_only=True):
    """relu6"""
@register("softmax")
class Softmax(_Same, frozen=True, kw_only=True):
    """softmax"""
@register("l2_normalize")
class L2(_Same, frozen=True, kw_only=True):
    """l2"""
@register("local_response_norm", size=Integer(1))
class Lrn(_Same, frozen=True, kw_only=True):
    """lrn"""
    size: int
@register("dropout", p=Number(0, 1))
class Dropout(_Same, frozen=True, kw_only=True):
    """dropout"""
    view: ClassVar[bool] = True
    p: float = 0.5
@register("batch_norm2d")
class Bn(_Same, frozen=True, kw_only=True):
    """bn"""
    def parameters(self, inputs): return {"weight": (inputs[0].dims[0],), "bias": (inputs[0].dims[0],)}
@register("add")
class Add(_Same, frozen=True, kw_only=True):
    """add"""
    arity: ClassVar = (2, None)
@register("flatten")
class Flatten(Operator, frozen=True, kw_only=True):
    """flatten"""
    view: ClassVar[bool] = True
    def infer(self, inputs): return (inputs[0].with_dims(math.prod(inputs[0].dims)),)
    def window(self, inputs, outputs): return WHOLE
@register("reshape", shape=Integers(None))
class Reshape(Operator, frozen=True, kw_only=True):
    """reshape"""
    view: ClassVar[bool] = True
    shape: tuple[int, ...]
    def infer(self, inputs): return (inputs[0].with_dims(*self.shape),)
    def window(self, inputs, outputs): return WHOLE
@register("linear", out_features=Integer(1), bias=Flag())
class Linear(Operator, frozen=True, kw_only=True):
    """linear"""
    depth: ClassVar[int] = 1
    out_features: int
    bias: bool = True
    def infer(self, inputs): return (inputs[0].with_dims(*inputs[0].dims[:-1], self.out_features),)
    def parameters(self, inputs): return {"weight": (self.out_features, inputs[0].dims[-1])} | ({"bias": (self.out_features,)} if self.bias else {})
    def cost(self, inputs, outputs, train=False): return Cost(multiply_adds=outputs[0].numel * inputs[0].dims[-1], bias_additions=outputs[0].numel * self.bias, activations=outputs[0].numel)
@register("maxout", out_features=Integer(1), pool_size=Integer(2))
class Maxout(Operator, frozen=True, kw_only=True):
    """maxout"""
    depth: ClassVar[int] = 1
    out_features: int
    pool_size: int
    def infer(self, inputs): return (inputs[0].with_dims(self.out_features),)
    def parameters(self, inputs): return {"weight": (self.out_features * self.pool_size, inputs[0].dims[-1]), "bias": (self.out_features * self.pool_size,)}
    def cost(self, inputs, outputs, train=False):
        n = outputs[0].numel * self.pool_size
        return Cost(multiply_adds=n * inputs[0].dims[-1], bias_additions=n, activations=n, comparisons=outputs[0].numel)
    def kernel(self, inputs): return f"maxout p={self.pool_size}"
def _pool(n, p, k, s, ceil):
    out = (n + 2 * p - k + (s - 1 if ceil else 0)) // s + 1
    return out - 1 if ceil and (out - 1) * s >= n + p else out
class _Pool(Operator, frozen=True, kw_only=True):
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...] | None = None
    padding: tuple[int, ...] = (0, 0)
    ceil_mode: bool = False
    def infer(self, inputs):
        c, *hw = inputs[0].dims
        return (inputs[0].with_dims(c, *(_pool(n, p, k, s, self.ceil_mode) for n, p, k, s in zip(hw, self.padding, self.kernel_size, self.stride or self.kernel_size))),)
    def kernel(self, inputs): return f"{self.kernel_size[0]}x{self.kernel_size[1]}x{inputs[0].dims[0]}, {(self.stride or self.kernel_size)[0]}"
    def window(self, inputs, outputs): return Window(self.kernel_size, self.stride or self.kernel_size, self.padding)
_K = dict(kernel_size=Integers(2, 1), stride=Optional(Integers(2, 1)), padding=Integers(2, 0), ceil_mode=Flag())
@register("max_pool2d", **_K)
class MaxPool(_Pool, frozen=True, kw_only=True):
    """pool"""
@register("avg_pool2d", **_K)
class AvgPool(_Pool, frozen=True, kw_only=True):
    """pool"""
@register("adaptive_avg_pool2d", output_size=Integers(2, 1))
class Aap(Operator, frozen=True, kw_only=True):
    """aap"""
    output_size: tuple[int, ...]
    def infer(self, inputs): return (inputs[0].with_dims(inputs[0].dims[0], *self.output_size),)
    def window(self, inputs, outputs): return WHOLE
@register("concat", dim=Integer())
class Concat(Operator, frozen=True, kw_only=True):
    """concat"""
    arity: ClassVar = (1, None)
    dim: int = 1
    def infer(self, inputs): return (inputs[0].with_dims(sum(i.dims[0] for i in inputs), *inputs[0].dims[1:]),)
@register("pad_channels", out_channels=Integer(1))
class Pad(Operator, frozen=True, kw_only=True):
    """pad"""
    out_channels: int
    def infer(self, inputs): return (inputs[0].with_dims(self.out_channels, *inputs[0].dims[1:]),)
@register("upsample", size=Integers(2, 1), mode=Choice("nearest", "bilinear"), align_corners=Flag())
class Up(Operator, frozen=True, kw_only=True):
    """up"""
    size: tuple[int, ...]
    mode: str = "nearest"
    align_corners: bool = False
    def infer(self, inputs): return (inputs[0].with_dims(inputs[0].dims[0], *self.size),)
    def window(self, inputs, outputs): return WHOLE
