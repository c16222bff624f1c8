"""One trial: that it is plain SGD, what it measures, and what it leaves behind."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from archprof.analysis import analyse
from archprof.building import build
from archprof.experiments.checkpoints import load_checkpoint
from archprof.experiments.data import Images, Loader
from archprof.experiments.recipes import Recipe, learning_rate
from archprof.experiments.records import Epoch
from archprof.experiments.training import Task, flattened, reestimate_statistics, train
from archprof.profiling.passes import tensors
from tests.building import networks as built
from tests.experiments.small import RECIPE, images, task

PLAIN = msgspec.structs.replace(RECIPE, augmentation=None, epochs=2)


def silent(iteration: int, iterations: int, epochs: tuple[Epoch, ...]) -> None:
    """Watch nothing."""


def by_hand(given: Task, data: Images) -> nn.Module:
    """The training as one would write it down, without archprof's loop."""
    recipe = given.recipe
    torch.set_flush_denormal(True)
    net = build(given.graph, init=recipe.init, seed=given.seed).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(net.parameters(), lr=1.0, momentum=0.9, weight_decay=1e-4, fused=True)
    pixels = torch.tensor(data.train_images).float()
    inputs = (pixels - pixels.double().mean().float()) * (1 / pixels.double().std(correction=0).float())
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    targets = torch.tensor(data.train_labels)
    generator = torch.Generator().manual_seed(2 * given.seed)
    step, per_epoch = 0, len(inputs) // recipe.batch_size
    for _ in range(recipe.epochs or 0):
        order = torch.randperm(len(inputs), generator=generator)
        for batch in order[: per_epoch * recipe.batch_size].split(recipe.batch_size):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(recipe, step, per_epoch, given.depth)
            optimiser.zero_grad()
            functional.cross_entropy(net(inputs[batch]), targets[batch]).backward()
            optimiser.step()
            step += 1
    torch.set_flush_denormal(False)
    return net


def test_training_is_a_plain_loop_of_sgd_to_the_last_bit(tmp_path: Path) -> None:
    given, data = task(tmp_path, recipe=PLAIN, threads=torch.get_num_threads()), images()
    train(given, data, silent)
    state = load_checkpoint(tmp_path)
    assert state is not None
    parameters = dict(by_hand(given, data).named_parameters())
    assert parameters
    for name, value in parameters.items():
        assert torch.equal(state["module"][name], value), name


def test_what_an_epoch_says(tmp_path: Path) -> None:
    data = images()
    trial = train(task(tmp_path), data, silent)
    assert (trial.status, trial.reason, trial.name) == ("finished", "", "8-identity-0")
    assert [epoch.epoch for epoch in trial.epochs] == [1, 2, 3]
    assert [epoch.iteration for epoch in trial.epochs] == [3, 6, 9]  # 56 images are 3 batches of 16, 8 wait
    assert trial.epochs[-1].learning_rate == pytest.approx(learning_rate(RECIPE, 8, 3, 8))
    assert all(epoch.seconds > 0 and epoch.train_loss > 0 and epoch.test_loss > 0 for epoch in trial.epochs)
    # so many images are wrong as a share in percent can be of
    assert all(epoch.train_error * 56 / 100 == pytest.approx(round(epoch.train_error * 0.56)) for epoch in trial.epochs)
    assert all(epoch.test_error * 14 / 100 == pytest.approx(round(epoch.test_error * 0.14)) for epoch in trial.epochs)
    assert all(
        epoch.train_error_running * 0.48 == pytest.approx(round(epoch.train_error_running * 0.48))
        for epoch in trial.epochs
    )
    assert trial.params == analyse(task(tmp_path).graph).params
    assert trial.responses[0].path == "conv1.norm"
    assert len(trial.responses) == 7


def test_errors_are_those_of_the_kept_net(tmp_path: Path) -> None:
    given, data = task(tmp_path), images()
    last = train(given, data, silent).epochs[-1]
    state = load_checkpoint(tmp_path)
    assert state is not None
    net = build(given.graph)
    net.load_state_dict(state["module"])
    loader = Loader(data, torch.device("cpu"))
    with torch.no_grad():
        logits = net.eval()(loader.normalised(loader.test_images))
    assert 100 * float((logits.argmax(1) != loader.test_labels).float().mean()) == pytest.approx(last.test_error)
    assert float(functional.cross_entropy(logits, loader.test_labels)) == pytest.approx(last.test_loss, rel=1e-5)


