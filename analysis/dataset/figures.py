"""Figures of a data set's numbers: how many images of each class, spread, outliers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from scipy.special import gammaln

from fl_analysis.dataset.outliers import LEVEL, Outliers
from fl_analysis.plots.class_dots import beside, class_dots
from fl_analysis.plots.style import COLUMN, OKABE_ITO, PAGE, colours, line_style, new_figure
from fl_analysis.reading.classes import Classes


def balance_figure(counts: Mapping[str, np.ndarray]) -> Figure:
    """Images of each class (columns) in each part of the data set (lines)."""
    figure = new_figure(COLUMN, 2.0)
    ax = figure.add_subplot()
    for index, (part, number) in enumerate(counts.items()):
        edges = np.arange(len(number) + 1) - 0.5
        label = f"{part} ({number.sum():,})"
        ax.stairs(
            number,
            edges,
            baseline=None,
            color=colours(len(counts))[index],
            ls=line_style(index),
            lw=1.2,
            label=label,
        )
    ax.set_xlabel("class")
    ax.set_ylabel("images")
    ax.set_ylim(0, 1.06 * max(number.max() for number in counts.values()))
    ax.set_xlim(-0.5, len(next(iter(counts.values()))) - 0.5)
    ax.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=len(counts), handlelength=1.8, columnspacing=1)
    return figure


def spread_figure(classes: Classes, spread: np.ndarray) -> Figure:
    """Mean distance of a class's images to their centre, class by class."""
    return class_dots(classes, spread, "mean distance to the class's centre", digits=1)


def outlier_figure(classes: Classes, found: Outliers, shares: np.ndarray) -> Figure:
    """Left: squared distances against the chi-square density; right: share of outliers by class."""
    figure = new_figure(PAGE, 2.2)
    left, right = figure.subplots(1, 2)
    end = float(np.percentile(found.squares, 99.5))
    left.hist(
        found.squares,
        bins=np.linspace(0, end, 81).tolist(),
        density=True,
        color=OKABE_ITO[4],
        label="training images",
    )
    x = np.linspace(0, end, 400)[1:]
    left.plot(
        x,
        _chi_square(x, found.components),
        color="black",
        label=f"$\\chi^2$, {found.components} degrees of freedom",
    )
    left.axvline(found.threshold, color=OKABE_ITO[1], ls="--", label=f"{100 * LEVEL:g} % quantile")
    left.set_xlim(0, end)
    left.set_xlabel("squared Mahalanobis distance to the class")
    left.set_ylabel("density")
    left.legend(loc="upper right", frameon=True, framealpha=1, edgecolor="none")
    order = np.argsort(shares, kind="stable").tolist()
    ranked = 100 * shares[order]
    right.plot(range(len(ranked)), ranked, "o", ms=2.5, color=OKABE_ITO[0], mew=0)
    for place, side in ((0, 1), (len(order) - 1, -1)):
        beside(right, place, ranked[place], side, classes.names[order[place]])
    right.axhline(100 * (1 - LEVEL), color=OKABE_ITO[1], ls="--", label="normal, in the limit")
    right.axhline(100 * found.reference, color="black", ls=":", label="normal, this procedure")
    right.axhline(100 * found.share, color=OKABE_ITO[0], lw=0.8, label="all images")
    right.set_ylim(0, 1.1 * ranked[-1])
    right.set_xlabel("classes in order")
    right.set_ylabel("outliers [%]")
    right.legend(loc="upper left")
    for ax in (left, right):
        ax.grid(axis="y")
        ax.set_axisbelow(True)
    return figure


def _chi_square(x: np.ndarray, degrees: int) -> np.ndarray:
    """The density of a sum of squares of normal numbers."""
    half = degrees / 2
    density: np.ndarray = np.exp((half - 1) * np.log(x) - x / 2 - half * np.log(2) - gammaln(half))
    return density
