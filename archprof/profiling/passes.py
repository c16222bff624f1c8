"""One pass of a network, timed as a whole: forward, backward and the optimiser's update, without any instrument."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from archprof.errors import UsageError
from archprof.operators import hint
from archprof.profiling.clocks import Clock
from archprof.profiling.records import Pass

Network = TypeVar("Network", bound=nn.Module)

LAYOUTS = ("nchw", "nhwc")
MODES = ("eager", "compile")
AMP_DTYPES = ("float16", "bfloat16")
MOMENTUM = 0.9


class TimedPass:
    """One pass over one batch, again and again; a call returns the seconds of its parts.

    The parts are "forward", "backward" and "update", as far as the pass has them, and `pass_` itself, their sum:

    - forward alone runs in evaluation mode under inference_mode; where there is a backward pass, in training mode;
      the time goes from the call of the module to its return, autocast's conversions within it
    - backward starts from a fixed random gradient of each floating-point output that has one, there being no loss;
      the gradients of the parameters are made anew, so that their allocation is in the time
    - update is one step of SGD with momentum 0.9 at a learning rate of 0: the work of a step, and the same parameters
      in every pass

    Outside of all times: the batch, which is on the device, dropping old gradients, waiting for the device.

    `outputs` of the last pass are let go before a call returns. Raises UsageError where a backward pass is asked for
    and no output has a gradient; what torch raises goes through.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: tuple[Tensor, ...],
        *,
        pass_: Pass,
        clock: Clock,
        amp: str | None = None,
        mode: str = "eager",
        seed: int = 0,
    ) -> None:
        self.module = module.train(pass_ != "forward")
        self.inputs = inputs
        self.pass_ = pass_
        self.clock = clock
        self.amp = amp
        self.call: Callable[..., Any] = torch.compile(module) if mode == "compile" else module
        self.seed = seed
        self.gradients: list[Tensor] = []  # of the outputs
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.SGD(trained, lr=0.0, momentum=MOMENTUM) if pass_ == "step" and trained else None

    def __call__(self) -> dict[str, float]:
        """Seconds by part."""
        _, stamps = self.run()
        return self.parts(self.clock.read(stamps))

    def run(self) -> tuple[Any, list[Any]]:
        """The outputs of a pass, and the clock's stamps: before and behind the call, the backward pass, the update."""
        clock = self.clock
        self.module.zero_grad(set_to_none=True)
        clock.synchronise()
        stamps = [clock.stamp()]
        outputs = self.forward()
        stamps.append(clock.stamp())
        if self.pass_ == "forward":
            return outputs, stamps
        ends = self.ends(outputs)
        self.before_backward(ends)
        stamps.append(clock.stamp())
        torch.autograd.backward(ends, self.gradients)
        stamps.append(clock.stamp())
        if self.optimiser is not None:
            self.optimiser.step()
            stamps.append(clock.stamp())
        return outputs, stamps

    def parts(self, times: Sequence[float]) -> dict[str, float]:
        """Seconds by part, from the times of a pass's stamps."""
        parts = {"forward": times[1] - times[0]}
        for name, (since, until) in zip(("backward", "update"), itertools.pairwise(times[2:]), strict=False):
            parts[name] = until - since
        return {**parts, self.pass_: sum(parts.values())}

    def forward(self) -> Any:
        """What the module gives for the batch."""
        grad: AbstractContextManager[object] = torch.inference_mode() if self.pass_ == "forward" else nullcontext()
        with grad, autocast(self.amp, self.inputs[0].device):
            return self.call(*self.inputs)

    def ends(self, outputs: Any) -> list[Tensor]:
        """The outputs that a backward pass starts from; their gradients are drawn the first time."""
        ends = [tensor for tensor in tensors(outputs) if tensor.requires_grad]
        if not ends:
            raise UsageError("nothing to train: no output has a gradient; measure the forward pass alone")
        if [each.shape for each in ends] != [each.shape for each in self.gradients]:
            generator = torch.Generator().manual_seed(self.seed)
            self.gradients = [torch.randn(end.shape, generator=generator).to(end.device, end.dtype) for end in ends]
        return ends

    def before_backward(self, ends: list[Tensor]) -> None:
        """For instruments, outside the clock."""


def autocast(dtype: str | None, device: torch.device) -> AbstractContextManager[object]:
    """torch.autocast for a device, or nothing."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=getattr(torch, dtype))


def laid_out(module: Network, inputs: tuple[Tensor, ...], layout: str) -> tuple[Network, tuple[Tensor, ...]]:
    """A module and its batch in a memory layout: nhwc is torch.channels_last, of tensors of four dimensions.

    Raises UsageError for an unknown layout, and for nhwc where no input has four dimensions.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"unknown layout {layout}: {hint(layout, LAYOUTS)}")
    if layout == "nchw":
        return module, inputs
    if not any(tensor.dim() == 4 for tensor in inputs):
        raise UsageError("layout nhwc is of images: no input of this network is one")
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module, tuple(
        tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor for tensor in inputs
    )


def tensors(outputs: Any) -> Iterator[Tensor]:
    """The tensors of an output: itself, or those in a dict, list or tuple."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, Mapping):
        for each in outputs.values():
            yield from tensors(each)
    elif isinstance(outputs, (list, tuple)):
        for each in outputs:
            yield from tensors(each)
