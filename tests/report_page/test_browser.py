"""The page in a real browser: headless Chromium with the network off.

Without Chromium these tests are skipped; ARCHPROF_REQUIRE_BROWSER=1 makes that a failure.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import archprof
from archprof.analysis import COLUMNS, make_table
from archprof.report.page import compare, match_results, render_page
from tests.report_page.test_page import run_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.xdist_group("browser")  # one Chromium, whatever the number of workers

Open = Callable[..., "Page"]
COUNTS = {"param": 0, "FLOPs": 0, "activations": 0}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium; without it a skip, or a failure where it is required."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    reason = None
    if chromium is None:
        reason = "no Chromium: apt-get install chromium"
    else:
        try:
            from playwright.sync_api import sync_playwright
        except ImportError:
            reason = "no playwright: pip install playwright"
    if reason is not None:
        if os.environ.get("ARCHPROF_REQUIRE_BROWSER") == "1":
            pytest.fail(f"ARCHPROF_REQUIRE_BROWSER=1, and there is {reason}")
        pytest.skip(reason)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Open a page from its file. At the end: nothing was written to the console, nothing was asked of the network."""
    said: list[str] = []
    contexts = []

    def call(html: str, *, scripts: bool = True, width: int = 1280) -> Page:
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8")
        size = {"width": width, "height": 900}
        context = browser.new_context(offline=True, java_script_enabled=scripts, viewport=size)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(5000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: None if request.url == path.as_uri() else said.append(request.url))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.goto(path.as_uri())
        if scripts:
            page.wait_for_selector("html[data-ready]")
        return page

    yield call
    for context in contexts:
        context.close()
    assert said == []


def page_of(name: str, **options: Any) -> str:
    return render_page([archprof.analyse(archprof.load(name), **options)])


def row(page: Page, path: str) -> Any:
    """The table's row of a path that is alone in having its last part."""
    return page.locator(f"tbody tr[data-row='{place(page, path)}']")


def box(page: Page, path: str) -> Any:
    return page.locator(f".canvas [data-row='{place(page, path)}']")


def place(page: Page, path: str) -> int:
    """The row of a path, by what the page calls its boxes once all are unfolded: here by its data alone."""
    return int(
        page.evaluate(
            """(path) => {
              const data = JSON.parse(document.getElementById("data").textContent).networks[0];
              const paths = [];
              for (let row = 0; row < data.parent.length; row++) {
                let around = data.parent[row];
                if (around >= 0 && data.copies[around]) around = data.parent[around];
                const name = data.labels[data.label[row]];
                paths.push(around < 0 ? name : `${paths[around]}.${name}`);
              }
              return paths.indexOf(path);
            }""",
            path,
        )
    )


def numbers(page: Page, column: str, part: str = "tbody tr") -> list[int]:
    """The exact numbers of a column, as shown."""
    texts = page.locator(f"{part} td[data-column='{column}']").all_inner_texts()
    return [int(text.replace(",", "") or 0) for text in texts]


def leaves_shown(page: Page, column: str) -> int:
    """The sum over shown rows that are not unfolded: whatever is folded, that of the network."""
    texts = page.locator(f"tbody tr:not([aria-expanded=true]) td[data-column='{column}']").all_inner_texts()
    return sum(int(text.replace(",", "") or 0) for text in texts)


def test_totals_stay_the_apis_whatever_is_folded(open_page: Open) -> None:
    analysis = archprof.analyse(archprof.load("googlenet"))
    expected = {"param": analysis.params, "FLOPs": analysis.flops, "activations": analysis.total.activations}
    page = open_page(render_page([analysis]))
    page.get_by_label("exact").check()

    def totals() -> list[dict[str, int]]:
        return [
            {name: leaves_shown(page, name) for name in expected},
            {name: sum(numbers(page, name, "tfoot tr")) for name in expected},
        ]

    folded = page.locator("tbody tr").count()
    assert totals() == [expected, expected]
    row(page, "inception_3a").locator("button").click()
    assert page.locator("tbody tr").count() > folded
    assert totals() == [expected, expected]
    row(page, "inception_3a.3x3").locator("button").click()
    assert totals() == [expected, expected]
    row(page, "inception_3a").locator("button").click()
    assert page.locator("tbody tr").count() == folded
    assert totals() == [expected, expected]
    page.get_by_label("Rows").select_option("all")
    assert page.locator("tbody tr").count() == 210
    assert totals() == [expected, expected]
    cards = page.locator("[data-total=param] small, [data-total=FLOPs] small").all_inner_texts()
    assert cards == [f"{analysis.params:,}", f"{analysis.flops:,}"]


