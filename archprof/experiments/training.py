"""One trial: a network trained on one device, repeatable and resumable to the last bit on a CPU."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from archprof.building import build
from archprof.experiments.checkpoints import load_checkpoint, save_checkpoint
from archprof.experiments.data import Images, Loader, augmented
from archprof.experiments.recipes import Recipe, learning_rate, total_iterations
from archprof.experiments.records import Epoch, Status, Trial, trial_name
from archprof.experiments.responses import responses
from archprof.graph import Graph

_EVALUATION_BATCH = 250  # images: more of 32x32 leave the cache, fewer of 8x8 cost overhead

Watch = Callable[[int, int, tuple[Epoch, ...]], None]  # iterations done, of how many, epochs done


class Task(msgspec.Struct, frozen=True):
    """What a trial is given."""

    graph: Graph
    depth: int
    shortcut: str
    seed: int
    recipe: Recipe
    checkpoints: str  # a folder of its own
    device: str = "cpu"
    threads: int = 1

    @property
    def name(self) -> str:
        """As its files are called."""
        return trial_name(self.depth, self.shortcut, self.seed)


def train(task: Task, images: Images, watch: Watch) -> Trial:
    """Train a network, from its newest checkpoint if it has one, and measure it after each epoch.

    `watch` is told after each step. What it raises (a stop) leaves the checkpoint of the last whole epoch.
    """
    with settled(task.threads, task.device):
        return _Training(task, images).run(watch)


@contextlib.contextmanager
def settled(threads: int, device: str = "cpu") -> Iterator[None]:
    """Threads and denormals as the task has them; torch's random state is the caller's again afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # dying activations of deep plain nets are many times slower without
    try:
        with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
            yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


