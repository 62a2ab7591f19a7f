"""Figures of what went in: hyper-parameter importance and the realised partitions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from analysis.plots.style import COLUMN, OKABE_ITO, PAGE, log_ticks, new_figure, pretty
from analysis.reading.fetch import partition
from analysis.reading.store import StudyRuns
from analysis.results.importance import importance
from analysis.results.labels import compact, shards
from analysis.results.outcome import Outcome


def importance_figure(runs: StudyRuns) -> Figure | None:
    """PED-ANOVA importance as bars, chance as ticks; None when too few trials ran."""
    table = importance(runs.trials, runs.space)
    if table.empty:
        return None
    figure = new_figure(COLUMN, 0.95 + 0.24 * len(table))
    ax = figure.add_subplot()
    places = np.arange(len(table))
    ax.barh(places, table["importance"], height=0.6, color=OKABE_ITO[0], label="importance")
    ax.vlines(
        table["chance"], places - 0.4, places + 0.4, colors=OKABE_ITO[1], lw=1.6, label="chance"
    )
    ax.set_yticks(places, [pretty(compact(name)) for name in table["name"]])
    ax.invert_yaxis()
    ax.set_xlabel("PED-ANOVA importance (bars sum to 1)")
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=2, handlelength=1.2)
    return figure


def partition_figure(runs: StudyRuns, results: Sequence[Outcome]) -> Figure | None:
    """Clients by classes, the number of training images each holds; a panel per sharding."""
    parts: dict[str, pd.DataFrame] = {}
    for outcome in results:
        label = shards(outcome.config)
        if label not in parts and (found := partition(runs, outcome.arm)) is not None:
            parts[label] = found
    if not parts:
        return None
    columns = min(5, len(parts))
    rows = math.ceil(len(parts) / columns)
    width = min(PAGE, 1.0 + 1.3 * columns)
    side = (width - 1.15) / columns
    figure = new_figure(width, 0.35 + (side + 0.32) * rows, layout="compressed")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    peak = max(int(p.to_numpy().max()) for p in parts.values())
    most = max(peak, 2)
    norm = LogNorm(1, most)
    scale = matplotlib.colormaps["viridis_r"].with_extremes(bad="white")
    for ax, (label, counts) in zip(grid.flat, parts.items(), strict=False):
        held = np.ma.masked_equal(counts.to_numpy(), 0)
        image = ax.imshow(held, cmap=scale, norm=norm, aspect="auto", interpolation="nearest")
        ax.set_title(pretty(label), pad=3)
        ax.spines[:].set_visible(True)
        ax.set_box_aspect(1)
        ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    for ax in list(grid.flat)[len(parts) :]:
        ax.set_visible(False)
    for ax in grid[-1]:
        ax.set_xlabel("class")
    for ax in grid[:, 0]:
        ax.set_ylabel("client")
    bar = figure.colorbar(image, ax=grid, pad=0.01, aspect=15)
    bar.set_ticks(log_ticks(1, most))
    bar.ax.yaxis.set_major_formatter("{x:g}")
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.set_label("training images")
    return figure