def test_rows_are_those_of_the_table_at_every_depth(open_page: Open) -> None:
    analysis = archprof.analyse(archprof.load("googlenet"))
    page = open_page(render_page([analysis]))
    page.get_by_label("exact").check()
    for depth in (1, 2, None):
        table = make_table(analysis, fold=depth, columns=("layer", "size-in", "size-out", "kernel", "param"))
        page.get_by_label("Rows").select_option("all" if depth is None else str(depth))
        shown = page.locator("tbody tr:not([aria-expanded=true])")
        cells = shown.evaluate_all(
            "rows => rows.map(row => ['size-in', 'size-out', 'kernel', 'param']"
            ".map(name => row.querySelector(`[data-column=${name}]`).textContent))"
        )
        assert cells == [
            [", ".join(map(str, row.cells[1])), ", ".join(map(str, row.cells[2])), row.cells[3], f"{row.cells[4]:,}"]  # type: ignore[arg-type]
            for row in table.rows
        ]


def test_a_click_folds_a_box_of_the_graph_and_a_second_one_restores_it(open_page: Open) -> None:
    page = open_page(page_of("resnet-152"))
    picture = page.locator(".canvas svg")

    def drawn() -> str:
        return re.sub(r' tabindex="-?[01]"', "", picture.inner_html())  # where the keyboard is may change

    before = drawn()
    box(page, "conv4_x").locator(".fold").click()
    assert box(page, "conv4_x").get_attribute("aria-expanded") == "true"
    assert box(page, "conv4_x.0").count() == 1
    assert "1-35 x 35" in page.locator(".canvas").inner_text()  # the repeat is one box
    box(page, "conv4_x").locator(".fold").first.click()
    assert box(page, "conv4_x").get_attribute("aria-expanded") == "false"
    assert drawn() == before


def test_search_finds_and_leads_there(open_page: Open) -> None:
    page = open_page(page_of("googlenet"))
    search = page.get_by_label("Search layers")
    search.fill("5x5_reduce")
    assert page.locator(".said").last.inner_text() == "9 matches"
    assert page.locator("tbody mark").all_inner_texts() == ["5x5_reduce"] * 9
    search.press("Enter")
    assert box(page, "inception_3a.5x5_reduce").get_attribute("aria-selected") == "true"
    search.fill("local_response_norm")  # an operator
    assert page.locator("tbody th .name").all_inner_texts() == ["norm1", "norm2"]
    search.fill("<b>nothing")
    assert page.locator("tbody").inner_text().strip() == "no layer matches"
    search.fill("")
    assert page.locator("tbody tr").count() == 22


def test_sort_sorts_and_two_clicks_restore(open_page: Open) -> None:
    page = open_page(page_of("googlenet"))
    page.get_by_label("exact").check()
    before = page.locator("tbody").inner_text()
    order = numbers(page, "param")
    header = page.locator("th[data-column=param]")
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert numbers(page, "param") == sorted(order, reverse=True)
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "none"
    assert page.locator("tbody").inner_text() == before
    header.locator("button").click(modifiers=["Shift"])
    assert numbers(page, "param") == sorted(order)
    page.locator("th[data-column=layer] button").click()
    names = page.locator("tbody th .name").all_inner_texts()
    assert names == sorted(names)
    row(page, "inception_3a").locator("button").click()  # what lies in a block stays below it
    inside = page.locator("tbody tr[aria-level='2'] th .name").all_inner_texts()
    assert inside == sorted(inside)
    assert len(inside) > 5