def test_a_training_that_learns_ends_below_chance(tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(PLAIN, epochs=12)
    trial = train(task(tmp_path, recipe=recipe), images(200), silent)
    assert trial.epochs[-1].train_error < 20  # 67 by chance
    assert trial.epochs[-1].test_error < 30


@pytest.mark.parametrize("iterations", [1, 3, 4, 7])
def test_a_length_in_iterations_may_end_within_an_epoch(tmp_path: Path, iterations: int) -> None:
    recipe = msgspec.structs.replace(RECIPE, epochs=None, iterations=iterations)
    trial = train(task(tmp_path, recipe=recipe), images(), silent)
    assert [epoch.iteration for epoch in trial.epochs] == [*range(3, iterations, 3), iterations]


def test_fewer_images_than_a_batch_are_one_batch(tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(RECIPE, batch_size=500)
    assert [epoch.iteration for epoch in train(task(tmp_path, recipe=recipe), images(), silent).epochs] == [1, 2, 3]


def test_training_error_may_be_taken_over_fewer_images(tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(RECIPE, evaluated_images=7, epochs=1)
    error = train(task(tmp_path, recipe=recipe), images(), silent).epochs[0].train_error
    assert error * 7 / 100 == pytest.approx(round(error * 0.07))


def test_divergence_is_a_result(tmp_path: Path) -> None:
    recipe: Recipe = msgspec.structs.replace(PLAIN, learning_rate=1e30, epochs=4)
    trial = train(task(tmp_path, recipe=recipe), images(), silent)
    assert trial.status == "diverged"
    assert trial.reason == f"the loss was no finite number in epoch {len(trial.epochs) + 1}"
    assert len(trial.epochs) < 4
    assert trial.responses == ()
    assert all(math.isfinite(value) for epoch in trial.epochs for value in msgspec.structs.astuple(epoch))


def test_every_network_of_a_seed_sees_the_same_crops_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archprof.experiments import training

    seen: list[torch.Tensor] = []
    augmented = training.augmented

    def spy(*arguments: object) -> torch.Tensor:
        seen.append(augmented(*arguments))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(training, "augmented", spy)
    batches = {}
    for name, given in {
        "plain": task(tmp_path / "a", shortcut="none"),
        "deep": task(tmp_path / "b", depth=14),
        "other": task(tmp_path / "c", seed=1),
    }.items():
        seen.clear()
        train(given, images(), silent)
        batches[name] = torch.stack(seen)
    assert torch.equal(batches["plain"], batches["deep"])
    assert not torch.equal(batches["plain"], batches["other"])


def test_the_process_is_left_as_it_was(tmp_path: Path) -> None:
    before = torch.get_rng_state(), torch.get_num_threads()
    train(task(tmp_path), images(), silent)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    assert float(torch.tensor(1e-39) * 1) != 0  # a denormal number


# --- batch-norm statistics


def test_reestimated_statistics_are_the_mean_over_batches() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, momentum=0.3), nn.Dropout(0.5))
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(5, 1, 6, 6, generator=generator) + shift for shift in (0, 3)]
    with torch.no_grad():
        net.train()(batches[0])  # statistics that must be forgotten
        outputs = [net[0](batch).transpose(0, 1).flatten(1) for batch in batches]
    reestimate_statistics(net, batches)
    norm = net[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, (outputs[0].mean(1) + outputs[1].mean(1)) / 2)
    torch.testing.assert_close(norm.running_var, (outputs[0].var(1) + outputs[1].var(1)) / 2)
    assert norm.momentum == 0.3
    assert not any(layer.training for layer in net.modules())


def test_statistics_are_reestimated_without_what_draws() -> None:
    before = torch.get_rng_state()
    reestimate_statistics(nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(1)), [torch.ones(2, 1, 2, 2)])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_net_without_batch_norm_is_not_run() -> None:
    class Refusing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("run in vain")

    net = Refusing()
    reestimate_statistics(net, [torch.ones(1)])
    assert not net.training


@pytest.mark.parametrize("family", ["resnet-cifar", "vit", "googlenet", "tied"])
def test_a_flattened_network_is_the_same_one(family: str) -> None:
    graph = built.graph(family)
    module = build(graph)
    flat = flattened(module)
    assert set(flat.parameters()) == set(module.parameters())
    inputs = built.batch_of(graph)
    for mode in (True, False):
        module.train(mode)
        ones, others = (_tensors(each, inputs) for each in (module, flat))
        assert all(map(torch.equal, ones, others))


def _tensors(module: fx.GraphModule, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    return [each.detach() for each in tensors(module(*inputs))]
