"""Networks as people write them, their multiply-adds held against FlopCounterMode on the module itself."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.flop_counter import FlopCounterMode

import archprof
from archprof.importer.modules import import_module


class CausalAttention(nn.Module):
    """Attention by two products under a mask that is a buffer."""

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.heads = heads
        self.register_buffer("mask", torch.tril(torch.ones(length, length)).view(1, 1, length, length))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            each.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for each in self.qkv(x).split(width, 2)
        )
        scores = (q @ k.transpose(-2, -1)) * (1 / math.sqrt(k.size(-1)))
        scores = scores.masked_fill(self.mask[:, :, :length, :length] == 0, float("-inf"))
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).contiguous().view(batch, length, width))


class LanguageModel(nn.Module):
    """GPT-2's form: positions counted in forward, blocks in a list that is never called, tied embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(100, 32)
        self.positions = nn.Embedding(16, 32)
        parts = {"norm1": nn.LayerNorm(32), "attention": CausalAttention(32, 4, 16), "norm2": nn.LayerNorm(32)}
        parts |= {"up": nn.Linear(32, 128), "down": nn.Linear(128, 32)}
        self.blocks = nn.ModuleList([nn.ModuleDict(parts)])
        self.head = nn.Linear(32, 100, bias=False)
        self.head.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.positions(torch.arange(ids.size(1), device=ids.device))
        for block in self.blocks:
            x = x + block["attention"](block["norm1"](x))
            x = x + block["down"](F.gelu(block["up"](block["norm2"](x))))
        return self.head(x[:, [-1], :])


class ShiftedWindows(nn.Module):
    """Swin's form: windows become samples, their number is worked out from the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)
        self.table = nn.Parameter(torch.zeros(49, 4))
        self.register_buffer("places", torch.zeros(16, 16, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.roll(self.patches(x).permute(0, 2, 3, 1), (-2, -2), (1, 2))
        _, height, width, channels = x.shape
        windows = (
            x.view(-1, height // 4, 4, width // 4, 4, channels).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, channels)
        )
        q, k, v = self.qkv(windows).reshape(len(windows), 16, 3, 4, 4).permute(2, 0, 3, 1, 4)
        bias = self.table[self.places.view(-1)].view(16, 16, -1).permute(2, 0, 1)
        scores = (q * 0.5) @ k.transpose(-2, -1) + bias.unsqueeze(0)
        windows = self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, 16, channels))
        batch = int(windows.shape[0] / (height * width / 16))
        x = windows.view(batch, height // 4, width // 4, 4, 4, -1).permute(0, 1, 3, 2, 4, 5)
        return x.reshape(batch, height, width, -1).mean((1, 2))


class Denoiser(nn.Module):
    """A diffusion network's form: a time of each sample, as waves."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Linear(8, 4)
        self.enter = nn.Conv2d(3, 4, 3, padding=1)
        self.leave = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        rates = torch.exp(-math.log(10000) * torch.arange(4) / 4)
        angles = time[:, None].float() * rates[None]
        waves = torch.cat([angles.sin(), angles.cos()], -1)
        return self.leave(F.silu(self.enter(x) + self.time(waves)[:, :, None, None]))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], tuple[Tensor, ...]]]] = {
    "a language model": (LanguageModel, lambda batch: (torch.zeros(batch, 8, dtype=torch.int64),)),
    "shifted windows": (ShiftedWindows, lambda batch: (torch.zeros(batch, 3, 32, 32),)),
    "a denoiser": (Denoiser, lambda batch: (torch.zeros(batch, 3, 8, 8), torch.zeros(batch, dtype=torch.int64))),
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_multiply_adds_are_those_that_torch_counts(name: str, batch: int) -> None:
    make, inputs = NETWORKS[name]
    module = make().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs(batch))
    analysis = archprof.analyse(import_module(module, inputs(batch)), batch=batch, counting="multiply_adds")
    assert 2 * analysis.flops == counter.get_total_flops()
    assert analysis.params == sum(each.numel() for each in module.parameters())
    assert not analysis.lower_bound
