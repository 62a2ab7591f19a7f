"""Test accuracies as dots with error bars: a row an arm, or a row for all its shardings."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from fl_analysis.plots.lines import level_colours
from fl_analysis.plots.panels import arm_text, joined, legend, levels
from fl_analysis.plots.style import COLUMN, colours, marker, new_figure, pretty
from fl_analysis.results.labels import axis_value, level_label
from fl_analysis.results.outcome import Outcome


def dots(results: Sequence[Outcome], axes: Sequence[str]) -> Figure:
    """A row an arm: mean ± std, the seeds as small dots above."""
    figure = new_figure(COLUMN, 0.7 + 0.24 * len(results))
    ax = figure.add_subplot()
    for place, outcome in enumerate(results):
        tests = 100 * outcome.confirmed["test_accuracy"]
        if tests.empty:
            ax.text(
                0.5,
                place,
                "not confirmed",
                transform=ax.get_yaxis_transform(),
                ha="center",
                va="center",
                color="0.4",
                size=7,
            )
            continue
        ax.plot(tests, [place + 0.25] * len(tests), "o", ms=2.5, color="0.5", mew=0)  # the seeds
        spread = 100 * outcome.std if len(tests) > 1 else 0.0
        ax.errorbar(
            100 * outcome.mean,
            place,
            xerr=spread,
            fmt="o",
            ms=4,
            capsize=2.5,
            lw=1,
            color=colours(1)[0],
        )
    ax.set_yticks(range(len(results)), [arm_text(o, axes) for o in results])
    ax.set_ylim(len(results) - 0.5, -0.5)
    ax.set_xlabel("test accuracy [%]")
    ax.grid(axis="x")
    return figure


def grouped_dots(results: Sequence[Outcome], axes: Sequence[str]) -> Figure:
    """A row for each setting of all but the sharding, a coloured dot for each sharding."""
    rest = [axis for axis in axes if axis != "sharding"]
    rows = list(dict.fromkeys(joined(rest, o) for o in results))
    groups = levels("sharding", results)
    paint = level_colours("sharding", groups, results)
    figure = new_figure(COLUMN, 0.9 + (0.14 + 0.1 * len(groups)) * len(rows))
    ax = figure.add_subplot()
    for outcome in results:
        if outcome.confirmed.empty:
            continue
        level = axis_value("sharding", outcome.config)
        i = groups.index(level)
        place = rows.index(joined(rest, outcome)) + 0.6 * ((i + 0.5) / len(groups) - 0.5)
        spread = 100 * outcome.std if len(outcome.confirmed) > 1 else 0.0
        ax.errorbar(
            100 * outcome.mean,
            place,
            xerr=spread,
            fmt=marker(i),
            ms=4,
            capsize=2,
            lw=1,
            color=paint[i],
            label=pretty(level_label("sharding", level)),
        )
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    for edge in range(1, len(rows)):
        ax.axhline(edge - 0.5, color="0.85", lw=0.5)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("test accuracy [%]")
    ax.grid(axis="x")
    legend(figure, [ax])
    return figure
