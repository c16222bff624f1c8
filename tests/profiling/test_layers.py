"""The instrumented pass is the plain pass to the last bit, and its times go to the layers that took them."""

from __future__ import annotations

import gc
import hashlib
import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from archprof.building import build
from archprof.errors import UsageError
from archprof.profiling.clocks import CpuClock
from archprof.profiling.layers import BEFORE, LOSS, LayeredPass, Trace
from archprof.profiling.passes import TimedPass, tensors
from archprof.profiling.records import PASSES, Pass
from archprof.spec import expand, find_spec
from archprof.spec.library import load_document, shipped_paths
from tests.building import networks as built
from tests.profiling.networks import TRAPS, Multiplying, WorkClock, Working, traced


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- the same to the last bit


def bits(tensor: Tensor | None) -> str | None:
    """A digest of a tensor's type, shape and bits: two networks of gigabytes need not be held at once."""
    if tensor is None:
        return None
    content = tensor.detach().contiguous().view(-1).view(torch.uint8) if tensor.numel() else tensor.detach()
    digest = hashlib.blake2b(content.numpy(), digest_size=16).hexdigest()
    return f"{tensor.dtype} {tuple(tensor.shape)} {digest}"


def left_behind(module: nn.Module, run: TimedPass, passes: int) -> dict[str, str | None]:
    """What some passes leave: their outputs, and all that they changed, each as its `bits`."""
    torch.manual_seed(7)
    found: dict[str, str | None] = {}
    for number in range(passes):
        if isinstance(run, LayeredPass):
            run()  # so that the first pass, with its hook on each node, is seen too
        outputs, _ = run.run()
        found |= {f"output {number}.{place}": bits(each) for place, each in enumerate(tensors(outputs))}
        found |= {f"gradient {number} {name}": bits(each.grad) for name, each in module.named_parameters()}
        found |= {f"buffer {number} {name}": bits(each) for name, each in module.named_buffers()}
    found |= {f"parameter {name}": bits(each) for name, each in module.named_parameters()}
    return {**found, "random state": bits(torch.get_rng_state())}


class Twice(TimedPass):
    """A plain pass that runs as often as an instrumented one does in `left_behind`."""

    def run(self) -> tuple[Any, list[Any]]:
        super().run()
        return super().run()


def require_equal(make: Any, inputs: tuple[Tensor, ...], pass_: Pass, passes: int = 2) -> LayeredPass:
    """Hold an instrumented pass against a plain one on a network made twice."""
    gc.collect()  # what an fx.GraphModule holds goes with a collection alone
    plain = make()
    one = left_behind(plain, Twice(plain, inputs, pass_=pass_, clock=CpuClock()), passes)
    del plain
    gc.collect()
    instrumented = make()
    layered = LayeredPass(instrumented, inputs, pass_=pass_, clock=CpuClock())
    other = left_behind(instrumented, layered, passes)
    assert one == other
    if pass_ != "forward":
        assert any(value is not None for name, value in one.items() if name.startswith("gradient"))
        assert not layered.hooks_everywhere
    return layered


@pytest.mark.parametrize("pass_", PASSES)
@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_traps_are_passed_unchanged(trap: str, pass_: Pass) -> None:
    def make() -> fx.GraphModule:
        torch.manual_seed(3)
        return traced(TRAPS[trap]())

    given = torch.randn(4, 6, generator=torch.Generator().manual_seed(5))
    layered = require_equal(make, (given,), pass_)
    for trace in layered.traces:
        require_whole(trace, pass_)


def variants(path: Path) -> list[str]:
    """The names of a spec's variants, or its own."""
    return list(load_document(path).variants) or [path.stem]


@pytest.mark.parametrize("family", built.FAMILIES_WHEN_SLOW)
def test_one_variant_of_every_family_is_unchanged(family: str) -> None:
    graph = built.graph(family)
    train = bool(graph.training_outputs)
    layered = require_equal(
        lambda: build(graph, train=train),
        built.batch_of(graph),
        "forward+backward",
        passes=1,
    )
    require_whole(layered.traces[-1], "forward+backward")
    computed = {node.path for node in graph.nodes if not node.is_input and (train or not node.training_only)}
    assert layered.traces[-1].seconds("forward").keys() == computed
    assert layered.traces[-1].seconds("backward").keys() <= computed


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for path in shipped_paths() for name in variants(path)])
def test_every_variant_is_unchanged(name: str) -> None:
    document, variant = find_spec(name)
    few = {"regions": 4} if "regions" in document.parameters else {}  # the same layers; 2,000 of R-CNN's take 48 GiB
    graph = expand(document, variant, few)
    require_equal(lambda: build(graph), built.batch_of(graph), "forward+backward", passes=1)


def require_whole(trace: Trace, pass_: Pass) -> None:
    """Spans follow each other without gaps, from the call to the return."""
    directions = {
        "forward": trace.forward,
        **({} if pass_ == "forward" else {"backward": trace.backward}),
    }
    assert bool(trace.backward) == (pass_ != "forward")
    for name, spans in directions.items():
        assert all(one.end == other.start for one, other in itertools.pairwise(spans))
        assert all(span.start <= span.end for span in spans)
        assert spans[-1].end - spans[0].start == pytest.approx(trace.parts[name])
        assert sum(trace.seconds(name).values()) == pytest.approx(trace.parts[name])


