"""`archprof bench` with workers that measure nothing: the matrix, what becomes of each cell, the file, going on."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from rich.progress import Progress

import archprof
from archprof.analysis.memory import memory
from archprof.errors import UsageError
from archprof.graph import Graph
from archprof.profiling import scheduler
from archprof.profiling.matrix import NOT_YET, Matrix, Request, axis, batches, differences, expand, request_of
from archprof.profiling.messages import Answer, Described, Settings, Task, packed, unpacked
from archprof.profiling.records import Cell, Device, Key, Run
from archprof.profiling.results import read_run
from archprof.profiling.scheduler import WorkerDied, measure
from archprof.profiling.statistics import summarise
from archprof.report.bench import FORMATS, render
from archprof.report.output import PIPE, Surface
from tests import goldens

TINY = """\
name: tiny
input: [3, 8, 8]
layers:
  - {name: conv, op: conv2d, out_channels: 8, kernel_size: 3, padding: 1, activation: relu}
  - {name: flatten, op: flatten}
  - {name: fc, op: linear, out_features: 4}
"""
OTHER = TINY.replace("name: tiny", "name: other").replace("out_channels: 8", "out_channels: 6")


def graph_of(text: str, tmp_path: Path) -> Graph:
    path = tmp_path / "graph.yaml"
    path.write_text(text, encoding="utf-8")
    return archprof.load(str(path))


# --- the matrix


def test_every_combination_is_a_cell_and_networks_stay_together() -> None:
    graphs = {name: archprof.load(name) for name in ("squeezenet-1.1", "zf")}
    matrices = [
        Matrix(networks=("squeezenet-1.1", "zf"), batch=(1, "max"), pass_=("forward", "step")),
        Matrix(networks=("squeezenet-1.1",), batch=(1, 2), dtype=("bfloat16",), amp=("none",)),
        Matrix(networks=("squeezenet-1.1",), batch=(1,)),  # is there already
    ]
    requests = expand(matrices, graphs)
    assert [(each.key.network, each.key.pass_, each.key.dtype, each.key.batch, each.search) for each in requests] == [
        ("squeezenet-1.1", "forward", "float32", 1, False),
        ("squeezenet-1.1", "forward", "float32", 0, True),
        ("squeezenet-1.1", "step", "float32", 1, False),
        ("squeezenet-1.1", "step", "float32", 0, True),
        ("squeezenet-1.1", "forward", "bfloat16", 1, False),
        ("squeezenet-1.1", "forward", "bfloat16", 2, False),
        ("zf", "forward", "float32", 1, False),
        ("zf", "forward", "float32", 0, True),
        ("zf", "step", "float32", 1, False),
        ("zf", "step", "float32", 0, True),
    ]
    assert (requests[0].key.input, requests[0].key.multiply_adds) == ("3x227x227", 387_747_520)


def test_a_variant_has_its_own_name_whatever_alias_was_given() -> None:
    (request,) = expand([Matrix(networks=("vgg-16",))], {"vgg-16": archprof.load("vgg-16")})
    assert request.key.network == "vgg-d"


@pytest.mark.parametrize(
    ("text", "found"),
    [("1", (1,)), ("1,16,max", (1, 16, "max")), (" 4 , max ", (4, "max")), ("999999999", (999999999,))],
)
def test_batches(text: str, found: tuple[object, ...]) -> None:
    assert batches(text) == found


@pytest.mark.parametrize("text", ["", "0", "1,", "-1", "1.5", "many", "1 2", "²", "9999999999"])
def test_what_is_no_batch(text: str) -> None:
    with pytest.raises(UsageError) as error:
        batches(text)
    assert str(error.value) == f"--batch {text}: write numbers of at least 1, or max, with commas between, as 1,16,max"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("dtype", "float32,bf16", "--dtype float32,bf16: unknown dtype bf16: "),
        ("mode", "eagr", "--mode eagr: unknown mode eagr: did you mean eager?"),
        ("pass", "backward", "--pass backward: unknown pass backward: "),
        ("layout", "nchw,", "--layout nchw,: unknown layout without a name: take nchw or nhwc"),
    ],
)
def test_what_is_no_value_of_an_axis(name: str, text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        axis(name, text)
    assert str(error.value).startswith(message)


def _requests(**axes: Any) -> list[Request]:
    return expand([Matrix(networks=("zf",), **axes)], {"zf": archprof.load("zf")})


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ({"batch": (1, 8)}, []),
        ({"batch": (8, 1)}, []),
        ({"batch": (1, 16)}, ["batch: 1, 8 in the file, 1, 16 asked for"]),
        ({"batch": (1, "max")}, ["batch: 1, 8 in the file, 1, max asked for"]),
        (
            {"batch": (1, 8), "amp": ("none", "bfloat16")},
            ["amp: none in the file, none, bfloat16 asked for"],
        ),
    ],
)
def test_what_tells_two_matrices_apart(now: dict[str, Any], found: list[str]) -> None:
    assert list(differences(_requests(batch=(1, 8)), _requests(**now))) == found


def test_a_network_that_was_changed_is_another_matrix(tmp_path: Path) -> None:
    before = expand([Matrix(networks=("a",))], {"a": graph_of(TINY, tmp_path)})
    now = expand(
        [Matrix(networks=("a",))], {"a": graph_of(TINY.replace("out_channels: 8", "out_channels: 9"), tmp_path)}
    )
    assert list(differences(before, now)) == [
        "tiny is another network: input 3x8x8, 15,872 multiply-adds in the file, input 3x8x8, 17,856 now"
    ]


def test_the_same_values_in_other_combinations_are_another_matrix() -> None:
    whole = _requests(batch=(1, 8), pass_=("forward", "step"))
    assert list(differences(whole, whole[:1] + whole[3:])) == [
        "4 cells in the file, 2 asked for, in other combinations"
    ]


def test_a_graph_goes_to_a_worker_whole() -> None:
    for name in ("googlenet", "lstm-language-model-small", "vit-b-32"):
        graph = archprof.load(name)
        assert unpacked(packed(graph)) == graph


# --- the scheduler


class FakeWorker:
    """Answers from a script: what a key's network and batch come to. Instances are listed as they are made."""

    made: ClassVar[list[FakeWorker]] = []

    def __init__(self, graph: Graph, settings: Settings, script: Callable[[Task], Any]) -> None:
        self.graph = graph
        self.script = script
        self.asked: list[tuple[str, int]] = []
        self.closed = False
        FakeWorker.made.append(self)

    def ask(self, task: Task) -> Answer:
        assert not self.closed
        assert task.key is not None
        assert task.key.network == self.graph.name
        self.asked.append((task.do, task.key.batch))
        found = self.script(task)
        if isinstance(found, WorkerDied):
            raise found
        return Answer(cell=found)

    def close(self) -> None:
        self.closed = True


