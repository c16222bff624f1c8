"""Trials that were not trained, with errors as a test needs them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import msgspec

from archprof.experiments.records import Epoch, Response, Trial


def trial(
    depth: int, shortcut: str, seed: int, train: float, test: float, std: float = 0.5, *, epochs: int = 2
) -> Trial:
    """A finished trial of two layers that ended with these errors."""
    history = tuple(
        Epoch(
            epoch=number, iteration=22 * number, train_loss=1.0, train_error_running=train + 5, test_loss=1.0,
            train_error=train if number == epochs else 90.0, test_error=test if number == epochs else 91.0,
            seconds=0.5, learning_rate=0.05,
        )
        for number in range(1, epochs + 1)
    )  # fmt: skip
    responses = (Response(1, "conv1.norm", std - 0.1), Response(2, "stage1.0.conv1.norm", std + 0.1))
    return Trial("resnet-cifar", depth, shortcut, seed, "finished", "", history, responses, 1000 * depth)


Errors = Callable[[int, str, int], tuple[float, float, float]]  # depth, shortcut, seed: train, test, std


def typical(depth: int, shortcut: str, seed: int) -> tuple[float, float, float]:
    """About what depth.md reports."""
    if shortcut == "none":
        return (0.2, 2.8, 0.56) if depth == 20 else (57.0 + seed, 58.6 + seed, 0.58)
    return (0.0, 1.7, 0.552) if depth == 20 else (0.01, 1.6 + seed / 10, 0.541)


def run(
    errors: Errors = typical,
    *,
    seeds: int = 5,
    depths: Sequence[int] = (20, 56),
    shortcuts: Sequence[str] = ("none", "identity"),
) -> list[Trial]:
    return [
        trial(depth, shortcut, seed, *errors(depth, shortcut, seed))
        for depth, shortcut, seed in itertools.product(depths, shortcuts, range(seeds))
    ]  # fmt: skip


def replaced(trials: Sequence[Trial], depth: int, shortcut: str, seed: int, **changes: object) -> list[Trial]:
    chosen = (depth, shortcut, seed)
    return [
        msgspec.structs.replace(each, **changes) if (each.depth, each.shortcut, each.seed) == chosen else each
        for each in trials
    ]
