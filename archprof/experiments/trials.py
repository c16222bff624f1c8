"""Which trials a run has: every depth, shortcut and seed of a network, on data, by a recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch

from archprof.analysis.memory import memory
from archprof.building.device import require_memory, usable_device
from archprof.errors import UsageError
from archprof.experiments.data import DIGITS, Images, data_name
from archprof.experiments.recipes import Recipe, find_recipe, shortened
from archprof.experiments.records import Trial, trial_name
from archprof.experiments.run_folder import RunFolder
from archprof.experiments.training import Task
from archprof.graph import Graph
from archprof.shape import Shape
from archprof.spec import expand, find_spec
from archprof.spec.document import Document, Variant
from archprof.spec.library import find_variant, load_document

SPEC, DEPTHS, SEEDS = "resnet-cifar", (20, 56), 5
SHORTCUTS = ("none", "identity")  # the plain and the residual net, where a spec has both


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks for; None is what a resumed run has, or the default."""

    spec: str | None = None
    depths: tuple[int, ...] | None = None
    shortcuts: tuple[str, ...] | None = None
    seeds: int | None = None
    data: str | None = None
    recipe: str | None = None
    epochs: int | None = None
    iterations: int | None = None
    parameters: Mapping[str, Any] | None = None
    device: str | None = None
    threads: int | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is made of."""

    document: Document
    variant: Variant | None
    text: bytes  # of the spec
    parameters: Mapping[str, Any]  # of the spec, beside depth and shortcut
    depths: tuple[int, ...]
    shortcuts: tuple[str, ...]  # one that is empty where the spec has no such parameter
    seeds: int  # 0, 1, ...
    data: str
    recipe_name: str
    recipe: Recipe
    device: str
    threads: int


def new_plan(wishes: Wishes) -> Plan:
    """The plan of a new run. Raises ArchprofError."""
    if wishes.spec == "-":
        raise UsageError("a run keeps its spec: give a file instead of -")
    document, variant = find_spec(wishes.spec or SPEC)
    data = wishes.data or DIGITS
    name = wishes.recipe or (DIGITS if data == DIGITS else "quick")
    return _plan(
        wishes,
        document=document,
        variant=variant,
        text=Path(document.file).read_bytes(),
        parameters=wishes.parameters or {},
        depths=wishes.depths or DEPTHS,
        shortcuts=wishes.shortcuts or _default_shortcuts(document),
        seeds=wishes.seeds or SEEDS,
        data=data,
        recipe_name=name,
        recipe=find_recipe(name),
        device=wishes.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        threads=wishes.threads or 1,
    )


def resumed_plan(wishes: Wishes, folder: RunFolder) -> Plan:
    """The plan of a run that is there, with what is wished otherwise, so that the difference can be told.

    Raises ArchprofError.
    """
    saved = folder.config()
    try:
        network, recipe = saved["network"], dict(saved["recipe"])
        name = recipe.pop("name")
        if wishes.spec is None:
            document = load_document(folder.spec)
            variant = None if network["variant"] is None else find_variant(document, network["variant"])
        else:
            document, variant = find_spec(wishes.spec)
        return _plan(
            wishes,
            document=document,
            variant=variant,
            text=Path(document.file).read_bytes(),
            parameters=network["parameters"] if wishes.parameters is None else wishes.parameters,
            depths=wishes.depths or tuple(saved["depths"]),
            shortcuts=wishes.shortcuts or tuple(saved["shortcuts"]),
            seeds=wishes.seeds or saved["seeds"],
            data=wishes.data or saved["data"]["name"],
            recipe_name=wishes.recipe or name,
            recipe=msgspec.convert(recipe, Recipe) if wishes.recipe is None else find_recipe(wishes.recipe),
            device=wishes.device or saved["device"],
            threads=wishes.threads or saved["threads"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{folder.path}/config.json is not one that archprof wrote: {error!r}") from None


def _plan(wishes: Wishes, *, document: Document, recipe: Recipe, device: str, **parts: Any) -> Plan:
    if "depth" not in document.parameters:
        known = ", ".join(document.parameters)
        has = f"its parameters are {known}" if known else "it has no parameters"
        raise UsageError(f"{document.file} has no parameter depth, so there is nothing to compare: {has}")
    for name in ("depth", "shortcut"):
        if name in parts["parameters"]:
            raise UsageError(f"--set {name}: give --{name}s")
    if wishes.shortcuts is not None and "shortcut" not in document.parameters:
        raise UsageError(f"--shortcuts: {document.file} has no parameter shortcut")
    usable_device(device)
    return Plan(document=document, recipe=shortened(recipe, wishes.epochs, wishes.iterations), device=device, **parts)


def _default_shortcuts(document: Document) -> tuple[str, ...]:
    parameter = document.parameters.get("shortcut")
    if parameter is None:
        return ("",)
    if parameter.choices is None or all(word in parameter.choices for word in SHORTCUTS):
        return SHORTCUTS
    return (str(parameter.default),)


def configuration(plan: Plan, images: Images) -> dict[str, Any]:
    """All that a run's numbers follow from, as json has it."""
    return {
        "format": 1,
        "network": {
            "name": plan.document.name,
            "variant": None if plan.variant is None else plan.variant.name,
            "sha256": hashlib.sha256(plan.text).hexdigest()[:16],
            "parameters": dict(plan.parameters),
        },
        "depths": list(plan.depths),
        "shortcuts": list(plan.shortcuts),
        "seeds": plan.seeds,
        "data": {
            "name": data_name(images.name),
            "sha256": images.fingerprint(),
            "shape": list(images.shape),
            "classes": images.classes,
            "train": len(images.train_labels),
            "test": len(images.test_labels),
            **({"note": images.note} if images.note else {}),
        },
        "recipe": {"name": plan.recipe_name, **msgspec.to_builtins(plan.recipe)},
        "device": plan.device,
        "threads": plan.threads,
        "layout": "channels_last",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


def planned_tasks(plan: Plan, images: Images, folder: RunFolder) -> list[Task]:
    """The trials of a run, those that take longest first. Raises ArchprofError where one cannot be built."""
    return [
        Task(
            graph=graph,
            depth=depth,
            shortcut=shortcut,
            seed=seed,
            recipe=plan.recipe,
            checkpoints=str(folder.checkpoints(trial_name(depth, shortcut, seed))),
            device=plan.device,
            threads=plan.threads,
        )
        for depth in sorted(plan.depths, reverse=True)
        for shortcut in plan.shortcuts
        for graph in [_graph(plan, images, depth, shortcut)]
        for seed in range(plan.seeds)
    ]


def ended_trials(folder: RunFolder) -> list[Trial]:
    """The trials of a run that have ended, in the order in which they are begun. Raises UsageError."""
    saved = folder.config()
    names = [
        trial_name(depth, shortcut, seed)
        for depth in sorted(saved["depths"], reverse=True)
        for shortcut in saved["shortcuts"]
        for seed in range(saved["seeds"])
    ]
    return [trial for name in names if (trial := folder.trial(name)) is not None]


def _graph(plan: Plan, images: Images, depth: int, shortcut: str) -> Graph:
    document = plan.document
    if len(document.inputs) != 1:
        raise UsageError(f"{document.file} has {len(document.inputs)} inputs; images go into one")
    # the recipe's and the data's, where the spec has them; what the user says comes last
    wanted = {**plan.recipe.parameters, "classes": images.classes}
    settings = {name: value for name, value in wanted.items() if name in document.parameters}
    settings |= {**plan.parameters, "depth": depth} | ({"shortcut": shortcut} if shortcut else {})
    graph = expand(document, plan.variant, settings, inputs={document.inputs[0].name: Shape(images.shape, 1, "float")})
    where = f"{document.name} at depth {depth}"
    if len(graph.outputs) != 1:
        raise UsageError(f"{where} has {len(graph.outputs)} outputs; a classifier has one")
    (end,) = graph.outputs.values()
    dims = graph.nodes[end.node].output_shapes[end.output].dims
    if len(dims) != 1 or dims[0] < images.classes:  # more outputs than classes do no harm
        raise UsageError(
            f"{where} puts out {'x'.join(map(str, dims))}, and {images.name} has {images.classes} classes: give the "
            "parameter that says how many with --set"
        )
    batch = min(plan.recipe.batch_size, len(images.train_labels))
    peak = memory(graph, batch=batch, train=True).training_peak
    require_memory(peak, torch.device(plan.device), f"weights, activations and gradients of {where}")
    return graph
