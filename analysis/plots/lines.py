"""Which arms are lines of which panel, with what colour: the same in every figure and on the page.

An axis whose levels have an order (N_c, J, sparsity) has colours in that order, the plainest level
the darkest; other levels have colours that only differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fl_analysis.plots.panels import (
    Facets,
    arm_text,
    axes_of,
    facets,
    first_column,
    levels,
    longest,
    panel_grid,
    references,
)
from fl_analysis.plots.style import (
    COLUMN,
    colours,
    line_style,
    new_figure,
    ordered_colours,
    pretty,
)
from fl_analysis.results.labels import axis_value, level_label
from fl_analysis.results.levels import ordered_levels
from fl_analysis.results.outcome import Outcome
from fl_core.config.vocabulary import DASH, DENSE

MANY = 6  # lines in one panel
FEW = 3  # levels from which an order is worth showing
_REFERENCE = (0, (1, 1))  # of a dense arm beside masked ones


@dataclass(frozen=True)
class Line:
    """One arm as a line of a panel."""

    arm: Outcome
    label: str
    colour: Any
    style: Any


def level_colours(axis: str, shown: Sequence[str], results: Sequence[Outcome]) -> list[Any]:
    """A colour for each of these levels of an axis."""
    order = ordered_levels(axis, [o.config for o in results])
    if order is None or len(order) < FEW:
        return colours(len(shown))
    paint = dict(zip(order, ordered_colours(len(order)), strict=True))
    return [paint[level] for level in shown]


def line_panels(results: Sequence[Outcome]) -> tuple[Facets | None, list[list[Line]]]:
    """One panel (no facets) for few arms; for many a panel for each setting of the axes but that
    with most levels, which gives the lines.
    """
    axes = axes_of(results)
    if len(results) <= MANY or len(axes) < 2:
        paint = colours(len(results))
        if len(axes) == 1:
            found = [axis_value(axes[0], o.config) for o in results]
            paint = level_colours(axes[0], found, results)
        lines = [Line(o, arm_text(o, axes), paint[i], line_style(i)) for i, o in enumerate(results)]
        return None, [lines]
    other = longest(axes, results)
    parts = facets(results, axes, [other])
    dense = {o.arm for o in references(results)} if "mask.sparsity" in axes else set()
    shown = [level for level in levels(other, results) if level not in (DENSE, DASH)]
    paint = level_colours(other, shown, [o for o in results if _level(other, o) in shown])
    grid = []
    for _, group in parts.parts:
        group = sorted(group, key=lambda o: o.arm)
        grid.append([_line(o, other, shown, paint, dense) for o in group])
    return parts, grid


def panels(
    results: Sequence[Outcome], drawn: set[int], ylabel: str, *, same_x: bool = True
) -> tuple[Figure, list[tuple[Axes, list[Line]]]]:
    """A figure with these panels and their lines of the arms `drawn`; nothing is drawn yet.

    same_x: all panels have one range across. Each shows its own numbers.
    """
    found, lines = line_panels(results)
    if found is None:
        figure = new_figure(COLUMN, 2.1 + 0.07 * len(results))
        grid = [figure.add_subplot()]
    else:
        figure, grid = panel_grid(found, share=True, same_x=same_x)
    for ax in grid:
        ax.grid()
        ax.tick_params(labelbottom=True, labelleft=True)
        if first_column(ax):
            ax.set_ylabel(ylabel)
    shown = [[line for line in group if line.arm.arm in drawn] for group in lines]
    return figure, list(zip(grid, shown, strict=True))


def _level(axis: str, outcome: Outcome) -> str:
    return axis_value(axis, outcome.config)


def _line(
    outcome: Outcome, axis: str, shown: Sequence[str], paint: Sequence[Any], dense: set[int]
) -> Line:
    """Colour and style by the level; a dense arm beside masked ones is dotted."""
    level = _level(axis, outcome)
    label = pretty(level_label(axis, level))
    if level not in shown:
        return Line(outcome, label, "black", _REFERENCE)
    i = shown.index(level)
    if outcome.arm in dense:
        return Line(outcome, f"{label}, dense", paint[i], _REFERENCE)
    return Line(outcome, label, paint[i], line_style(i))