# --- time goes to the layer that took it


class Net(nn.Module):
    """A chain of layers, with a branch over the middle."""

    def __init__(self, work: Mapping[str, tuple[float, float]], clock: WorkClock) -> None:
        super().__init__()
        self.one, self.two, self.three, self.four = (Working(clock, *work[name]) for name in NAMES)

    def forward(self, given: Tensor) -> Tensor:
        one = self.one(given)
        return self.four(self.three(self.two(one)) + one)  # type: ignore[no-any-return]


NAMES = ("one", "two", "three", "four")


def times_of(work: Mapping[str, tuple[float, float]], *, everywhere: bool = False) -> Trace:
    clock = WorkClock()
    layered = LayeredPass(
        traced(Net(work, clock)),
        (torch.ones(2, requires_grad=True),),
        pass_="forward+backward",
        clock=clock,
    )
    layered()
    assert not layered.hooks_everywhere
    layered.hooks_everywhere = everywhere
    layered()
    first, second = layered.traces
    assert first.seconds("backward") == second.seconds("backward")
    return second


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("dear", NAMES)
def test_a_layer_ten_times_dearer_shows_forward(dear: str, everywhere: bool) -> None:
    trace = times_of(
        {name: (10.0 if name == dear else 1.0, 2.0) for name in NAMES},
        everywhere=everywhere,
    )
    assert trace.seconds("forward") == {
        **dict.fromkeys(NAMES, 1.0),
        "add": 0.0,
        dear: 10.0,
    }
    assert trace.seconds("backward") == {**dict.fromkeys(NAMES, 2.0), "add": 0.0}
    assert trace.parts == {"forward": 13.0, "backward": 8.0, "forward+backward": 21.0}


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("dear", NAMES)
def test_a_layer_ten_times_dearer_shows_backward(dear: str, everywhere: bool) -> None:
    trace = times_of(
        {name: (2.0, 10.0 if name == dear else 1.0) for name in NAMES},
        everywhere=everywhere,
    )
    assert trace.seconds("forward") == {**dict.fromkeys(NAMES, 2.0), "add": 0.0}
    assert trace.seconds("backward") == {
        **dict.fromkeys(NAMES, 1.0),
        "add": 0.0,
        dear: 10.0,
    }
    assert [span.path for span in trace.backward] == [
        "four",
        "add",
        "three",
        "two",
        "one",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_real_work_shows_on_the_real_clock(direction: str) -> None:
    """Timed: but ten times the work, and the median of eleven passes, must be three times the others'."""

    def products(place: int) -> tuple[int, int]:
        dear = 40 if place == 2 else 4
        return (dear, 4) if direction == "forward" else (4, dear)

    module = traced(nn.Sequential(*(Multiplying(*products(place)) for place in range(5))))
    given = torch.randn(64, 64, requires_grad=True)
    layered = LayeredPass(module, (given,), pass_="forward+backward", clock=CpuClock())
    for _ in range(11):
        layered()
    medians = {
        path: statistics.median(trace.seconds(direction)[path] for trace in layered.traces) for path in layered.paths
    }
    dearest = max(medians, key=medians.__getitem__)
    assert dearest == layered.paths[2]
    assert medians[dearest] > 3 * max(seconds for path, seconds in medians.items() if path != dearest)


def test_a_tied_layer_has_the_time_of_each_of_its_calls() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.other = Working(clock, 1.0, 3.0), Working(clock, 2.0, 5.0)

        def forward(self, given: Tensor) -> Tensor:
            return self.layer(self.other(self.layer(given)))  # type: ignore[no-any-return]

    clock = WorkClock()
    layered = LayeredPass(
        traced(Shared()),
        (torch.ones(2, requires_grad=True),),
        pass_="forward+backward",
        clock=clock,
    )
    layered()
    assert layered.traces[0].seconds("forward") == {
        "layer": 1.0,
        "other": 2.0,
        "layer_1": 1.0,
    }
    assert layered.traces[0].seconds("backward") == {
        "layer": 3.0,
        "other": 5.0,
        "layer_1": 3.0,
    }


def test_layers_without_a_gradient_have_no_backward_time() -> None:
    clock = WorkClock()
    module = nn.Sequential(Working(clock, 1.0, 9.0), Working(clock, 1.0, 4.0)).requires_grad_(False)
    module[1].scale.requires_grad_(True)
    layered = LayeredPass(traced(module), (torch.ones(2),), pass_="forward+backward", clock=clock)
    layered()
    assert list(layered.traces[0].seconds("backward")) == ["_1"]


def test_what_is_older_than_the_pass_is_no_layers() -> None:
    clock = WorkClock()
    older = Working(clock, 1.0, 6.0)
    module = traced(nn.Sequential(Working(clock, 1.0, 2.0)))
    given = older(torch.ones(2, requires_grad=True))
    layered = LayeredPass(module, (given,), pass_="forward+backward", clock=clock)
    layered()
    assert layered.traces[0].seconds("backward") == {"_0": 2.0, BEFORE: 6.0}


def test_what_is_made_behind_the_network_is_no_layers() -> None:
    class WithLoss(LayeredPass):
        def ends(self, outputs: Any) -> list[Tensor]:
            (end,) = super().ends(outputs)
            return [loss(end)]

    clock = WorkClock()
    loss = Working(clock, 1.0, 7.0)
    layered = WithLoss(
        traced(nn.Sequential(Working(clock, 1.0, 2.0))),
        (torch.ones(2, requires_grad=True),),
        pass_="forward+backward",
        clock=clock,
    )
    layered()
    assert layered.traces[0].seconds("backward") == {LOSS: 7.0, "_0": 2.0}


def layered_net() -> LayeredPass:
    """A pass of Net whose layers each take one second forward and two backward."""
    clock = WorkClock()
    return LayeredPass(
        traced(Net(dict.fromkeys(NAMES, (1.0, 2.0)), clock)),
        (torch.ones(2, requires_grad=True),),
        pass_="forward+backward",
        clock=clock,
    )


def test_out_of_order_every_node_keeps_its_hook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layered = layered_net()
    own = LayeredPass._hook
    monkeypatch.setattr(LayeredPass, "_hook", lambda self, place: own(self, len(self.paths) - 1 - place))
    layered()
    assert layered.hooks_everywhere
    assert layered.traces[0].seconds("backward") == {
        **dict.fromkeys(NAMES, 2.0),
        "add": 2.0,
        "two": 0.0,
    }  # turned round


def test_an_order_that_breaks_later_is_measured_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layered = layered_net()
    layered()
    own = LayeredPass._hook
    monkeypatch.setattr(LayeredPass, "_hook", lambda self, place: own(self, len(self.paths) - 1 - place))
    layered()
    assert layered.hooks_everywhere
    assert len(layered.traces) == 2


class EventClock:
    """As events on a device are: a stamp is an object, read once, all of a pass after one wait."""

    def __init__(self) -> None:
        self.work = WorkClock()
        self.given = 0
        self.reads: list[int] = []
        self.read_before: list[object] = []

    def stamp(self) -> list[float]:
        self.given += 1
        return [self.work.now]

    def read(self, stamps: Sequence[list[float]]) -> list[float]:
        assert not any(each is other for each in stamps for other in self.read_before)
        assert len({id(stamp) for stamp in stamps}) == len(stamps)
        self.read_before.extend(stamps)
        self.reads.append(len(stamps))
        return [stamp[0] - stamps[0][0] for stamp in stamps]

    def synchronise(self) -> None: ...


@pytest.mark.parametrize("pass_", PASSES)
def test_stamps_of_a_pass_are_read_once_and_together(pass_: Pass) -> None:
    clock = EventClock()
    module = traced(Net(dict.fromkeys(NAMES, (1.0, 2.0)), clock.work))
    given = torch.ones(2, requires_grad=True)
    layered = LayeredPass(module, (given,), pass_=pass_, clock=clock)
    plain = TimedPass(module, (given,), pass_=pass_, clock=clock)
    for run in (layered, plain, layered, plain):
        before = clock.given
        run()
        assert clock.reads[-1] == clock.given - before
    assert len(clock.reads) == 4


def test_hooks_do_not_outlive_their_pass() -> None:
    clock = WorkClock()
    older = torch.ones(2, requires_grad=True) + 1
    module = traced(nn.Sequential(Working(clock)))
    layered = LayeredPass(module, (older,), pass_="forward+backward", clock=clock)
    layered()
    before = len(layered._backward)
    torch.autograd.backward([older], [torch.ones(2)])  # which a hook would stamp
    assert len(layered._backward) == before


def test_after_the_first_pass_there_is_one_hook_a_layer() -> None:
    clock = WorkClock()
    module = traced(Net(dict.fromkeys(NAMES, (1.0, 2.0)), clock))
    layered = LayeredPass(module, (torch.ones(2, requires_grad=True),), pass_="forward+backward", clock=clock)
    layered()
    assert len(layered._backward) > len(layered.paths)
    layered()
    assert len(layered._backward) == len(layered.paths)


def test_a_torch_without_numbers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.autograd, "_get_sequence_nr")
    with pytest.raises(UsageError) as caught:
        LayeredPass(
            traced(nn.Sequential(nn.ReLU())),
            (torch.ones(2, requires_grad=True),),
            pass_="forward",
            clock=CpuClock(),
        )
    assert str(caught.value) == (
        f"layers cannot be timed: torch {torch.__version__} does not number the nodes of autograd"
    )


def test_a_module_without_paths_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        LayeredPass(
            fx.symbolic_trace(nn.ReLU()),
            (torch.ones(2, requires_grad=True),),
            pass_="forward",
            clock=CpuClock(),
        )
    assert str(caught.value) == "no layer to time: the module's graph has no node with a path"
