"""The report's interactive plots of results: accuracy by arm, learning curves, Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from fl_analysis.page.encoding import (
    DASHES,
    SYMBOLS,
    Encoding,
    Mark,
    Plot,
    colour,
    encoding,
    plain,
    specification,
    thinned,
)
from fl_analysis.plots.panels import unit_of
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.curves import Curves
from fl_analysis.results.labels import axis_label, percent, tick_label
from fl_analysis.results.outcome import Outcome
from fl_analysis.results.pareto import FrontPoint, front_points
from fl_core.config.vocabulary import compact

DOTS = 1500  # most trials drawn as single dots


def accuracy_plot(results: Sequence[Outcome]) -> Plot | None:
    """Test accuracy of every arm: mean ± std as a marker, the seeds as small dots."""
    shown = encoding(results)
    confirmed = [mark for mark in shown.marks if not mark.arm.confirmed.empty]
    if not confirmed:
        return None
    data: list[dict[str, Any]] = []
    for name in shown.series:
        mine = [mark for mark in confirmed if mark.series == name]
        if mine:
            data += _accuracy_traces(shown, mine)
    missing = [o.name for o in results if o.confirmed.empty]
    title = axis_label(shown.across, unit_of(results)) if shown.across else ""
    layout = {
        "height": 420,
        "scattermode": "group",
        "scattergap": 0.55,
        "xaxis": {"title": {"text": plain(title)}, "type": "category", "automargin": True,
                  "categoryorder": "array",
                  "categoryarray": [_tick(shown, level) for level in shown.levels]},
        "yaxis": {"title": {"text": "test accuracy [%]"}, "automargin": True,
                  "range": _reach(confirmed)},
        "showlegend": len(shown.series) > 1,
    }  # fmt: skip
    text = (
        "Test accuracy of the chosen configurations: mean ± sample standard deviation (ddof = 1) "
        "over the confirmation seeds; small dots: the seeds."
    )
    text += f" Not confirmed: {', '.join(missing)}." if missing else ""
    spec = specification(data, layout, shown.colours)
    return Plot("accuracy", "Test accuracy by arm", text, spec)


def _reach(marks: Sequence[Mark]) -> list[float]:
    """From the lowest to the highest that is drawn, with a margin: zero says nothing here."""
    ends = [100 * v for mark in marks for v in mark.arm.confirmed["test_accuracy"]]
    for mark in marks:
        spread = mark.arm.std if math.isfinite(mark.arm.std) else 0.0
        ends += [100 * (mark.arm.mean - spread), 100 * (mark.arm.mean + spread)]
    margin = 0.06 * (max(ends) - min(ends)) or 1.0
    return [min(ends) - margin, max(ends) + margin]


def _tick(shown: Encoding, level: str) -> str:
    return plain(tick_label(shown.across, level) if shown.across else level)


def _accuracy_traces(shown: Encoding, marks: Sequence[Mark]) -> list[dict[str, Any]]:
    """A series: its means with error bars, then its seeds."""
    name = plain(marks[0].series)
    paint = [colour(mark.colour) for mark in marks]
    group = {"legendgroup": name, "offsetgroup": name, "type": "scatter", "hoverinfo": "text"}
    stds = [100 * mark.arm.std if math.isfinite(mark.arm.std) else 0.0 for mark in marks]
    seeds = [
        (_tick(shown, mark.level), 100 * row["test_accuracy"], colour(mark.colour),
         plain(f"{mark.arm.name}, seed {row['seed']}: {percent(row['test_accuracy'])} %"))
        for mark in marks
        for _, row in mark.arm.confirmed.iterrows()
    ]  # fmt: skip
    return [
        {
            **group, "name": name, "mode": "markers",
            "x": [_tick(shown, mark.level) for mark in marks],
            "y": [100 * mark.arm.mean for mark in marks],
            "error_y": {"type": "data", "array": stds, "thickness": 1.4, "width": 4,
                        "color": paint[0] if len(set(paint)) == 1 else "@ink"},
            "marker": {"color": paint, "size": 10,
                       "symbol": [SYMBOLS[mark.look % len(SYMBOLS)] for mark in marks]},
            "hovertext": [plain(f"{mark.arm.name}: {percent(mark.arm.mean, mark.arm.std)} %, "
                                f"{len(mark.arm.confirmed)} seeds") for mark in marks],
        },
        {
            **group, "name": f"{name} seeds", "mode": "markers", "showlegend": False,
            "x": [s[0] for s in seeds], "y": [s[1] for s in seeds],
            "marker": {"color": [s[2] for s in seeds], "size": 4, "opacity": 0.55},
            "hovertext": [s[3] for s in seeds],
        },
    ]  # fmt: skip


def curves_plot(results: Sequence[Outcome], data: Curves) -> Plot | None:
    """Validation accuracy against local steps or epochs, a line with a band for each arm."""
    if data.frame.empty:
        return None
    shown = encoding(results)
    traces: list[dict[str, Any]] = []
    for mark in shown.marks:
        mine = data.frame[data.frame["arm"] == mark.arm.arm]
        if not mine.empty:
            traces += _curve_traces(mark, mine, shown)
    arms = sum("name" in trace for trace in traces)
    layout = {
        "height": 440,
        "xaxis": {"title": {"text": f"local {unit_of(results)} of one client"},
                  "rangemode": "tozero"},
        "yaxis": {"title": {"text": "validation accuracy [%]"}, "automargin": True},
        "showlegend": arms > 1,
    }  # fmt: skip
    single = [o.name for o in results if o.arm in data.searched]
    text = (
        "Validation accuracy, mean over the confirmation seeds; band: ± one sample standard "
        "deviation."
    )
    text += f" One run, the chosen search trial: {'; '.join(single)}." if single else ""
    return Plot("curves", "Learning curves", text, specification(traces, layout, shown.colours))


def _curve_traces(mark: Mark, mine: pd.DataFrame, shown: Encoding) -> list[dict[str, Any]]:
    group = f"arm {mark.arm.arm}"
    steps, mean, std = ([round(float(v), 6) for v in mine[n]] for n in ("step", "mean", "std"))
    look = shown.levels.index(mark.level) if len(shown.series) > 1 else mark.look
    band = {
        "type": "scatter", "mode": "lines", "fill": "toself", "legendgroup": group,
        "x": steps + steps[::-1],
        "y": [round(100 * (m + s), 4) for m, s in zip(mean, std, strict=True)]
        + [round(100 * (m - s), 4) for m, s in zip(mean[::-1], std[::-1], strict=True)],
        "fillcolor": colour(mark.colour, 0.15), "line": {"width": 0},
        "hoverinfo": "skip", "showlegend": False,
    }  # fmt: skip
    line = {
        "type": "scatter", "name": plain(mark.arm.name), "legendgroup": group,
        "mode": "lines" if len(steps) > 1 else "markers",
        "x": steps, "y": [round(100 * m, 4) for m in mean],
        "line": {"color": colour(mark.colour), "dash": DASHES[look % len(DASHES)], "width": 2},
        "marker": {"color": colour(mark.colour), "size": 8, "symbol": SYMBOLS[look % len(SYMBOLS)]},
        "hoverinfo": "text",
        "hovertext": [plain(f"{mark.arm.name}, {step:g}: {percent(m, s)} %")
                      for step, m, s in zip(steps, mean, std, strict=True)],
    }  # fmt: skip
    return [band, line] if any(std) else [line]


def pareto_plot(runs: StudyRuns, results: Sequence[Outcome]) -> Plot | None:
    """What accuracy costs: trials, each arm's front, and the confirmed points of it."""
    points = front_points(runs, results)
    if not points:
        return None
    cost = runs.objectives[0]
    done = runs.trials[(runs.trials["phase"] == "search") & (runs.trials["status"] == "finished")]
    data: list[dict[str, Any]] = []
    for index, outcome in enumerate(results):
        front = [point for point in points if point.arm is outcome]
        trials = done[done["arm"] == outcome.arm]
        data += _pareto_traces(index, trials.iloc[thinned(len(trials), DOTS)], front, cost)
    log = min([float(point.trial[cost]) for point in points]) > 0  # the cheapest is among them
    layout = {
        "height": 460,
        "xaxis": {"title": {"text": plain(f"{compact(cost)}, whole trial, all clients")},
                  "type": "log" if log else "linear", "automargin": True,
                  "dtick": "D2" if log else None, "exponentformat": "SI",
                  "ticksuffix": "B" if cost.startswith("bytes_") else ""},
        "yaxis": {"title": {"text": "accuracy [%]"}, "automargin": True},
    }  # fmt: skip
    text = (
        "Dots: finished search trials (validation accuracy); line: the Pareto front of validation "
        "accuracy and cost, from the start (before the first round of the main stage); large "
        "marks: test accuracy of the confirmed points of the front, mean ± sample standard "
        "deviation over the seeds."
    )
    spec = specification(data, layout, len(results))
    return Plot("pareto", "Pareto front", text, spec)


