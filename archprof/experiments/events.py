"""Trials as TensorBoard event files."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

from archprof.experiments.records import Trial

_SCALARS = ("train_loss", "test_loss", "train_error", "train_error_running", "test_error", "learning_rate")


def write_events(trials: Sequence[Trial], folder: Path) -> None:
    """A folder of scalars by iteration for each trial, in the place of what was there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensorboard's own imports
        from torch.utils.tensorboard import SummaryWriter
    for trial in trials:
        place = folder / trial.name
        shutil.rmtree(place, ignore_errors=True)
        with SummaryWriter(str(place)) as writer:
            for epoch in trial.epochs:
                for name in _SCALARS:
                    writer.add_scalar(name, getattr(epoch, name), epoch.iteration)
