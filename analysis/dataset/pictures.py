"""Pictures of a data set: images of every class, nearest pairs, the most extreme outliers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fl_analysis.dataset.geometry import Pair
from fl_analysis.plots.style import PAGE, new_figure
from fl_analysis.reading.classes import Classes

EACH = 4  # images of a class in a montage
PAIRS = 6  # in a row
_GAP = 2  # pixels between images
_COLUMNS = 5  # classes in a row


def montage_figure(
    classes: Classes, pixels: np.ndarray, picks: Mapping[int, Sequence[int]], halves: bool = False
) -> Figure:
    """`picks` of every class side by side, a row a superclass; `halves`: a wide gap in the middle
    of each strip.
    """
    order = classes.order()
    rows = [order[i : i + _COLUMNS] for i in range(0, len(order), _COLUMNS)]
    figure = new_figure(PAGE, 0.43 * len(rows))
    grid = figure.subplots(len(rows), _COLUMNS, squeeze=False)
    for ax in grid.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for line, members in zip(grid, rows, strict=True):
        if classes.groups:
            name = fill(classes.groups[classes.parents[members[0]]], 15)
            line[0].set_ylabel(name, size=6.5, rotation=0, ha="right", va="center", labelpad=3)
        for ax, label in zip(line, members, strict=False):
            ax.imshow(_strip(pixels[list(picks[label])], halves), interpolation="nearest")
            ax.set_title(classes.names[label], size=6, pad=1.5)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(h_pad=0.01, w_pad=0.02, hspace=0.0, wspace=0.02)
    return figure


def _strip(images: np.ndarray, halves: bool) -> np.ndarray:
    """(n, H, W, 3) -> one picture with white gaps."""
    height = images.shape[1]
    parts: list[np.ndarray] = []
    for index, image in enumerate(images):
        if index:
            wide = 5 * _GAP if halves and index == len(images) // 2 else _GAP
            parts.append(np.full((height, wide, 3), 255, np.uint8))
        parts.append(image)
    return np.concatenate(parts, axis=1)


Side = tuple[np.ndarray, np.ndarray]  # pixels, labels


def pairs_figure(classes: Classes, rows: Mapping[str, tuple[Sequence[Pair], Side, Side]]) -> Figure:
    """A row a kind of pair: both images, their classes and distance."""
    figure = new_figure(PAGE, 0.83 * len(rows))
    grid = figure.subplots(len(rows), PAIRS, squeeze=False)
    for line, (title, (pairs, left, right)) in zip(grid, rows.items(), strict=True):
        line[0].set_ylabel(fill(title, 14), size=7)
        for ax in line:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        for ax, pair in zip(line, pairs, strict=False):
            images = np.stack([left[0][pair.one], right[0][pair.other]])
            ax.imshow(_strip(images, halves=False), interpolation="nearest")
            names = [classes.names[left[1][pair.one]], classes.names[right[1][pair.other]]]
            text = " | ".join(dict.fromkeys(names))
            ax.set_title(f"{text}\n{pair.distance:.1f}", size=6, pad=2, linespacing=1.05)
    return figure


def outlier_images_figure(
    classes: Classes, side: Side, images: Sequence[int], squares: np.ndarray
) -> Figure:
    """These images with their class and squared distance, in rows of eight."""
    columns = 8
    rows = -(-len(images) // columns)
    figure = new_figure(PAGE, 1.05 * rows)
    grid: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in grid:
        ax.set_axis_off()
    for ax, image in zip(grid, images, strict=False):
        ax.imshow(side[0][image], interpolation="nearest")
        name = classes.names[side[1][image]]
        ax.set_title(f"{name}\n{squares[image]:.0f}", size=6.5, pad=2, linespacing=1.05)
    return figure