def timed(key: Key, milliseconds: float = 10.0, count: int = 40) -> Cell:
    """A cell as a worker measures it."""
    draw = random.Random(key.batch)
    seconds = [milliseconds * key.batch * draw.uniform(0.99, 1.01) / 1e3 for _ in range(count)]
    stretches = [seconds[place::4] for place in range(4)]
    timing = summarise(stretches, 0.02)
    return Cell(
        key=key,
        status="ok",
        timings={key.pass_: timing},
        images_per_second=key.batch / timing.median,
        peak_memory=key.batch * 2**20,
        params=100,
        settings={"threads": 2, "precision": 0.02, "budget": 10.0},
    )


def answers(task: Task) -> Cell:
    """A device on which batches up to 20 fit."""
    key = task.key
    assert key is not None
    if key.batch > 20:
        return Cell(key=key, status="oom", reason="can't allocate memory")
    return timed(key) if task.do == "measure" else Cell(key=key, status="ok")


@pytest.fixture
def nets(tmp_path: Path) -> dict[str, Graph]:
    FakeWorker.made.clear()
    return {"tiny": graph_of(TINY, tmp_path), "other": graph_of(OTHER, tmp_path)}


def _measured(
    nets: dict[str, Graph], script: Callable[[Task], Any], available: int | None = None, **axes: Any
) -> list[Cell]:
    requests = expand([Matrix(networks=tuple(nets), **axes)], nets)
    start = lambda graph, settings: FakeWorker(graph, settings, script)  # noqa: E731
    return list(measure(requests, nets, Settings(), available=available, start=start))


