"""Run folders, checkpoints, progress, figures, HTML: the only chapter that writes or draws."""

from diffmig.report.figures import draw_bars, draw_grid, draw_map, draw_series, figure, png_bytes
from diffmig.report.graphs import draw_against, draw_network, draw_tree
from diffmig.report.html import render_report
from diffmig.report.ledger import join_ledgers, read_ledger
from diffmig.report.maps import draw_places
from diffmig.report.progress import Progress, progress
from diffmig.report.run_folder import Run, latest_run, open_run

__all__ = [
    "Progress",
    "Run",
    "draw_against",
    "draw_bars",
    "draw_grid",
    "draw_map",
    "draw_network",
    "draw_places",
    "draw_series",
    "draw_tree",
    "figure",
    "join_ledgers",
    "latest_run",
    "open_run",
    "png_bytes",
    "progress",
    "read_ledger",
    "render_report",
]
