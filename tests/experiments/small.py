"""Small trainings: few images, few layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from archprof.experiments.data import Images
from archprof.experiments.recipes import Augmentation, Recipe
from archprof.experiments.training import Task
from archprof.shape import Shape
from archprof.spec import expand, find_spec
from archprof.spec.library import parse_text

RECIPE = Recipe(
    title="small",
    batch_size=16,
    epochs=3,
    learning_rate=0.05,
    weight_decay=1e-4,
    schedule="cosine",
    augmentation=Augmentation(pad=1, flip=True),
)

DROPOUT = b"""
name: dropping
input: [1, 8, 8]
parameters: {depth: {default: 2, minimum: 1}, classes: {default: 3}}
layers:
  - {name: conv, op: conv2d, out_channels: 4, kernel_size: 3, padding: 1, repeat: =depth, norm: batch_norm2d}
  - {name: drop, op: dropout, p: 0.3}
  - {name: flatten, op: flatten}
  - {name: fc, op: linear, out_features: =classes}
"""


def images(count: int = 70, *, classes: int = 3, channels: int = 1, size: int = 8) -> Images:
    """Noise with a bright stripe that tells the class."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % classes
    pixels = random.integers(0, 100, (count, channels, size, size), dtype=np.uint8)
    pixels[np.arange(count), :, labels] += 100
    cut = count * 4 // 5
    return Images("small", pixels[:cut], labels[:cut], pixels[cut:], labels[cut:], classes)


def task(
    folder: Path,
    *,
    depth: int = 8,
    shortcut: str = "identity",
    seed: int = 0,
    recipe: Recipe = RECIPE,
    threads: int = 1,
) -> Task:
    """A residual net of width 2."""
    settings = {"depth": depth, "shortcut": shortcut, "width": 2, "classes": 3}
    graph = expand(find_spec("resnet-cifar")[0], None, settings, inputs={"input": Shape((1, 8, 8), 1, "float")})
    return Task(graph, depth, shortcut, seed, recipe, str(folder), threads=threads)


def task_with_dropout(folder: Path, recipe: Recipe = RECIPE) -> Task:
    """A net that draws from torch's random state while it trains."""
    graph = expand(parse_text(DROPOUT, "dropping.yaml"))
    return Task(graph, 2, "", 0, recipe, str(folder))