def test_each_network_has_a_fresh_worker_and_every_cell_an_end(nets: dict[str, Graph]) -> None:
    cells = _measured(nets, answers, batch=(1, 64, 8))
    assert [(cell.key.network, cell.key.batch, cell.status) for cell in cells] == [
        (network, batch, status)
        for network in ("tiny", "other")
        for batch, status in ((1, "ok"), (64, "oom"), (8, "ok"))
    ]
    assert [worker.graph.name for worker in FakeWorker.made] == ["tiny", "other"]
    assert all(worker.closed for worker in FakeWorker.made)
    assert cells[2].key.batch == 8  # the batch asked for is the batch measured
    peaks = [memory(nets["tiny"], batch=batch, optimiser="sgd").inference_peak for batch in (1, 64, 8)]
    assert [cell.predicted_memory for cell in cells[:3]] == peaks


def test_what_cannot_fit_any_more_is_not_tried(nets: dict[str, Graph]) -> None:
    del nets["other"]
    cells = _measured(nets, answers, batch=(64, 128, 32), pass_=("forward", "step"))
    assert [(cell.key.batch, cell.status, cell.reason) for cell in cells[:3]] == [
        (64, "oom", "can't allocate memory"),
        (128, "skipped", "batch 64 was out of memory already"),
        (32, "oom", "can't allocate memory"),
    ]
    assert cells[3].status == "oom"  # of another pass: it is tried
    assert FakeWorker.made[0].asked == [("measure", 64), ("measure", 32), ("measure", 64), ("measure", 32)]


def test_autocast_is_of_float32_networks(nets: dict[str, Graph]) -> None:
    cells = _measured(nets, answers, dtype=("float32", "bfloat16"), amp=("none", "bfloat16"))
    assert [(cell.key.dtype, cell.key.amp, cell.status) for cell in cells[:4]] == [
        ("float32", None, "ok"),
        ("float32", "bfloat16", "ok"),
        ("bfloat16", None, "ok"),
        ("bfloat16", "bfloat16", "skipped"),
    ]
    assert cells[3].reason == "autocast is of float32 networks"
    assert cells[1].predicted_memory is None  # the memory model does not know it
    assert cells[0].predicted_memory is not None


def test_a_worker_that_dies_takes_one_cell_with_it(nets: dict[str, Graph]) -> None:
    def script(task: Task) -> Any:
        assert task.key is not None
        if task.key.network == "tiny" and task.key.batch == 2:
            return WorkerDied("SIGSEGV", "OMP: Error #15")
        if task.key.network == "tiny" and task.key.batch == 4:
            return WorkerDied("exit status 3")
        return answers(task)

    cells = _measured(nets, script, batch=(1, 2, 4, 8))
    assert [(cell.status, cell.reason) for cell in cells[:4]] == [
        ("ok", ""),
        ("failed", "its process was ended by SIGSEGV: OMP: Error #15"),
        ("failed", "its process ended: exit status 3"),
        ("ok", ""),
    ]
    assert {cell.status for cell in cells[4:]} == {"ok"}
    assert [worker.graph.name for worker in FakeWorker.made] == ["tiny", "tiny", "tiny", "other"]
    assert all(worker.closed for worker in FakeWorker.made)


def test_leaving_early_ends_the_worker(nets: dict[str, Graph]) -> None:
    requests = expand([Matrix(networks=("tiny",), batch=(1, 2))], nets)
    start = lambda graph, settings: FakeWorker(graph, settings, answers)  # noqa: E731
    cells = measure(requests, nets, Settings(), start=start)
    next(cells)
    cells.close()
    assert FakeWorker.made[0].closed