def test_a_row_leads_to_its_box_and_a_box_to_its_row(open_page: Open) -> None:
    page = open_page(page_of("googlenet"))
    page.get_by_label("Rows").select_option("all")
    row(page, "inception_4a.5x5.conv2d").click()
    assert box(page, "inception_4a.5x5.conv2d").get_attribute("aria-selected") == "true"
    assert page.locator(".details h3").inner_text() == "inception_4a.5x5.conv2d"
    assert "kernel_size=5x5" in page.locator(".details").inner_text()
    page.get_by_label("Rows").select_option("1")
    assert row(page, "inception_4a.5x5.conv2d").count() == 0
    box(page, "inception_4a.5x5.activation").click()
    assert row(page, "inception_4a.5x5.activation").get_attribute("aria-selected") == "true"
    assert page.locator("tbody [aria-selected=true]").count() == 1
    part = page.locator(".icicle").first.locator("g[aria-label^='classifier,']")
    part.click()
    assert row(page, "classifier").get_attribute("aria-selected") == "true"
    assert box(page, "classifier").get_attribute("aria-selected") == "true"


def test_the_keyboard_is_enough(open_page: Open) -> None:
    page = open_page(page_of("googlenet"))
    page.locator("tbody tr").first.focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert box(page, "conv1.conv2d").get_attribute("aria-selected") == "true"
    for key in ("ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    assert row(page, "conv1").get_attribute("aria-expanded") == "false"
    assert page.evaluate("document.activeElement.dataset.row") == "0"
    box(page, "conv1").focus()
    page.keyboard.press("ArrowLeft")
    assert box(page, "conv1").get_attribute("aria-expanded") == "false"
    page.keyboard.press("ArrowRight")
    assert box(page, "conv1").get_attribute("aria-expanded") == "true"
    assert "112x112x64" in page.locator(".tip:not([hidden])").inner_text()
    page.keyboard.press("Escape")
    assert page.locator(".tip:not([hidden])").count() == 0


def test_hover_shows_shape_and_cost(open_page: Open) -> None:
    page = open_page(page_of("zf"))
    row(page, "conv2").hover()
    tip = page.locator(".tip").inner_text().splitlines()
    assert tip[:4] == ["conv2", "conv2d 3x3x64, 1", "55x55x64 → 55x55x192", "param 111K"]


def test_a_name_is_text_and_never_markup(open_page: Open) -> None:
    graph = archprof.load("zf")
    name = "<img src=x onerror=alert(1)></script><script>alert(2)</script><!--"
    path = f"{name}{{{{7*7}}}}"  # nor is it a template's
    nodes = [msgspec.structs.replace(node, path=path) if node.path == "pool1" else node for node in graph.nodes]
    graph = msgspec.structs.replace(
        graph, nodes=tuple(nodes), name=name, title=name, source=name, parameters={name: name}
    )
    page = open_page(render_page([archprof.analyse(graph)], command=name))
    assert page.title() == name
    assert page.locator("h1").inner_text() == name
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 3
    assert path in page.locator("tbody").inner_text()
    page.locator("tbody tr", has_text="onerror").click()
    assert page.locator(".details h3").inner_text() == path
    assert "onerror" in (page.locator(".canvas svg").text_content() or "")


def test_without_scripts_the_table_is_there(open_page: Open) -> None:
    page = open_page(page_of("zf"), scripts=False)
    assert page.locator("noscript").inner_text().startswith("Scripts are off")
    lines = page.locator("table tr").all_inner_texts()
    assert len(lines) == 24
    assert lines[1].split() == ["conv1", "220x220x3", "110x110x64", "7x7x3,", "2", "0.009", "0.115", "0.774", "5.908"]
    assert lines[-1].split() == ["total", "140.026", "1.608", "2.343", "22.432"]


def test_measured_times_and_roofline_classes_colour_the_boxes(open_page: Open) -> None:
    analysis = archprof.analyse(archprof.load("resnet-18"))
    results = match_results({"run.json": run_of("resnet-18")}, [analysis])
    page = open_page(render_page([analysis], results=results))
    headers = page.locator("thead th button").all_inner_texts()
    assert headers[-3:] == ["forward [ms]", "backward [ms]", "bound by"]
    cells = row(page, "conv1").locator("td").all_inner_texts()
    assert cells[-3:] == ["3.000", "4.000", "compute"]
    page.get_by_label("Colour by").select_option("forward")
    assert "shade-5" in box(page, "conv1").get_attribute("class")
    assert "shade-0" in box(page, "conv2_x").get_attribute("class")
    page.get_by_label("Colour by").select_option("bound")
    assert "bound-compute" in box(page, "conv1").get_attribute("class")
    assert page.locator(".legend").inner_text().split() == ["compute", "memory"]
    page.locator(".chart circle[data-path='conv1.norm']").click()
    assert row(page, "conv1.norm").get_attribute("aria-selected") == "true"
    assert "bound-memory" in box(page, "conv1.norm").get_attribute("class")


def test_every_column_of_the_table_can_be_shown(open_page: Open) -> None:
    page = open_page(page_of("alexnet"))
    page.locator(".menu summary").click()
    for choice in page.locator(".choices input").all():
        choice.check()
    page.keyboard.press("Escape")
    shown = page.locator("thead th").evaluate_all("all => all.map(each => each.dataset.column)")
    assert sorted(shown) == sorted(COLUMNS)
    page.get_by_label("exact").check()
    analysis = archprof.analyse(archprof.load("alexnet"))
    for name in ("cumulative-FLOPs", "comparisons", "bytes", "operations", "fvcore"):
        table = make_table(analysis, fold=1, columns=(name,))
        assert numbers(page, name) == [line.cells[0] for line in table.rows]


def test_two_networks_stand_side_by_side_with_their_changes_marked(open_page: Open) -> None:
    before, after = (archprof.analyse(archprof.load("resnet", depth=depth)) for depth in (34, 50))
    page = open_page(render_page([before, after], differences=compare(before, after, ("resnet-34", "resnet-50"), 1)))
    summary = page.locator(".changes li").all_inner_texts()
    assert summary[1:3] == [
        "parameters 21,797,672 → 25,557,032 (x 1.17)",
        "FLOPs 3,663,761,408 → 3,857,973,248 (x 1.05)",
    ]
    lines = page.locator(".diff tbody tr:visible")
    assert [each.split()[0] for each in lines.all_inner_texts()] == ["conv1", "pool1"] + ["~"] * 7
    page.get_by_label("changes only").check()
    assert lines.count() == 7
    assert lines.first.locator("td.differs").all_inner_texts() == [
        "56x56x64",
        "221,952",
        "693,633,024",
        "56x56x256",
        "215,808",
        "667,942,912",
    ]
    lines.first.click()
    selected = page.locator(".canvas [aria-selected=true]")
    assert [each.split(",")[0] for each in selected.evaluate_all("all => all.map(one => one.ariaLabel)")] == [
        "conv2_x",
        "conv2_x",
    ]
    assert "changed" in (selected.first.get_attribute("class") or "")
    page.locator("#network-2 tbody tr", has_text="conv5_x").click()
    assert page.locator(".diff [aria-selected=true]").get_attribute("data-after") == "conv5_x"
    assert page.locator("#network-1 tbody [aria-selected=true] .name").inner_text() == "conv5_x"


def test_a_deep_network_makes_only_the_rows_in_sight(open_page: Open) -> None:
    page = open_page(page_of("resnet-1202"))
    page.get_by_label("Rows").select_option("all")
    table = page.locator("[role=treegrid]")
    assert table.get_attribute("aria-rowcount") == "6015"
    assert page.locator("tbody tr[data-row]").count() < 200
    page.locator("tbody tr[data-row]").first.focus()
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.querySelector('.name').textContent") == "fc"
    assert page.locator(".canvas [data-row]").count() < 20
    page.get_by_role("button", name="Unfold one more level").click()
    page.get_by_role("button", name="Unfold one more level").click()
    assert page.locator(".canvas [data-row]").count() > 600


def test_the_theme_follows_the_system_and_the_button(open_page: Open) -> None:
    page = open_page(page_of("zf"))

    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = ground()
    page.emulate_media(color_scheme="dark")
    dark = ground()
    assert light != dark
    page.locator(".theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") is not None
    page.emulate_media(color_scheme="light")
    page.locator(".theme").click()
    page.emulate_media(media="print")
    assert page.locator(".tools:visible").count() == 0


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_window(open_page: Open, width: int) -> None:
    page = open_page(page_of("googlenet"), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
