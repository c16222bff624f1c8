"""The naive solution: a trained net made deeper by blocks that change nothing, where it has shortcuts and where not.

A residual block is the identity when its last layer is zero. A plain block of identity convolutions is not: batch norm
divides by sqrt(1 + eps) in evaluation mode, and by the batch's standard deviation in training mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, fx, nn

from archprof.building import build
from archprof.building.builder import module_name
from archprof.errors import UsageError
from archprof.experiments.checkpoints import load_checkpoint
from archprof.experiments.data import Images, Loader
from archprof.experiments.training import Task, settled, train
from archprof.experiments.verdicts import PLAIN
from archprof.graph import Graph, Node
from archprof.operators.convolution import Conv2d
from archprof.operators.elementwise import Add
from archprof.operators.normalization import BatchNorm2d


class Effect(msgspec.Struct, frozen=True):
    """What an insertion does in one mode, over all training images."""

    mode: str  # evaluation, or training: with the statistics of each batch
    equal: bool  # outputs, to the last bit
    difference: float  # the largest of outputs, relative to the largest output
    error_before: float  # training error, %
    error_after: float


class Insertion(msgspec.Struct, frozen=True):
    """A trained net made deeper."""

    network: str
    shortcut: str
    seed: int
    depth: int
    deeper: int
    blocks: int  # inserted
    values: str  # what the inserted layers hold
    effects: tuple[Effect, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing changed, to the last bit, in both modes."""
        return all(effect.equal for effect in self.effects)


def require_insertable(tasks: Sequence[Task]) -> None:
    """Raise UsageError, before anything is trained, where `insert_all` would."""
    for shallow, deep in _pairs(tasks):
        _ways(shallow, deep.graph, _inserted(shallow.graph, deep.graph))


def insert_all(tasks: Sequence[Task], images: Images) -> Iterator[Insertion]:
    """The shallowest net of the tasks made as deep as the deepest, for each shortcut and seed; plain ones last.

    Raises UsageError for fewer than two depths, and as `insert` does.
    """
    for shallow, deep in _pairs(tasks):
        yield from insert(shallow, deep.graph, deep.depth, images)


def _pairs(tasks: Sequence[Task]) -> list[tuple[Task, Task]]:
    """The shallowest and the deepest of the tasks with each shortcut and seed."""
    depths = sorted({task.depth for task in tasks})
    if len(depths) < 2:
        raise UsageError(f"--identity-insertion needs two depths, the net's and the one it gets, not {depths[0]} alone")
    ordered = sorted(tasks, key=lambda task: (task.shortcut == PLAIN, task.shortcut, task.seed))
    shallow, deep = ([task for task in ordered if task.depth == depth] for depth in (depths[0], depths[-1]))
    return list(zip(shallow, deep, strict=True))


def insert(shallow: Task, deep: Graph, deeper: int, images: Images) -> tuple[Insertion, ...]:
    """Train a net, or take it from its last checkpoint, and make it as deep as `deep`, in every way there is.

    Its layers keep their place by path; those that it lacks are the inserted ones.
    Raises UsageError where training diverges, where `deep` is not `shallow` with further blocks, and where these are
    blocks of another kind.
    """
    trial = train(shallow, images, lambda *_: None)
    name = f"{shallow.graph.name} at depth {shallow.depth}, seed {shallow.seed}"
    if trial.status != "finished":
        raise UsageError(f"{name} cannot be made deeper: {trial.reason}")
    checkpoint = load_checkpoint(Path(shallow.checkpoints))
    assert checkpoint is not None
    blocks = _inserted(shallow.graph, deep)
    ways = _ways(shallow, deep, blocks)
    with settled(shallow.threads):
        effects = _effects(shallow, deep, ways, checkpoint["module"], images)
    return tuple(
        Insertion(
            network=shallow.graph.name,
            shortcut=shallow.shortcut,
            seed=shallow.seed,
            depth=shallow.depth,
            deeper=deeper,
            blocks=len(blocks),
            values=values,
            effects=found,
        )
        for values, found in effects.items()
    )


# --- the blocks


Blocks = Mapping[str, Sequence[int]]  # the nodes (their index) of each inserted block, by its path
Ways = Mapping[str, Callable[[fx.GraphModule], None]]


def _inserted(shallow: Graph, deep: Graph) -> Blocks:
    """The blocks of `deep` that `shallow` lacks. Raises UsageError where it is not `shallow` with further blocks."""
    there = {node.path: node for node in shallow.nodes}
    refusal = f"{deep.name} is not its shallower net with further blocks"
    names = {".".join(path.split(".")[:2]) for path in there}
    blocks: dict[str, list[int]] = {}
    for index, node in enumerate(deep.nodes):
        same = there.pop(node.path, None)
        if same is None:
            block = ".".join(node.path.split(".")[:2])
            if block in names:
                raise UsageError(f"{refusal}: {node.path} is in a block of both")
            blocks.setdefault(block, []).append(index)
        elif (same.operator, same.input_shapes) != (node.operator, node.input_shapes):
            raise UsageError(f"{refusal}: {node.path} differs")
    if there:
        raise UsageError(f"{refusal}: it has no {next(iter(there))}")
    return blocks