def test_the_largest_batch_is_searched_for_from_the_models_prediction(nets: dict[str, Graph]) -> None:
    del nets["other"]
    peak = memory(nets["tiny"], batch=18, optimiser="sgd").inference_peak
    (cell,) = _measured(nets, answers, available=int(peak / 0.9) + 1, batch=("max",))
    assert (cell.key.batch, cell.status) == (20, "ok")
    assert cell.settings["batch"] == "max"
    assert cell.settings["search"] == {
        "limit": peak,
        "predicted": 18,
        "found": 20,
        "refused": 21,
        "trials": [[18, True], [20, True], [24, False], [22, False], [21, False]],
    }
    assert FakeWorker.made[0].asked[-1] == ("measure", 20)
    assert request_of(cell).key.batch == 0
    assert request_of(cell).search


def test_a_child_that_linux_kills_in_a_search_was_out_of_memory(nets: dict[str, Graph]) -> None:
    def script(task: Task) -> Any:
        assert task.key is not None
        return WorkerDied("SIGKILL") if task.key.batch > 5 else answers(task)

    del nets["other"]
    (cell,) = _measured(nets, script, batch=("max",))
    assert (cell.key.batch, cell.status) == (5, "ok")


@pytest.mark.parametrize(
    ("longest", "batch", "refused", "asked"),
    [(19, 19, 20, [20, 19]), (16, 13, 17, [20, 19, 17, 13]), (0, 0, 5, [20, 19, 17, 13, 5])],
)
def test_a_batch_that_fits_for_a_few_passes_only_does_not_fit(
    nets: dict[str, Graph], longest: int, batch: int, refused: int, asked: list[int]
) -> None:
    def script(task: Task) -> Any:
        assert task.key is not None
        if task.do == "measure" and task.key.batch > longest:
            return Cell(key=task.key, status="oom", reason="can't allocate memory")
        return answers(task)

    del nets["other"]
    (cell,) = _measured(nets, script, batch=("max",))
    assert (cell.status, cell.key.batch) == ("ok" if batch else "oom", batch)
    search = cell.settings["search"]
    assert (search["found"], search["refused"]) == (batch, refused)
    assert [each for do, each in FakeWorker.made[0].asked if do == "measure"] == asked
    assert [20, True] in search["trials"]
    assert [20, False] in search["trials"]


@pytest.mark.parametrize(
    ("found", "status", "reason"),
    [
        (WorkerDied("SIGSEGV"), "failed", "batch 1: its process was ended by SIGSEGV"),
        ("unsupported", "unsupported", "batch 1: no kernel"),
        ("failed", "failed", "batch 1: no kernel"),
        ("oom", "oom", "not even a batch of 1 fits"),
    ],
)
def test_a_search_bisects_on_memory_alone(nets: dict[str, Graph], found: Any, status: str, reason: str) -> None:
    def script(task: Task) -> Any:
        assert task.key is not None
        return found if isinstance(found, WorkerDied) else Cell(key=task.key, status=found, reason="no kernel")

    del nets["other"]
    (cell,) = _measured(nets, script, batch=("max",))
    assert (cell.status, cell.reason, cell.key.batch) == (status, reason, 0)
    assert cell.settings["batch"] == "max"
    assert len([task for worker in FakeWorker.made for task in worker.asked]) == 1


# --- the command


