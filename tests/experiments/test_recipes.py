"""Recipes: the files that are shipped, files of one's own, and the learning rates that they give."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from archprof.errors import UsageError
from archprof.experiments.recipes import SHIPPED, find_recipe, learning_rate, shortened, total_iterations


def test_every_shipped_recipe_is_read() -> None:
    names = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
    assert names == ["digits", "paper", "quick"]
    assert all(find_recipe(name).title for name in names)


@pytest.mark.parametrize(
    ("iteration", "depth", "expected"),
    [
        (0, 56, 0.1),
        (31_999, 56, 0.1),
        (32_000, 56, 0.01),
        (47_999, 56, 0.01),
        (48_000, 56, 0.001),
        (63_999, 56, 0.001),
        (0, 110, 0.01),  # warming up
        (399, 110, 0.01),
        (400, 110, 0.1),
    ],
)
def test_the_papers_recipe_has_the_papers_rates(iteration: int, depth: int, expected: float) -> None:
    paper = find_recipe("paper")
    assert (paper.batch_size, paper.momentum, paper.weight_decay) == (128, 0.9, 1e-4)
    assert total_iterations(paper, 390) == 64_000
    assert learning_rate(paper, iteration, 390, depth) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("iteration", "expected"),
    [
        (0, 0.05 / 21),  # the first of 21 steps up
        (20, 0.05),
        (21, 0.05),  # cosine from here
        (21 + 231 // 3, 0.05 * 0.75),  # cos(60 degrees) = 1/2
        (252, 0.0),
    ],
)
def test_the_digits_recipe_rises_for_an_epoch_and_falls_as_a_cosine(iteration: int, expected: float) -> None:
    assert learning_rate(find_recipe("digits"), iteration, 21, 20) == pytest.approx(expected)


def test_steps_keep_their_share_of_another_length() -> None:
    short = shortened(find_recipe("paper"), None, 640)
    rates = [learning_rate(short, iteration, 390, 20) for iteration in (319, 320, 479, 480)]
    assert rates == pytest.approx([0.1, 0.01, 0.01, 0.001])
    assert total_iterations(shortened(short, 2, None), 390) == 780


def test_a_training_that_is_all_warm_up_divides_by_nothing() -> None:
    short = shortened(find_recipe("digits"), 1, None)
    assert [learning_rate(short, step, 21, 20) for step in (0, 20, 21)] == pytest.approx([0.05 / 21, 0.05, 0.05])
    assert math.isfinite(learning_rate(short, 21, 21, 20))


HEAD = "title: t\nbatch_size: 8\nlearning_rate: 0.1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "epochs: 3\nschedule: linear\n", "Invalid enum value 'linear' - at `$.schedule`"),
        (HEAD + "schedule: cosine\n", "give epochs or iterations, one of both"),
        (HEAD + "epochs: 1\niterations: 2\nschedule: cosine\n", "give epochs or iterations, one of both"),
        (HEAD + "epochs: 3\nschedule: steps\n", "steps go with the schedule steps"),
        (HEAD + "epochs: 3\nschedule: steps\nsteps: [1.5]\n", "Expected `float` < 1.0 - at `$.steps[0]`"),
        (HEAD + "epochs: 3\nschedule: cosine\nmomentun: 1\n", "Object contains unknown field `momentun`"),
        (HEAD + "epochs: 0\nschedule: cosine\n", "Expected `int` >= 1 - at `$.epochs`"),
        (HEAD + "epochs: 1\nschedule: cosine\nwarmup: {}\n", "give epochs or iterations, one of both - at `$.warmup`"),
    ],
)
def test_a_file_of_ones_own_is_checked(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as refusal:
        find_recipe(str(path))
    assert str(refusal.value) == f"recipe {path}: {message}"


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + "epochs: 3\nschedule: cosine\n")
    assert (find_recipe(str(path)).batch_size, find_recipe(str(path)).momentum) == (8, 0.9)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("papper", "unknown recipe papper: did you mean paper?; one of your own is a YAML file"),
        ("x", "unknown recipe x: take digits, paper or quick; one of your own is a YAML file"),
        ("nowhere.yaml", "recipe nowhere.yaml: No such file or directory"),
    ],
)
def test_an_unknown_recipe_is_refused(name: str, message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        find_recipe(name)
    assert str(refusal.value) == message


def test_two_lengths_are_refused() -> None:
    with pytest.raises(UsageError, match=r"^give --epochs or --iterations, one of both$"):
        shortened(find_recipe("quick"), 1, 1)
