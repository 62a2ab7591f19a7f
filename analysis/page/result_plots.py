"""The page's plots of results: accuracy by arm, courses of runs, the Pareto front, traffic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from fl_analysis.page.encoding import (
    Mark,
    Plot,
    band,
    faceted,
    mark,
    name,
    names,
    panel,
    thinned,
    words,
)
from fl_analysis.plots.lines import Line
from fl_analysis.plots.panels import arm_text, axes_of, unit_of
from fl_analysis.plots.pareto import front_reach
from fl_analysis.plots.style import OKABE_ITO, colours
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.curves import Curves, in_epochs, is_course, time_column
from fl_analysis.results.labels import percent
from fl_analysis.results.outcome import Outcome
from fl_analysis.results.pareto import FrontPoint, front_points
from fl_analysis.results.traffic import Traffic
from fl_core.config.vocabulary import compact

DOTS = 1500  # most trials drawn as single dots
POINTS = 120  # most points of one line
_THIN = 1.0  # width of a line of training examples


def accuracy_plot(results: Sequence[Outcome]) -> Plot | None:
    """Test accuracy of every arm: a row an arm, mean ± std, the seeds as small dots."""
    shown = [o for o in results if len(o.confirmed)]
    if not shown:
        return None
    missing = [o.name for o in results if o.confirmed.empty]
    places = range(len(shown))
    spread = [100 * o.std if math.isfinite(o.std) else 0.0 for o in shown]
    told = [f"{o.name}: {percent(o.mean, o.std)} %, {len(o.confirmed)} seeds" for o in shown]
    means = mark("dot", 0, [100 * o.mean for o in shown], places, told, size=5, ex=spread)
    each = [
        (place + 0.3, f"{o.name}, seed {row['seed']}", float(row["test_accuracy"]))
        for place, o in zip(places, shown, strict=True)
        for _, row in o.confirmed.iterrows()
    ]
    below, said, values = zip(*each, strict=True)
    told = [f"{one}: {percent(value)} %" for one, value in zip(said, values, strict=True)]
    seeds = mark("dot", 1, [100 * value for value in values], below, told, size=2.5)
    text = (
        "Test accuracy of the chosen configurations: mean ± sample standard deviation (ddof = 1) "
        "over the confirmation seeds; small dots: the seeds."
    )
    text += f" Not confirmed: {', '.join(missing)}." if missing else ""
    spec = {
        "panels": [panel("", [means, seeds])],
        "names": [name("", OKABE_ITO[0]), name("", "0.45")],
        "x": {"label": "test accuracy [%]"},
        "y": {"levels": [o.name for o in shown]},
        "height": 60 + 24 * len(shown),
    }
    return Plot("accuracy", "Test accuracy of each arm", text, spec)


def curves_plot(results: Sequence[Outcome], data: Curves) -> Plot | None:
    """Validation accuracy against local steps or epochs; thin: on training examples."""
    if not is_course(data.frame):
        return None
    frame, train = data.frame, data.over_runs("train_accuracy")
    spec = _courses(results, frame, train, "step", 100.0)
    spec["x"] = {"label": f"local {unit_of(results)} of one client", "zero": True, "whole": True}
    spec["y"] = {"label": "accuracy [%]" if len(train) else "validation accuracy [%]"}
    single = [o.name for o in results if o.arm in data.searched]
    text = (
        "Validation accuracy, mean over the confirmation seeds; band: ± one sample standard "
        "deviation."
    )
    text += " Thin: on as many of the training examples." if len(train) else ""
    text += f" One run, the chosen search trial: {'; '.join(single)}." if single else ""
    return Plot("curves", "Learning curves", text, spec)


def loss_plot(results: Sequence[Outcome], data: Curves) -> Plot | None:
    """Validation loss against rounds or epochs; thin: training loss."""
    val, train = data.over_runs("val_loss"), data.over_runs("train_loss")
    if not is_course(val):
        return None
    spec = _courses(results, val, train, time_column(results), 1.0)
    time = "epochs" if in_epochs(results) else "communication rounds"
    spec["x"] = {"label": time, "zero": True, "whole": True}
    spec["y"] = {"label": "cross-entropy"}
    text = (
        "Validation loss, mean over the confirmation seeds; band: ± one sample standard deviation. "
        "Thin: training loss of the local work, while it changes the parameters."
    )
    return Plot("loss", "Losses", text, spec)


def _courses(
    results: Sequence[Outcome], frame: pd.DataFrame, train: pd.DataFrame, column: str, scale: float
) -> dict[str, Any]:
    """Panels of lines with bands; thin ones of `train` in the same colours."""
    panels, legend = faceted(results, set(frame["arm"]))
    labels = [line.label for line in legend]
    made = []
    for found in panels:
        marks: list[Mark] = []
        for line in found.lines:
            index = labels.index(line.label)
            mine = frame[frame["arm"] == line.arm.arm]
            marks += _with_band(line, index, mine, column, scale)
            thin = train[train["arm"] == line.arm.arm]
            thin = thin.iloc[thinned(len(thin), POINTS)]
            if len(thin):
                y = scale * thin["mean"]
                marks.append(mark("line", index, thin[column], y, width=_THIN, opacity=0.8))
        made.append(panel(found.title, marks))
    if column == "round" and len(made) > 1:  # how many there are falls with J
        own = {"label": "communication rounds", "zero": True, "whole": True}
        made = [{**one, "x": own} for one in made]
    return {"panels": made, "names": names(legend), "height": 300}


def _with_band(line: Line, index: int, mine: pd.DataFrame, column: str, scale: float) -> list[Mark]:
    mine = mine.iloc[thinned(len(mine), POINTS)]
    x, mean, std = mine[column], scale * mine["mean"], scale * mine["std"]
    told = [
        f"{line.arm.name}, {at:g}: {m:.3g} ± {s:.2g}" for at, m, s in zip(x, mean, std, strict=True)
    ]
    found = [mark("line", index, x, mean, told)]
    return [band(index, x, mean - std, mean + std), *found] if (std > 0).any() else found


def pareto_plot(runs: StudyRuns, results: Sequence[Outcome]) -> Plot | None:
    """What accuracy costs: trials, each arm's front, and the confirmed points of it."""
    points = front_points(runs, results)
    if not points:
        return None
    cost = runs.objectives[0]
    done = runs.trials[(runs.trials["phase"] == "search") & (runs.trials["status"] == "finished")]
    axes, paint = axes_of(results), colours(len(results))
    marks: list[Mark] = []
    for index, outcome in enumerate(results):
        front = [point for point in points if point.arm is outcome]
        trials = done[done["arm"] == outcome.arm]
        trials = trials.iloc[thinned(len(trials), max(1, DOTS // len(results)))]
        marks += _front_marks(index, trials, front, cost)
    log = min(float(point.trial[cost]) for point in points) > 0  # the cheapest is among them
    spec = {
        "panels": [panel("", marks)],
        "names": [name(words(arm_text(o, axes)), c) for o, c in zip(results, paint, strict=True)],
        "x": {"label": f"{compact(cost)}, whole trial, all clients", "log": log,
              "unit": "B" if cost.startswith("bytes_") else ""},
        "y": {"label": "accuracy [%]", "span": list(front_reach(points))},
        "height": 420,
    }  # fmt: skip
    text = (
        "Small dots: finished search trials (validation accuracy; those far below the front are "
        "not shown); line: the Pareto front of validation accuracy and cost, from the start "
        "(before the first round of the main stage); large marks: test accuracy of the confirmed "
        "points of the front, mean ± sample standard deviation over the seeds."
    )
    return Plot("pareto", "Pareto front", text, spec)


def _front_marks(
    index: int, trials: pd.DataFrame, front: Sequence[FrontPoint], cost: str
) -> list[Mark]:
    if not front:
        return []
    arm = front[0].arm.name
    by_cost = sorted(front, key=lambda point: float(point.trial[cost]))
    seen = [point for point in by_cost if len(point.confirmed)]

    def told(trial: pd.Series, value: str, start: bool = False) -> str:
        which = "start" if start else f"trial {trial['number']}"
        return f"{arm}, {which}: {value} %, {trial[cost]:.3g}"

    spread = [100 * p.test[1] if math.isfinite(p.test[1]) else 0.0 for p in seen]
    return [
        mark("dot", index, trials[cost], 100 * trials["val_accuracy"],
             [told(t, percent(t["val_accuracy"])) for _, t in trials.iterrows()],
             size=2.5, opacity=0.45),
        mark("line", index, [p.trial[cost] for p in by_cost],
             [100 * p.trial["val_accuracy"] for p in by_cost],
             [told(p.trial, percent(p.trial["val_accuracy"]), p.start) for p in by_cost],
             step=True, width=1.6),
        mark("dot", index, [p.trial[cost] for p in seen], [100 * p.test[0] for p in seen],
             [told(p.trial, percent(*p.test), p.start) for p in seen],
             size=5, shape="diamond", ey=spread),
    ]  # fmt: skip


#: How a round's messages were sent -> name, colour and shape.
_WAYS = {
    "dense": ("dense", OKABE_ITO[4], "square"),
    "index": ("index", OKABE_ITO[1], "diamond"),
    "bitmap": ("bitmap", OKABE_ITO[2], "cross"),
    "": ("as sent", "black", "dot"),
}


def traffic_plot(results: Sequence[Outcome], found: Sequence[Traffic]) -> Plot | None:
    """Bytes of a round, as sent and with every message in one form; a row an arm."""
    if not found or all(arm.mean.keys() == {"up", "down"} for arm in found):
        return None
    axes = axes_of(results)
    directions = (("up", "up: clients to server"), ("down", "down: server to clients"))
    spec = {
        "panels": [_sent(found, way, title) for way, title in directions],
        "names": [name(label, paint, shape=form) for label, paint, form in _WAYS.values()],
        "x": {},
        "y": {"levels": [words(arm_text(arm.arm, axes)) for arm in found]},
        "height": 80 + 24 * len(found),
        "columns": 2,
    }
    text = (
        "What a round of the main stage sends, all clients, mean over rounds and confirmation "
        "seeds: each message in its shortest form, and with every message in one form."
    )
    return Plot("traffic", "Communication of a round", text, spec)


def _sent(found: Sequence[Traffic], way: str, title: str) -> dict[str, Any]:
    marks = []
    for index, (code, (label, _, form)) in enumerate(_WAYS.items()):
        key = f"{way}_{code}" if code else way
        rows = [(place, arm, arm.mean[key]) for place, arm in enumerate(found) if key in arm.mean]
        told = [f"{arm.arm.name}, {label}: {value:,.0f} bytes" for _, arm, value in rows]
        places, values = [place for place, _, _ in rows], [value for _, _, value in rows]
        marks.append(mark("dot", index, values, places, told, shape=form, size=4))
    return panel(title, marks, x={"label": "bytes a round", "log": True, "unit": "B"})
