"""How far the clients' masks agree: by depth, and against how different the clients are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fl_analysis.plots.layers import by_block
from fl_analysis.plots.lines import level_colours, panels
from fl_analysis.plots.mask_layers import Layers
from fl_analysis.plots.panels import (
    axes_of,
    facets,
    first_column,
    legend,
    levels,
    line_axis,
    panel_grid,
)
from fl_analysis.plots.style import colours, error_line, pretty
from fl_analysis.results.labels import axis_value, level_label
from fl_analysis.results.outcome import Outcome, over_seeds
from fl_core.config.vocabulary import SHARDING, known, shards


def depth_figure(results: Sequence[Outcome], tables: Layers) -> Figure | None:
    """Excess of the Jaccard index over chance against the block, one line an arm."""
    found = {arm: by_block(table, "excess") for arm, table in tables.items()}
    blocks = {arm: values.sort_index() for arm, values in found.items() if len(values) > 1}
    if not blocks:
        return None
    shown = [o for o in results if o.arm in blocks]
    figure, grid = panels(shown, set(blocks), "Jaccard above chance")
    for ax, group in grid:
        for line in group:
            values = blocks[line.arm.arm]
            ax.plot(values.index, values, color=line.colour, ls=line.style, label=line.label)
        ax.axhline(0, color="0.3", lw=0.6)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    figure.supxlabel("block, from the input to the output", size=8)
    legend(figure, [ax for ax, _ in grid])
    return figure


def heterogeneity_figure(results: Sequence[Outcome]) -> Figure | None:
    """Jaccard index against N_c with its chance level, where both the masks and N_c vary."""
    shown = [o for o in results if known(over_seeds(o.confirmed, "mask_jaccard")[0])]
    axes = axes_of(shown)
    if "sharding" not in axes:
        return None
    lines = line_axis(shown, axes, "sharding")
    found = facets(shown, axes, ["sharding", lines or "sharding"])
    points = _by_heterogeneity(shown)
    names = levels(lines, shown) if lines else [""]
    paint = level_colours(lines, names, shown) if lines else colours(1)
    figure, grid = panel_grid(found, share=True, height=1.9)
    for ax, (_, group) in zip(grid, found.parts, strict=True):
        for index, level in enumerate(names):
            mine = [o for o in group if lines is None or axis_value(lines, o.config) == level]
            label = pretty(level_label(lines, level)) if lines else "clients' masks"
            marks = [
                (float(points.index(shards(o.config))), *over_seeds(o.confirmed, "mask_jaccard"))
                for o in mine
            ]
            error_line(ax, marks, (index, len(names)), label, paint[index])
        for mine, colour in _levels_of_chance(group, lines):
            ax.errorbar(*_chance(mine, points), color=colour, lw=1, ls=(0, (1, 1)), label="chance")
        ax.set_xticks(range(len(points)), [pretty(point) for point in points])
        ax.set_xlim(-0.5, len(points) - 0.5)
        ax.set_ylim(0, 1.03)
        ax.grid(axis="y")
        if first_column(ax):
            ax.set_ylabel("Jaccard index")
    legend(figure, grid)
    return figure


def _by_heterogeneity(shown: Sequence[Outcome]) -> list[str]:
    """The shardings, the most different clients first, iid last."""

    def likeness(outcome: Outcome) -> tuple[float, float]:
        sizes = [outcome.config.get(name) for name in SHARDING[1:]]  # N_c, alpha
        classes, alpha = (float(s) if s is not None and known(s) else math.inf for s in sizes)
        return classes, alpha

    return levels("sharding", sorted(shown, key=likeness))


def _levels_of_chance(
    group: Sequence[Outcome], lines: str | None
) -> list[tuple[list[Outcome], Any]]:
    """Arms of one sparsity have one level of chance: black, or its line's colour."""
    sparsities = levels("mask.sparsity", group)
    if lines == "mask.sparsity":
        paint = level_colours(lines, sparsities, group)
    else:
        paint = ["black"] * len(sparsities)
    return [
        ([o for o in group if axis_value("mask.sparsity", o.config) == level], colour)
        for level, colour in zip(sparsities, paint, strict=True)
    ]


def _chance(group: Sequence[Outcome], points: Sequence[str]) -> tuple[list[int], list[float]]:
    """Expected overlap at each sharding: it follows from the active share, which these arms have
    in common but for guarded entries; their mean.
    """
    found: dict[int, list[float]] = {}
    for outcome in group:
        at = points.index(shards(outcome.config))
        found.setdefault(at, []).append(over_seeds(outcome.confirmed, "mask_expected")[0])
    places = sorted(found)
    return places, [sum(found[at]) / len(found[at]) for at in places]
