"""The page's plots of the search: its history, slices, importance, and what early scores tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fl_analysis.page.encoding import Mark, Plot, faceted, mark, name, names, panel, thinned
from fl_analysis.plots.searching import reach
from fl_analysis.plots.style import OKABE_ITO
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.importance import importance
from fl_analysis.results.outcome import Outcome
from fl_analysis.results.rungs import rungs
from fl_analysis.results.searching import courses
from fl_core.config.vocabulary import cell, compact, known

DOTS = 600  # most trials of a slice
NEAR = 0.05  # points below the best: nearer trials are drawn here


def history_plot(runs: StudyRuns, results: Sequence[Outcome]) -> Plot | None:
    """Best validation accuracy so far against an arm's trials; dots: the trials' own."""
    found = {course.arm: course for course in courses(runs) if course.best.notna().any()}
    if not found or max(len(course.best) for course in found.values()) < 2:
        return None
    panels, legend = faceted(results, set(found))
    labels = [line.label for line in legend]
    made = []
    for one in panels:
        marks: list[Mark] = []
        for line in one.lines:
            course, index = found[line.arm.arm], labels.index(line.label)
            best, score = 100 * course.best, 100 * course.score
            trials = list(range(1, len(best) + 1))
            told = [
                f"{line.arm.name}, trial {n}: {s:.2f} %, best so far {b:.2f} %"
                for n, s, b in zip(trials, score, best, strict=True)
                if math.isfinite(s)
            ]
            ended = [n for n, s in zip(trials, score, strict=True) if math.isfinite(s)]
            marks.append(mark("line", index, trials, best, step=True))
            marks.append(mark("dot", index, ended, score.dropna(), told, size=2.5, opacity=0.7))
        made.append(panel(one.title, marks))
    spec = {
        "panels": made,
        "names": names(legend),
        "x": {"label": "search trials of the arm", "whole": True},
        "y": {"label": "validation accuracy [%]", "span": list(reach(list(found.values())))},
        "height": 280,
    }
    text = (
        "Line: the best validation accuracy of the arm's finished trials so far, in the order of "
        "their start; dots: each of them. A line that still rises at its end asks for more trials. "
        "Lower starts lie below the panel."
    )
    return Plot("history", "How far the search came", text, spec)


def slice_plot(runs: StudyRuns) -> Plot | None:
    """How far each finished trial stayed behind its arm's best, against each hyper-parameter."""
    done = _behind(runs)
    fields = [field for field in runs.space if field in done]
    if len(done) < 2 or not fields:
        return None
    done = done.iloc[thinned(len(done), DOTS)]
    panels = []
    for field in fields:
        spec = runs.space[field]
        rows = done[[known(value) for value in done[field]]]
        places = _places(rows[field].tolist(), spec)
        arms = [str(runs.arms.at[arm, "arm_name"]) for arm in rows["arm"]]
        told = [
            f"{arm}, trial {number}: {compact(field)} {cell(value)}, {gap:.2f} points behind"
            for arm, number, value, gap in zip(
                arms, rows["number"], rows[field], rows["gap"], strict=True
            )
        ]
        y = rows["gap"].clip(lower=NEAR)
        dots = mark("dot", 0, places, y, told, size=2.8, opacity=0.6)
        panels.append(panel("", [dots], x=_axis(field, spec)))
    low, high = NEAR, float(done["gap"].max())
    spec = {
        "panels": panels,
        "names": [name("", OKABE_ITO[0])],
        "x": {},
        "y": {"label": "points behind the best", "log": True, "reverse": True,
              "span": [0.8 * low, 1.2 * max(high, 1.0)]},
        "height": 230,
    }  # fmt: skip
    text = (
        "Finished search trials: how many points of validation accuracy each stayed behind the "
        "best of its own arm (logarithmic, the best on top; nearer than "
        f"{NEAR} points: at {NEAR}). A parameter that a condition closed is left out of its panel."
    )
    return Plot("slice", "Each hyper-parameter alone", text, spec)


def _behind(runs: StudyRuns) -> pd.DataFrame:
    """The finished search trials with their distance from their arm's best, in points."""
    trials = runs.trials
    done = trials[(trials["phase"] == "search") & (trials["status"] == "finished")]
    done = done[np.isfinite(done["val_accuracy"].astype(float))]
    best = done.groupby("arm")["val_accuracy"].transform("max")
    return done.assign(gap=100 * (best - done["val_accuracy"]))


def _places(values: Sequence[Any], spec: Mapping[str, Any]) -> list[float]:
    """Where values stand: of choices their place, spread a little, always in the same way."""
    if "choices" not in spec:
        return [float(value) for value in values]
    order = [cell(choice) for choice in spec["choices"]]
    return [
        order.index(cell(v)) + 0.5 * (i * 0.618034 % 1 - 0.5) if cell(v) in order else math.nan
        for i, v in enumerate(values)
    ]


def _axis(field: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    if "choices" in spec:
        return {"label": compact(field), "levels": [cell(choice) for choice in spec["choices"]]}
    return {"label": compact(field), "log": bool(spec.get("log"))}


def importance_plot(runs: StudyRuns, text: str) -> Plot | None:
    """PED-ANOVA importance as bars, chance as marks; None when too few trials ran."""
    table = importance(runs.trials, runs.space)
    if table.empty:
        return None
    fields = [compact(str(field)) for field in table["name"]]
    places = list(range(len(table)))
    told = [
        f"{field}: {row['importance']:.3f}, chance {row['chance']:.3f}"
        for field, (_, row) in zip(fields, table.iterrows(), strict=True)
    ]
    spec = {
        "panels": [
            panel("", [
                mark("bar", 0, table["importance"], places, told),
                mark("dot", 1, table["chance"], places, shape="tick", size=5),
            ])
        ],
        "names": [
            name("importance", OKABE_ITO[0], shape="square"),
            name("chance (95th percentile)", OKABE_ITO[1], shape="tick"),
        ],
        "x": {"label": "PED-ANOVA importance", "zero": True},
        "y": {"levels": fields},
        "height": 64 + 28 * len(table),
    }  # fmt: skip
    return Plot("importance", "Hyper-parameter importance", text, spec)


def rungs_plot(runs: StudyRuns) -> Plot | None:
    """Spearman's correlation of scores on the way with final ones, against the budget."""
    found = rungs(runs)
    if len(found) < 2:
        return None
    told = [f"{r.share:.0%} of the budget: {r.correlation:.2f}, {r.trials} trials" for r in found]
    x, y = [100 * r.share for r in found], [r.correlation for r in found]
    spec = {
        "panels": [panel("", [mark("line", 0, x, y), mark("dot", 0, x, y, told, size=4)])],
        "names": [name("", OKABE_ITO[0])],
        "x": {"label": "share of the budget [%]", "span": [0, 100]},
        "y": {"label": "rank correlation", "span": [min(0.0, *y), 1.02]},
        "height": 260,
    }
    text = (
        "How well a score on the way ranks the final one: Spearman's rank correlation over the "
        "finished search trials, ranked within their arms. Stopping trials early is safe where it "
        "is near 1. Pruned trials have no final score: with them it would be higher."
    )
    return Plot("rungs", "What an early score tells", text, spec)
