"""Training, validation and test loss over the rounds of a run, and where it was best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fl_analysis.plots.curves import (
    draw_line,
    draw_thin,
    explain,
    log_if_wide,
    make_room,
    mark_best,
)
from fl_analysis.plots.lines import Line, panels
from fl_analysis.plots.panels import legend
from fl_analysis.results.curves import Curves, Peak, in_epochs, is_course, time_column
from fl_analysis.results.outcome import Outcome


def loss_figure(
    results: Sequence[Outcome], data: Curves, marked: Mapping[int, Peak]
) -> Figure | None:
    """Validation loss (thick, with a band) and training loss (thin), a colour an arm; a dot where
    the runs had their best validation accuracy.
    """
    val, train = data.over_runs("val_loss"), data.over_runs("train_loss")
    if not is_course(val):
        return None
    figure, grid = panels(results, set(val["arm"]), "cross-entropy", same_x=False)
    make_room(figure, grid)
    x = time_column(results)
    for ax, group in grid:
        for line in group:
            mine, trained = (f[f["arm"] == line.arm.arm] for f in (val, train))
            draw_line(ax, line, mine[x], mine, 1.0)
            draw_thin(ax, line, trained[x], trained, 1.0)
            if line.arm.arm in marked and len(mine) > 1:
                mark_best(ax, line, marked[line.arm.arm].best[0], mine[x], mine, 1.0)
    explain(grid[0][0], trained=not train.empty, marked=bool(marked))
    _finish(figure, grid, results, pd.concat([val["mean"], train["mean"]]))
    return figure


def loss_on_test_figure(results: Sequence[Outcome], data: Curves) -> Figure | None:
    """Test loss, as the confirmation read it on its way."""
    frame = data.over_runs("test_loss")
    if not is_course(frame):
        return None
    figure, grid = panels(results, set(frame["arm"]), "test cross-entropy", same_x=False)
    x = time_column(results)
    for ax, group in grid:
        for line in group:
            mine = frame[frame["arm"] == line.arm.arm]
            draw_line(ax, line, mine[x], mine, 1.0)
    _finish(figure, grid, results, frame["mean"])
    return figure


def _finish(
    figure: Figure,
    grid: Sequence[tuple[Axes, list[Line]]],
    results: Sequence[Outcome],
    values: pd.Series,
) -> None:
    """Axes, their names and the legend."""
    drawn = [ax for ax, _ in grid]
    for ax in drawn:
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.set_xlim(left=0)
    log_if_wide(drawn, values.dropna())
    figure.supxlabel("epochs" if in_epochs(results) else "communication rounds", size=8)
    legend(figure, drawn)
