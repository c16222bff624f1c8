"""The page set out: jinja2 with autoescape, everything inlined, and a policy that allows only what is inlined."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from archprof.analysis import Analysis, make_table
from archprof.analysis.numbers import BYTE_UNITS, column_style, exact
from archprof.analysis.table import cell_text
from archprof.report.layout import Layout, lay_out
from archprof.report.page.data import SHOWN, as_json, network_data
from archprof.report.page.results import Results
from archprof.report.page.tree import tree

if TYPE_CHECKING:
    from archprof.report.page.charts import Chart
    from archprof.report.page.differences import Differences

ASSETS = Path(__file__).with_name("assets")
SCRIPTS = ("model.js", "table.js", "graph.js", "icicle.js", "main.js")  # one script, in this order
LIBRARY = "vendor/dagre.min.js"
LICENCE = "vendor/dagre.LICENSE.txt"


def render_page(
    analyses: Sequence[Analysis],
    *,
    results: Results | None = None,
    differences: Differences | None = None,
    charts: Iterable[Chart] = (),
    folds: Sequence[int | None] | None = None,
    command: str = "",
) -> str:
    """The page of one network or several, as HTML that needs nothing beside it.

    `differences` are those of two networks (`differences.compare`), `charts` stand below. `folds` are the depths at
    which the tables are folded at first, without them what the networks ask for. `command` is what made the page.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from archprof import __version__
    from archprof.report.page.charts import result_charts

    style = _asset("page.css")
    library = f"/*! {_asset(LICENCE).strip()} */\n" + _asset(LIBRARY).partition("//# sourceMappingURL")[0]
    script = "(() => {\n" + "\n".join(_asset(name) for name in SCRIPTS) + "})();\n"
    depths = [analysis.graph.fold for analysis in analyses] if folds is None else folds
    data = {
        "networks": [
            {
                **network_data(
                    analysis,
                    tree(analysis),
                    [each.times for each in results.measured if each.network == place] if results else (),
                    differences.marks[place] if differences else None,
                ),
                "fold": fold,
            }
            for place, (analysis, fold) in enumerate(zip(analyses, depths, strict=True))
        ]
    }
    names = [analysis.graph.title or analysis.graph.name for analysis in analyses]
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        title=names[0] if len(names) == 1 else " and ".join((", ".join(names[:-1]), names[-1])),
        subtitle=(analyses[0].graph.source or "") if len(analyses) == 1 else "",
        policy=_policy((library, script), style),
        style=Markup(style),
        library=Markup(library),
        script=Markup(script),
        data=Markup(as_json(data)),
        networks=[
            _network(analysis, fold, is_one=len(analyses) == 1) for analysis, fold in zip(analyses, depths, strict=True)
        ],
        diff=differences,
        charts=[*(result_charts(results, [each.graph.name for each in analyses]) if results else ()), *charts],
        version=__version__,
        command=command,
    )


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _policy(scripts: Sequence[str], style: str) -> str:
    """Nothing is fetched, framed, sent or made from a text; only these scripts and this style are run."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(_hash, scripts))}",
            f"style-src {_hash(style)}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class _Total(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    text: str
    exact: str = ""
    name: str = ""  # of the table's column


def _network(analysis: Analysis, fold: int | None, *, is_one: bool) -> dict[str, Any]:
    """What the template needs of a network: its totals, and the table that stands where there are no scripts."""
    layout = lay_out(make_table(analysis, fold=fold, columns=("layer", *SHOWN)))
    return {
        "title": analysis.graph.title or analysis.graph.name,
        "totals": _totals(analysis),
        "caption": list(_caption(layout, is_one)),
        "headers": [{"text": text, "right": right} for text, right in zip(layout.headers, layout.right, strict=True)],
        "lines": layout.all_lines,
    }


def _caption(layout: Layout, is_one: bool) -> Iterator[str]:
    """The table's caption without what stands elsewhere on the page: totals, depth, one network's source."""
    analysis = layout.table.analysis
    for line in layout.caption:
        if line.startswith(f"{exact(analysis.total.params)} parameters") or (is_one and line.startswith("source: ")):
            continue
        yield line.partition("; rows at depth")[0].removesuffix("; a row each node")


def _totals(analysis: Analysis) -> list[_Total]:
    total = analysis.total
    least = "at least " if analysis.lower_bound else ""
    shown = [
        _Total(title="parameters", text=_short(total.params), exact=exact(total.params), name="param"),
        _Total(
            title=f"FLOPs ({analysis.counting})",
            text=least + _short(total.flops),
            exact=exact(total.flops),
            name="FLOPs",
        ),
        _Total(
            title="activations",
            text=least + _short(total.activations),
            exact=exact(total.activations),
            name="activations",
        ),
        _Total(
            title=f"memory of outputs, {analysis.dtype}",
            text=_short(total.output_bytes, BYTE_UNITS),
            exact=f"{exact(total.output_bytes)} bytes",
            name="memory",
        ),
        _Total(title="weight layers deep", text=exact(analysis.depth)),
    ]
    if analysis.receptive_field:
        shown.append(_Total(title="receptive field", text=cell_text(analysis.receptive_field)))
    return shown


def _short(value: int, units: Any = None) -> str:
    style = column_style((value,), value, units)
    return f"{style.print(value)}{' ' if units else ''}{style.unit}"