@pytest.fixture
def command(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """`archprof bench ARGUMENTS` with scripted workers, in a folder with tiny.yaml and other.yaml."""
    FakeWorker.made.clear()
    (tmp_path / "tiny.yaml").write_text(TINY, encoding="utf-8")
    (tmp_path / "other.yaml").write_text(OTHER, encoding="utf-8")
    scripted: dict[str, Callable[[Task], Any]] = {"now": answers}
    machine = {"machine": "fake_torch-2.13_2-threads", "hardware": "Fake CPU, 2 cores"}
    changed: dict[str, Any] = {}

    class Scripted(FakeWorker):
        def __init__(self, graph: Graph, settings: Settings) -> None:
            super().__init__(graph, settings, lambda task: scripted["now"](task))

        def ask(self, task: Task) -> Answer:
            if task.do == "describe":
                environment = {"device": "cpu", **changed}
                return Answer(described=Described(**machine, environment=environment, available=2**30))
            return super().ask(task)

    monkeypatch.setattr(scheduler, "Process", Scripted)

    def call(
        *arguments: str, script: Callable[[Task], Any] = answers, on: str | None = None, **environment: Any
    ) -> Any:
        scripted["now"] = script
        changed.clear()
        changed.update(environment)
        if on is not None:
            machine["machine"] = on
        return run("bench", *arguments)

    return call


def test_a_run_is_a_results_file_and_a_table(command: Any, tmp_path: Path) -> None:
    status, out, errors = command("tiny.yaml", "other.yaml", "--batch", "1,64", "-o", "run.json")
    assert status == 0
    lines = errors.splitlines()
    assert lines[0].startswith("[1/4] tiny, batch 1, forward: 9.9")
    assert lines[1] == "[2/4] tiny, batch 64, forward: oom: can't allocate memory"
    assert lines[-1] == "run.json: 2 ok, 2 oom"
    assert len(lines) == 5
    made = read_run(tmp_path / "run.json")
    assert [cell.status for cell in made.cells] == ["ok", "oom", "ok", "oom"]
    assert made.command.startswith("archprof bench tiny.yaml other.yaml")
    assert (made.machine, made.hardware) == ("fake_torch-2.13_2-threads", "Fake CPU, 2 cores")
    assert out.startswith("4 cells on Fake CPU, 2 cores\n")


def test_json_on_standard_output_is_the_results_file(command: Any, tmp_path: Path) -> None:
    status, out, _ = command("tiny.yaml", "--format", "json", "-o", "run.json")
    assert status == 0
    assert msgspec.json.decode(out.encode(), type=Run) == read_run(tmp_path / "run.json")


def test_without_output_a_new_file_is_written_here(command: Any, tmp_path: Path) -> None:
    status, _, errors = command("tiny.yaml")
    (written,) = tmp_path.glob("bench-*.json")
    assert status == 0
    assert errors.splitlines()[-1] == f"{written.name}: 1 ok"


def test_nothing_measured_is_an_error(command: Any) -> None:
    status, out, errors = command("tiny.yaml", "--batch", "64,128", "-o", "run.json")
    assert status == 1
    assert "oom [1]" in out
    assert errors.splitlines()[-2:] == ["run.json: 1 oom, 1 skipped", "nothing was measured"]


def test_a_cell_that_failed_is_an_error_and_the_others_are_measured(command: Any) -> None:
    def script(task: Task) -> Any:
        assert task.key is not None
        return WorkerDied("SIGKILL") if task.key.network == "tiny" else answers(task)

    status, out, errors = command("tiny.yaml", "other.yaml", "-o", "run.json", script=script)
    assert status == 1
    assert "[1] its process was ended by SIGKILL\n" in out
    assert errors.splitlines()[-1] == "run.json: 1 failed, 1 ok"


def _stop_at(batch: int) -> Callable[[Task], Any]:
    def script(task: Task) -> Any:
        assert task.key is not None
        if task.key.batch == batch:
            raise KeyboardInterrupt
        return answers(task)

    return script


def test_ctrl_c_keeps_what_is_finished_and_resume_goes_on(command: Any, tmp_path: Path) -> None:
    arguments = ("tiny.yaml", "--batch", "1,2,4", "-o", "run.json")
    status, out, errors = command(*arguments, script=_stop_at(2))
    assert status == 130
    assert errors.splitlines()[-2:] == [
        "run.json: 1 ok, 2 not measured",
        "stopped: go on with archprof bench --resume run.json",
    ]
    assert "[1] not measured yet\n" in out
    assert FakeWorker.made[-1].closed
    first = read_run(tmp_path / "run.json")
    assert [(cell.status, cell.reason) for cell in first.cells] == [("ok", ""), *[("skipped", NOT_YET)] * 2]

    FakeWorker.made.clear()
    status, _, errors = command("--resume", "run.json")
    assert (status, errors.splitlines()[-1]) == (0, "run.json: 3 ok")
    assert errors.startswith("[2/3] tiny, batch 2, forward: ")
    assert FakeWorker.made[-1].asked == [("measure", 2), ("measure", 4)]
    whole = read_run(tmp_path / "run.json")
    assert [cell.status for cell in whole.cells] == ["ok", "ok", "ok"]
    assert whole.cells[0] == first.cells[0]
    assert (whole.created, whole.command) == (first.created, first.command)


def test_each_cell_is_in_the_file_before_the_next_is_begun(command: Any, tmp_path: Path) -> None:
    seen = []

    def script(task: Task) -> Any:
        seen.append([cell.status for cell in read_run(tmp_path / "run.json").cells])
        return answers(task)

    command("tiny.yaml", "--batch", "1,64,4", "-o", "run.json", script=script)
    assert seen == [["skipped"] * 3, ["ok", "skipped", "skipped"], ["ok", "oom", "skipped"]]


def test_resume_takes_the_same_matrix_only(command: Any) -> None:
    command("tiny.yaml", "--batch", "1,2", "--budget", "5", "-o", "run.json", script=_stop_at(2))
    for arguments, message in (
        (("tiny.yaml", "--batch", "1,4"), "run.json holds another matrix: batch: 1, 2 in the file, 1, 4 asked for\n"),
        (
            ("other.yaml", "--batch", "1,2"),
            "run.json holds another matrix: network: tiny in the file, other asked for\n",
        ),
        (("--batch", "1,2"), "--resume takes the matrix of the file: name the networks too, or leave its axes away\n"),
        (("--budget", "7"), "run.json was measured with budget 5.0, not 7.0: start a new run\n"),
        (("--threads", "1"), "run.json was measured with threads as the default is, not 1: start a new run\n"),
    ):
        status, out, errors = command(*arguments, "--resume", "run.json")
        assert (status, out, errors) == (2, "", message)
    status, _, errors = command("tiny.yaml", "--batch", "2,1", "--budget", "5", "--resume", "run.json")
    assert (status, errors.splitlines()[-1]) == (0, "run.json: 2 ok")


def test_resume_is_of_the_same_machine(command: Any) -> None:
    command("tiny.yaml", "--batch", "1,2", "-o", "run.json", script=_stop_at(2))
    status, out, errors = command("--resume", "run.json", on="another_torch-2.13_2-threads")
    assert (status, out) == (2, "")
    assert errors == (
        "run.json was measured on fake_torch-2.13_2-threads, and this is another_torch-2.13_2-threads: "
        "start a new run\n"
    )


def test_what_changed_on_the_machine_since_is_said_and_kept(command: Any, tmp_path: Path) -> None:
    first = {"variables": {"OMP_NUM_THREADS": "2"}, "load_average": 0.1, "torch": "2.13.0"}
    command("tiny.yaml", "--batch", "1,2,4", "-o", "run.json", script=_stop_at(2), **first)
    now = {"variables": {}, "load_average": 3.2, "torch": "2.13.1"}
    _, _, errors = command("--resume", "run.json", script=_stop_at(4), **now)
    assert errors.splitlines()[:2] == [
        "run.json: torch was 2.13.0 and is 2.13.1",
        "run.json: variables.OMP_NUM_THREADS was 2 and is unknown",
    ]
    environment = read_run(tmp_path / "run.json").environment
    assert environment["torch"] == "2.13.0"
    (resumed,) = environment["resumed"]
    assert resumed["changes"] == {"torch": ["2.13.0", "2.13.1"], "variables.OMP_NUM_THREADS": ["2", "unknown"]}
    status, _, _ = command("--resume", "run.json", **first)
    assert status == 0
    assert len(read_run(tmp_path / "run.json").environment["resumed"]) == 1


@pytest.mark.parametrize("axes", [{"amp": ("bfloat16",)}, {"mode": ("compile",)}])
def test_a_search_that_the_memory_model_does_not_know_has_no_prediction(
    nets: dict[str, Graph], axes: dict[str, Any]
) -> None:
    del nets["other"]
    (cell,) = _measured(nets, answers, available=2**30, batch=("max",), **axes)
    assert cell.settings["search"]["predicted"] is None
    assert FakeWorker.made[0].asked[0][1] > 1  # it begins there nonetheless


def test_a_terminal_shows_how_far_it_is(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[Any] = []
    own = Progress.start

    def start(self: Progress) -> None:
        bars.append(self)
        own(self)

    monkeypatch.setattr(Progress, "start", start)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    status, _, errors = command("tiny.yaml", "--batch", "1,2", "-o", "run.json")
    assert status == 0
    (bar,) = bars
    (task,) = bar.tasks
    assert (task.completed, task.total) == (2, 2)
    assert task.description == "tiny, batch 2, forward"
    assert "[2/2] tiny, batch 2, forward: " in errors


def test_a_network_changed_meanwhile_is_not_gone_on_with(command: Any, tmp_path: Path) -> None:
    command("tiny.yaml", "--batch", "1,2", "-o", "run.json", script=_stop_at(2))
    (tmp_path / "tiny.yaml").write_text(TINY.replace("out_channels: 8", "out_channels: 9"), encoding="utf-8")
    status, _, errors = command("--resume", "run.json")
    assert status == 2
    assert errors.startswith("run.json holds another matrix: tiny is another network: ")


def test_a_search_that_was_not_come_to_is_gone_on_with(command: Any, tmp_path: Path) -> None:
    command("tiny.yaml", "--batch", "1,max", "-o", "run.json", script=_stop_at(1))
    status, out, errors = command("--resume", "run.json")
    assert (status, errors.splitlines()[-1]) == (0, "run.json: 2 ok")
    # 90 % of 1 GiB hold more batches of it than are looked for
    note = (
        "tiny, forward: the largest batch that fits in 922 MiB is 20 (21 does not fit); "
        "the memory model says at least 65536, +327,580.0 %"
    )
    assert note in out
    assert f"  {note}" in errors.splitlines()
    assert read_run(tmp_path / "run.json").cells[1].key.batch == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to measure: name networks, or a --suite: cnn-benchmarks, convnet-benchmarks, "),
        (("tiny.yaml", "--batch", "0"), "--batch 0: write numbers of at least 1, or max"),
        (("tiny.yaml", "--budget", "0"), "budget must be a number of seconds above 0, not 0\n"),
        (("tiny.yaml", "--precision", "2"), "precision must be above 0 and below 1"),
        (("tiny.yaml", "--memory", "lots"), "--memory lots: write an amount as 4GiB or 500MiB\n"),
        (("tiny.yaml", "--memory", "0"), "--memory 0: write an amount as 4GiB or 500MiB\n"),
        (("tiny.yaml", "--suite", "timm"), "--suite timm names its networks itself: leave tiny.yaml away\n"),
        (("tiny.yaml", "--format", "xml"), "unknown format xml: "),
        (("tiny.yaml", "-o", "no/run.json"), "cannot write no/run.json: there is no folder "),
        (("tiny.yaml", "-o", "/dev/null"), "--output /dev/null: the results file is written after each cell: "),
        (("tiny.yaml", "again.yaml"), "tiny.yaml and again.yaml are both called tiny: give one of them another name\n"),
        (("--resume", "no.json"), "cannot read no.json: No such file or directory\n"),
        (("--resume", "cut.json"), "cut.json: "),
        (("--resume", "new.json"), "new.json: "),
        (
            ("--resume", "strange.json"),
            "strange.json was not written by archprof bench: there is nothing to go on with",
        ),
        (("tiny.yaml", "-o", "full.json"), "full.json holds results already: go on with --resume full.json, "),
    ],
)
def test_mistakes(command: Any, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "again.yaml").write_text(TINY.replace("out_channels: 8", "out_channels: 9"), encoding="utf-8")
    (tmp_path / "cut.json").write_text('{"version": 1, "cells": [', encoding="utf-8")
    (tmp_path / "new.json").write_text('{"version": 9, "cells": []}', encoding="utf-8")
    empty = Run(version=1, created="", archprof="", command="", machine="", hardware="", environment={}, cells=())
    (tmp_path / "strange.json").write_bytes(msgspec.json.encode(empty))
    full = msgspec.structs.replace(empty, cells=(timed(Key(network="zf", batch=1, input="3x8x8")),))
    (tmp_path / "full.json").write_bytes(msgspec.json.encode(full))
    status, out, errors = command(*arguments)
    assert (status, out) == (2, "")
    assert errors.startswith(message)
    assert not FakeWorker.made or not any(worker.asked for worker in FakeWorker.made)


