"""Results files: written whole, read back, and refused in words."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

import archprof
from archprof.errors import UsageError
from archprof.profiling.records import FORMAT, Cell, Device, Key, Layer, Run
from archprof.profiling.results import make_run, read_run, write_run
from archprof.profiling.statistics import summarise
from archprof.report.results import RUN_SCHEMA_FILE

TIMING = summarise([[0.011, 0.012, 0.010], [0.013, 0.011, 0.012]], 0.02)
CELLS = (
    Cell(
        Key("resnet-50", 8, "3x224x224", amp="float16", pass_="forward+backward", multiply_adds=3857973248),
        "ok",
        timings={"forward+backward": TIMING},
        layers=(Layer("conv1", "conv2d", 0.001),),
        device=Device(power=71.5, throttled=("power cap",)),
        settings={"threads": 2},
    ),
    Cell(Key("vgg-d", 512, "3x224x224"), "oom", reason="out of memory"),
    Cell(Key("zf", 1, "3x220x220"), "ok", figures={"forward": 0.5}),
)
RUN = make_run(CELLS, {"torch": "2.13.0", "variables": {"OMP_NUM_THREADS": "2"}}, "cpu_torch-2.13", "a CPU", "archprof")


def test_a_run_is_read_back_as_it_was(tmp_path: Path) -> None:
    write_run(RUN, tmp_path / "run.json")
    assert read_run(tmp_path / "run.json") == RUN
    assert (RUN.version, RUN.archprof) == (FORMAT, archprof.__version__)
    assert RUN.created.endswith("+00:00")


def test_a_cell_is_a_line(tmp_path: Path) -> None:
    write_run(RUN, tmp_path / "run.json")
    lines = (tmp_path / "run.json").read_text().splitlines()
    assert [line[:18] for line in lines if "network" in line] == ['  {"key":{"network'] * 3


def test_seconds_are_those_of_the_keys_own_pass() -> None:
    assert [cell.seconds for cell in CELLS] == [TIMING.median, None, 0.5]


HEAD = '{"version":1,"created":"","archprof":"","command":"","machine":"","hardware":"","environment":{},"cells":['


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty: no results"),
        ("\n", "the file is empty: no results"),
        (HEAD + '{"key":{"netw', "cut off: its JSON ends too early"),
        ('{"version": 1, "cells": [', "cut off: its JSON ends too early"),
        ('{"version": 1, "seconds": 0.', "cut off: its JSON ends too early"),
        ('{"version": 1, "seconds": 5e-', "cut off: its JSON ends too early"),
        ('{"version": 1, "change": -', "cut off: its JSON ends too early"),
        (
            '{"version": 2, "cells": [{"new": 1}]}',
            "a results file of version 2; this archprof reads version 1: upgrade archprof to read it",
        ),
        ('{"schema": "archprof.table/1"}', "JSON, but no results file of archprof: it has no version and cells"),
        ('{"version": 0, "cells": []}', "JSON, but no results file of archprof: it has no version and cells"),
        ("[]", "JSON, but no results file of archprof: it has no version and cells"),
        ("zf: a spec", "not a results file: JSON is malformed: invalid character (byte 0)"),
        (
            HEAD + '{"key":{"network":"zf","batch":"8","input":"3"},"status":"ok"}]}',
            "not a results file as archprof writes it: Expected `int`, got `str` - at `$.cells[0].key.batch`",
        ),
        (
            HEAD + '{"key":{"network":"zf","batch":8,"input":"3"},"status":"fine"}]}',
            "not a results file as archprof writes it: Invalid enum value 'fine' - at `$.cells[0].status`",
        ),
        (
            '{"version": 1, "cells": []}',
            "not a results file as archprof writes it: Object missing required field `created`",
        ),
    ],
)
def test_what_is_no_results_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(UsageError) as refused:
        read_run(path)
    assert str(refused.value) == f"{path}: {message}"


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(HEAD.replace('"hardware":""', '"hardware":"\xff"').encode("latin-1") + b"]}")
    with pytest.raises(UsageError, match="not a results file as archprof writes it: 'utf-8' codec can't decode"):
        read_run(path)


@pytest.mark.parametrize("cut", range(0, 1000, 37))
def test_wherever_a_file_is_cut_off_it_is_said(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "run.json"
    write_run(RUN, path)
    content = path.read_bytes()
    assert len(content) > 1000
    path.write_bytes(content[:cut])
    with pytest.raises(UsageError, match=r"cut off: its JSON ends too early|the file is empty"):
        read_run(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^cannot read .*/none\.json: No such file or directory$"):
        read_run(tmp_path / "none.json")
    with pytest.raises(UsageError, match=r"^cannot read .*: Is a directory$"):
        read_run(tmp_path)
    with pytest.raises(UsageError, match=r"^cannot read a\x00b: embedded null byte$"):
        read_run("a\0b")


def test_a_run_that_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_run(RUN, path)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UsageError, match=r"^cannot write .*run\.json: No space left on device$"):
        write_run(msgspec.structs.replace(RUN, hardware="another"), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^cannot write .*: there is no folder .*/none$"):
        write_run(RUN, tmp_path / "none/run.json")


def test_unknown_fields_of_the_same_version_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_run(RUN, path)
    path.write_text(path.read_text().replace('"version": 1', '"version": 1, "mood": "fine"'))
    assert read_run(path) == RUN


# --- the schema


def undescribed(schema: Any) -> Any:
    """A schema without its words."""
    if isinstance(schema, dict):
        return {name: undescribed(value) for name, value in schema.items() if name != "description"}
    return [undescribed(each) for each in schema] if isinstance(schema, list) else schema


def test_the_schema_is_that_of_the_records() -> None:
    schema = json.loads(RUN_SCHEMA_FILE.read_text())
    shape = {name: value for name, value in schema.items() if name not in ("$schema", "$id", "title")}
    assert undescribed(shape) == undescribed(json.loads(json.dumps(msgspec.json.schema(Run))))
    assert schema["$id"] == f"archprof.run/{FORMAT}"


def test_every_field_is_described() -> None:
    schema = json.loads(RUN_SCHEMA_FILE.read_text())
    for name, record in schema["$defs"].items():
        assert record["description"], name
        for field, value in record["properties"].items():
            assert value.get("description"), f"{name}.{field}"


def test_a_written_run_follows_the_schema(tmp_path: Path) -> None:
    write_run(RUN, tmp_path / "run.json")
    jsonschema.validate(
        json.loads((tmp_path / "run.json").read_text()), json.loads(RUN_SCHEMA_FILE.read_text()),
        cls=jsonschema.Draft202012Validator,
    )  # fmt: skip
