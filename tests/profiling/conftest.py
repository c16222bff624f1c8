"""Fixtures of a card that is not there."""

from __future__ import annotations

import sys

import pytest

from archprof.profiling import device, nvml
from tests.profiling.fakes import FakeCard, FakeCuda, FakeNvml


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> FakeCard:
    """The card of a fake NVML; idle power is read at once."""
    card = FakeCard("GPU-aaaa-1")
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(card))
    monkeypatch.setattr(nvml, "idle_power", lambda card: 21.0)
    monkeypatch.setattr(device, "_IDLE_POWER", {})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return card


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, card: FakeCard) -> FakeCuda:
    """A fake torch.cuda beside it."""
    return FakeCuda(monkeypatch)
