"""Where the time of one real pass goes: stamps between the nodes of a copy of the network, and in its backward pass.

The copy calls the same modules, and autograd builds and runs its own graph of them, so that outputs, gradients,
buffers and random state are those of the plain pass. Forward, a stamp is taken behind each node. Backward, autograd
numbers its nodes as they are made, and a layer's are those whose numbers lie between two stamps: a hook before the
first of them to run takes a stamp. A layer's time is from its stamp to the next one.
"""

from __future__ import annotations

import copy
import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import torch
from torch import Tensor, fx

from archprof.errors import UsageError
from archprof.profiling.clocks import Clock
from archprof.profiling.passes import TimedPass
from archprof.profiling.records import Pass

BEFORE = "(before)"  # autograd nodes older than the pass
LOSS = "(loss)"  # and those made behind the network
_UNNUMBERED = 2**64 - 1  # of the nodes that accumulate parameters' gradients


class Span(msgspec.Struct, frozen=True, gc=False):
    """A stretch of one pass that went to one layer; seconds since the pass began."""

    path: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


class Trace(msgspec.Struct, frozen=True):
    """One instrumented pass. The spans of either direction have no gaps; a path may come more than once."""

    forward: tuple[Span, ...]
    backward: tuple[Span, ...]
    parts: Mapping[str, float]  # seconds, as TimedPass gives them

    def seconds(self, direction: str) -> dict[str, float]:
        """Seconds by path, forward or backward."""
        found: dict[str, float] = {}
        for span in self.forward if direction == "forward" else self.backward:
            found[span.path] = found.get(span.path, 0.0) + span.seconds
        return found


