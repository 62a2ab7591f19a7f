"""Test accuracy against sparsity: one line a rule (or whatever else varies), the dense level."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fl_analysis.plots.lines import level_colours
from fl_analysis.plots.panels import (
    facets,
    first_column,
    last_row,
    legend,
    levels,
    line_axis,
    masked_arms,
    panel_grid,
    references,
)
from fl_analysis.plots.style import colours, error_line, pretty
from fl_analysis.results.labels import axis_label, axis_value, level_label
from fl_analysis.results.outcome import Outcome
from fl_core.config.vocabulary import DENSE

SPARSITY = "mask.sparsity"


def sparsity_figure(results: Sequence[Outcome], axes: Sequence[str]) -> Figure:
    """A panel for each setting of what is neither sparsity nor the lines' axis.

    Sparsities stand evenly spaced: 0.5, 0.8, 0.9, 0.99 crowd on any scale. Where the lines are
    of something that dense arms vary in too, dense is their first point instead of a level.
    """
    lines = line_axis(results, axes, SPARSITY)
    found = facets(results, axes, [SPARSITY, lines or SPARSITY])
    figure, grid = panel_grid(found, share=False, height=1.9)
    shown = levels(lines, masked_arms(results)) if lines else [""]
    paint = level_colours(lines, shown, masked_arms(results)) if lines else colours(1)
    points = sorted(levels(SPARSITY, masked_arms(results)), key=float)
    own_dense = lines is not None and not lines.startswith("mask.") and bool(references(results))
    points = [DENSE, *points] if own_dense else points
    for ax, (_, group) in zip(grid, found.parts, strict=True):
        for index, level in enumerate(shown):
            mine = [o for o in group if lines is None or axis_value(lines, o.config) == level]
            mine = mine if own_dense else masked_arms(mine)
            label = pretty(level_label(lines, level)) if lines else "masked"
            marks = [
                (float(points.index(axis_value(SPARSITY, o.config))), 100 * o.mean, 100 * o.std)
                for o in mine
            ]
            error_line(ax, marks, (index, len(shown)), label, paint[index])
        if not own_dense:
            _draw_dense(ax, references(group))
        ax.set_xticks(range(len(points)), points)
        ax.set_xlim(-0.4, len(points) - 0.6)
        ax.grid(axis="y")
        if first_column(ax):
            ax.set_ylabel("test accuracy [%]")
        if last_row(ax):
            ax.set_xlabel(axis_label(SPARSITY, ""))
    legend(figure, grid)
    return figure


def _draw_dense(ax: Axes, dense: Sequence[Outcome]) -> None:
    """The dense arm as a level across the panel, named at its end."""
    for outcome in dense:
        if not math.isfinite(outcome.mean):
            continue
        level, spread = 100 * outcome.mean, 100 * outcome.std
        ax.axhline(level, color="black", lw=1, ls=(0, (1, 1)))
        if math.isfinite(spread):
            ax.axhspan(level - spread, level + spread, color="black", alpha=0.1, lw=0)
        ax.text(1.01, level, "dense", transform=ax.get_yaxis_transform(), va="center", size=7)