def _pareto_traces(
    index: int, trials: pd.DataFrame, front: Sequence[FrontPoint], cost: str
) -> list[dict[str, Any]]:
    if not front:
        return []
    arm, paint = front[0].arm.name, colour(index)
    by_cost = sorted(front, key=lambda point: float(point.trial[cost]))
    seen = [point for point in by_cost if len(point.confirmed)]
    base = {"type": "scatter", "hoverinfo": "text"}

    def text(trial: pd.Series, value: str, start: bool = False) -> str:
        which = "start" if start else f"trial {trial['number']}"
        return plain(f"{arm}, {which}: {value} %, {trial[cost]:.3g}")

    spread = [100 * p.test[1] if math.isfinite(p.test[1]) else 0.0 for p in seen]
    return [
        {**base, "name": plain(f"{arm}: trials"), "mode": "markers",
         "x": trials[cost].tolist(), "y": (100 * trials["val_accuracy"]).round(4).tolist(),
         "marker": {"color": colour(index, 0.4), "size": 5},
         "hovertext": [text(t, percent(t["val_accuracy"])) for _, t in trials.iterrows()]},
        {**base, "name": plain(f"{arm}: front, validation"), "mode": "lines+markers",
         "x": [float(p.trial[cost]) for p in by_cost],
         "y": [100 * float(p.trial["val_accuracy"]) for p in by_cost],
         "line": {"color": paint, "shape": "hv", "dash": DASHES[index % len(DASHES)], "width": 1.6},
         "marker": {"color": paint, "size": 6},
         "hovertext": [text(p.trial, percent(p.trial["val_accuracy"]), p.start)
                       for p in by_cost]},
        {**base, "name": plain(f"{arm}: front, test"), "mode": "markers",
         "x": [float(p.trial[cost]) for p in seen], "y": [100 * p.test[0] for p in seen],
         "error_y": {"type": "data", "array": spread, "color": paint, "thickness": 1.4},
         "marker": {"color": paint, "size": 11, "symbol": SYMBOLS[index % len(SYMBOLS)],
                    "line": {"color": "@ink", "width": 1}},
         "hovertext": [text(p.trial, percent(*p.test), p.start) for p in seen]},
    ]  # fmt: skip
