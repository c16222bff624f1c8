"""Importing leaves a module as it was."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from archprof import UsageError
from archprof.importer.modules import import_module


class Everything(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.lstm = nn.LSTM(4, 4, batch_first=True)
        self.spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))
        self.attention = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.register_buffer("seen", torch.zeros(()))
        self.calls = 0
        self.notes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.notes.append(self.calls)
        self.seen += 1
        x = self.drop(self.norm(self.conv(x))).flatten(2).transpose(1, 2)
        x = x * random.random() + torch.rand(()) + float(np.random.random())
        return self.attention(self.spectral(self.lstm(x)[0]))


def hooked(module: nn.Module, log: list[str]) -> nn.Module:
    module.conv.register_forward_hook(lambda *_: log.append("forward"))  # type: ignore[union-attr]
    module.norm.register_full_backward_hook(lambda *_: None)  # type: ignore[union-attr]
    return module


def state(module: nn.Module) -> dict[str, Any]:
    return {
        "modes": [each.training for each in module.modules()],
        "hooks": [
            [list(value) for key, value in vars(each).items() if key.endswith("_hooks")] for each in module.modules()
        ],
        "names": [list(module.state_dict()), [name for name, _ in module.named_modules()]],
        "identities": [id(each) for each in (*module.parameters(), *module.buffers(), *module.modules())],
        "requires_grad": [each.requires_grad for each in module.parameters()],
        "gradients": [each.grad is None for each in module.parameters()],
        "flat": [id(each) for each in module.lstm._flat_weights],  # type: ignore[union-attr]
        "attributes": [sorted(vars(each)) for each in module.modules()],
        "own": (module.calls, list(module.notes)),  # type: ignore[arg-type]
    }


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("mode", [False, True])
def test_everything_is_as_before(train: bool, mode: bool) -> None:
    torch.manual_seed(3)
    log: list[str] = []
    module = hooked(Everything(), log).train(mode)
    module.drop.train(not mode)
    module.conv.weight.requires_grad_(False)
    before, tensors = state(module), copy.deepcopy(module.state_dict())
    torch_state, python_state, numpy_state = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    fast = torch.backends.mha.get_fastpath_enabled()
    import_module(module, torch.zeros(1, 3, 4, 4), train=train)
    assert state(module) == before
    assert all(torch.equal(value, tensors[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == python_state
    assert (np.random.get_state()[1] == numpy_state).all()
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert torch.is_grad_enabled()


def test_outputs_are_as_before() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(3))
    x = torch.randn(2, 3, 5, 5)
    module(x)
    module.eval()
    expected = module(x)
    import_module(module, x, train=True)
    assert torch.equal(module(x), expected)


def test_importing_twice_gives_the_same() -> None:
    module = Everything()
    assert import_module(module, torch.zeros(1, 3, 4, 4)) == import_module(module, torch.zeros(5, 3, 4, 4))


@pytest.mark.parametrize(
    "fails", [lambda module, x: 1 / 0, lambda module, x: module.norm(x.relu()), lambda module, x: module.conv(x).item()]
)
def test_a_failure_leaves_the_module_as_it_was_too(fails: Callable[..., Any]) -> None:
    module = Everything()
    module.__dict__["forward"] = lambda x: fails(module, module.norm(module.conv(x))[:, :3])
    before, tensors = state(module), copy.deepcopy(module.state_dict())
    with pytest.raises(UsageError):
        import_module(module, torch.zeros(1, 3, 4, 4), train=True)
    assert state(module) == before
    assert all(torch.equal(value, tensors[name]) for name, value in module.state_dict().items())


def test_a_train_method_of_its_own_is_not_called() -> None:
    class Merging(nn.Linear):
        def train(self, mode: bool = True) -> Merging:
            self.weight.data += 1  # as adapters merge their weights
            return super().train(mode)

    module = Merging(3, 3)
    weight = module.weight.clone()
    import_module(module, torch.zeros(1, 3))
    assert torch.equal(module.weight, weight)


def test_a_module_that_only_runs_another_is_seen_through() -> None:
    module = nn.Linear(3, 2)
    graph = import_module(nn.DataParallel(module), torch.zeros(1, 3))
    assert graph == import_module(module, torch.zeros(1, 3))


def test_random_numbers_drawn_for_a_branch_are_given_back() -> None:
    def run(x: Tensor) -> Tensor:
        return x + 1 if torch.rand(()) > 2 else x * 2  # its values must be computed

    module = nn.Identity()
    module.__dict__["forward"] = run
    before = torch.get_rng_state()
    assert [node.operator.op for node in import_module(module, torch.zeros(1, 3)).nodes][-1] == "mul"
    assert torch.equal(torch.get_rng_state(), before)


def test_fused_kernels_that_hide_what_they_compute_are_off_meanwhile() -> None:
    seen = []
    module = nn.Identity()
    module.__dict__["forward"] = lambda x: (seen.append(torch.backends.mha.get_fastpath_enabled()), x + 1)[1]
    import_module(module, torch.zeros(1, 3))
    assert seen == [False]
    assert torch.backends.mha.get_fastpath_enabled()
