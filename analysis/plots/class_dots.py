"""A value of each class as dots: a row a superclass, its lowest and highest class named."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fl_analysis.plots.style import COLUMN, OKABE_ITO, PAGE, new_figure, plain
from fl_analysis.reading.classes import Classes

NAMED = 5  # extremes of all classes, in bold
_ROW = 0.19  # inches
_ROWS = 40  # classes that have a row each, without superclasses


def class_dots(classes: Classes, values: np.ndarray, label: str, digits: int = 0) -> Figure:
    """Rows sorted by their mean, the highest above; without superclasses all classes in one line.

    `values` (classes,): NaN is left out. Names stand beside the lowest and the highest dot.
    """
    if not classes.groups:
        return _sorted_dots(classes, values, label)
    rows = [np.array(classes.members(group)) for group in range(len(classes.groups))]
    means = np.array([_mean(values[members]) for members in rows])
    ranked = np.argsort(np.where(np.isfinite(values), values, np.inf), kind="stable")
    count = int(np.isfinite(values).sum())
    bold = {*ranked[:NAMED].tolist(), *ranked[max(0, count - NAMED) : count].tolist()}
    figure = new_figure(PAGE, 0.55 + _ROW * len(rows))
    ax = figure.add_subplot()
    order = np.argsort(-np.nan_to_num(means, nan=-np.inf), kind="stable")
    for place, group in enumerate(order.tolist()):
        members = rows[group][np.isfinite(values[rows[group]])]
        if not len(members):
            continue
        members = members[np.argsort(values[members], kind="stable")]
        ax.plot(
            values[members],
            [place] * len(members),
            "o",
            ms=3.5,
            color=OKABE_ITO[0],
            mew=0,
            alpha=0.75,
        )
        ax.plot([means[group]] * 2, [place - 0.35, place + 0.35], color=OKABE_ITO[1], lw=1.4)
        ends = [(members[0], -1)] + ([(members[-1], 1)] if len(members) > 1 else [])
        for member, side in ends:
            weight = "bold" if member in bold else "normal"
            text = f"{classes.names[member]} {values[member]:.{digits}f}"
            beside(ax, float(values[member]), place, side, text, weight)
    ax.set_yticks(range(len(rows)), [classes.groups[g] for g in order.tolist()])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    _widen(ax, values)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    ax.set_xlabel(label)
    return figure


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def beside(ax: Axes, x: float, y: float, side: int, text: str, weight: str = "normal") -> None:
    """A name right (1) or left (-1) of a dot."""
    ax.annotate(
        plain(text),
        (x, y),
        xytext=(4 * side, 0),
        textcoords="offset points",
        va="center",
        ha="left" if side > 0 else "right",
        size=7,
        weight=weight,
    )


def _widen(ax: Axes, values: np.ndarray) -> None:
    """Room for the names beside the outermost dots."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = 0.22 * ((high - low) or 1.0)
    ax.set_xlim(low - room, high + room)


def _sorted_dots(classes: Classes, values: np.ndarray, label: str) -> Figure:
    """All classes in order of their value: a row each; where they are many, the extremes named."""
    known = np.flatnonzero(np.isfinite(values))
    ranked = known[np.argsort(values[known], kind="stable")]
    if len(ranked) <= _ROWS:
        return _named_rows([plain(classes.names[k]) for k in ranked], values[ranked], label)
    figure = new_figure(COLUMN, 2.3)
    ax = figure.add_subplot()
    ax.plot(range(len(ranked)), values[ranked], "o", ms=3, color=OKABE_ITO[0], mew=0)
    few = max(1, min(3, len(ranked) // 4))
    for place, member in enumerate(ranked.tolist()):
        if place < few or place >= len(ranked) - few:
            side = 1 if place < few else -1
            beside(ax, place, float(values[member]), side, classes.names[member])
    ax.set_xlabel("classes in order")
    ax.set_ylabel(label)
    ax.grid(axis="y")
    return figure


def _named_rows(names: list[str], values: np.ndarray, label: str) -> Figure:
    """A row a class, the highest above."""
    figure = new_figure(COLUMN, 0.55 + 0.8 * _ROW * len(names))
    ax = figure.add_subplot()
    ax.plot(values, range(len(names)), "o", ms=3.5, color=OKABE_ITO[0], mew=0)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.tick_params(axis="y", length=0)
    ax.grid()
    ax.set_axisbelow(True)
    ax.set_xlabel(label)
    return figure
