"""How far trials are while they train: a live table on a terminal, else a line an epoch."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from archprof.experiments.records import Epoch, Trial

if TYPE_CHECKING:
    from rich.table import Table

    from archprof.experiments.run_folder import Progress

_POLL = 0.5  # seconds
_BAR = 20  # columns


class Board:
    """What is known of a run's trials: those that ended, and how far the others are."""

    def __init__(
        self, names: Sequence[str], ended: Mapping[str, Trial], read: Callable[[str], Progress | None], workers: int
    ) -> None:
        self.names = tuple(names)
        self.before = frozenset(ended)  # ended in an earlier run
        self.ended = dict(ended)
        self.read = read
        self.workers = workers
        self.told: dict[str, int] = {}  # epochs that a line was printed of

    def end(self, trial: Trial) -> None:
        """A trial has ended."""
        self.ended = {**self.ended, trial.name: trial}

    def new_epochs(self) -> Iterator[tuple[str, Epoch, int | None]]:
        """Epochs that ended since this was last asked, with how many iterations their trial has."""
        for name in self.names:
            if name in self.before:
                continue
            trial, progress = self.ended.get(name), self.read(name)
            epochs = trial.epochs if trial is not None else progress.epochs if progress is not None else ()
            if not epochs:
                continue
            skipped = sum(epoch.iteration <= progress.resumed_at for epoch in epochs) if progress is not None else 0
            first = self.told.setdefault(name, skipped)
            self.told[name] = max(first, len(epochs))
            for epoch in epochs[first:]:
                yield name, epoch, progress.iterations if progress is not None else None


@contextlib.contextmanager
def shown(board: Board, stream: TextIO, live: bool) -> Iterator[None]:
    """Show a board on a stream until the block is left."""
    if live:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=stream)
        with Live(
            get_renderable=lambda: table(board, console.height - 2),
            console=console,
            refresh_per_second=2,
            transient=True,
        ):
            yield
        return
    done = threading.Event()

    def follow() -> None:
        while not done.wait(_POLL):
            print_lines(board, stream)

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        done.set()
        follower.join()
        print_lines(board, stream)


def print_lines(board: Board, stream: TextIO) -> None:
    """A line for each epoch that ended since the last call."""
    for name, epoch, iterations in board.new_epochs():
        of = f"/{iterations}" if iterations is not None else ""
        stream.write(
            f"{name}  epoch {epoch.epoch}  iteration {epoch.iteration}{of}  train {epoch.train_error:.2f} %  "
            f"test {epoch.test_error:.2f} %  loss {epoch.train_loss:.4f}  {epoch.seconds:.1f} s\n"
        )
    stream.flush()


def table(board: Board, height: int) -> Table:
    """The trials under way, then those that ended last, then a line that sums up."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, show_footer=True)
    under_way = [(name, progress) for name in board.names if name not in board.ended if (progress := board.read(name))]
    done = len(board.ended)
    left = time_left(board)
    grid.add_column("trial", footer=f"{done} of {len(board.names)} done")
    grid.add_column("", footer="" if left is None else f"about {duration(left)} left", no_wrap=True)
    for title in ("epoch", "train", "test", "left"):
        grid.add_column(title, justify="right", no_wrap=True)
    for name, progress in under_way:
        full = round(_BAR * progress.iteration / progress.iterations)
        rest = remaining(progress)
        grid.add_row(
            name,
            Text("━" * full, style="green") + Text("━" * (_BAR - full), style="dim"),
            *_figures(progress.epochs),
            "" if rest is None else duration(rest),
        )
    for name in list(board.ended)[::-1][: max(height - len(under_way) - 2, 0)]:
        grid.add_row(name, Text(board.ended[name].status, style="dim"), *_figures(board.ended[name].epochs), "")
    return grid


def _figures(epochs: Sequence[Epoch]) -> tuple[str, str, str]:
    if not epochs:
        return "0", "", ""
    last = epochs[-1]
    return str(last.epoch), f"{last.train_error:.2f} %", f"{last.test_error:.2f} %"


def remaining(progress: Progress) -> float | None:
    """Seconds that a trial still needs at the pace that it has; None in its first step."""
    steps = progress.iteration - progress.resumed_at
    return (progress.iterations - progress.iteration) * progress.elapsed / steps if steps > 0 else None


def time_left(board: Board) -> float | None:
    """Seconds until all have ended, those not begun taken to need what the others of their depth do."""
    under_way = {name: progress for name in board.names if name not in board.ended if (progress := board.read(name))}
    rests = [rest for progress in under_way.values() if (rest := remaining(progress)) is not None]
    if not rests:
        return None
    costs = {
        _depth(name): progress.iterations * progress.elapsed / (progress.iteration - progress.resumed_at)
        for name, progress in under_way.items()
        if progress.iteration > progress.resumed_at
    } | {_depth(name): sum(epoch.seconds for epoch in trial.epochs) for name, trial in board.ended.items()}
    a_layer = max(cost / depth for depth, cost in costs.items())
    waiting = [name for name in board.names if name not in board.ended and name not in under_way]
    total = sum(rests) + sum(costs.get(_depth(name), a_layer * _depth(name)) for name in waiting)
    return max(total / min(board.workers, len(under_way) + len(waiting)), *rests)


def _depth(name: str) -> int:
    return int(name.partition("-")[0])


def duration(seconds: float) -> str:
    """As a person says it: 40 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
