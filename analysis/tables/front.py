"""The Pareto fronts of a study with several objectives as a table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.labels import byte_cells, percent
from fl_analysis.results.outcome import Outcome
from fl_analysis.results.pareto import FrontPoint, front_points
from fl_analysis.tables.escapes import csv
from fl_analysis.tables.render import Block
from fl_core.config.vocabulary import DASH, cell, compact, known

STAGES = ("head", "masks", "main")
_START = (
    " start: before the first round of the main stage, what the stages before it give for what "
    "they cost; a trial that it beats is not on the front. Its test accuracy is that of the "
    "confirmation runs before their own first round."
)


def front_block(runs: StudyRuns, results: Sequence[Outcome]) -> Block | None:
    """One row a configuration on a front; None for studies with one objective."""
    points = front_points(runs, results)
    if not points:
        return None
    tuned = list(runs.space)
    costs: dict[str, list[str]] = {}
    for name, values in _costs(runs, points).items():
        if name.startswith("bytes_"):
            unit, texts = byte_cells(values)
            costs[f"{compact(name)} [{unit}]"] = texts
        else:
            costs[compact(name)] = [cell(value) for value in values]
    several = len(results) > 1
    header = [*(["arm"] if several else []), "trial", *costs, "val. accuracy [%]"]
    header += ["test accuracy [%]", "seeds", *map(compact, tuned)]
    rows = []
    for index, point in enumerate(points):
        row = [point.arm.name] if several else []
        row += ["start" if point.start else cell(point.trial["number"])]
        row += [texts[index] for texts in costs.values()]
        row += [percent(point.trial["val_accuracy"]), percent(*point.test)]
        row.append(str(len(point.confirmed)))
        row += [DASH if point.start else cell(point.trial[name]) for name in tuned]
        rows.append(row)
    notes = []
    if any(point.confirmed.empty for point in points):
        notes.append("0 seeds: on the front, but not confirmed; of a long front some points are.")
    warnings = [line for point in points for line in point.warnings]
    labels = 2 if several else 1
    sections = [(labels, "results"), (labels + len(costs) + 3, "hyper-parameters")]
    return Block(
        "front",
        _caption(runs, points),
        header,
        rows,
        notes,
        warnings,
        labels=labels,
        sections=sections,
    )


def _costs(runs: StudyRuns, points: Sequence[FrontPoint]) -> dict[str, list[float]]:
    """The objectives, bytes also by stage where more than one stage sent any."""
    found: dict[str, list[float]] = {}
    for name in runs.objectives:
        found[name] = [float(point.trial[name]) for point in points]
        if name in ("bytes_up", "bytes_down"):
            stages = {f"{name}_{s}": [_of_stage(p, name, s) for p in points] for s in STAGES}
            sent = {stage: values for stage, values in stages.items() if any(values)}
            found |= sent if len(sent) > 1 else {}
    return found


def _of_stage(point: FrontPoint, objective: str, stage: str) -> float:
    value = point.trial.get(f"{objective}_{stage}")
    ran = value is not None and known(value) and not (point.start and stage == "main")
    return float(value) if ran else 0.0


def _caption(runs: StudyRuns, points: Sequence[FrontPoint]) -> str:
    names = ", ".join(map(compact, runs.objectives))
    return (
        f"Pareto front of the finished search trials ({len(points)} configurations): none has a "
        f"higher validation accuracy at no more {names}. {names.capitalize()} as in the search "
        "trial, summed over all clients, stages (head, masks, main stage) and rounds; test "
        "accuracy: mean ± sample standard deviation (ddof = 1) over the confirmation seeds."
        + (_START if any(point.start for point in points) else "")
    )


def front_csv(runs: StudyRuns, results: Sequence[Outcome]) -> str | None:
    """The block at full precision; None for studies with one objective."""
    points = front_points(runs, results)
    if not points:
        return None
    costs = _costs(runs, points)
    records = [
        {
            "arm": point.arm.name,
            "start": point.start,
            **{name: values[place] for name, values in costs.items()},
            "val_accuracy": point.trial["val_accuracy"],
            "test_accuracy_mean": point.test[0],
            "test_accuracy_std": point.test[1],
            "seeds": len(point.confirmed),
            **{name: None if point.start else point.trial[name] for name in runs.space},
        }
        for place, point in enumerate(points)
    ]
    return csv(pd.DataFrame(records))
