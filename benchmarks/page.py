"""The page of `archprof report` in headless Chromium: how soon it answers, and how long folding takes.

    python benchmarks/page.py [--rounds 7]

Interactive: from the beginning of the navigation (the page's file, the network off) until the page's script has ended
and a frame after it was drawn. Folding: from the click on a block of the graph, or on a row of the table, until the
second frame after it, which shows the result; every block that a fresh page shows, and every block inside the largest
of them, is unfolded and folded again. Medians, and the slowest.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

import archprof
from archprof.report.page import render_page

LIMITS = {"resnet-152": (1.0, 0.2), "resnet-1202": (3.0, None)}  # seconds: interactive; of a fold

FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"
CLICKS = f"""async (what) => {{
  const [button, parts] = what === "graph" ? [".fold", ".canvas [aria-expanded]"] : ["button", "tbody [aria-expanded]"];
  const times = [];
  const find = (row) => document.querySelector(`${{what === "graph" ? ".canvas" : "tbody"}} [data-row="${{row}}"]`);
  const click = async (row) => {{
    const start = performance.now();
    find(row).querySelector(button).dispatchEvent(new MouseEvent("click", {{ bubbles: true }}));
    times.push(await {FRAMES} - start);
  }};
  const rows = () => [...document.querySelectorAll(parts)].map((each) => each.dataset.row);
  const before = rows();
  const held = new Map();
  for (const row of before) {{ await click(row); held.set(row, rows().length); await click(row); }}
  await click(before.reduce((one, other) => (held.get(other) > held.get(one) ? other : one)));
  for (const row of rows().filter((each) => !before.includes(each))) {{ await click(row); await click(row); }}
  return times;
}}"""


def opened(browser: Browser, path: Path) -> tuple[Page, float]:
    """A page in a context of its own, and the seconds until it answered."""
    page = browser.new_context(offline=True, viewport={"width": 1280, "height": 900}).new_page()
    page.goto(path.as_uri(), wait_until="commit")
    page.wait_for_selector("html[data-ready]")
    return page, page.evaluate(FRAMES) / 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
              f"Chromium {browser.version}, {options.rounds} rounds")  # fmt: skip
        for name, (soon, short) in LIMITS.items():
            path = Path(folder, f"{name}.html")
            path.write_text(render_page([archprof.analyse(archprof.load(name))]), encoding="utf-8")
            print(f"{name}: {path.stat().st_size / 1000:,.0f} kB")
            ready: list[float] = []
            folds: dict[str, list[float]] = {"graph": [], "table": []}
            for _ in range(options.rounds):
                page, seconds = opened(browser, path)
                ready.append(seconds)
                for what, times in folds.items():
                    times += [each / 1000 for each in page.evaluate(CLICKS, what)]
                page.context.close()
            print(line("interactive", ready, soon))
            for what, times in folds.items():
                print(line(f"fold or unfold, {what}", times, short))
        browser.close()


def line(what: str, seconds: list[float], limit: float | None) -> str:
    aim = "" if limit is None else f", aim {limit:g} s"
    return (
        f"  {what:<24} median {statistics.median(seconds):.3f} s, slowest {max(seconds):.3f} s of {len(seconds)}{aim}"
    )


if __name__ == "__main__":
    main()
