"""What a trial leaves: typed, frozen records. Errors are in percent, times in seconds."""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["finished", "diverged", "unfinished"]


class Epoch(msgspec.Struct, frozen=True):
    """What was known at the end of an epoch.

    The running error is that of the batches trained on, augmented, while the weights moved (the figure 6 of He et
    al. 2016 shows it). The others are in evaluation mode, with batch-norm statistics re-estimated over training images.
    """

    epoch: int  # from 1
    iteration: int  # optimiser steps done
    train_loss: float
    train_error_running: float
    train_error: float
    test_error: float
    test_loss: float
    seconds: float  # training and evaluation of this epoch
    learning_rate: float  # of its last step


class Response(msgspec.Struct, frozen=True):
    """How strongly a layer answers: the standard deviation of its output, before ReLU and addition."""

    layer: int  # from 1, in the order of execution
    path: str
    std: float


class Trial(msgspec.Struct, frozen=True):
    """One network trained once.

    Diverged: the loss was no finite number in the epoch after the last of `epochs`, and training stopped there.
    """

    network: str  # the spec's name
    depth: int
    shortcut: str
    seed: int
    status: Status
    reason: str  # of every status but finished
    epochs: tuple[Epoch, ...]
    responses: tuple[Response, ...]  # empty unless finished
    params: int

    @property
    def name(self) -> str:
        """As its files are called: 20-none-0."""
        return trial_name(self.depth, self.shortcut, self.seed)


def trial_name(depth: int, shortcut: str, seed: int) -> str:
    """How the files of a trial are called: 20-none-0, or 20-0 of a network without a shortcut parameter."""
    return "-".join(str(part) for part in (depth, shortcut, seed) if part != "")
