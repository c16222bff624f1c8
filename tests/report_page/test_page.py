"""The page as text and data: nothing from outside, nothing but text from a spec, figures that are the API's."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import archprof
from archprof.analysis import COLUMNS, make_table
from archprof.analysis.table import cell_text
from archprof.experiments.records import Epoch, Trial
from archprof.profiling.records import Cell, Key, Layer, Run
from archprof.profiling.results import write_run
from archprof.report.page import compare, match_results, render_page
from archprof.report.page.data import as_json, network_data
from archprof.report.page.render import ASSETS, SCRIPTS
from archprof.report.page.tree import tree

SVG = "http://www.w3.org/2000/svg"
NETWORKS = ("zf", "googlenet", "resnet-152", "densenet-121", "vit-b-16", "lstm-language-model", "unet")
RUN = {"version": 1, "created": "2026-11-24T12:00:00+00:00", "archprof": "0.1.0", "command": "", "machine": "m"}
ADDS = 1_814_073_344  # of ResNet-18, as tests/test_specs.py holds it


def page_of(*names: str) -> str:
    return render_page([archprof.analyse(archprof.load(name)) for name in names])


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1])


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_comes_from_outside(name: str) -> None:
    page = page_of(name)
    assert set(re.findall(r"[a-z]+://[^\s\"'<>`]*", page, re.I)) == {SVG}
    assert not re.search(r"<(link|iframe|img|object|embed|base|form)\b|\bsrc=|@import|url\((?!#)|\bimport\(", page)
    assert page.count("<script") == 3


def test_the_policy_allows_the_scripts_and_the_style_of_the_page_alone() -> None:
    page = page_of("zf")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    styles = re.findall(r"<style>(.*?)</style>", page, re.S)
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts + styles
    ]
    policy = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    assert [each.replace("&#39;", "'") for each in policy] == [
        f"default-src 'none'; script-src {hashes[0]} {hashes[1]}; style-src {hashes[2]}; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ]
    assert not re.search(r'\s(style|on[a-z]+)="', page)


def test_dagres_licence_is_in_the_page() -> None:
    page = page_of("zf")
    assert "Copyright (c) 2012-2014 Chris Pettitt" in page
    assert "THE SOFTWARE IS PROVIDED" in page


def test_pages_are_small() -> None:
    assert len(page_of("resnet-152").encode()) < 200_000
    assert len(page_of("resnet-1202").encode()) < 400_000


@pytest.mark.parametrize("name", NETWORKS)
def test_the_tree_has_the_rows_of_the_table_at_every_depth(name: str) -> None:
    analysis = archprof.analyse(archprof.load(name), train=True)
    rows = tree(analysis)
    plain = [row for row in rows if row.group.copies == 1]
    deepest = max(len(each.node.path.split(".")) for each in analysis.figures)
    for depth in range(1, deepest + 1):
        table = make_table(analysis, fold=depth, columns=("layer",))
        shown = [
            row for row in plain if (level := row.group.path.count(".") + 1) == depth or (row.is_leaf and level < depth)
        ]
        assert [row.group.path for row in shown] == [row.path for row in table.rows if row.kind == "row"]


def test_repeats_lie_under_a_row_of_their_own() -> None:
    rows = tree(archprof.analyse(archprof.load("vit-b-16")))
    [repeat] = [place for place, row in enumerate(rows) if row.group.copies > 1]
    assert (rows[repeat].name, rows[repeat].group.copies, rows[repeat].parent) == ("0-11", 12, repeat - 1)
    assert [row.name for row in rows if row.parent == repeat] == [str(copy) for copy in range(12)]


@pytest.mark.parametrize("name", ["zf", "resnet-152", "lstm-language-model"])
def test_the_data_are_the_analysis_exactly(name: str) -> None:
    analysis = archprof.analyse(archprof.load(name))
    rows = tree(analysis)
    data = network_data(analysis, rows)
    for column in data["columns"]:
        source = COLUMNS[column["name"]]
        if source.form != "plain" or column["of"] < 0:
            continue
        for place, row in enumerate(rows):
            cell = data["kinds"][data["kind"][place]][column["of"]]
            wanted = source.count(row.group) if source.count is not None else source.value(row.group)  # type: ignore[misc]
            assert cell == (wanted if isinstance(wanted, int) else cell_text(wanted))  # type: ignore[arg-type]
    counts = {column["name"]: data["total"][column["of"]] for column in data["columns"] if column["form"] == "count"}
    assert counts["param"] == analysis.params
    assert counts["FLOPs"] == counts["multiply_adds" if name != "zf" else "multiply_adds_with_bias"] == analysis.flops
    assert len(data["edges"]) // 2 == sum(len({value.node for value in each.node.inputs}) for each in analysis.figures)


def test_counts_beyond_what_a_script_holds_are_texts() -> None:
    analysis = archprof.analyse(archprof.load("vgg-16"), batch=10**7)
    data = network_data(analysis, tree(analysis))
    flops = next(column["of"] for column in data["columns"] if column["name"] == "FLOPs")
    assert data["total"][flops] == str(analysis.flops)


def test_json_cannot_leave_its_element() -> None:
    nasty = "</script><!--\u2028\u2029&]]>"
    text = as_json({nasty: nasty})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {nasty: nasty}


def test_names_are_escaped_where_scripts_do_not_come() -> None:
    name = '<img src="x" onerror="alert(1)">'
    graph = msgspec.structs.replace(archprof.load("zf"), title=name, source=name, parameters={name: name})
    page = render_page([archprof.analyse(graph)], command=name)
    assert "<img" not in page
    assert page.count("&lt;img src=&#34;x&#34; onerror=&#34;alert(1)&#34;&gt;") >= 4


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_take_no_text_as_markup(name: str) -> None:
    script = (ASSETS / name).read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|</script|<!--", script
    )


def test_scripts_are_well_formed() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node: the browser tests run the scripts")
    for name in SCRIPTS:
        subprocess.run([node, "--check", ASSETS / name], check=True)


# --- the command


def run_of(network: str, multiply_adds: int = ADDS, **fields: Any) -> Run:
    key = Key(network=network, batch=2, input="3x224x224", pass_="forward+backward", multiply_adds=multiply_adds)
    layers = (
        Layer("conv1.conv2d", "conv2d", 0.002, 0.003, 10**9, 10**9, 10**7, 10**7),
        Layer("conv1.norm", "batch_norm2d", 0.001, 0.001, 10**6, 10**6, 10**7, 10**7),
        Layer("before", "", 0.001),
    )
    cell = Cell(key=key, status="ok", images_per_second=40.0, layers=layers)
    other = Cell(key=msgspec.structs.replace(key, batch=64), status="oom", reason="3 GiB asked, 2 GiB there")
    return Run(**RUN, hardware="NVIDIA A100-SXM4-40GB", environment={"device": "cuda:0"}, cells=(cell, other), **fields)  # type: ignore[arg-type]


def test_results_stand_beside_the_counts() -> None:
    analysis = archprof.analyse(archprof.load("resnet-18"))
    results = match_results({"run.json": run_of("resnet-18")}, [analysis])
    data = data_of(render_page([analysis], results=results))["networks"][0]
    [times] = data["times"]
    assert times["label"] == "NVIDIA A100-SXM4-40GB, batch 2, 3x224x224, float32, forward+backward"
    assert (times["forward"][:3], times["backward"][:3]) == ([0.003, 0.002, 0.001], [0.004, 0.003, 0.001])
    # 19.5 TFLOP/s and 1,555 GB/s: the convolution's 100 operations a byte are compute, the norm's 0.1 memory
    assert times["bound"][:3] == ["compute", "compute", "memory"]
    assert times["forward"][5] is None


def test_results_have_their_charts() -> None:
    analysis = archprof.analyse(archprof.load("resnet-18"))
    page = render_page([analysis], results=match_results({"run.json": run_of("resnet-18")}, [analysis]))
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Roofline of resnet-18", "Bench on NVIDIA A100-SXM4-40GB"]
    assert page.count('<circle class="point') == 2
    assert '<td class="failed" title="3 GiB asked, 2 GiB there">oom</td>' in page


def test_own_figures_stand_beside_published_ones() -> None:
    analysis = archprof.analyse(archprof.load("resnet-18"))
    run = run_of("resnet-18")
    key = msgspec.structs.replace(run.cells[0].key, batch=16)
    run = msgspec.structs.replace(run, cells=(Cell(key=key, status="ok", images_per_second=40.0),))
    page = render_page([analysis], results=match_results({"run.json": run}, [analysis]))
    assert "resnet-18 beside other devices" in page
    assert "GTX 1080, Torch, cuDNN 5.1.05" in page


Call = Callable[..., str]


def test_report_writes_one_page(ok: Call) -> None:
    assert ok("report", "zf", "--output", "page.html") == ""
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "archprof report zf --output page.html" in Path("page.html").read_text(encoding="utf-8")
    assert ok("report", "zf").startswith("<!doctype html>")


def test_report_of_two_marks_the_changes(ok: Call) -> None:
    page = ok("report", "vgg-16", "vgg-19")
    data = data_of(page)["networks"]
    assert set(data[1]["marks"].values()) == {"added"}
    assert page.count('<tr class="added"') > 0
    assert "parameters 138,357,544 → 143,667,240 (x 1.04)" in page


def test_report_of_one_network_with_two_settings_names_them(ok: Call) -> None:
    page = ok("report", "resnet:resnet-50", "resnet:resnet-50")
    assert "the networks are equal" in page
    assert '<th class="side" colspan="5" scope="colgroup">resnet:resnet-50</th>' in page


def test_report_of_three_has_a_section_each(ok: Call) -> None:
    page = ok("report", "zf", "alexnet", "nin")
    assert page.count('<section class="network"') == 3
    assert 'class="diff"' not in page


def test_report_takes_the_options_of_table(ok: Call) -> None:
    page = ok("report", "resnet", "--set", "depth=18", "--batch", "2", "--fold", "2", "--counting", "operations")
    [data] = data_of(page)["networks"]
    assert data["fold"] == 2
    assert "counting: operations" in page
    assert "batch 2" in page


def test_report_takes_a_torch_module(ok: Call) -> None:
    settings = ("--set", "in_features=3", "--set", "out_features=4", "--input", "3")
    [data] = data_of(ok("report", "torch.nn:Linear", *settings))["networks"]
    assert data["total"][next(column["of"] for column in data["columns"] if column["name"] == "param")] == 16


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (run_of("vgg-16"), "run.json: results of vgg-16, not of resnet-18"),
        (
            run_of("resnet-18", 1_000_000),
            "run.json: results of a resnet-18 with 1,000,000 multiply-adds an image (input 3x224x224), and resnet-18 "
            "has 1,814,073,344 here: another variant, input or setting",
        ),
        (b'{"version": 1, "cells": [', "cut off: its JSON ends too early"),
        (
            b'{"version": 99, "cells": []}',
            "a results file of version 99; this archprof reads version 1: upgrade archprof to read it",
        ),
    ],
)
def test_results_that_cannot_be_shown_are_refused(refused: Call, content: bytes | Run, message: str) -> None:
    if isinstance(content, Run):
        write_run(content, "run.json")
    else:
        Path("run.json").write_bytes(content)
    said = refused("report", "resnet-18", "--results", "run.json", "-o", "page.html")
    assert said.startswith("run.json: ")
    assert said.endswith(f"{message}\n")
    assert not Path("page.html").exists()


def test_a_page_that_cannot_be_written_is_refused(refused: Call) -> None:
    assert refused("report", "zf", "-o", "none/page.html").startswith(
        "cannot write none/page.html: there is no folder "
    )
    assert refused("report", "zf", "-o", ".") == "cannot write .: it is a directory; give a file\n"


def test_without_jinja2_the_message_says_what_to_install(refused: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "jinja2" else found(name, *rest)
    )
    assert refused("report", "zf") == "report needs jinja2: pip install 'archprof[report]'\n"


# --- the depth experiment


def trial(depth: int, shortcut: str, seed: int, error: float) -> Trial:
    epochs = tuple(
        Epoch(
            epoch=epoch, iteration=100 * epoch, train_loss=1.0, train_error_running=error, train_error=error / epoch,
            test_error=error + 1, test_loss=1.0, seconds=1.0, learning_rate=0.1,
        )
        for epoch in (1, 2)
    )  # fmt: skip
    return Trial("resnet-cifar", depth, shortcut, seed, "finished", "", epochs, (), 1000)


def depth_run(*trials: Trial) -> None:
    Path("run/trials").mkdir(parents=True)
    Path("run/config.json").write_text("{}")
    for each in trials:
        name = f"{each.depth}-{each.shortcut}-{each.seed}"
        Path(f"run/trials/{name}.json").write_bytes(msgspec.json.encode(each))


def test_a_depth_run_has_its_curves_and_verdicts(ok: Call, run: Callable[..., Any]) -> None:
    depth_run(*(trial(depth, cut, 0, 10.0 + depth) for depth in (8, 14) for cut in ("none", "identity")))
    page = ok("report", "resnet-20", "--depth-run", "run")
    assert re.findall(r"<h2>(.*?)</h2>", page) == [
        "Depth and error: resnet-cifar, plain",
        "Depth and error: resnet-cifar, residual",
        "Verdicts",
    ]
    assert "plain-8 training, 9.0 %" in page
    assert "not shown (needs 5 seeds)" in page


def test_a_depth_run_of_another_network_is_refused(refused: Call) -> None:
    depth_run(trial(8, "none", 0, 10.0))
    assert refused("report", "zf", "--depth-run", "run") == "run is a run of resnet-cifar, not of zf\n"


def test_a_depth_run_that_cannot_be_shown_is_refused(refused: Call) -> None:
    assert refused("report", "zf", "--depth-run", "no") == "no holds no run: it has no config.json\n"
    depth_run()
    assert refused("report", "zf", "--depth-run", "run") == "run: no trial has ended yet, so there is nothing to show\n"
    Path("run/trials/8-none-0.json").write_text('{"network": "res')
    assert refused("report", "zf", "--depth-run", "run").startswith("cannot read run/trials/8-none-0.json: ")


def test_the_diff_of_a_page_is_that_of_the_analysis() -> None:
    before, after = (archprof.analyse(archprof.load(name)) for name in ("vgg-16", "vgg-19"))
    found = compare(before, after, ("a", "b"), 1)
    rows = next(table.rows for table in found.tables if table.shown)
    assert {row.status for row in rows} == {"same", "changed", "added"} - ({"changed"} - {row.status for row in rows})
    added = {row.after for row in rows if row.status == "added"}
    assert added == {path.partition(".")[0] for path, status in found.marks[1].items() if status == "added"}
    assert "added" not in found.marks[0].values()


def test_a_node_may_have_the_name_of_its_block_or_its_path() -> None:
    graph = archprof.load("alexnet")
    first, second, third = (node.path for node in graph.nodes[1:4])
    renamed = {first: "a", second: "a.a", third: "a.a.a"}
    nodes = [msgspec.structs.replace(node, path=renamed.get(node.path, node.path)) for node in graph.nodes]
    rows = tree(archprof.analyse(msgspec.structs.replace(graph, nodes=tuple(nodes))))
    found = [(row.group.path, row.name, row.parent, row.is_leaf) for row in rows[:5]]
    assert found == [
        ("a", "a", None, False),
        ("a", "", 0, True),
        ("a.a", "a", 0, False),
        ("a.a", "", 2, True),
        ("a.a.a", "a", 2, True),
    ]
