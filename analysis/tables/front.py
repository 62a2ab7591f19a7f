"""The Pareto fronts of a study with several objectives as a table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.reading.store import StudyRuns
from analysis.results.labels import byte_cells, percent
from analysis.results.outcome import Outcome
from analysis.results.pareto import FrontPoint, front_points
from analysis.tables.render import Block, csv
from fl_core.config.vocabulary import cell, compact


def front_block(runs: StudyRuns, results: Sequence[Outcome]) -> Block | None:
    """One row a configuration on a front; None for studies with one objective."""
    points = front_points(runs, results)
    if not points:
        return None
    tuned = list(runs.space)
    costs: dict[str, list[str]] = {}
    for name in runs.objectives:
        values = [float(point.trial[name]) for point in points]
        if name.startswith("bytes_"):
            unit, texts = byte_cells(values)
            costs[f"{compact(name)} [{unit}]"] = texts
        else:
            costs[compact(name)] = [cell(value) for value in values]
    several = len(results) > 1
    header = [*(["arm"] if several else []), *costs, "val. accuracy [%]", "test accuracy [%]"]
    header += ["seeds", *map(compact, tuned)]
    rows = []
    for index, point in enumerate(points):
        row = [point.arm.name] if several else []
        row += [texts[index] for texts in costs.values()]
        row += [percent(point.trial["val_accuracy"]), percent(*point.test)]
        row += [str(len(point.confirmed)), *(cell(point.trial[name]) for name in tuned)]
        rows.append(row)
    notes = []
    if any(point.confirmed.empty for point in points):
        notes.append("0 seeds: on the front, but not confirmed; of a long front some points are.")
    warnings = [line for point in points for line in point.warnings]
    return Block("front", _caption(runs, points), header, rows, notes, warnings)


def _caption(runs: StudyRuns, points: Sequence[FrontPoint]) -> str:
    names = ", ".join(map(compact, runs.objectives))
    return (
        f"Pareto front of the finished search trials ({len(points)} configurations): none has a "
        f"higher validation accuracy at no more {names}. {names.capitalize()} as in the search "
        "trial, summed over all clients and rounds; test accuracy: mean ± sample standard "
        "deviation (ddof = 1) over the confirmation seeds."
    )


def front_csv(runs: StudyRuns, results: Sequence[Outcome]) -> str | None:
    """The block at full precision; None for studies with one objective."""
    points = front_points(runs, results)
    if not points:
        return None
    records = [
        {
            "arm": point.arm.name,
            **{name: point.trial[name] for name in (*runs.objectives, "val_accuracy")},
            "test_accuracy_mean": point.test[0],
            "test_accuracy_std": point.test[1],
            "seeds": len(point.confirmed),
            **{name: point.trial[name] for name in runs.space},
        }
        for point in points
    ]
    return csv(pd.DataFrame(records))