def test_a_device_that_is_not_there_is_a_mistake(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler.Process, "ask", lambda *_: Answer(mistake="device cuda cannot be used here: no"))
    assert command("tiny.yaml", "--device", "cuda") == (2, "", "device cuda cannot be used here: no\n")


def test_a_suite_is_measured_with_its_axes_overridden(command: Any) -> None:
    status, _, errors = command("--suite", "cnn-benchmarks", "--batch", "1", "--pass", "forward", "-o", "run.json")
    assert (status, errors.splitlines()[-1]) == (0, "run.json: 9 ok")
    assert "[7/9] resnet-50-v1.5, batch 1, forward: " in errors


# --- what is printed


def example() -> Run:
    """One cell of every kind."""
    key = Key(network="resnet-18", batch=8, input="3x224x224", multiply_adds=1_814_073_344)
    replace = msgspec.structs.replace
    settled = replace(
        timed(key, count=400), predicted_memory=7 * 2**20, warnings=("other processes used 12% of the time",)
    )
    step = replace(key, pass_="step", batch=1)
    parts = timed(step, 5.0, 4)
    whole = parts.timings["step"]
    part = {
        name: replace(whole, median=whole.median * share)
        for name, share in (("forward", 0.3), ("backward", 0.6), ("update", 0.1))
    }
    device = Device(power=231.4, idle_power=21.5, energy=0.01234, notes=("clock: Not Supported",))
    search = {"limit": 2**30, "predicted": 900, "found": 8, "refused": 9, "trials": [[8, True], [9, False]]}
    cells = (
        settled,
        replace(parts, timings={**part, "step": whole}, device=device),
        Cell(key=replace(key, batch=512), status="oom", reason="can't allocate memory"),
        Cell(key=replace(key, dtype="float16"), status="unsupported", reason="\"conv\" not implemented for 'Half'"),
        Cell(key=replace(key, batch=16), status="failed", reason="its process was ended by SIGKILL"),
        Request(replace(key, batch=0), True).cell("skipped", NOT_YET),
        replace(settled, settings={**settled.settings, "batch": "max", "search": search}),
    )
    return Run(
        version=1,
        created="2026-11-24T12:00:00+00:00",
        archprof="0.1.0",
        command="archprof bench resnet-18",
        machine="fake_torch-2.13_2-threads",
        hardware="Fake CPU, 2 cores",
        environment={"device": "cpu"},
        cells=cells,
    )


