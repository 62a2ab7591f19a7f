"""All trials of the search as lines over its hyper-parameters: parallel coordinates.

Colour is the rank within the arm, the same ranks as the importance is made of: accuracies of
different arms, or of different rounds, are not compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import pandas as pd
from matplotlib.ticker import MaxNLocator

from fl_analysis.page.encoding import Mark, Plot, mark, name, panel, thinned
from fl_analysis.plots.style import OKABE_ITO, log_ticks
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.importance import within_arm_ranks
from fl_analysis.results.selection import searched
from fl_core.config.vocabulary import DASH, cell, compact, known

LINES = 400  # most trials drawn
#: Lowest rank of the group, its name, colour, opacity, width; drawn in this order.
GROUPS = (
    (0.0, "lowest half of its arm", "0.5", 0.35, 0.8),
    (0.5, "second quarter", OKABE_ITO[1], 0.5, 1.0),
    (0.75, "top quarter", OKABE_ITO[0], 0.7, 1.3),
)
_FLOOR = -0.14  # where lines go that have no value on an axis
_JITTER = 0.03  # of lines that share a category


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
    spec = {
        "panels": [
            panel(
                "",
                [_lines(group, axes, ranks.tolist()) for group in range(len(GROUPS))],
                rules=list(range(len(axes))),
                notes=[note for i, axis in enumerate(axes) for note in _notes(i, axis)],
                left=_room(axes[0]),
                top=60,
            )
        ],
        "names": [name(label, colour, width=2) for _, label, colour, _, _ in GROUPS],
        "x": {"span": [-0.02, len(axes) - 0.98]},
        "y": {"span": [_FLOOR - 0.04, 1.02]},
        "height": 440,
        "bare": True,
        "minWidth": max(480, 105 * len(axes)),
    }
    text = (
        "Search trials as lines. Colour: rank within the trial's arm (finished above pruned, those "
        "by the rounds they reached, diverged last), as for the importance. Categories are spread "
        f"a little; {DASH}: a condition closed the parameter, or no accuracy was reached."
    )
    if len(kept) < len(ran):
        text += f" {len(kept)} of {len(ran)} trials are drawn, evenly spaced in time."
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


def _lines(group: int, axes: Sequence[_Axis], ranks: Sequence[float]) -> Mark:
    """All trials of a group as one line, with gaps between them."""
    low, _, _, opacity, width = GROUPS[group]
    high = GROUPS[group + 1][0] if group + 1 < len(GROUPS) else math.inf
    x: list[float] = []
    y: list[float] = []
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
            text.append(f"{axis.label}: {axis.shown[trial]}; {axes[-1].shown[trial]} %")
        x.append(math.nan)
        y.append(math.nan)
        text.append("")
    return mark("line", group, x, y, text, opacity=round(opacity, 3), width=width)


def _room(axis: _Axis) -> int:
    """Pixels for the ticks at the left of the first axis."""
    return 14 + 6 * min(30, max((len(text) for _, text in axis.ticks), default=0))


def _notes(index: int, axis: _Axis) -> list[dict[str, Any]]:
    """An axis's name above it, in lines that fit between two axes; its ticks at its left."""
    lines = wrap(axis.label, 13)
    notes: list[dict[str, Any]] = [
        {"x": index, "y": 1.06 + 0.045 * (len(lines) - 1 - i), "text": line}
        for i, line in enumerate(lines)
    ]
    ticks = list(axis.ticks)
    if any(not math.isfinite(place) for place in axis.places):
        ticks.append((_FLOOR, DASH))
    return notes + [
        {"x": index, "y": round(place, 3), "text": text, "end": True} for place, text in ticks
    ]