def _ways(shallow: Task, deep: Graph, blocks: Blocks) -> Ways:
    """What makes the blocks compute the identity, or next to it. Raises UsageError where nothing does."""
    return _plain_ways(deep, blocks) if shallow.shortcut == PLAIN else _residual_ways(deep, blocks)


def _residual_ways(deep: Graph, blocks: Blocks) -> Ways:
    """Zeros in the last layer of every block: in the scale of its batch norm, or in its convolution."""
    ends = [_branch_end(deep, block, indices) for block, indices in blocks.items()]
    convolutions = [conv for conv, _ in ends]
    norms = [norm for _, norm in ends if norm is not None]

    def zero(nodes: Sequence[Node]) -> Callable[[fx.GraphModule], None]:
        def change(module: fx.GraphModule) -> None:
            for node in nodes:
                for parameter in _layer(module, node).parameters():
                    parameter.zero_()

        return change

    ways = {"zero convolution": zero(convolutions)}
    return {"zero norm scale": zero(norms), **ways} if len(norms) == len(ends) else ways


def _branch_end(deep: Graph, block: str, indices: Sequence[int]) -> tuple[Node, Node | None]:
    """The last convolution of a block, and the batch norm behind it where there is one."""
    adds = [deep.nodes[index] for index in indices if isinstance(deep.nodes[index].operator, Add)]
    ends = [value.node for add in adds for value in add.inputs if value.node in indices]
    if len(adds) == 1 and len(ends) == 1:
        last = deep.nodes[ends[0]]
        before = deep.nodes[last.inputs[0].node]
        if isinstance(last.operator, Conv2d):
            return last, None
        if isinstance(last.operator, BatchNorm2d) and isinstance(before.operator, Conv2d):
            return before, last
    raise UsageError(
        f"{deep.name}: {block} adds nothing whose last layer is a convolution: it cannot be made the identity"
    )


def _plain_ways(deep: Graph, blocks: Blocks) -> Ways:
    """Identity (Dirac) convolutions: with batch norm as it is made, and with the scale that undoes its epsilon."""
    nodes = [deep.nodes[index] for indices in blocks.values() for index in indices]
    for node in nodes:
        if isinstance(node.operator, Conv2d) and node.input_shapes != node.output_shapes:
            raise UsageError(f"{deep.name}: {node.path} changes its input's shape: it cannot be made the identity")

    def convolutions(module: fx.GraphModule) -> None:
        for node in nodes:
            if isinstance(node.operator, Conv2d):
                layer = _layer(module, node)
                assert isinstance(layer, nn.Conv2d)
                nn.init.dirac_(layer.weight)
                if layer.bias is not None:
                    layer.bias.zero_()

    def scaled(module: fx.GraphModule) -> None:
        convolutions(module)
        for node in nodes:
            if isinstance(node.operator, BatchNorm2d):
                layer = _layer(module, node)
                assert isinstance(layer, nn.BatchNorm2d)
                layer.weight.fill_(math.sqrt(1 + layer.eps))

    return {"identity": convolutions, "identity, rescaled": scaled}


def _layer(module: fx.GraphModule, node: Node) -> nn.Module:
    return module.get_submodule(module_name(node.path))


# --- what it does


def _effects(
    shallow: Task, deep: Graph, ways: Ways, state: Mapping[str, Any], images: Images
) -> dict[str, tuple[Effect, ...]]:
    loader = Loader(images, torch.device(shallow.device))
    before = _outputs(_module(shallow, shallow.graph, state), loader, shallow.recipe.batch_size)
    effects = {}
    for values, change in ways.items():
        module = _module(shallow, deep, state)
        with torch.no_grad():
            change(module)
        after = _outputs(module, loader, shallow.recipe.batch_size)
        effects[values] = tuple(_effect(mode, before[mode], after[mode], loader.train_labels) for mode in before)
    return effects


def _module(task: Task, graph: Graph, state: Mapping[str, Any]) -> fx.GraphModule:
    """A net with the values of a state where it has them."""
    module = build(graph, device=task.device, init=task.recipe.init, seed=task.seed)
    module.load_state_dict(state, strict=False)
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _outputs(module: fx.GraphModule, loader: Loader, batch_size: int) -> dict[str, Tensor]:
    """The outputs (N, classes) for all training images in their order, by mode; running statistics change at last."""
    found = {}
    for mode in ("evaluation", "training"):
        module.train(mode == "training")
        with torch.no_grad():
            found[mode] = torch.cat([module(batch) for batch in _batches(loader, batch_size)])
    return found


def _batches(loader: Loader, batch_size: int) -> Iterator[Tensor]:
    """Batches of nearly one size: the statistics of a few images left over would be far off."""
    for part in loader.train_images.tensor_split(max(len(loader.train_images) // batch_size, 1)):
        yield loader.normalised(part)


def _effect(mode: str, before: Tensor, after: Tensor, labels: Tensor) -> Effect:
    return Effect(
        mode=mode,
        equal=torch.equal(before, after),
        difference=float((after - before).abs().max() / before.abs().max()),
        error_before=_error(before, labels),
        error_after=_error(after, labels),
    )


def _error(outputs: Tensor, labels: Tensor) -> float:
    return 100 * float((outputs.argmax(1) != labels).double().mean())
