"""Figures of what the confirmed configurations reach: accuracy, learning curves, communication."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, NullFormatter

from analysis.labels import DASH, arm_axes, axis_label, axis_value, level_label, percent
from analysis.outcome import Outcome
from analysis.store import StudyRuns, curves
from analysis.style import COLUMN, PAGE, colours, ink, line_style, log_ticks, new_figure, pretty

MANY = 6  # lines in one panel


@dataclass(frozen=True)
class Curves:
    """Validation curves, one row (arm, step): mean, std (0 for one run), runs, bytes."""

    frame: pd.DataFrame
    searched: tuple[int, ...]  # arms drawn from their best search trial: one run, no band


def read_curves(runs: StudyRuns, results: Sequence[Outcome]) -> Curves:
    """The confirmation runs' validation curves; an arm that has none there (trained on
    train+val, or not confirmed) shows its chosen search trial.
    """
    owner: dict[str, int] = {}
    fallback: list[int] = []
    for outcome in results:
        seen = outcome.confirmed[outcome.confirmed["val_accuracy"].notna()]
        if len(seen):
            owner |= dict.fromkeys(seen["run_id"], outcome.arm)
        elif outcome.best is not None:
            owner[outcome.best["run_id"]] = outcome.arm
            fallback.append(outcome.arm)
    names = ["val_accuracy", "bytes_up", "bytes_down"]
    tidy = curves(runs, list(owner), names)
    wide = tidy.pivot(index=["run_id", "step"], columns="metric", values="value").reset_index()
    wide = wide.reindex(columns=["run_id", "step", *names]).dropna(subset=["val_accuracy"])
    wide["arm"] = wide["run_id"].map(owner)
    wide["bytes"] = wide["bytes_up"] + wide["bytes_down"]
    groups = wide.groupby(["arm", "step"])
    frame = groups.agg(
        mean=("val_accuracy", "mean"),
        std=("val_accuracy", "std"),
        runs=("val_accuracy", "size"),
        bytes=("bytes", "mean"),
    ).reset_index()
    most = frame.groupby("arm")["runs"].transform("max")
    frame = frame[frame["runs"] == most].fillna({"std": 0.0})  # steps that all seeds evaluated
    return Curves(frame, tuple(fallback))


def accuracy_figure(results: Sequence[Outcome]) -> Figure | None:
    """A heat map when two names tell the arms apart, else dots with error bars."""
    if all(o.confirmed.empty for o in results):
        return None
    axes = _axes(results)
    cells = {tuple(axis_value(a, o.config) for a in axes) for o in results}
    if len(axes) == 2 and len(cells) == len(results):
        return _heat_map(results, axes)
    return _dots(results)


def _axes(results: Sequence[Outcome]) -> list[str]:
    return arm_axes([o.setting for o in results], [o.config for o in results])


def _unit(results: Sequence[Outcome]) -> object:
    return results[0].config.get("local.unit") if results else None


def _levels(axis: str, results: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(axis_value(axis, o.config) for o in results))


def _heat_map(results: Sequence[Outcome], axes: Sequence[str]) -> Figure:
    rows, columns = (_levels(a, results) for a in axes)
    grid = np.full((len(rows), len(columns)), np.nan)
    text: dict[tuple[int, int], str] = {}
    for outcome in results:
        place = tuple(
            levels.index(axis_value(a, outcome.config))
            for a, levels in zip(axes, (rows, columns), strict=True)
        )
        grid[place] = 100 * outcome.mean
        text[place[0], place[1]] = percent(outcome.mean, outcome.std)
    width = max(COLUMN, min(PAGE, 1.4 + 0.75 * len(columns)))
    figure = new_figure(width, 0.8 + 0.34 * len(rows))
    ax = figure.add_subplot()
    scale = matplotlib.colormaps["viridis"].with_extremes(bad="#e6e6e6")
    image = ax.imshow(np.ma.masked_invalid(grid), cmap=scale, aspect="auto")
    for row in range(len(rows)):
        for column in range(len(columns)):
            value = grid[row, column]
            colour = ink(tuple(image.cmap(image.norm(value)))) if np.isfinite(value) else "black"
            shown = text.get((row, column), DASH)
            ax.text(column, row, shown, ha="center", va="center", color=colour, size=7.5)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), [pretty(r) for r in rows])
    ax.set_xlabel(pretty(axis_label(axes[1], _unit(results))))
    ax.set_ylabel(pretty(axis_label(axes[0], _unit(results))))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=ax, pad=0.02)
    bar.set_label("test accuracy [%]")
    bar.outline.set_visible(False)
    return figure


def _dots(results: Sequence[Outcome]) -> Figure:
    figure = new_figure(COLUMN, 0.7 + 0.24 * len(results))
    ax = figure.add_subplot()
    for place, outcome in enumerate(results):
        tests = 100 * outcome.confirmed["test_accuracy"]
        if tests.empty:
            ax.text(0.5, place, "not confirmed", transform=ax.get_yaxis_transform(), ha="center",
                    va="center", color="0.4", size=7)  # fmt: skip
            continue
        ax.plot(tests, [place + 0.25] * len(tests), "o", ms=2.5, color="0.5", mew=0)  # the seeds
        spread = 100 * outcome.std if len(tests) > 1 else 0.0
        ax.errorbar(100 * outcome.mean, place, xerr=spread, fmt="o", ms=4, capsize=2.5, lw=1,
                    color=colours(1)[0])  # fmt: skip
    ax.set_yticks(range(len(results)), [pretty(o.name) for o in results])
    ax.set_ylim(len(results) - 0.5, -0.5)
    ax.set_xlabel("test accuracy [%]")
    ax.grid(axis="x")
    return figure


def curve_figure(results: Sequence[Outcome], data: Curves) -> Figure | None:
    """Validation accuracy against local steps, one line an arm."""
    if data.frame.empty:
        return None
    figure, panels = _panels(results, set(data.frame["arm"]))
    for ax, group in panels:
        for outcome, label, colour, style in group:
            mine = data.frame[data.frame["arm"] == outcome.arm]
            ax.plot(mine["step"], 100 * mine["mean"], color=colour, ls=style, label=label)
            low, high = mine["mean"] - mine["std"], mine["mean"] + mine["std"]
            ax.fill_between(mine["step"], 100 * low, 100 * high, color=colour, alpha=0.2, lw=0)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.set_xlim(left=0)
    steps = "local steps" + (", T × J" if _unit(results) != "epochs" else "")
    figure.supxlabel(pretty(steps), size=8)
    _legend(figure, panels)
    return figure


def bytes_figure(results: Sequence[Outcome], data: Curves) -> Figure | None:
    """Validation accuracy against the bytes sent so far, both directions, all clients."""
    known = data.frame[data.frame["bytes"].notna() & (data.frame["bytes"] > 0)]
    if known.empty:
        return None
    figure, panels = _panels(results, set(known["arm"]))
    ticks = log_ticks(known["bytes"].min(), known["bytes"].max())
    for ax, group in panels:
        for outcome, label, colour, style in group:
            mine = known[known["arm"] == outcome.arm]
            ax.plot(mine["bytes"], 100 * mine["mean"], color=colour, ls=style, label=label)
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(ticks))
        ax.xaxis.set_major_formatter(EngFormatter(unit="B"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    figure.supxlabel("bytes sent so far, up + down, all clients", size=8)
    _legend(figure, panels)
    return figure


Drawn = tuple[Outcome, str, object, object]


def _panels(
    results: Sequence[Outcome], drawn: set[int]
) -> tuple[Figure, list[tuple[Axes, list[Drawn]]]]:
    """One panel, or one for each level of the shorter axis when there are many arms."""
    axes = _axes(results)
    if len(results) <= MANY or len(axes) != 2:
        figure = new_figure(COLUMN, 2.1 + 0.07 * len(results))
        ax = figure.add_subplot()
        ax.set_ylabel("validation accuracy [%]")
        ax.grid()
        paint = colours(len(results))
        group: list[Drawn] = [
            (o, pretty(o.name), paint[i], line_style(i))
            for i, o in enumerate(results)
            if o.arm in drawn
        ]
        return figure, [(ax, group)]
    split, other = sorted(axes, key=lambda a: len(_levels(a, results)))
    wide, lines = _levels(split, results), _levels(other, results)
    figure = new_figure(PAGE, 2.4)
    grid = figure.subplots(1, len(wide), sharey=True, sharex=True, squeeze=False)[0]
    paint, panels = colours(len(lines)), []
    for ax, level in zip(grid, wide, strict=True):
        ax.set_title(pretty(level_label(split, level)))
        ax.grid()
        group = []
        for o in results:
            if axis_value(split, o.config) == level and o.arm in drawn:
                i = lines.index(axis_value(other, o.config))
                label = pretty(level_label(other, lines[i]))
                group.append((o, label, paint[i], line_style(i)))
        panels.append((ax, group))
    grid[0].set_ylabel("validation accuracy [%]")
    return figure, panels


def _legend(figure: Figure, panels: Sequence[tuple[Axes, list[Drawn]]]) -> None:
    handles: dict[str, Artist] = {}
    for ax, _ in panels:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    columns = min(len(handles), 2 if len(panels) == 1 else 7)
    figure.legend(
        list(handles.values()), list(handles), loc="outside upper center", ncols=columns,
        handlelength=2.4, columnspacing=1.2,
    )  # fmt: skip
