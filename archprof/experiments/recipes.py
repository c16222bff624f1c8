"""Recipes: how a network is trained, as data files; and the learning rate that they give."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from archprof.errors import UsageError
from archprof.operators import hint

SHIPPED = Path(__file__).resolve().parent / "recipes"

Count = Annotated[int, msgspec.Meta(ge=1)]
Rate = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]


class Warmup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The learning rate's start: rising in equal steps, or held at `learning_rate`."""

    epochs: Rate | None = None
    iterations: Count | None = None
    learning_rate: Rate | None = None
    from_depth: int = 0  # shallower networks have none

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.iterations is None):
            raise ValueError("give epochs or iterations, one of both")


class Augmentation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Changes of a training image: a crop of its size from the image with `pad` zeros around, and a flip in half."""

    pad: Annotated[int, msgspec.Meta(ge=0)] = 0
    flip: bool = False


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """SGD with momentum, a schedule, and what goes with them.

    `evaluated_images` is how many training images, drawn once, give batch-norm statistics and training error after
    each epoch; None: all.
    """

    title: str
    batch_size: Count
    epochs: Count | None = None
    iterations: Count | None = None
    learning_rate: Rate
    momentum: NotNegative = 0.9
    weight_decay: NotNegative = 0.0
    schedule: Literal["cosine", "steps"]
    steps: tuple[Share, ...] = ()  # shares of the iterations after which the rate falls
    factor: Rate = 0.1  # by which it falls
    warmup: Warmup | None = None
    augmentation: Augmentation | None = None
    evaluated_images: Count | None = None
    init: str = "resnet"
    parameters: dict[str, Any] = {}  # of the spec, where it has them

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.iterations is None):
            raise ValueError("give epochs or iterations, one of both")
        if (self.schedule == "steps") != bool(self.steps):
            raise ValueError("steps go with the schedule steps")


def find_recipe(name: str) -> Recipe:
    """A shipped recipe by name, or a YAML file's. Raises UsageError with the nearest name."""
    if name.endswith((".yaml", ".yml")):
        return _read(Path(name), name)
    known = [path.stem for path in sorted(SHIPPED.glob("*.yaml"))]
    if name not in known:
        raise UsageError(f"unknown recipe {name}: {hint(name, known)}; one of your own is a YAML file")
    return _read(SHIPPED / f"{name}.yaml", name)


def _read(path: Path, name: str) -> Recipe:
    import yaml

    try:
        return msgspec.convert(yaml.safe_load(path.read_bytes()), Recipe)
    except OSError as error:
        raise UsageError(f"recipe {name}: {error.strerror}") from None
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise UsageError(f"recipe {name}: {error}") from None


def shortened(recipe: Recipe, epochs: int | None, iterations: int | None) -> Recipe:
    """A recipe with another length; shares of it (steps) move along. Raises UsageError where both are given."""
    if epochs is not None and iterations is not None:
        raise UsageError("give --epochs or --iterations, one of both")
    if epochs is None and iterations is None:
        return recipe
    return msgspec.structs.replace(recipe, epochs=epochs, iterations=iterations)


def total_iterations(recipe: Recipe, per_epoch: int) -> int:
    """Optimiser steps of a whole training."""
    if recipe.iterations is not None:
        return recipe.iterations
    assert recipe.epochs is not None
    return recipe.epochs * per_epoch


def learning_rate(recipe: Recipe, iteration: int, per_epoch: int, depth: float) -> float:
    """The learning rate of a step, the first being 0."""
    total = total_iterations(recipe, per_epoch)
    warm = _warm_iterations(recipe, per_epoch, depth)
    if iteration < warm:
        assert recipe.warmup is not None
        held = recipe.warmup.learning_rate
        return recipe.learning_rate * (iteration + 1) / warm if held is None else held
    if recipe.schedule == "steps":
        passed = sum(iteration >= share * total for share in recipe.steps)
        return recipe.learning_rate * recipe.factor**passed
    return recipe.learning_rate * (1 + math.cos(math.pi * (iteration - warm) / max(total - warm, 1))) / 2


def _warm_iterations(recipe: Recipe, per_epoch: int, depth: float) -> int:
    warmup = recipe.warmup
    if warmup is None or depth < warmup.from_depth:
        return 0
    if warmup.iterations is not None:
        return warmup.iterations
    assert warmup.epochs is not None
    return round(warmup.epochs * per_epoch)
