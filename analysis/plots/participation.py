"""How often each client took part: a panel a problem, a line a selection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from fl_analysis.plots.panels import Facets, first_column, last_row, legend, panel_grid
from fl_analysis.plots.style import colours, line_style, pretty
from fl_analysis.results.participation import WITHIN, Participation


def participation_figure(found: Sequence[Participation]) -> Figure | None:
    """Share of the rounds [%] against the clients, the most often selected first."""
    if not found:
        return None
    panels = list(dict.fromkeys(p.others for p in found))
    groups = [[p for p in found if p.others == panel] for panel in panels]
    titles = [pretty(panel) if len(panels) > 1 else "" for panel in panels]
    parts = [(title, [p.arm for p in g]) for title, g in zip(titles, groups, strict=True)]
    labels = list(dict.fromkeys(p.label for p in found))
    room = 0.45 + 0.1 * len(labels)  # for the legend
    figure, grid = panel_grid(Facets(parts, len(parts)), True, height=2.0, extra=room, most=3)
    paint = colours(len(labels))
    for ax, group in zip(grid, groups, strict=True):
        most = max(group, key=lambda p: p.uniform)  # of clients that come and go there may be fewer
        low, high = (100 * end for end in most.band)
        ax.axhspan(low, high, color="0.88", lw=0, label=f"{WITHIN:.0%} if uniform")
        ax.axhline(100 * most.uniform, color="0.45", lw=0.8)
        for one in group:
            i = labels.index(one.label)
            place, shares = np.arange(1, one.shares.shape[1] + 1), 100 * one.shares
            band = {"color": paint[i], "alpha": 0.15, "lw": 0}
            ax.fill_between(place, shares.min(0), shares.max(0), **band)
            label = pretty(one.label.replace("_", " "))
            ax.plot(place, shares.mean(0), color=paint[i], ls=line_style(i), lw=1.1, label=label)
        ax.set_ylim(bottom=0)
        ax.set_xlim(1, max(one.shares.shape[1] for one in group))
        ax.grid()
        if first_column(ax):
            ax.set_ylabel("rounds with the client [%]")
        if last_row(ax):
            ax.set_xlabel("clients, the most often selected first")
    legend(figure, grid)
    return figure
