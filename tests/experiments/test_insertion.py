"""Trained nets made deeper: bit for bit the same with shortcuts, and what becomes of plain ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from archprof.errors import UsageError
from archprof.experiments import insertion
from archprof.experiments.data import Images
from archprof.experiments.insertion import Effect, Insertion, insert, insert_all, require_insertable
from archprof.experiments.recipes import Recipe
from archprof.experiments.training import Task
from archprof.graph import Graph
from archprof.shape import Shape
from archprof.spec import expand, find_spec
from archprof.spec.library import parse_text

RECIPE = Recipe(title="test", batch_size=24, epochs=3, learning_rate=0.1, schedule="cosine")


@pytest.fixture(scope="module")
def images() -> Images:
    """Two kinds of squares, in noise: one bright above, one below."""
    drawn = np.random.default_rng(0)
    labels = np.arange(100) % 2
    pixels = drawn.integers(0, 60, (100, 1, 8, 8))
    for index, label in enumerate(labels):
        pixels[index, :, 4 * label : 4 * label + 4] += 100
    data, classes = pixels.astype(np.uint8), labels.astype(np.int64)
    return Images("squares", data, classes, data[:10], classes[:10], 2)


def network(depth: int, shortcut: str = "identity", spec: str = "resnet-cifar", **parameters: Any) -> Graph:
    document, variant = find_spec(spec)
    settings = {"depth": depth, "shortcut": shortcut, "width": 4, "classes": 2, **parameters}
    known = {name: value for name, value in settings.items() if name in document.parameters}
    return expand(document, variant, known, inputs={"input": Shape((1, 8, 8), 1, "float")})


def task(folder: Path, depth: int = 8, shortcut: str = "identity", seed: int = 0, **changes: Any) -> Task:
    made = Task(network(depth, shortcut), depth, shortcut, seed, RECIPE, str(folder / f"{depth}-{shortcut}-{seed}"))
    return msgspec.structs.replace(made, **changes)


def inserted(folder: Path, images: Images, shortcut: str) -> dict[str, Insertion]:
    """From depth 8 to 14, a block in each stage; by what is inserted."""
    found = insert(task(folder, shortcut=shortcut), network(14, shortcut), 14, images)
    return {each.values: each for each in found}


@pytest.mark.parametrize("shortcut", ["identity", "projection"])
def test_a_residual_net_is_the_same(tmp_path: Path, images: Images, shortcut: str) -> None:
    found = inserted(tmp_path, images, shortcut)
    assert list(found) == ["zero norm scale", "zero convolution"]
    for each in found.values():
        assert (each.depth, each.deeper, each.blocks, each.seed, each.holds) == (8, 14, 3, 0, True)
        assert [effect.mode for effect in each.effects] == ["evaluation", "training"]
        for effect in each.effects:
            assert (effect.equal, effect.difference) == (True, 0.0)
            assert effect.error_before == effect.error_after < 50


def test_a_plain_net_is_not(tmp_path: Path, images: Images) -> None:
    """Two batch norms a block, each dividing by sqrt(1 + 1e-5): 6 times 5e-6 of an output, and its bias apart."""
    found = inserted(tmp_path, images, "none")
    assert list(found) == ["identity", "identity, rescaled"]
    evaluation, training = found["identity"].effects
    assert not evaluation.equal
    assert evaluation.difference == pytest.approx(6 * 0.5e-5, rel=1)
    assert evaluation.error_after == evaluation.error_before
    assert not training.equal
    assert training.difference > 0.01
    evaluation, training = found["identity, rescaled"].effects
    assert (evaluation.equal, evaluation.difference) == (True, 0.0)
    assert training.difference > 0.01
    assert not any(each.holds for each in found.values())


def test_the_blocks_are_the_trained_ones(tmp_path: Path, images: Images) -> None:
    """Error before is what the trial's own evaluation said."""
    from archprof.experiments.training import train

    trial = train(task(tmp_path, shortcut="none"), images, lambda *_: None)
    (evaluation, _) = inserted(tmp_path, images, "none")["identity"].effects
    assert evaluation.error_before == trial.epochs[-1].train_error


def test_a_trained_net_is_taken_from_its_checkpoint(tmp_path: Path, images: Images) -> None:
    first = inserted(tmp_path, images, "identity")
    (checkpoint,) = tmp_path.glob("*/latest.ckpt")
    written = checkpoint.stat().st_mtime_ns
    assert inserted(tmp_path, images, "identity") == first
    assert checkpoint.stat().st_mtime_ns == written


def test_a_block_whose_addition_follows_a_convolution(tmp_path: Path, images: Images) -> None:
    """Pre-activation: no batch norm stands between the last convolution and the addition."""
    given = task(tmp_path, graph=network(11, spec="preact-resnet"))
    (only,) = insert(given, network(20, spec="preact-resnet"), 20, images)
    assert (only.values, only.holds) == ("zero convolution", True)


def test_torchs_random_state_is_left_alone(tmp_path: Path, images: Images) -> None:
    before = torch.get_rng_state()
    inserted(tmp_path, images, "identity")
    assert torch.equal(torch.get_rng_state(), before)


