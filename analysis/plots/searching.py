"""How far each arm's search had come after each of its trials."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fl_analysis.plots.lines import panels
from fl_analysis.plots.panels import legend
from fl_analysis.results.outcome import Outcome
from fl_analysis.results.searching import Course

SETTLED = 1 / 2  # of an arm's trials: what its first ones reach would flatten all the rest


def reach(courses: Sequence[Course]) -> tuple[float, float]:
    """What of the accuracies [%] is worth showing: from the lowest that an arm had reached after
    half of its trials, with a margin.
    """
    low, high = math.inf, -math.inf
    for course in courses:
        seen = course.best.dropna()
        low = min(low, 100 * float(seen.iloc[math.ceil(SETTLED * (len(seen) - 1))]))
        high = max(high, 100 * float(seen.iloc[-1]))
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def search_figure(results: Sequence[Outcome], courses: Sequence[Course]) -> Figure | None:
    """Best validation accuracy of the finished trials so far against trials, one line an arm."""
    found = {course.arm: course for course in courses if course.best.notna().any()}
    if not found or max(len(course.best) for course in found.values()) < 2:
        return None
    figure, grid = panels(results, set(found), "best so far [%]")
    for ax, group in grid:
        for line in group:
            course = found[line.arm.arm]
            trials, best = range(1, len(course.best) + 1), (100 * course.best).tolist()
            steps = [*trials, trials[-1] + 0.5], [*best, best[-1]]  # the last has a width too
            ax.step(*steps, where="post", color=line.colour, ls=line.style, label=line.label)
            if course.borrowed.any():
                at = [n for n, other in zip(trials, course.borrowed, strict=True) if other]
                score = 100 * course.score[course.borrowed]
                ax.plot(at, score, "x", ms=4, mew=0.9, color=line.colour)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    if any(course.borrowed.any() for course in found.values()):
        grid[0][0].plot([], [], "x", ms=4, color="0.35", label="a neighbour's winner")
    low, high = reach(list(found.values()))
    for ax, _ in grid:
        ax.set_ylim(low, high)
    figure.supxlabel("search trials of the arm, in the order of their start", size=8)
    legend(figure, [ax for ax, _ in grid])
    return figure
