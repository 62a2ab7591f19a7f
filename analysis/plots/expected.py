"""What a search of n random trials is expected to find: a panel a stratum, a line an arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fl_analysis.plots.panels import Facets, first_column, legend, panel_grid
from fl_analysis.plots.style import OKABE_ITO, line_style, marker, pretty
from fl_analysis.results.expected import Expected

SHOWN = 1 / 4  # of the trials: what the first ones reach would flatten all the rest


def expected_figure(found: Sequence[Expected]) -> Figure | None:
    """Expected best validation accuracy [%] against the number of trials; None without arms."""
    if not found:
        return None
    strata = list(dict.fromkeys(e.stratum for e in found))
    groups = [[e for e in found if e.stratum == stratum] for stratum in strata]
    titles = [pretty(stratum) if len(strata) > 1 else "" for stratum in strata]
    parts = [(title, [e.arm for e in g]) for title, g in zip(titles, groups, strict=True)]
    figure, grid = panel_grid(Facets(parts, len(parts)), share=False, height=2.6, most=3)
    looks = _looks(found)
    for ax, group in zip(grid, groups, strict=True):
        for one in group:
            _draw(ax, one, looks[one.label])
        ax.set_ylim(*_limits(group))
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.grid()
        if first_column(ax):
            ax.set_ylabel("expected best\nvalidation accuracy [%]")
    figure.supxlabel("search trials n, drawn at random", size=8)
    legend(figure, grid)
    return figure


def _looks(found: Sequence[Expected]) -> dict[str, dict[str, Any]]:
    """Label -> how its line looks. Colours go round, and with each round the style changes; marks
    tell all apart. FedAvg, with which methods are compared, is black.
    """
    plain = list(dict.fromkeys(e.label for e in found if e.fedavg))
    others = list(dict.fromkeys(e.label for e in found if e.label not in plain))
    paint = OKABE_ITO[:-1]
    looks: dict[str, dict[str, Any]] = {}
    for i, label in enumerate(plain):
        looks[label] = {"color": OKABE_ITO[-1], "ls": line_style(i), "lw": 1.5, "zorder": 3}
    for i, label in enumerate(others):
        style = line_style(i // len(paint))
        looks[label] = {"color": paint[i % len(paint)], "ls": style, "lw": 1.1}
    for i, look in enumerate(looks.values()):
        look["marker"] = marker(i)
    return looks


def _draw(ax: Axes, one: Expected, look: dict[str, Any]) -> None:
    """An arm's line with its band, which ends where the arm's best trial is."""
    trials = list(range(1, len(one.mean) + 1))
    best, std = 100 * one.mean, 100 * one.std
    top = (best + std).clip(max=100 * one.scores[-1])
    ax.fill_between(trials, best - std, top, color=look["color"], alpha=0.07, lw=0)
    every = max(1, len(trials) // 6)
    label = pretty(one.label)
    ax.plot(trials, best, ms=3, mew=0, markevery=every, label=label, **look)


def _limits(group: Sequence[Expected]) -> tuple[float, float]:
    """From the lowest that an arm is expected to reach with a quarter of its trials."""
    low = 100 * min(float(e.mean[math.ceil(SHOWN * (len(e.mean) - 1))]) for e in group)
    high = 100 * max(e.scores[-1] for e in group)
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin
