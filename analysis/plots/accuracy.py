"""Test accuracy of the confirmed configurations, drawn as the arms' axes ask for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from fl_analysis.plots.dots import dots, grouped_dots
from fl_analysis.plots.panels import (
    Facets,
    axes_of,
    facets,
    first_column,
    last_row,
    levels,
    masked_arms,
    panel_grid,
    references,
    unit_of,
)
from fl_analysis.plots.sparsity import sparsity_figure
from fl_analysis.plots.style import COLUMN, PAGE, amounts, ink, new_figure, pretty
from fl_analysis.results.labels import axis_label, axis_value, percent, tick_label
from fl_analysis.results.outcome import Outcome
from fl_core.config.titles import METHOD
from fl_core.config.vocabulary import DASH

Part = tuple[str, list[Outcome]]


def accuracy_figure(results: Sequence[Outcome]) -> Figure | None:
    """Against sparsity where masks of several sparsities were tried, else a heat map of two names
    that tell the arms apart, else dots with error bars.
    """
    if all(o.confirmed.empty for o in results):
        return None
    axes = axes_of(results)
    if "fine_tune.strategy" in axes and "sharding" in axes:
        return grouped_dots(results, axes)
    if {"mask.sparsity", "mask.rounds"} <= set(axes):
        inside = ["mask.sparsity", "mask.rounds"]
        found = facets(results, axes, inside)
        parts = [_dense_apart(*part) for part in found.parts]
        return _heat_maps(results, inside, Facets(parts, found.step))
    if "mask.sparsity" in axes and len(levels("mask.sparsity", masked_arms(results))) > 1:
        return sparsity_figure(results, axes)
    cells = {tuple(axis_value(a, o.config) for a in axes) for o in results}
    if len(axes) == 2 and len(cells) == len(results):
        inside = sorted(axes, key=lambda axis: axis != METHOD)  # down, as they are many
        return _heat_maps(results, inside, Facets([("", list(results))], 1))
    if len(axes) > 2 and "sharding" in axes:
        return grouped_dots(results, axes)
    return dots(results, axes)


def _dense_apart(title: str, group: Sequence[Outcome]) -> Part:
    """A panel's masked arms; what the dense one reaches goes into the title."""
    dense = ", ".join(f"dense {percent(o.mean, o.std)}" for o in references(group))
    return "\n".join(text for text in (title, dense) if text), masked_arms(group)


def _heat_maps(results: Sequence[Outcome], inside: Sequence[str], found: Facets) -> Figure:
    """A panel for each part; rows and columns are the axes `inside`, colours are one scale."""
    parts = found.parts
    shown = [o for _, group in parts for o in group]
    rows, columns = (levels(a, shown) for a in inside)
    height = 0.34 * len(rows)
    if len(parts) == 1:
        figure = new_figure(max(COLUMN, min(PAGE, 1.4 + 0.75 * len(columns))), 0.8 + height)
        grid = [figure.add_subplot(title=parts[0][0])]
    else:
        figure, grid = panel_grid(found, True, height=0.55 + height, extra=0.3, most=3)
    means = [100 * o.mean for o in shown if np.isfinite(o.mean)]
    for ax, (_, group) in zip(grid, parts, strict=True):
        image = _draw_cells(ax, group, inside, (rows, columns))
        image.set_clim(min(means), max(means))
        _write_cells(ax, image, group, inside, (rows, columns))
        if last_row(ax):
            ax.set_xlabel(pretty(axis_label(inside[1], unit_of(results))))
        if first_column(ax):
            ax.set_ylabel(pretty(axis_label(inside[0], unit_of(results))))
    bar = figure.colorbar(image, ax=grid if len(grid) > 1 else grid[0], pad=0.02)
    bar.set_label("test accuracy [%]")
    bar.outline.set_visible(False)
    return figure


Levels = tuple[Sequence[str], Sequence[str]]


def _place(outcome: Outcome, inside: Sequence[str], names: Levels) -> tuple[int, int]:
    row, column = (axis_value(a, outcome.config) for a in inside)
    return names[0].index(row), names[1].index(column)


def _draw_cells(
    ax: Axes, group: Sequence[Outcome], inside: Sequence[str], names: Levels
) -> AxesImage:
    grid = np.full((len(names[0]), len(names[1])), np.nan)
    for outcome in group:
        grid[_place(outcome, inside, names)] = 100 * outcome.mean
    image = ax.imshow(np.ma.masked_invalid(grid), cmap=amounts("#e6e6e6"), aspect="auto")
    rows, columns = (
        [tick_label(axis, level) for level in shown]
        for axis, shown in zip(inside, names, strict=True)
    )
    ax.set_xticks(range(len(columns)), [pretty(column) for column in columns])
    ax.set_yticks(range(len(rows)), [pretty(row) for row in rows])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image


def _write_cells(
    ax: Axes, image: AxesImage, group: Sequence[Outcome], inside: Sequence[str], names: Levels
) -> None:
    """Mean ± std into every cell, — where there is none."""
    by_place = {_place(o, inside, names): o for o in group}
    for row in range(len(names[0])):
        for column in range(len(names[1])):
            outcome = by_place.get((row, column))
            colour, text = "black", DASH
            if outcome is not None and np.isfinite(outcome.mean):
                colour = ink(image.to_rgba(np.array([100 * outcome.mean]))[0])
                text = percent(outcome.mean, outcome.std)
            ax.text(column, row, text, ha="center", va="center", color=colour, size=7.5)
