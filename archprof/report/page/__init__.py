"""One self-contained HTML page: networks' tables and graphs, which its own script folds, and measured figures."""

from archprof.report.page.depth import depth_charts, read_trials
from archprof.report.page.differences import compare
from archprof.report.page.render import render_page
from archprof.report.page.results import match_results

__all__ = ["compare", "depth_charts", "match_results", "read_trials", "render_page"]
