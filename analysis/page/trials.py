"""All trials of a study for the report's table, packed by column: ten thousand stay light."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from fl_analysis.page.facts import SECONDS
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.labels import BYTE_UNITS, byte_cells
from fl_analysis.results.outcome import Outcome
from fl_core.config.vocabulary import cell, compact, known

DIGITS = 7  # significant; more would only make the page heavier

Column = dict[str, Any]


def trials_data(runs: StudyRuns, results: Sequence[Outcome]) -> dict[str, Any]:
    """`columns`: label, kind and values each, `rows`: how many.

    kind `text` has `levels` and `codes` into them (a filter offers the levels where `filter`),
    `number` and `percent` have `values`, null for none.
    """
    trials = runs.trials
    names = [str(runs.arms.at[arm, "arm_name"]) for arm in trials["arm"]]
    columns = [
        _text("arm", names, filtered=True),
        _number("trial", trials["number"]),
        _text("found by", trials["neighbour"], filtered=True),
        _text("phase", trials["phase"], filtered=True),
        _text("status", trials["status"], filtered=True),
        _text("role", roles(runs, results), filtered=True),
        _number("val. accuracy [%]", trials["val_accuracy"], "percent"),
        _number("test accuracy [%]", trials["test_accuracy"], "percent"),
    ]
    columns += [_objective(name, trials[name]) for name in runs.objectives]
    columns += [_parameter(name, trials[name]) for name in runs.space if name in trials]
    if "seed" in trials:
        columns.append(_parameter("seed", trials["seed"]))
    columns.append(_number("rounds done", trials["round"]))
    columns.append(_number("seconds", trials[list(SECONDS)].sum(axis=1, min_count=1)))
    columns.append(_text("MLflow run", [str(run)[:8] for run in trials["run_id"]]))
    kept = [column for column in columns if _says_something(column)]
    return {"columns": kept, "rows": len(trials)}


def roles(runs: StudyRuns, results: Sequence[Outcome]) -> list[str]:
    """What a run is to the final table: chosen, confirms the chosen one, or nothing."""
    chosen = {str(o.best["run_id"]) for o in results if o.best is not None}
    counted = {str(run) for o in results for run in o.confirmed["run_id"]}
    return [
        "chosen" if run in chosen else "in the mean" if run in counted else ""
        for run in map(str, runs.trials["run_id"])
    ]


def _says_something(column: Column) -> bool:
    if column["kind"] == "text":
        return any(level for level in column["levels"])
    return any(value is not None for value in column["values"])


def _text(label: str, values: Sequence[str] | pd.Series, filtered: bool = False) -> Column:
    levels = list(dict.fromkeys(map(str, values)))
    place = {level: i for i, level in enumerate(levels)}
    codes = [place[str(value)] for value in values]
    return {"label": label, "kind": "text", "levels": levels, "codes": codes, "filter": filtered}


def _number(label: str, values: pd.Series, kind: str = "number") -> Column:
    return {"label": label, "kind": kind, "values": [_packed(value) for value in values]}


def _packed(value: object) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


def _parameter(name: str, values: pd.Series) -> Column:
    """Numbers where all that are known are numbers, else words."""
    numbers = all(
        isinstance(v, (int, float)) and not isinstance(v, bool) for v in values if known(v)
    )
    label = compact(name)
    return _number(label, values) if numbers else _text(label, [cell(v) for v in values])


def _objective(name: str, values: pd.Series) -> Column:
    """Bytes in one readable unit."""
    if not name.startswith("bytes_"):
        return _number(compact(name), values)
    unit, _ = byte_cells(values)
    return _number(f"{compact(name)} [{unit}]", values / BYTE_UNITS[unit])
