"""Accuracy against what it costs: every search trial, the Pareto front, what it confirms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fl_analysis.plots.panels import arm_text, axes_of, legend
from fl_analysis.plots.style import COLUMN, colours, cost_axis, line_style, marker, new_figure
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.outcome import Outcome
from fl_analysis.results.pareto import FrontPoint, front_points
from fl_core.config.vocabulary import compact


def pareto_figure(runs: StudyRuns, results: Sequence[Outcome]) -> Figure | None:
    """One colour an arm; the first objective across, on a logarithmic axis where it can be."""
    points = front_points(runs, results)
    if not points:
        return None
    cost = runs.objectives[0]
    done = runs.trials[(runs.trials["phase"] == "search") & (runs.trials["status"] == "finished")]
    figure = new_figure(COLUMN * 1.35, 2.9 + 0.16 * len(results))
    ax = figure.add_subplot()
    axes, paint = axes_of(results), colours(len(results))
    for index, outcome in enumerate(results):
        mine = done[done["arm"] == outcome.arm]
        front = sorted((p for p in points if p.arm is outcome), key=lambda p: float(p.trial[cost]))
        _draw_arm(ax, index, arm_text(outcome, axes), paint[index], cost, mine, front)
    shown = [*done[cost], *(point.trial[cost] for point in points)]
    cost_axis(ax, [float(value) for value in shown], "B" if cost.startswith("bytes_") else "")
    ax.set_xlabel(f"{compact(cost)}, whole trial")
    ax.set_ylabel("accuracy [%]")
    ax.set_ylim(*front_reach(points))
    ax.grid()
    legend(figure, [ax])
    return figure


def front_reach(points: Sequence[FrontPoint]) -> tuple[float, float]:
    """The accuracies [%] of the front and what confirms it, with a margin: trials far below them
    would leave no room to see it.
    """
    ends = [100 * float(p.trial["val_accuracy"]) for p in points]
    for point in points:
        if len(point.confirmed):
            spread = point.test[1] if math.isfinite(point.test[1]) else 0.0
            ends += [100 * (point.test[0] - spread), 100 * (point.test[0] + spread)]
    margin = 0.1 * (max(ends) - min(ends)) or 1.0
    return min(ends) - 2 * margin, max(ends) + margin


def _draw_arm(
    ax: Axes,
    index: int,
    name: str,
    colour: str,
    cost: str,
    trials: pd.DataFrame,
    front: Sequence[FrontPoint],
) -> None:
    """Finished trials, the front with its start, and what was confirmed of it; `front` by cost."""
    ax.plot(
        trials[cost],
        100 * trials["val_accuracy"],
        ".",
        ms=4,
        mew=0,
        color=colour,
        alpha=0.35,
        label=f"{name}: trials, validation",
    )
    ax.plot(
        [p.trial[cost] for p in front],
        [100 * p.trial["val_accuracy"] for p in front],
        ls=line_style(index),
        lw=1,
        color=colour,
        marker=".",
        ms=4,
        drawstyle="steps-post",
        label=f"{name}: front, validation",
    )
    begun = [p for p in front if p.start]
    if begun:
        ax.plot(
            [p.trial[cost] for p in begun],
            [100 * p.trial["val_accuracy"] for p in begun],
            "*",
            ms=9,
            color=colour,
            mec="black",
            mew=0.5,
            label=f"{name}: start, validation",
        )
    seen = [p for p in front if len(p.confirmed)]
    spread = [100 * p.test[1] if math.isfinite(p.test[1]) else 0.0 for p in seen]
    ax.errorbar(
        [p.trial[cost] for p in seen],
        [100 * p.test[0] for p in seen],
        yerr=spread,
        fmt=marker(index),
        ms=4,
        capsize=2,
        lw=1,
        color=colour,
        mec="black",
        mew=0.5,
        label=f"{name}: front, test",
    )
