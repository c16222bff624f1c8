"""Modules with what instruments stumble on, and a clock that only the work of a layer advances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils.checkpoint import checkpoint


class WorkClock:
    """Time is the work that layers did."""

    def __init__(self) -> None:
        self.now = 0.0

    def stamp(self) -> float:
        return self.now

    def read(self, stamps: Sequence[float]) -> list[float]:
        return [stamp - stamps[0] for stamp in stamps]

    def synchronise(self) -> None: ...


class _Work(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, given: Tensor, layer: Working) -> Tensor:
        ctx.layer = layer
        layer.clock.now += layer.forward_work
        return given * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        ctx.layer.clock.now += ctx.layer.backward_work
        return gradient * 2, None


class Working(nn.Module):
    """A layer of so much work; its parameter's gradient is written by a node of no layer's own."""

    def __init__(self, clock: WorkClock, forward_work: float = 1.0, backward_work: float = 1.0) -> None:
        super().__init__()
        self.clock = clock
        self.forward_work = forward_work
        self.backward_work = backward_work
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, given: Tensor) -> Tensor:
        return _Work.apply(given, self) * self.scale  # type: ignore[no-any-return]


class Matrices(torch.autograd.Function):
    """So many matrix products, forward and backward."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, forward: int, backward: int) -> Tensor:
        ctx.backward_products = backward
        for _ in range(forward):
            given = given @ given
            given = given / given.norm()
        return given.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        for _ in range(ctx.backward_products):
            gradient = gradient @ gradient
            gradient = gradient / gradient.norm()
        return gradient.clone(), None, None


class Multiplying(nn.Module):
    def __init__(self, forward: int, backward: int) -> None:
        super().__init__()
        self.products = forward, backward

    def forward(self, given: Tensor) -> Tensor:
        return Matrices.apply(given, *self.products)  # type: ignore[no-any-return]


class InPlace(nn.Module):
    """Operators that change their inputs, through views and residuals."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6)

    def forward(self, given: Tensor) -> Tensor:
        out = self.first(given)
        half = out[:, :3]
        half.mul_(2)
        out = self.norm(out)
        out.add_(self.second(torch.relu(out)))
        return out.relu_()


class Views(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        turned = self.inner(given.view(-1, 2, 3).transpose(1, 2).reshape(-1, 3))
        flat = turned.view(-1, 6)
        first, second = flat[:, :3], flat[:, 3:]
        second.sigmoid_()
        return first, second.unsqueeze(0).expand(2, -1, -1)


class Tied(nn.Module):
    """One weight in two places, one module called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(6, 6), nn.Linear(6, 6)
        self.decode.weight = self.encode.weight

    def forward(self, given: Tensor) -> Tensor:
        return self.decode(torch.tanh(self.encode(self.encode(given))))  # type: ignore[no-any-return]


class FanOut(nn.Module):
    """A value that several branches use, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, given: Tensor) -> dict[str, Tensor]:
        stem = self.stem(given)
        left, right = self.left(stem), self.right(stem)
        return {"sum": left + right * stem + left, "stem": stem, "stem again": stem}


class Frozen(nn.Module):
    """Layers without gradients at the front, in the middle, and beside."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.back = nn.Linear(6, 6), nn.Linear(6, 6)
        self.middle, self.beside = nn.Linear(6, 6), nn.Linear(6, 6)
        for layer in (self.front, self.middle):
            layer.requires_grad_(False)

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        front = torch.relu(self.front(given))
        with_gradient = self.middle(self.back(front))
        return with_gradient, self.beside(front).detach()


class Random(nn.Module):
    """Draws random numbers: in dropout, and itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.drop, self.noise = nn.Dropout(0.5), nn.RReLU()

    def forward(self, given: Tensor) -> Tensor:
        return self.drop(self.second(self.noise(self.drop(self.first(given)))))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Recomputed in the backward pass."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.inner = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.3), nn.BatchNorm1d(6), nn.ReLU())

    def forward(self, given: Tensor) -> Tensor:
        return checkpoint(self.inner, given, use_reentrant=self.reentrant)  # type: ignore[no-any-return]


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 6), nn.Linear(6, 6)
        self.one, self.other = Block(reentrant), Block(reentrant)

    def forward(self, given: Tensor) -> Tensor:
        return self.head(self.other(self.one(self.stem(given))))  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """A module of two outputs, one of them used later."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTM(6, 6, batch_first=True), nn.Linear(12, 6)

    def forward(self, given: Tensor) -> Tensor:
        sequence, (hidden, _) = self.cell(given.view(-1, 1, 6))
        return self.head(torch.cat([sequence[:, -1], hidden[0]], dim=1))  # type: ignore[no-any-return]


TRAPS = {
    "in place": InPlace,
    "views": Views,
    "tied weights": Tied,
    "fan-out": FanOut,
    "frozen layers": Frozen,
    "random numbers": Random,
    "checkpointing, reentrant": lambda: Checkpointed(True),
    "checkpointing, not reentrant": lambda: Checkpointed(False),
    "recurrent": Recurrent,
}

_LEAVES = (Working, Multiplying, Block)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _LEAVES) or super().is_leaf_module(m, module_qualified_name)


def traced(module: nn.Module) -> fx.GraphModule:
    """The module as a GraphModule whose nodes have paths: their own names."""
    graph = _Tracer().trace(module)
    for node in graph.nodes:
        if node.op not in ("placeholder", "get_attr", "output"):
            node.meta["path"] = node.name
    return fx.GraphModule(module, graph)
