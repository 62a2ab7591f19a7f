"""The realised partitions: how many examples of each class every client holds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from fl_analysis.plots.style import PAGE, amounts, log_ticks, new_figure, pretty
from fl_analysis.reading.fetch import partition
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.outcome import Outcome
from fl_core.config.vocabulary import shards


def partition_figure(runs: StudyRuns, results: Sequence[Outcome]) -> Figure | None:
    """Clients by classes, the number of training examples each holds; a panel per sharding."""
    parts: dict[str, pd.DataFrame] = {}
    for outcome in results:
        label = shards(outcome.config)
        if outcome.config.get("federation.clients") == 1:
            continue  # it holds everything
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
    for ax in grid.flat:
        ax.tick_params(labelbottom=True, labelleft=True)
    peak = max(int(p.to_numpy().max()) for p in parts.values())
    most = max(peak, 2)
    norm = LogNorm(1, most)
    for ax, (label, counts) in zip(grid.flat, parts.items(), strict=False):
        held = np.ma.masked_equal(counts.to_numpy(), 0)
        image = ax.imshow(held, cmap=amounts(), norm=norm, aspect="auto", interpolation="nearest")
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
    bar.set_label(f"training {results[0].task.noun}")
    return figure
