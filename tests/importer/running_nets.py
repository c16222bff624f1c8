"""Modules that tests import by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Mixed(nn.Module):
    """In-place, attention, a parameter of its own, statistics, a constant, no_grad."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.conv(x))).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        x = x + self.attention(x, x, x)[0]
        with torch.no_grad():
            weights = torch.arange(x.shape[1]).float().softmax(0)
        return self.head(self.drop(x * weights[None, :, None])[:, 0])


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(30, 8)
        self.inner = nn.LSTM(8, 8, batch_first=True)
        self.out = nn.Linear(8, 30, bias=False)
        self.out.weight = self.table.weight

    def forward(self, words: Tensor) -> Tensor:
        return self.out(self.inner(self.table(words))[0])


class Named(nn.Module):
    """Inputs by place and by name, outputs in a dict; einsum and a bilinear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 6))
        self.pair = nn.Bilinear(5, 5, 4)

    def forward(self, a: Tensor, *, b: Tensor) -> dict[str, Tensor]:
        y = torch.einsum("nid,de,nje->nij", a, self.weight, b)
        return {"y": y, "z": self.pair(y.transpose(1, 2), y.transpose(1, 2))}


class Modes(nn.Module):
    """Stretches under no_grad, autocast, and a detached value."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = self.a(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = self.b(x)
        return self.c(y + self.b(x).detach()) + self.c(z.float())


class SequenceFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 4, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class ByBatch(nn.Module):
    """Makes other calls for large batches."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x).relu() if len(x) > 100 else self.a(x)


def Hollow() -> nn.Module:  # noqa: N802
    with torch.device("meta"):
        return nn.Linear(8, 8)


class Recurrent(nn.Module):
    """Cells called several times, and recurrent layers that the language lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(8, 6)
        self.layer = nn.RNN(6, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        hidden, states = x.new_zeros(x.shape[0], 6), []
        for step in range(4):
            hidden = self.cell(x[:, step], hidden)
            states.append(hidden)
        return self.layer(torch.stack(states, 1))[0]


class ByName(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(4, 4, 3, padding="same", groups=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.same(x)


class Vectors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.Linear(10, 10)
        self.a, self.b = nn.Sequential(layer), nn.Sequential(layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x))


class Frozen(nn.Module):
    """A frozen layer, and one of which the bias alone is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(64, 3)
        self.a.requires_grad_(False)
        self.b.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x)).flatten(1))


class Values(nn.Module):
    """A tensor that is neither parameter nor buffer: no such code runs on the device meta."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.tensor([2.0])
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Any:
        return self.layer(x) * self.scale


class Odd(nn.Module):
    """With a call whose cost archprof does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).sort(1).values