class LayeredPass(TimedPass):
    """A TimedPass that keeps a Trace of each pass in `traces`.

    The time of backward nodes that autograd runs without a layer's own (adding up gradients where a value was used
    twice, writing those of the parameters) goes to the layer that ran last.

    Autograd runs a pass's nodes in the descending order of their numbers as long as one thread runs them all. The first
    backward pass has a hook on each of its nodes, to see that it does: then one hook a layer will do. Where it does not
    every node keeps its hook (`hooks_everywhere`).

    Raises UsageError where this torch does not number autograd nodes, and for a module without a node that has a path.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        inputs: tuple[Tensor, ...],
        *,
        pass_: Pass,
        clock: Clock,
        amp: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(module, inputs, pass_=pass_, clock=clock, amp=amp, seed=seed)
        self.paths: list[str] = []
        self.call = self.ticked(module)
        self.number = _numbering()
        self.hooks_everywhere = False
        self.traces: list[Trace] = []
        self._checked = False
        self._forward: list[Any] = []  # stamps, one behind each node
        self._numbers: list[int] = []  # by node, the number of the next autograd node to be made
        self._first_number = self._last_number = 0  # before the call of the module and behind it
        self._backward: list[tuple[Any, int]] = []  # stamps, each with the place of the node whose time it begins
        self._handles: list[Any] = []

    def ticked(self, module: fx.GraphModule) -> fx.GraphModule:
        """A copy of the code around the same modules, which takes a stamp behind each node that has a path."""

        def tick() -> None:
            self._forward.append(self.clock.stamp())
            self._numbers.append(self.number())

        graph = copy.deepcopy(module.graph)  # the code alone: no module is in it
        for node in list(graph.nodes):
            path = node.meta.get("path")
            if path is not None and node.op not in ("placeholder", "get_attr", "output"):
                self.paths.append(path)
                with graph.inserting_after(node):
                    graph.call_function(tick)
        if not self.paths:
            raise UsageError("no layer to time: the module's graph has no node with a path")
        return fx.GraphModule(module, graph)

    def __call__(self) -> dict[str, float]:
        """Seconds by part; the pass's Trace joins `traces`."""
        self._forward, self._numbers, self._backward = [], [], []
        try:
            _, stamps = self.run()
        finally:
            for handle in self._handles:
                handle.remove()
            self._handles = []
        times = self.clock.read([*stamps, *self._forward, *(stamp for stamp, _ in self._backward)])
        start, end, *later = times[: len(stamps)]
        forward = times[len(stamps) : len(stamps) + len(self._forward)]
        backward = times[len(stamps) + len(self._forward) :]
        parts = self.parts(times[: len(stamps)])
        spans: Sequence[Span] = ()
        if later:
            order = [place for _, place in self._backward]
            descends = all(one >= other for one, other in itertools.pairwise(order))
            if not self._checked:
                self._checked = True
                self.hooks_everywhere = not descends
            elif not descends and not self.hooks_everywhere:
                self.hooks_everywhere = True
                return self()
            spans = _backward_spans([self.path(place) for place in order], backward, later[0], later[1])
        self.traces.append(Trace(tuple(_forward_spans(self.paths, forward, start, end)), tuple(spans), parts))
        return parts

    def path(self, place: int) -> str:
        """The path of a place in the order of execution; one before and one behind it are no layer's."""
        return BEFORE if place < 0 else LOSS if place == len(self.paths) else self.paths[place]

    def forward(self) -> Any:
        """What the module gives for the batch."""
        self._first_number = self.number()
        outputs = super().forward()
        self._last_number = self.number()
        return outputs

    def before_backward(self, ends: list[Tensor]) -> None:
        """Hook the autograd nodes."""
        numbers = [*self._numbers[:-1], self._last_number]  # what is done behind the last stamp is the last layer's

        def place_of(node: Any) -> int:
            number = node._sequence_nr()
            return -1 if number < self._first_number else bisect_right(numbers, number)

        consumers: dict[Any, set[int]] = {}  # of each node, the places of those that hand it a gradient
        places: dict[Any, int] = {}
        for node in _walk(end.grad_fn for end in ends):
            if node._sequence_nr() == _UNNUMBERED:
                continue
            places[node] = place_of(node)
            for following, _ in node.next_functions:
                if following is not None:
                    consumers.setdefault(following, set()).add(places[node])
        everywhere = self.hooks_everywhere or not self._checked
        for node, place in places.items():
            if everywhere or place not in consumers.get(node, ()):  # else another of its layer runs before it
                self._handles.append(node.register_prehook(self._hook(place)))

    def _hook(self, place: int) -> Callable[[Any], None]:
        stamp, stamps = self.clock.stamp, self._backward

        def hook(_gradients: Any) -> None:
            stamps.append((stamp(), place))

        return hook


def _numbering() -> Callable[[], int]:
    """torch's function for the number of the next autograd node. Raises UsageError."""
    number = getattr(torch.autograd, "_get_sequence_nr", None)
    node = torch.zeros((), requires_grad=True).exp().grad_fn
    if number is None or not hasattr(node, "_sequence_nr"):
        raise UsageError(f"layers cannot be timed: torch {torch.__version__} does not number the nodes of autograd")
    found: Callable[[], int] = number
    return found


def _walk(starts: Iterable[Any]) -> Iterator[Any]:
    """The autograd nodes that a backward pass from these reaches."""
    waiting = [start for start in starts if start is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)


def _forward_spans(paths: Sequence[str], times: Sequence[float], start: float, end: float) -> Iterator[Span]:
    """Each node's from the stamp before it; the first begins at the call, the last ends at the return."""
    edges = [start, *times[:-1], end]
    for path, (since, until) in zip(paths, itertools.pairwise(edges), strict=True):
        yield Span(path, since, until)


def _backward_spans(paths: Sequence[str], times: Sequence[float], start: float, end: float) -> list[Span]:
    """From each stamp to the next of another layer; the first begins at the call, the last ends at the return."""
    begins = [
        (path, time)
        for place, (path, time) in enumerate(zip(paths, times, strict=True))
        if path != paths[place - 1] or not place
    ]
    edges = [start, *(time for _, time in begins[1:]), end]
    return [
        Span(path, since, until) for (path, _), (since, until) in zip(begins, itertools.pairwise(edges), strict=True)
    ]
