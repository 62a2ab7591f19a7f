"""Figures of mistakes: the confusion matrix, the pairs most often confused, errors of all arms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from fl_analysis.plots.panels import arm_text
from fl_analysis.plots.style import COLUMN, OKABE_ITO, PAGE, amounts, ink, new_figure, plain
from fl_analysis.reading.classes import Classes
from fl_analysis.results.labels import arm_axes
from fl_analysis.results.predictions import Predicted, confused_pairs, error_kinds, row_shares

PAIRS = 20
FAINT = 0.3  # percent: the lightest colour; a smaller share is drawn in it too
NEAR, FAR = OKABE_ITO[0], OKABE_ITO[1]
_PITCH, _CLOSE = 0.17, 0.065  # inches from name to name: at most; where they end to be readable
_CHARACTER = 0.062  # inches of a name, at most


def confusion_figure(arm: Predicted) -> Figure:
    """Share of each class that went to each class; beside it, where there are superclasses, the
    same of these with numbers.
    """
    classes, shares = arm.classes, 100 * arm.shares()
    norm = LogNorm(FAINT, 100, clip=True)
    mapping = ScalarMappable(norm, amounts())
    if not classes.groups:
        pitch, margin = _room(classes)
        side = max(1.8, pitch * len(classes.names))
        figure = new_figure(side + margin + 0.9, side + margin + 0.35, layout="compressed")
        grid = [figure.add_subplot()]
        _draw(grid[0], shares, mapping)
        if margin:
            places, size = range(len(classes.names)), min(7.0, 0.9 * 72 * pitch)
            names = list(map(plain, classes.names))
            grid[0].set_xticks(places, names, rotation=90, size=size)
            grid[0].set_yticks(places, names, size=size)
    else:
        figure = new_figure(PAGE, 3.95, layout="compressed")
        grid = list(figure.subplots(1, 2))
        order = classes.order()
        _draw(grid[0], shares[np.ix_(order, order)], mapping)
        _name_groups(grid[0], classes)
        parents = np.eye(len(classes.groups), dtype=int)[list(classes.parents)]
        counts = parents.T @ arm.counts.sum(axis=0) @ parents
        coarse = 100 * row_shares(counts)
        _draw(grid[1], coarse, mapping)
        _write(grid[1], coarse, mapping)
        grid[1].set_xticks(range(len(coarse)), classes.groups, rotation=90, size=7)
        grid[1].set_yticks([])
        grid[0].set_title("classes")
        grid[1].set_title("superclasses [%]")
    for ax in grid:
        ax.set_xlabel("predicted")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(True)
    grid[0].set_ylabel("true")
    bar = figure.colorbar(mapping, ax=grid, pad=0.01, aspect=30, shrink=0.9)
    bar.set_ticks([0.3, 1, 3, 10, 30, 100])
    bar.ax.yaxis.set_major_formatter("{x:g}")
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.set_label("share of the true class [%]")
    return figure


def _draw(ax: Axes, shares: np.ndarray, mapping: ScalarMappable) -> None:
    shown = np.ma.masked_where(~(shares > 0), shares)
    ax.imshow(shown, cmap=mapping.cmap, norm=mapping.norm, interpolation="nearest")


def _room(classes: Classes) -> tuple[float, float]:
    """Inches from class to class, and for their names beside the axes: none where they could not be
    read, and matplotlib chooses a few numbers.
    """
    margin = 0.1 + _CHARACTER * max(map(len, classes.names))
    pitch = min(_PITCH, (PAGE - margin - 0.9) / len(classes.names))
    return (pitch, margin) if pitch >= _CLOSE else (COLUMN / len(classes.names), 0.0)


def _name_groups(ax: Axes, classes: Classes) -> None:
    """A superclass's name at the middle of its classes, lines between superclasses."""
    sizes = np.array([len(classes.members(group)) for group in range(len(classes.groups))])
    ends = np.cumsum(sizes)
    for edge in ends[:-1] - 0.5:
        ax.axhline(edge, color="0.75", lw=0.3)
        ax.axvline(edge, color="0.75", lw=0.3)
    middles = ends - (sizes + 1) / 2
    ax.set_yticks(middles, classes.groups, size=7)
    ax.set_xticks(middles, classes.groups, rotation=90, size=7)


def _write(ax: Axes, shares: np.ndarray, mapping: ScalarMappable) -> None:
    """Whole percents from 0.5 on."""
    for row, column in np.argwhere(shares >= 0.5).tolist():
        value = shares[row, column]
        colour = ink(mapping.to_rgba(np.array([value]))[0])
        ax.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, size=7)


def pairs_figure(arm: Predicted) -> Figure | None:
    """The pairs most often confused; None where nothing was."""
    pairs = confused_pairs(arm.shares(), PAIRS)
    if not pairs:
        return None
    names, each = arm.classes.names, [row_shares(counts) for counts in arm.counts]
    rows = [plain(f"{names[label]} → {names[other]}") for label, other, _ in pairs]
    width = max(COLUMN, 1.6 + _CHARACTER * max(map(len, rows)))
    figure = new_figure(width, 0.75 + 0.155 * len(pairs))
    ax = figure.add_subplot()
    for place, (label, other, share) in enumerate(pairs):
        near = not arm.classes.groups or arm.classes.related(label, other)
        ax.barh(
            place,
            100 * share,
            height=0.7,
            color=NEAR if near else FAR,
            hatch=None if near else "//////",
            edgecolor="white",
            linewidth=0,
        )
        seeds = [100 * shares[label, other] for shares in each]
        ax.plot(seeds, [place] * len(seeds), "o", ms=3, color="black", mec="white", mew=0.4)
    _label_bars(ax, rows, "share of the true class [%]")
    if arm.classes.groups:
        handles = [
            Patch(facecolor=NEAR, label="same superclass"),
            Patch(facecolor=FAR, hatch="//////", edgecolor="white", label="another superclass"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, handlelength=1.4)
    return figure


def _label_bars(ax: Axes, rows: Sequence[str], xlabel: str) -> None:
    """Names of horizontal bars, the first on top, and what their lengths are."""
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(left=0)
    ax.set_xlabel(xlabel)
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)


def errors_figure(found: Sequence[Predicted]) -> Figure:
    """A row an arm: its errors within the right superclass and beyond, mean over the seeds."""
    outcomes = [arm.outcome for arm in found]
    axes = arm_axes([o.setting for o in outcomes], [o.config for o in outcomes])
    groups = any(arm.classes.groups for arm in found)
    figure = new_figure(COLUMN, 0.8 + 0.19 * len(found))
    ax = figure.add_subplot()
    for place, arm in enumerate(found):
        kinds = {name: 100 * values for name, values in error_kinds(arm).items()}
        near, far = (float(kinds[name].mean()) for name in ("near", "far"))
        ax.barh(place, near, height=0.65, color=NEAR, label="same superclass")
        ax.barh(
            place,
            far,
            left=near,
            height=0.65,
            color=FAR if groups else NEAR,
            hatch="//////" if groups else None,
            edgecolor="white",
            linewidth=0,
            label="another superclass",
        )
        seeds = 100 - kinds["right"]
        ax.plot(seeds, [place] * len(seeds), "o", ms=3, color="black", mec="white", mew=0.4)
    wrong = f"test {outcomes[0].task.noun} classified wrongly [%]"
    _label_bars(ax, [arm_text(o, axes) for o in outcomes], wrong)
    if groups:
        handles, labels = ax.get_legend_handles_labels()
        figure.legend(
            handles[:2], labels[:2], loc="outside upper center", ncols=2, handlelength=1.4
        )
    return figure
