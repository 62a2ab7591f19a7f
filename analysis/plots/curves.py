"""Figures over the course of a run: accuracy, on the test set too, and communication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from fl_analysis.plots.lines import Line, panels
from fl_analysis.plots.panels import legend, unit_of
from fl_analysis.plots.style import cost_axis, pretty
from fl_analysis.results.best import beside
from fl_analysis.results.curves import Curves, Peak, is_course
from fl_analysis.results.equal import SECONDS
from fl_analysis.results.labels import TIME_UNITS, unit_for
from fl_analysis.results.outcome import Outcome

_ACCURACY = "validation accuracy [%]"
_THICK, _THIN = 1.3, 0.6  # of lines: validation, training
_GREY = "0.35"
SPAN = 30.0  # largest over smallest value from which a logarithmic axis reads better


def curve_figure(
    results: Sequence[Outcome], data: Curves, marked: Mapping[int, Peak] | None = None
) -> Figure | None:
    """Validation accuracy against local steps, one line an arm; `marked`: where it was best.

    With accuracy on training examples (thin) where the runs measured it.
    """
    if not is_course(data.frame):
        return None
    train = data.over_runs("train_accuracy")
    ylabel = _ACCURACY if train.empty else "accuracy [%]"
    return steps_figure(results, data.frame, ylabel, 100.0, marked, train)


def curve_on_test_figure(results: Sequence[Outcome], data: Curves) -> Figure | None:
    """Test accuracy against local steps, as the confirmation read it on its way."""
    frame = data.over_runs("test_accuracy")
    if not is_course(frame):
        return None
    return steps_figure(results, frame, "test accuracy [%]", 100.0)


def active_share_figure(results: Sequence[Outcome], data: Curves) -> Figure | None:
    """Share of the maskable parameters that each round trained, of masks that change."""
    frame = data.over_runs("active_share")
    if not is_course(frame):
        return None
    return steps_figure(results, frame, "active parameters [%]", 100.0)


def log_if_wide(drawn: Sequence[Axes], values: pd.Series) -> None:
    """A logarithmic axis where values span more than `SPAN`."""
    if values.max() > SPAN * values.min() > 0:
        for ax in drawn:
            ax.set_yscale("log")
            ax.yaxis.set_minor_formatter(NullFormatter())


def draw_line(ax: Axes, line: Line, x: pd.Series, mine: pd.DataFrame, scale: float) -> None:
    """Mean and band of one arm; one evaluation makes no line, but a dot."""
    ax.plot(
        x,
        scale * mine["mean"],
        color=line.colour,
        ls=line.style,
        marker="o" if len(mine) == 1 else None,
        ms=3,
        label=line.label,
    )
    low, high = mine["mean"] - mine["std"], mine["mean"] + mine["std"]
    ax.fill_between(x, scale * low, scale * high, color=line.colour, alpha=0.2, lw=0)


def draw_thin(ax: Axes, line: Line, x: pd.Series, trained: pd.DataFrame, scale: float) -> None:
    """Mean of one arm on its training examples, beside a `draw_line` of the same colour; of one
    evaluation a hollow dot.
    """
    ax.plot(
        x,
        scale * trained["mean"],
        color=line.colour,
        ls=line.style,
        lw=_THIN,
        marker="o" if len(trained) == 1 else None,
        ms=3,
        mfc="none",
    )


def mark_best(
    ax: Axes, line: Line, at: float, x: pd.Series, mine: pd.DataFrame, scale: float
) -> None:
    """A dot on the arm's line where its runs were best, mean over them."""
    y = np.interp(at, x.to_numpy(dtype=float), scale * mine["mean"].to_numpy(dtype=float))
    ax.plot([at], [y], "o", ms=4.5, color=line.colour, mec="white", mew=0.7, zorder=4)


def explain(ax: Axes, *, trained: bool, marked: bool) -> None:
    """Entries of the legend for what the arms have in common."""
    ax.plot([], [], color=_GREY, lw=_THICK, label="validation")
    if trained:
        ax.plot([], [], color=_GREY, lw=_THIN, label="training")
    if marked:
        ax.plot([], [], "o", ms=4.5, color=_GREY, mec="white", mew=0.7, label="best accuracy")


