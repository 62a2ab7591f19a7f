"""Figures of what confirmed models predict: by class, by client, by confidence, as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fl_analysis.plots.class_dots import class_dots
from fl_analysis.plots.panels import arm_text
from fl_analysis.plots.style import COLUMN, OKABE_ITO, PAGE, new_figure, plain
from fl_analysis.reading.classes import Classes
from fl_analysis.results.labels import arm_axes
from fl_analysis.results.outcome import Outcome
from fl_analysis.results.predictions import Predicted, calibration

COLUMNS = 7  # pictures in a row
RIGHT, WRONG = OKABE_ITO[2], OKABE_ITO[1]
_BELOW = (5, 25, 75, 95)  # percentiles of the clients


def class_accuracy_figure(arm: Predicted) -> Figure:
    """Accuracy of each class, mean over the seeds."""
    accuracy = 100 * arm.class_accuracy().mean(axis=0)
    return class_dots(arm.classes, accuracy, "test accuracy of the class [%]")


def clients_figure(clients: Mapping[int, np.ndarray], results: Sequence[Outcome]) -> Figure | None:
    """A row an arm: its clients as dots, box from the first to the third quartile, median."""
    shown = [  # of arms with clients: one that holds everything is no spread
        o
        for o in results
        if o.arm in clients
        and o.config.get("federation.clients") != 1
        and np.isfinite(clients[o.arm]).any()
    ]
    if not shown:
        return None
    axes = arm_axes([o.setting for o in shown], [o.config for o in shown])
    figure = new_figure(COLUMN, 0.6 + 0.26 * len(shown))
    ax = figure.add_subplot()
    for place, outcome in enumerate(shown):
        values = 100 * clients[outcome.arm]
        values = np.sort(values[np.isfinite(values)])
        low, first, third, high = np.percentile(values, _BELOW)
        # dots one below the other in turn: neighbours in value don't hide one another
        aside = 0.3 * ((np.arange(len(values)) % 5) / 2 - 1)
        ax.plot(values, place + aside, "o", ms=1.8, color=OKABE_ITO[4], mew=0, zorder=1)
        ax.plot([low, high], [place] * 2, color="black", lw=0.6, zorder=2)
        ax.barh(place, third - first, left=first, height=0.42, fill=False, lw=0.8, zorder=3)
        ax.plot([np.median(values)] * 2, [place - 0.3, place + 0.3], color=WRONG, lw=1.8, zorder=4)
    ax.set_yticks(range(len(shown)), [arm_text(o, axes) for o in shown])
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("accuracy on a client's classes [%]")
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    return figure


def calibration_figure(arm: Predicted) -> Figure:
    """Accuracy against confidence in bins of equal width, and how many predictions each holds."""
    found = calibration(arm.frames)
    figure = new_figure(COLUMN, 2.9)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    width = found.edges[1] - found.edges[0]
    middles = found.edges[:-1] + width / 2
    above.bar(middles, found.accuracy, width * 0.92, color=OKABE_ITO[4], label="accuracy")
    above.plot([0, 1], [0, 1], ls=(0, (3, 2)), lw=0.8, color="0.4")
    above.plot(found.confidence, found.accuracy, "o", ms=3, color="black", label="mean confidence")
    above.set_ylabel("accuracy")
    above.set_ylim(0, 1)
    above.text(0.04, 0.93, f"ECE {100 * found.error:.1f} %", va="top", size=7)
    below.bar(middles, 100 * found.number / found.number.sum(), width * 0.92, color="0.6")
    below.set_ylabel("share [%]")
    below.set_xlabel("confidence of the prediction")
    below.set_xlim(0, 1)
    for ax in (above, below):
        ax.grid(axis="y")
        ax.set_axisbelow(True)
    return figure


def calibration_error_figure(found: Sequence[Predicted]) -> Figure | None:
    """A row an arm: its expected calibration error, and that of each seed; None for one arm."""
    if len(found) < 2:
        return None
    outcomes = [arm.outcome for arm in found]
    axes = arm_axes([o.setting for o in outcomes], [o.config for o in outcomes])
    figure = new_figure(COLUMN, 0.6 + 0.19 * len(found))
    ax = figure.add_subplot()
    for place, arm in enumerate(found):
        seeds = [100 * calibration([frame]).error for frame in arm.frames]
        ax.plot(seeds, [place] * len(seeds), "o", ms=2.5, color="0.5", mew=0)
        ax.plot(sum(seeds) / len(seeds), place, "D", ms=4, color=OKABE_ITO[0], mew=0)
    ax.set_yticks(range(len(found)), [arm_text(o, axes) for o in outcomes])
    ax.set_ylim(len(found) - 0.4, -0.6)
    ax.set_xlim(left=0)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("expected calibration error [%]")
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    return figure


def pick(frame: pd.DataFrame, count: int) -> dict[str, list[int]]:
    """Rows of predictions worth a look: title of their row of pictures -> image numbers.

    Ties go to the first image; the random ones are the same in every figure of these predictions.
    """
    right = (frame["label"] == frame["prediction"]).to_numpy()
    confidence = frame["confidence"].to_numpy(dtype=float)
    order = np.argsort(confidence, kind="stable")
    worst = np.argsort(-confidence, kind="stable")
    drawn = np.random.default_rng(0).permutation(np.flatnonzero(right))
    rows = {
        "wrong, most confident": worst[~right[worst]][:count],
        "right, least confident": order[right[order]][:count],
        "right, at random": np.sort(drawn[:count]),
    }
    return {title: chosen.tolist() for title, chosen in rows.items()}


def examples_figure(arm: Predicted, pixels: np.ndarray) -> Figure | None:
    """Test images with true -> predicted class and confidence, of the first seed.

    None where these are not the images that were predicted: another number of them.
    """
    frame = arm.frames[0]
    if len(frame) != len(pixels):
        return None
    rows = pick(frame, COLUMNS)
    figure = new_figure(PAGE, 1.12 * len(rows))
    grid = figure.subplots(len(rows), COLUMNS, squeeze=False)
    for line, (title, images) in zip(grid, rows.items(), strict=True):
        line[0].set_ylabel(fill(title, 12), size=7)
        for ax in line:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        for ax, image in zip(line, images, strict=False):
            label, prediction, confidence = frame.loc[image, ["label", "prediction", "confidence"]]
            ax.imshow(pixels[image], interpolation="nearest")
            ax.spines[:].set(
                visible=True, linewidth=1.5, color=RIGHT if label == prediction else WRONG
            )
            text = _verdict(arm.classes, int(label), int(prediction))
            ax.set_title(f"{text}\n{confidence:.2f}", size=7, pad=2, linespacing=1.05)
    return figure


def _verdict(classes: Classes, label: int, prediction: int) -> str:
    """True -> predicted, on two lines."""
    return plain(f"{classes.names[label]}\n→ {classes.names[prediction]}")