class _Training:
    """The state of a trial, all of which its checkpoints hold."""

    def __init__(self, task: Task, images: Images) -> None:
        recipe, device = task.recipe, torch.device(task.device)
        self.task, self.device = task, device
        self.loader = Loader(images, device)
        torch.manual_seed(task.seed)  # for what draws while it trains: dropout
        module = build(task.graph, device=device, init=recipe.init, seed=task.seed)
        self.module: fx.GraphModule = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.flat = flattened(self.module)
        self.optimiser = torch.optim.SGD(
            self.module.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        # one seed gives the same order and the same crops to every network
        self.order = torch.Generator().manual_seed(2 * task.seed)
        self.draws = torch.Generator().manual_seed(2 * task.seed + 1)
        self.count = len(images.train_labels)
        self.batch = min(recipe.batch_size, self.count)
        self.per_epoch = self.count // self.batch  # what is left over waits for another epoch's order
        self.iterations = total_iterations(recipe, self.per_epoch)
        self.iteration = 0
        self.epochs: tuple[Epoch, ...] = ()
        self.folder = Path(task.checkpoints)

    def run(self, watch: Watch) -> Trial:
        state = load_checkpoint(self.folder)
        if state is not None:
            self._restore(state)
        while self.iteration < self.iterations:
            epoch = self._epoch(watch)
            if not all(map(math.isfinite, msgspec.structs.astuple(epoch))):
                return self._result("diverged", f"the loss was no finite number in epoch {epoch.epoch}")
            self.epochs += (epoch,)
            save_checkpoint(self.folder, self._state())
        return self._result("finished", "")

    def _epoch(self, watch: Watch) -> Epoch:
        begun = time.perf_counter()
        recipe, loader = self.task.recipe, self.loader
        self.module.train()
        order = torch.randperm(self.count, generator=self.order).to(self.device)
        wrong = torch.zeros((), dtype=torch.int64, device=self.device)
        loss_sum = torch.zeros((), device=self.device)
        steps = min(self.per_epoch, self.iterations - self.iteration)
        rate = 0.0
        for step in range(steps):
            chosen = order[step * self.batch : (step + 1) * self.batch]
            images, labels = loader.normalised(loader.train_images[chosen]), loader.train_labels[chosen]
            if recipe.augmentation is not None:
                images = augmented(images, recipe.augmentation, self.draws)
            rate = learning_rate(recipe, self.iteration, self.per_epoch, self.task.depth)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            logits = self.flat(images)
            loss = functional.cross_entropy(logits, labels)
            self.optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            self.optimiser.step()
            with torch.no_grad():
                wrong += (logits.argmax(1) != labels).sum()
                loss_sum += loss
            self.iteration += 1
            watch(self.iteration, self.iterations, self.epochs)
        running = math.inf if not math.isfinite(loss_sum.item()) else 100 * wrong.item() / (steps * self.batch)
        train_loss = train_error = test_loss = test_error = math.nan
        if math.isfinite(running):
            chosen = self.evaluated(recipe.evaluated_images)
            reestimate_statistics(self.module, self.batches(loader.train_images, chosen))
            train_loss, train_error = self._measure(loader.train_images, loader.train_labels, chosen)
            everything = torch.arange(len(loader.test_labels), device=self.device)
            test_loss, test_error = self._measure(loader.test_images, loader.test_labels, everything)
        return Epoch(
            epoch=len(self.epochs) + 1,
            iteration=self.iteration,
            train_loss=train_loss,
            train_error_running=running,
            train_error=train_error,
            test_error=test_error,
            test_loss=test_loss,
            seconds=time.perf_counter() - begun,
            learning_rate=rate,
        )

    def evaluated(self, count: int | None) -> Tensor:
        """The training images that are evaluated: of mixed classes, the same for every network and epoch."""
        mixed = torch.randperm(self.count, generator=torch.Generator().manual_seed(0))
        return mixed[:count].to(self.device)

    def batches(self, images: Tensor, chosen: Tensor) -> Iterator[Tensor]:
        """Normalised batches of nearly one size."""
        for part in chosen.tensor_split(-(-len(chosen) // _EVALUATION_BATCH)):
            yield self.loader.normalised(images[part])

    def _measure(self, images: Tensor, labels: Tensor, chosen: Tensor) -> tuple[float, float]:
        """Mean loss and error in percent, in evaluation mode."""
        self.module.eval()
        wrong, loss, done = 0, 0.0, 0
        with torch.inference_mode():
            for batch in self.batches(images, chosen):
                truth = labels[chosen[done : done + len(batch)]]
                logits = self.module(batch)
                wrong += int((logits.argmax(1) != truth).sum())
                loss += float(functional.cross_entropy(logits, truth, reduction="sum"))
                done += len(batch)
        return loss / done, 100 * wrong / done

    def _result(self, status: Status, reason: str) -> Trial:
        task = self.task
        finished = status == "finished"
        images = self.batches(self.loader.train_images, self.evaluated(task.recipe.evaluated_images))
        return Trial(
            network=task.graph.name,
            depth=task.depth,
            shortcut=task.shortcut,
            seed=task.seed,
            status=status,
            reason=reason,
            epochs=self.epochs,
            responses=responses(self.module, task.graph, images) if finished else (),
            params=sum(parameter.numel() for parameter in self.module.parameters()),
        )

    def _state(self) -> dict[str, Any]:
        return {
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "order": self.order.get_state(),
            "draws": self.draws.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "iteration": self.iteration,
            "epochs": [msgspec.structs.asdict(epoch) for epoch in self.epochs],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.order.set_state(state["order"])
        self.draws.set_state(state["draws"])
        torch.set_rng_state(state["torch"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.device)
        self.iteration = state["iteration"]
        self.epochs = tuple(Epoch(**epoch) for epoch in state["epochs"])


def flattened(module: fx.GraphModule) -> fx.GraphModule:
    """The same code around the same modules, which lie flat in it.

    Looking up `stage1.0.conv1.conv2d` goes through four modules in Python: 2 % of a step of a narrow net of 56 layers.
    """
    graph = copy.deepcopy(module.graph)  # the code alone: no module is in it
    parts: dict[str, nn.Module] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            part = module.get_submodule(str(node.target))
            node.target = f"part_{len(parts)}"
            parts[node.target] = part
    return fx.GraphModule(parts, graph)


def reestimate_statistics(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of batch norm to the mean over batches (B, C, H, W).

    The running averages of training lag behind the weights, and in deep plain nets by enough to turn 41 % error
    into 84 %. Everything but batch norm is in evaluation mode here, and all of it afterwards.
    """
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    with torch.no_grad():
        for batch in batches if norms else ():
            module(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    module.eval()
