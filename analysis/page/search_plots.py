"""The report's interactive plots of the search: importance beside chance, parallel coordinates.

Parallel coordinates are plain lines (SVG): they print sharply, need no WebGL, and show a trial's
values on hover. Colour is the rank within the arm, the same ranks as the importance is made of:
accuracies of different arms, or of different rounds, are not compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import pandas as pd
from matplotlib.ticker import MaxNLocator

from fl_analysis.page.encoding import Plot, colour, plain, specification, thinned
from fl_analysis.plots.style import log_ticks
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.importance import importance, within_arm_ranks
from fl_analysis.results.selection import searched
from fl_core.config.vocabulary import DASH, cell, compact, known

LINES = 400  # most trials drawn
#: Lowest rank of the group, its name, index in the palette, opacity, width; drawn in this order.
GROUPS = (
    (0.0, "lowest half of its arm", "@grey", 0.35, 0.8),
    (0.5, "second quarter", "@1", 0.5, 1.0),
    (0.75, "top quarter", "@0", 0.7, 1.3),
)
_FLOOR = -0.14  # where lines go that have no value on an axis
_JITTER = 0.03  # of lines that share a category


def importance_plot(runs: StudyRuns, text: str) -> Plot | None:
    """PED-ANOVA importance as bars, chance as marks; None when too few trials ran."""
    table = importance(runs.trials, runs.space)
    if table.empty:
        return None
    names = [plain(compact(name)) for name in table["name"]]
    hover = [
        f"{name}: {row['importance']:.3f}, chance {row['chance']:.3f}"
        for name, (_, row) in zip(names, table.iterrows(), strict=True)
    ]
    base = {"y": names, "hoverinfo": "text", "hovertext": hover}
    data = [
        {
            **base,
            "type": "bar",
            "orientation": "h",
            "name": "importance",
            "x": table["importance"].tolist(),
            "marker": {"color": colour(0)},
            "width": 0.6,
        },
        {
            **base,
            "type": "scatter",
            "mode": "markers",
            "name": "chance (95th percentile)",
            "x": table["chance"].tolist(),
            "marker": {
                "symbol": "line-ns",
                "size": 18,
                "color": colour(1),
                "line": {"color": colour(1), "width": 3},
            },
        },
    ]
    layout = {
        "height": 150 + 34 * len(table),
        "xaxis": {"title": {"text": "PED-ANOVA importance"}, "rangemode": "tozero"},
        "yaxis": {"autorange": "reversed", "automargin": True, "ticklabelstandoff": 6},
        "wide_legend": "top",
    }
    return Plot("importance", "Hyper-parameter importance", text, specification(data, layout, 2))


@dataclass(frozen=True)
class _Axis:
    """One vertical axis: where values go (0 to 1, NaN where there is none), and its ticks."""

    label: str
    places: list[float]
    shown: list[str]
    ticks: list[tuple[float, str]]


def parallel_plot(runs: StudyRuns) -> Plot | None:
    """Every search trial as a line over the hyper-parameters to its validation accuracy."""
    ran = searched(runs.trials)
    if len(ran) < 2 or not runs.space:
        return None
    ranks = within_arm_ranks(ran)
    kept = thinned(len(ran), LINES)
    ranks, shown = ranks.iloc[kept], ran.iloc[kept]
    names = [name for name in runs.space if name in shown]
    axes = [_axis(compact(name), shown[name].tolist(), runs.space[name]) for name in names]
    if shown["arm"].nunique() > 1:
        arms = [str(runs.arms.at[arm, "arm_name"]) for arm in shown["arm"]]
        axes.insert(0, _categories("arm", arms, list(dict.fromkeys(arms))[::-1]))
    axes.append(_accuracy_axis(shown))
    data = [_lines(group, axes, ranks.tolist()) for group in range(len(GROUPS))]
    layout = {
        "height": 460,
        "margin": {"l": _room(axes[0]), "r": 45, "t": 90, "b": 10},
        "xaxis": {"range": [-0.02, len(axes) - 0.98], "visible": False, "fixedrange": True},
        "yaxis": {"range": [_FLOOR - 0.06, 1.06], "visible": False, "fixedrange": True},
        "shapes": [
            {
                "type": "line",
                "x0": i,
                "x1": i,
                "y0": _FLOOR,
                "y1": 1,
                "layer": "below",
                "line": {"color": "@grid", "width": 1},
            }
            for i in range(len(axes))
        ],
        "annotations": [note for i, axis in enumerate(axes) for note in _notes(i, axis)],
        "wide_legend": "top",
    }
    text = (
        "Search trials as lines. Colour: rank within the trial's arm (finished above pruned, those "
        "by the rounds they reached, diverged last), as for the importance. Categories are spread "
        f"a little; {DASH}: a condition closed the parameter, or no accuracy was reached."
    )
    if len(kept) < len(ran):
        text += f" {len(kept)} of {len(ran)} trials are drawn, evenly spaced in time."
    spec = specification(data, layout, 2, minWidth=max(480, 105 * len(axes)))
    return Plot("parallel", "Parallel coordinates of the search", text, spec)


def _axis(label: str, values: Sequence[Any], spec: Mapping[str, Any]) -> _Axis:
    if "choices" in spec:
        return _categories(label, [cell(v) for v in values], [cell(c) for c in spec["choices"]])
    log = bool(spec.get("log"))
    low, high = float(spec["low"]), float(spec["high"])

    def place(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not known(value):
            return math.nan
        if high <= low:
            return 0.5
        if not log:
            return (value - low) / (high - low)
        return math.log(value / low) / math.log(high / low) if value > 0 else math.nan

    found = log_ticks(low, high) if log else MaxNLocator(5).tick_values(low, high)
    ticks = [(place(tick), f"{tick:.3g}") for tick in map(float, found) if low <= tick <= high]
    return _Axis(label, [place(v) for v in values], [cell(v) for v in values], ticks)


def _categories(label: str, values: Sequence[str], levels: Sequence[str]) -> _Axis:
    step = 1 / max(1, len(levels) - 1)
    where = {level: i * step if len(levels) > 1 else 0.5 for i, level in enumerate(levels)}
    jitter = _JITTER * min(1.0, 6 * step)
    places = [  # a fixed low-discrepancy spread: the same page each time
        where.get(value, math.nan) + jitter * (2 * (i * 0.618034 % 1) - 1)
        for i, value in enumerate(values)
    ]
    every = math.ceil(len(levels) / 26)  # names of more would overlap
    return _Axis(label, places, list(values), [(where[n], n) for n in list(levels)[::every]])


def _accuracy_axis(shown: pd.DataFrame) -> _Axis:
    values = [100 * v if math.isfinite(v) else math.nan for v in shown["val_accuracy"]]
    finite = [v for v in values if known(v)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    spec = {"low": low, "high": high if high > low else low + 1}
    return _axis("val. accuracy [%]", values, spec)


def _lines(group: int, axes: Sequence[_Axis], ranks: Sequence[float]) -> dict[str, Any]:
    """All trials of a group as one trace, with gaps between them."""
    low, name, paint, opacity, width = GROUPS[group]
    high = GROUPS[group + 1][0] if group + 1 < len(GROUPS) else math.inf
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    count = sum(low < rank <= high for rank in ranks)
    opacity *= min(1.0, math.sqrt(50 / max(1, count)))  # a crowd must not become a wall
    for trial, rank in enumerate(ranks):
        if not low < rank <= high:
            continue
        for index, axis in enumerate(axes):
            place = axis.places[trial]
            x.append(index)
            y.append(round(place, 3) if math.isfinite(place) else _FLOOR)
            text.append(plain(f"{axis.label}: {axis.shown[trial]}; {axes[-1].shown[trial]} %"))
        x.append(None)
        y.append(None)
        text.append("")
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "hoverinfo": "text",
        "hovertext": text,
        "opacity": round(opacity, 3),
        "line": {"color": paint, "width": width},
    }


def _heading(label: str) -> str:
    """In bold, in lines that fit between two axes."""
    return "<br>".join(f"<b>{plain(line)}</b>" for line in wrap(label, 11))


def _room(axis: _Axis) -> int:
    """Pixels for the ticks at the left of the first axis."""
    return 14 + 6 * min(30, max((len(text) for _, text in axis.ticks), default=0))


def _notes(index: int, axis: _Axis) -> list[dict[str, Any]]:
    """An axis's name above it, its ticks at its left."""
    base = {"x": index, "showarrow": False, "xref": "x", "yref": "y"}
    small = {"size": 10, "color": "@muted"}
    notes = [{**base, "y": 1.05, "yanchor": "bottom", "text": _heading(axis.label)}]
    ticks = list(axis.ticks)
    if any(not math.isfinite(place) for place in axis.places):
        ticks.append((_FLOOR, DASH))
    for place, text in ticks:
        notes.append(
            {
                **base,
                "y": place,
                "text": plain(text),
                "font": small,
                "xanchor": "right",
                "xshift": -3,
                "bgcolor": "@veil",
                "borderpad": 1,
            }
        )
    return notes
