"""How far trials are: the lines without a terminal, the table on one, and the time that is left."""

from __future__ import annotations

import io
from collections.abc import Mapping

import msgspec
import pytest
from rich.console import Console

from archprof.experiments.records import Epoch, Trial
from archprof.experiments.run_folder import Progress
from archprof.report.depth_progress import Board, duration, print_lines, remaining, shown, table, time_left


def epoch(number: int, error: float = 50.0) -> Epoch:
    return Epoch(number, 21 * number, 1.25, error + 5, error, error + 1, 1.5, 0.5, 0.05)


def ended(depth: int, epochs: int = 2, **changes: object) -> Trial:
    trial = Trial("net", depth, "none", 0, "finished", "", tuple(epoch(n) for n in range(1, epochs + 1)), (), 9)
    return msgspec.structs.replace(trial, **changes)


def board(progress: Mapping[str, Progress], trials: Mapping[str, Trial] | None = None, workers: int = 2) -> Board:
    names = ["56-none-0", "20-none-0", "8-none-0"]
    return Board(names, trials or {}, progress.get, workers)


def lines(shown_board: Board) -> list[str]:
    stream = io.StringIO()
    print_lines(shown_board, stream)
    return stream.getvalue().splitlines()


def test_each_epoch_has_one_line() -> None:
    progress: dict[str, Progress] = {}
    given = board(progress)
    assert lines(given) == []
    progress["56-none-0"] = Progress(22, 42, 1.0, 1, (epoch(1),))
    line = "56-none-0  epoch 1  iteration 21/42  train 50.00 %  test 51.00 %  loss 1.2500  0.5 s"
    assert lines(given) == [line]
    assert lines(given) == []
    given.end(ended(56))
    assert [text.split("  ")[1] for text in lines(given)] == ["epoch 2"]


def test_a_trial_without_progress_is_told_when_it_ends() -> None:
    given = board({})  # its worker sees another disk
    given.end(ended(20))
    assert [text.split("  ")[:3] for text in lines(given)] == [
        ["20-none-0", "epoch 1", "iteration 21"],
        ["20-none-0", "epoch 2", "iteration 42"],
    ]


def test_what_an_earlier_run_did_is_not_told_again() -> None:
    progress: dict[str, Progress] = {}
    given = board(progress, {"8-none-0": ended(8)})
    assert lines(given) == []
    progress["56-none-0"] = Progress(43, 63, 0.1, 43, (epoch(1), epoch(2)))  # resumed after two epochs
    assert lines(given) == []
    given.end(ended(56, epochs=3))
    assert [text.split("  ")[1] for text in lines(given)] == ["epoch 3"]


def test_lines_are_written_to_the_end() -> None:
    stream = io.StringIO()
    given = board({})
    with shown(given, stream, live=False):
        given.end(ended(56))
    assert len(stream.getvalue().splitlines()) == 2


def rendered(given: Board, height: int = 20) -> list[str]:
    console = Console(file=io.StringIO(), width=80, legacy_windows=False)
    with console.capture() as capture:
        console.print(table(given, height))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_table_shows_what_is_under_way_first() -> None:
    progress = {"56-none-0": Progress(22, 42, 10.0, 1, (epoch(1),))}
    assert rendered(board(progress, {"8-none-0": ended(8)})) == [
        "trial                              epoch    train     test  left",
        "56-none-0    ━━━━━━━━━━━━━━━━━━━━      1  50.00 %  51.00 %  10 s",
        "8-none-0     finished                  2  50.00 %  51.00 %",
        "1 of 3 done  about 10 s left",
    ]


def test_the_table_fits_the_height() -> None:
    trials = {f"{depth}-none-0": ended(depth) for depth in (8, 14, 20)}
    given = Board([*trials, "26-none-0"], trials, {"26-none-0": Progress(3, 42, 1.0, 1, ())}.get, 1)
    text = "\n".join(rendered(given, height=4))
    assert "26-none-0" in text
    assert "20-none-0" in text  # the one that ended last
    assert "8-none-0" not in text


# --- the time that is left


def test_a_trial_goes_on_at_its_pace() -> None:
    assert remaining(Progress(11, 42, 10.0, 1, ())) == pytest.approx(31.0)  # a second a step
    assert remaining(Progress(1, 42, 0.0, 1, ())) is None


def test_trials_not_begun_take_what_their_depth_does() -> None:
    # 56: a second a step, 42 steps; 20 and 8 by their share of layers, one of two workers each
    progress = {"56-none-0": Progress(22, 42, 21.0, 1, ())}
    assert time_left(board(progress)) == pytest.approx(max((20 + 42 * 28 / 56) / 2, 20))
    # one that ended tells what its depth takes
    other = board(progress, {"20-none-0": ended(20, epochs=4)}, workers=1)
    assert time_left(other) == pytest.approx(20 + 8 * max(42 / 56, 2.0 / 20))
    assert time_left(board({})) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89.4, "89 s"), (90, "2 min"), (3000, "50 min"), (5400, "1 h 30 min"), (7260, "2 h 1 min")],
)
def test_durations_are_said_as_a_person_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text