def test_all_of_a_run(tmp_path: Path, images: Images) -> None:
    """The shallowest as deep as the deepest, residual nets first; those between are not trained."""
    tasks = [
        task(tmp_path, depth, shortcut, seed)
        for depth in (14, 8, 20)
        for shortcut in ("none", "identity")
        for seed in (1, 0)
    ]
    found = [(each.shortcut, each.seed, each.depth, each.deeper, each.blocks) for each in insert_all(tasks, images)]
    assert found[::2] == [
        ("identity", 0, 8, 20, 6),
        ("identity", 1, 8, 20, 6),
        ("none", 0, 8, 20, 6),
        ("none", 1, 8, 20, 6),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["8-identity-0", "8-identity-1", "8-none-0", "8-none-1"]


# --- what cannot be


def refused(given: Task, deep: Graph, images: Images) -> str:
    with pytest.raises(UsageError) as refusal:
        insert(given, deep, 14, images)
    return str(refusal.value)


def test_one_depth(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        require_insertable([task(tmp_path), task(tmp_path, shortcut="none")])
    assert str(refusal.value) == (
        "--identity-insertion needs two depths, the net's and the one it gets, not 8 alone"
    )  # fmt: skip


def test_what_cannot_be_is_refused_before_training(tmp_path: Path) -> None:
    require_insertable([task(tmp_path, depth, shortcut) for depth in (8, 14) for shortcut in ("none", "identity")])
    wider = task(tmp_path, 14, graph=network(14, width=8))
    with pytest.raises(UsageError, match=r"conv1\.conv2d differs$"):
        require_insertable([task(tmp_path), wider])
    assert not list(tmp_path.iterdir())


def test_a_net_that_diverged(tmp_path: Path, images: Images) -> None:
    recipe = msgspec.structs.replace(RECIPE, learning_rate=1e30)
    assert refused(task(tmp_path, recipe=recipe), network(14), images) == (
        "resnet-cifar at depth 8, seed 0 cannot be made deeper: the loss was no finite number in epoch 1"
    )


@pytest.mark.parametrize(
    ("deep", "message"),
    [
        (network(14, width=8), "resnet-cifar is not its shallower net with further blocks: conv1.conv2d differs"),
        (
            network(14, "projection"),
            "resnet-cifar is not its shallower net with further blocks: stage2.0.project.conv2d is in a block of both",
        ),
        (network(14, "none"), "resnet-cifar is not its shallower net with further blocks: it has no stage1.0.add"),
    ],
)
def test_another_net(tmp_path: Path, images: Images, deep: Graph, message: str) -> None:
    assert refused(task(tmp_path), deep, images) == message


WIDENING = """
name: widening
input: [1, 8, 8]
parameters: {depth: 1}
blocks:
  unit:
    layers:
      - {name: conv, op: conv2d, out_channels: =in_channels + 1, kernel_size: 3, padding: 1, norm: batch_norm2d}
layers:
  - {name: body, block: unit, repeat: =depth}
"""


@pytest.mark.parametrize(
    ("shortcut", "message"),
    [
        ("none", "widening: body.1.conv.conv2d changes its input's shape: it cannot be made the identity"),
        (
            "identity",
            "widening: body.1 adds nothing whose last layer is a convolution: it cannot be made the identity",
        ),
    ],
)
def test_blocks_of_another_kind(tmp_path: Path, shortcut: str, message: str) -> None:
    shallow, deep = (expand(parse_text(WIDENING.encode(), "widening.yaml"), None, {"depth": n}) for n in (1, 2))
    tasks = [task(tmp_path, 8, shortcut, graph=shallow), task(tmp_path, 14, shortcut, graph=deep)]
    with pytest.raises(UsageError) as refusal:
        require_insertable(tasks)
    assert str(refusal.value) == message


# --- the command


SMALL = ["--depths", "8,14", "--seeds", "1", "--epochs", "1", "--set", "width=2", "--workers", "1", "--output", "a-run"]
Run = Callable[..., tuple[int, str, str]]


def test_the_command(run: Run) -> None:
    status, out, _ = run("depth", "--identity-insertion", *SMALL)
    assert status == 0
    rows = [line.split() for line in out.splitlines() if " 8 -> 14 " in line]
    assert [(row[0], row[-3]) for row in rows[:4]] == [("residual", "equal")] * 4
    assert [row[0] for row in rows[4:]] == ["plain"] * 4
    assert sorted(path.name for path in Path("a-run/checkpoints").iterdir()) == ["8-identity-0", "8-none-0"]


@pytest.mark.parametrize(("shortcut", "status"), [("identity", 1), ("none", 0)])
def test_a_residual_net_that_changed_fails(
    run: Run, monkeypatch: pytest.MonkeyPatch, shortcut: str, status: int
) -> None:
    changed = (Effect("evaluation", False, 0.1, 1.0, 1.0), Effect("training", True, 0.0, 1.0, 1.0))
    found = Insertion("resnet-cifar", shortcut, 0, 8, 14, 3, "zero convolution", changed)
    monkeypatch.setattr(insertion, "insert_all", lambda tasks, images: iter([found]))
    assert run("depth", "--identity-insertion", *SMALL)[0] == status


def test_one_depth_is_refused_before_a_folder_is_made(refused: Callable[..., str]) -> None:
    message = refused("depth", "--identity-insertion", *SMALL, "--depths", "8")
    assert message == "--identity-insertion needs two depths, the net's and the one it gets, not 8 alone\n"
    assert not Path("a-run").exists()