def make_room(figure: Figure, grid: Sequence[tuple[Axes, list[Line]]]) -> None:
    """A higher figure, for a legend that explains."""
    figure.set_figheight(figure.get_figheight() + (0.7 if len(grid) == 1 else 0.2))


def steps_figure(
    results: Sequence[Outcome],
    frame: pd.DataFrame,
    ylabel: str,
    scale: float,
    marked: Mapping[int, Peak] | None = None,
    train: pd.DataFrame | None = None,
) -> Figure:
    """Mean and band of each arm against local steps; `train`: the same on training examples."""
    figure, grid = panels(results, set(frame["arm"]), ylabel)
    for ax, group in grid:
        for line in group:
            mine = frame[frame["arm"] == line.arm.arm]
            draw_line(ax, line, mine["step"], mine, scale)
            if train is not None:
                trained = train[train["arm"] == line.arm.arm]
                draw_thin(ax, line, trained["step"], trained, scale)
            if marked and line.arm.arm in marked:
                mark_best(ax, line, marked[line.arm.arm].step, mine["step"], mine, scale)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.set_xlim(0, 1.05 * frame["step"].max())  # of all panels: they share the axis
    if train is not None and not train.empty:
        explain(grid[0][0], trained=True, marked=bool(marked))
        make_room(figure, grid)
    figure.supxlabel(pretty(f"local {unit_of(results)}, T × J"), size=8)
    legend(figure, [ax for ax, _ in grid])
    return figure


def bytes_figure(results: Sequence[Outcome], data: Curves) -> Figure | None:
    """Validation accuracy against the bytes sent so far, both directions, all clients and stages;
    each line begins before the main stage.
    """
    known = data.frame[data.frame["bytes"] > 0]
    known = known[~known["arm"].isin(data.alone)]  # one client sends to nobody
    if not is_course(known):
        return None
    begun = data.starts[data.starts["arm"].isin(known["arm"])].assign(std=0.0)
    figure, grid = panels(results, set(known["arm"]), _ACCURACY)
    shown = [*known["bytes"], *begun["bytes"]]
    for ax, group in grid:
        for line in group:
            start = begun[begun["arm"] == line.arm.arm]
            mine = pd.concat([start, known[known["arm"] == line.arm.arm]])
            draw_line(ax, line, mine["bytes"], mine, 100.0)
            ax.plot(start["bytes"], 100 * start["mean"], "*", ms=6, color=line.colour)
        cost_axis(ax, shown, "B")
    figure.supxlabel("bytes sent so far, up + down, all clients", size=8)
    legend(figure, [ax for ax, _ in grid])
    return figure


def time_figure(results: Sequence[Outcome], data: Curves) -> Figure | None:
    """Test accuracy against virtual time; a panel's axis is logarithmic where its arms end at times
    that are a decade apart. Dotted, where a panel's arms are compared: until when all of them ran.
    """
    frame = data.over_runs("test_accuracy")
    known = frame[(frame[SECONDS] > 0) & ~frame["arm"].isin(data.alone)]
    if not is_course(known):
        return None
    ends = {int(str(arm)): float(end) for arm, end in known.groupby("arm")[SECONDS].max().items()}
    unit, size = unit_for(ends.values(), TIME_UNITS)
    compared = [{o.arm for o in some} for some in beside(results).values()]
    figure, grid = panels(results, set(ends), "test accuracy [%]", same_x=False)
    for ax, group in grid:
        for line in group:
            mine = known[known["arm"] == line.arm.arm]
            draw_line(ax, line, mine[SECONDS] / size, mine, 100.0)
        mine = known[known["arm"].isin([line.arm.arm for line in group])]
        last = [ends[line.arm.arm] / size for line in group]
        if last and max(last) >= 10 * min(last):
            cost_axis(ax, list(mine[SECONDS] / size), "")
            ax.xaxis.set_major_formatter("{x:g}")
        else:
            ax.set_xlim(left=0)
            ax.xaxis.set_major_locator(MaxNLocator(4))
        if len(last) > 1 and any({line.arm.arm for line in group} <= some for some in compared):
            ax.axvline(min(last), color=_GREY, lw=0.8, ls=":")
    figure.supxlabel(f"virtual time [{unit}]", size=8)
    legend(figure, [ax for ax, _ in grid])
    return figure