@pytest.mark.parametrize(
    ("format", "surface", "name"),
    [
        ("terminal", PIPE, "bench.txt"),
        ("terminal", Surface(width=80), "bench-80.txt"),
        ("terminal", Surface(width=160), "bench-160.txt"),
        ("markdown", PIPE, "bench.md"),
        ("csv", PIPE, "bench.csv"),
    ],
)
def test_what_is_printed(format: str, surface: Surface, name: str) -> None:  # noqa: A002
    text = render(example(), format, surface)
    goldens.check(name, text)
    if surface.width is not None:
        assert max(map(len, text.splitlines())) <= surface.width


@pytest.mark.parametrize(
    ("count", "caption"),
    [
        (1, "no p90 or p99: the most that a cell has is 1 sample: too few"),
        (51, "no p99: the most that a cell has is 51 samples: too few"),
    ],
)
def test_percentiles_that_no_cell_supports_are_missed_by_name(count: int, caption: str) -> None:
    replace = msgspec.structs.replace
    cell = timed(Key(network="resnet-18", batch=1, input="3x224x224"), count=max(count, 4))
    own = replace(cell.timings["forward"], count=count)
    run = replace(example(), cells=(replace(cell, timings={"forward": own}),))
    assert caption in render(run, "terminal", PIPE).splitlines()


def test_json_holds_everything() -> None:
    assert "json" in FORMATS
    text = render(example(), "json", PIPE)
    assert msgspec.json.decode(text.encode(), type=Run) == example()
    assert json.loads(text)["cells"][5]["reason"] == NOT_YET
