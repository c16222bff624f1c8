"""What one timed pass does, and what is in each of its times."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archprof.errors import UsageError
from archprof.profiling.clocks import CpuClock
from archprof.profiling.passes import TimedPass, laid_out, tensors
from archprof.profiling.records import PASSES, Pass
from tests.profiling.networks import WorkClock, Working


class Watched(nn.Module):
    """Notes the modes that it runs in."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.seen: list[tuple[bool, bool, bool]] = []
        self.dtypes: list[torch.dtype] = []

    def forward(self, given: Tensor) -> Tensor:
        self.seen.append((self.training, torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
        out: Tensor = self.layer(given)
        self.dtypes.append(out.dtype)
        return out


def make(module: nn.Module, pass_: Pass, **options: Any) -> TimedPass:
    given = options.pop("given", torch.randn(4, 3))
    return TimedPass(module, (given,), pass_=pass_, clock=options.pop("clock", CpuClock()), **options)


@pytest.mark.parametrize(
    ("pass_", "modes"),
    [("forward", (False, True, False)), ("forward+backward", (True, False, True)), ("step", (True, False, True))],
)
def test_modes(pass_: Pass, modes: tuple[bool, bool, bool]) -> None:
    module = Watched()
    make(module, pass_)()
    assert module.seen == [modes]
    assert not torch.is_inference_mode_enabled()


def test_each_part_has_its_own_time() -> None:
    clock = WorkClock()
    module = nn.Sequential(Working(clock, 3.0, 5.0), Working(clock, 4.0, 6.0))
    given = torch.ones(2, requires_grad=True)
    assert make(module, "forward", given=given, clock=clock)() == {"forward": 7.0}
    both = make(module, "forward+backward", given=given, clock=clock)
    assert both() == {"forward": 7.0, "backward": 11.0, "forward+backward": 18.0}
    step = make(module, "step", given=given, clock=clock)
    assert step.optimiser is not None
    step.optimiser.register_step_post_hook(lambda *_: setattr(clock, "now", clock.now + 2.0))
    assert step() == {"forward": 7.0, "backward": 11.0, "update": 2.0, "step": 20.0}


@pytest.mark.parametrize("pass_", PASSES)
def test_the_times_are_of_the_clock(pass_: Pass) -> None:
    parts = make(Watched(), pass_)()
    assert all(seconds > 0 for seconds in parts.values())
    assert parts[pass_] == pytest.approx(
        sum(seconds for name, seconds in parts.items() if name != pass_ or pass_ == "forward")
    )


def test_gradients_are_made_anew_in_each_pass() -> None:
    module = Watched()
    run = make(module, "forward+backward")
    run()
    first = [parameter.grad for parameter in module.parameters()]
    run()
    second = [parameter.grad for parameter in module.parameters()]
    assert all(torch.equal(one, other) and one is not other for one, other in zip(first, second, strict=True))


def test_the_gradient_that_a_pass_starts_from_is_fixed_and_drawn_without_torchs_own_state() -> None:
    state = torch.get_rng_state()
    one, other = make(Watched(), "forward+backward", seed=3), make(Watched(), "forward+backward", seed=3)
    third = make(Watched(), "forward+backward", seed=4)
    state = torch.get_rng_state()
    for run in (one, other, third):
        run()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.gradients[0], other.gradients[0])
    assert not torch.equal(one.gradients[0], third.gradients[0])
    assert one.gradients[0].std() > 0.1


def test_a_step_leaves_the_parameters_and_keeps_momentum() -> None:
    module = Watched()
    before = [parameter.detach().clone() for parameter in module.parameters()]
    run = make(module, "step")
    for _ in range(3):
        run()
    assert all(torch.equal(one, other) for one, other in zip(before, module.parameters(), strict=True))
    assert run.optimiser is not None
    buffers = [run.optimiser.state[parameter]["momentum_buffer"] for parameter in module.parameters()]
    gradients = [parameter.grad for parameter in module.parameters()]
    for buffer, gradient in zip(buffers, gradients, strict=True):
        assert gradient is not None
        torch.testing.assert_close(buffer, gradient * (1 + 0.9 + 0.81))


def test_outputs_without_a_gradient_are_left_out() -> None:
    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, given: Tensor) -> dict[str, Any]:
            out = self.layer(given)
            return {"out": out, "rest": [out.argmax(1), (out.detach(), out * 2)], "none": None}

    run = make(Several(), "forward+backward")
    run()
    assert [tuple(gradient.shape) for gradient in run.gradients] == [(4, 3), (4, 3)]


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        make(nn.ReLU(), "step")()
    assert str(caught.value) == "nothing to train: no output has a gradient; measure the forward pass alone"


@pytest.mark.parametrize("pass_", PASSES)
def test_autocast(pass_: Pass) -> None:
    module = Watched()
    run = make(module, pass_, amp="bfloat16")
    run()
    assert module.dtypes == [torch.bfloat16]
    assert all(gradient.dtype == torch.bfloat16 for gradient in run.gradients)
    assert all(parameter.dtype == torch.float32 for parameter in module.parameters())


def test_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda module: compiled.append(module) or module)
    module = Watched()
    make(module, "forward")()
    assert compiled == []
    make(module, "forward", mode="compile")()
    assert compiled == [module]


def test_layouts() -> None:
    module, image, flat = nn.Conv2d(3, 4, 3), torch.randn(2, 3, 8, 8), torch.randn(2, 3)
    assert laid_out(module, (image,), "nchw") == (module, (image,))
    assert module.weight.is_contiguous()
    same, (turned, other) = laid_out(module, (image, flat), "nhwc")
    assert same is module
    assert turned.is_contiguous(memory_format=torch.channels_last)
    assert module.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(turned, image)
    assert other is flat


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("nhwc", "layout nhwc is of images: no input of this network is one"),
        ("nwhc", "unknown layout nwhc: did you mean nhwc?"),
    ],
)
def test_layouts_that_cannot_be(layout: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        laid_out(nn.Linear(3, 2), (torch.randn(2, 3),), layout)
    assert str(caught.value) == message


def test_tensors_of_an_output() -> None:
    one, two, three = torch.ones(1), torch.ones(2), torch.ones(3)
    assert list(tensors(one)) == [one]
    assert [each.numel() for each in tensors({"a": one, "b": [two, (three, "text", None)]})] == [1, 2, 3]
