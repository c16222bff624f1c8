"""Giving two modules of the same network the same numbers, whatever each calls its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves


class _FirstUses(TorchFunctionMode):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.names = {id(tensor): name for name, tensor in chain(module.named_parameters(), module.named_buffers())}
        self.order: dict[str, None] = {}

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, Tensor) and id(value) in self.names:
                self.order[self.names[id(value)]] = None
        return function(*args, **kwargs)


def order_of_use(module: nn.Module, x: Tensor) -> list[str]:
    """The names of parameters and buffers in the order in which a call first takes them, without those it never does.

    Both may be on the meta device, where the call computes nothing.
    """
    with _FirstUses(module) as uses, torch.no_grad():
        module(x)
    return list(uses.order)


def fill(module: nn.Module, seed: int = 0) -> None:
    """Give a module on the meta device memory, and random numbers that keep signals of order 1."""
    module.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in chain(module.named_parameters(), module.named_buffers()):
            if not tensor.is_floating_point():
                tensor.zero_()
            elif tensor.dim() > 1:
                bound = (3 / (tensor.numel() / tensor.shape[0])) ** 0.5  # variance 1 / fan-in
                tensor.uniform_(-bound, bound, generator=generator)
            elif name.endswith(("weight", "running_var")):
                tensor.uniform_(0.5, 1.5, generator=generator)
            else:
                tensor.uniform_(-0.2, 0.2, generator=generator)
