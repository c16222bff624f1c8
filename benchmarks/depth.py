"""Training throughput of `archprof depth` against a plain loop written by hand, and two workers against one.

    python benchmarks/depth.py [--rounds 7] [--epochs 2]

The loop by hand trains a ResNet that is written down here on the same images, by the same recipe, in the same
layout and with one thread; rounds are interleaved, in shuffled order, with a second run of that loop as the control.
Two workers and one train the same trials; the time from the first epoch's begin to the last one's end counts, not that
of starting processes.
"""

from __future__ import annotations

import argparse
import functools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from archprof.experiments.data import Images, Loader, load_images
from archprof.experiments.engines import train_all
from archprof.experiments.recipes import find_recipe
from archprof.experiments.records import Epoch
from archprof.experiments.run_folder import RunFolder
from archprof.experiments.training import Task, settled, train
from archprof.experiments.trials import Wishes, new_plan, planned_tasks

DEPTHS = (20, 56)


class Block(nn.Module):
    """A residual block of He et al. 2016 with the shortcut that pads."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.missing = stride, after - before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.missing:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], [0, 0, 0, 0, 0, self.missing])
        return functional.relu(out + x)


def by_hand(depth: int, channels: int, width: int, classes: int) -> nn.Module:
    """The net as one would write it."""
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    before = width
    for stage in range(3):
        for number in range((depth - 2) // 6):
            layers.append(Block(before, width << stage, 2 if stage and not number else 1))
            before = width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def loop(depth: int, images: Images, epochs: int) -> float:
    """Images a second of a plain loop."""
    recipe = find_recipe("digits")
    net = by_hand(depth, images.shape[0], recipe.parameters["width"], images.classes)
    net = net.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    loader = Loader(images, torch.device("cpu"))
    pixels = loader.normalised(loader.train_images)
    steps = len(pixels) // recipe.batch_size
    with settled(1):
        begun = time.perf_counter()
        for _ in range(epochs):
            order = torch.randperm(len(pixels))
            for batch in order[: steps * recipe.batch_size].split(recipe.batch_size):
                optimiser.zero_grad()
                functional.cross_entropy(net(pixels[batch]), loader.train_labels[batch]).backward()
                optimiser.step()
        return epochs * steps * recipe.batch_size / (time.perf_counter() - begun)


def ours(task: Task, images: Images, epochs: int) -> float:
    """Images a second of the steps of a trial, from the first to the last of each epoch."""
    stamps: dict[int, list[float]] = {}

    def watch(iteration: int, iterations: int, done: tuple[Epoch, ...]) -> None:
        stamps.setdefault(len(done), []).append(time.perf_counter())

    recipe = msgspec.structs.replace(task.recipe, epochs=epochs, evaluated_images=64)
    with tempfile.TemporaryDirectory() as place:
        train(msgspec.structs.replace(task, recipe=recipe, checkpoints=place), images, watch)
    steps = sum(len(times) - 1 for times in stamps.values())
    return steps * recipe.batch_size / sum(times[-1] - times[0] for times in stamps.values())


def together(tasks: list[Task], images: Images, workers: int) -> float:
    """Seconds that trials take, once the workers are there."""
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(place)
        fresh = [
            msgspec.structs.replace(each, checkpoints=str(folder.checkpoints(f"{number}-{each.name}")))
            for number, each in enumerate(tasks)
        ]
        begun = time.perf_counter()
        list(train_all(fresh, images, folder, workers=workers))
        return time.perf_counter() - begun


def ratio(ones: Sequence[float], others: Sequence[float]) -> str:
    """The median of the rounds' ratios, and the least and largest."""
    ratios = sorted(one / other for one, other in zip(ones, others, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def main() -> None:
    """Print both comparisons."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--epochs", type=int, default=2)
    chosen = options.parse_args()
    images = load_images("digits")
    plan = new_plan(Wishes(depths=DEPTHS, shortcuts=("identity",), seeds=1, device="cpu"))
    tasks = planned_tasks(plan, images, RunFolder("unused"))
    for task in reversed(tasks):
        runs: dict[str, Callable[[], float]] = {
            "hand": functools.partial(loop, task.depth, images, chosen.epochs),
            "again": functools.partial(loop, task.depth, images, chosen.epochs),
            "ours": functools.partial(ours, task, images, chosen.epochs),
        }
        rates: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(chosen.rounds):
            for name in random.sample(list(runs), len(runs)):
                rates[name].append(runs[name]())
        hand, again, mine = (each[1:] for each in rates.values())  # the first warms up
        print(
            f"resnet-{task.depth} on digits, 1 thread: by hand {statistics.median(hand):,.0f} images/s, archprof depth "
            f"{statistics.median(mine):,.0f}, ratio {ratio(mine, hand)}, by hand over by hand {ratio(again, hand)}"
        )
    short = [msgspec.structs.replace(tasks[-1], recipe=msgspec.structs.replace(plan.recipe, epochs=8))] * 8
    together(short[:2], images, 2)  # starts the workers
    together(short[:1], images, 1)
    times = [(together(short, images, 1), together(short, images, 2)) for _ in range(3)]
    ratios = sorted(one / two for one, two in times)
    print(
        f"8 trials of resnet-20: one worker {statistics.median(one for one, _ in times):.1f} s, two "
        f"{statistics.median(two for _, two in times):.1f} s, ratio {ratios[1]:.2f} "
        f"({ratios[0]:.2f} to {ratios[2]:.2f})"
    )


if __name__ == "__main__":
    main()
