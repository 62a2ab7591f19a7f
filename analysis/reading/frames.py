"""MLflow's runs as tidy frames: one row an arm, one row a trial, values in their own types.

The test set's contract is kept here once for all readers: test metrics of search runs are
dropped at the door (and reported), so no rule or table downstream can see them.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fl_analysis.reading.connect import AnalysisError
from fl_core.config.record import CHARTS, TEST_JUDGED
from fl_core.config.vocabulary import arm_name

if TYPE_CHECKING:
    from mlflow.entities import Run

    from fl_analysis.reading.sqlite_runs import PlainRun

Value = str | int | float | bool | None

PARENT = "mlflow.parentRunId"
#: Of a trial, beside its values.
_TRIAL = ("run_id", "arm", "phase", "status", "digest", "neighbour", "number")
_TAGS = ("phase", "status", "digest", "neighbour")


@lru_cache(maxsize=1 << 16)  # most values of a study are the same in every run
def parse_value(text: str) -> Value:
    """A logged parameter back in its type.

    >>> parse_value("None"), parse_value("True"), parse_value("4"), parse_value("1e-3")
    (None, True, 4, 0.001)
    """
    words: dict[str, Value] = {"None": None, "True": True, "False": False}
    if text in words:
        return words[text]
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.IGNORECASE):
        return float(text)
    return text


def started(run: Run | PlainRun) -> tuple[int, str]:
    """Sorts runs by their start, in a fixed order where two started together."""
    return run.info.start_time or 0, run.info.run_id


def finite(value: float) -> float:
    """MLflow stores an infinity as the largest double."""
    return math.copysign(math.inf, value) if abs(value) >= 1.797e308 else value


def json_tag(tags: Mapping[str, str], name: str, default: Any) -> Any:
    """A tag's value from JSON, of the kind of `default`; AnalysisError where it is another."""
    text = tags.get(name)
    if not text:
        return default
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        raise AnalysisError(f"tag {name}={text[:60]!r}: not JSON") from None
    if not isinstance(value, type(default)):
        raise AnalysisError(f"tag {name}={text[:60]!r}: must be a {type(default).__name__}")
    return value


def _key(setting: Mapping[str, Value]) -> str:
    return json.dumps(setting, sort_keys=True)


def arms_frame(
    settings: Sequence[dict[str, Value]], arm_runs: Sequence[Run]
) -> tuple[pd.DataFrame, dict[str, int], list[str]]:
    """The arms in table order, the arm index of each arm run, and notes."""
    index = {_key(setting): i for i, setting in enumerate(settings)}
    owner: dict[str, int] = {}
    records: list[dict[str, Value]] = [
        {"run_id": None, "arm_name": arm_name(setting), **setting} for setting in settings
    ]
    stray = 0
    for run in sorted(arm_runs, key=started):
        place = index.get(_key(json_tag(run.data.tags, "arm", {})))
        if place is None:
            stray += 1
            continue
        owner[run.info.run_id] = place
        name = run.data.tags.get("arm_name", records[place]["arm_name"])
        base = {key: parse_value(text) for key, text in run.data.params.items()}
        records[place] = {"run_id": run.info.run_id, "arm_name": name, **base, **settings[place]}
    _fill_missing(records)
    notes = [f"{stray} arm run(s) of settings that the study does not list: left out"]
    keys = ["run_id", "arm_name"]
    names = sorted({k for r in records for k in r} - set(keys))
    return _objects(records, [*keys, *names]), owner, notes if stray else []


def _fill_missing(records: Sequence[dict[str, Value]]) -> None:
    """An arm without a run takes the fields on which all the others agree."""
    present = [r for r in records if r["run_id"] is not None]
    if not present:
        return
    shared = {k: v for k, v in present[0].items() if all(k in r and r[k] == v for r in present)}
    for record in records:
        if record["run_id"] is None:
            record |= {k: v for k, v in shared.items() if k not in record}


def trials_frame(
    trial_runs: Iterable[Run | PlainRun],
    owner: Mapping[str, int],
    space: set[str],
    objectives: Sequence[str] = (),
) -> tuple[pd.DataFrame, list[str]]:
    """One row a trial run whose parent is an arm of this study, oldest first.

    Takes each run once, so that a generator need not keep them: an MLflow run is a thousand
    objects, its row here some eighty values, most of them shared with other rows.
    """
    names = tuple(dict.fromkeys((*CHARTS, *objectives)))
    kept: list[tuple[tuple[int, str], dict[str, Any], dict[str, Value], list[float]]] = []
    dropped = 0
    for run in trial_runs:
        tags, metrics = run.data.tags, run.data.metrics
        if tags.get(PARENT) not in owner:
            continue
        blind = tags.get("phase") != "confirm"
        dropped += blind and any(name.startswith("test_") for name in metrics)
        last = [
            math.nan if blind and name.startswith("test_") else finite(metrics.get(name, math.nan))
            for name in names
        ]
        # what the search maximised: of the best evaluation where that one is kept
        if "score" in metrics:
            last[names.index("val_accuracy")] = finite(metrics["score"])
        if TEST_JUDGED in metrics and not blind:  # where clients judge, that is an arm's result
            last[names.index("test_accuracy")] = finite(metrics[TEST_JUDGED])
        kept.append((started(run), _head(run, owner), _params(run, space), last))
    kept.sort(key=lambda row: row[0])
    columns: dict[str, Any] = {n: _column([row[1][n] for row in kept]) for n in _TRIAL}
    for name in sorted({n for row in kept for n in row[2]} - set(_TRIAL) - set(names)):
        columns[name] = _column([row[2].get(name) for row in kept])
    values = np.array([row[3] for row in kept], dtype=float).reshape(len(kept), len(names))
    columns |= {name: values[:, place] for place, name in enumerate(names)}
    # the copy has a block a type, not one a column: choosing rows is ten times as fast
    frame = pd.DataFrame(columns).astype({"arm": int}).copy()
    notes = [f"{dropped} search run(s) carry a test metric: ignored, but the search was not blind"]
    return frame, notes if dropped else []


def _head(run: Run | PlainRun, owner: Mapping[str, int]) -> dict[str, Any]:
    """What `_TRIAL` names."""
    tags = run.data.tags
    head: dict[str, Any] = {k: sys.intern(tags.get(k, "")) for k in _TAGS}
    number = parse_value(tags.get("number", "None"))
    return {"run_id": run.info.run_id, "arm": owner[tags[PARENT]], **head, "number": number}


def _params(run: Run | PlainRun, space: set[str]) -> dict[str, Value]:
    """A run's configuration; names and equal values are shared between runs."""
    params = {sys.intern(key): parse_value(text) for key, text in run.data.params.items()}
    if "chosen" in run.data.tags:  # a dimension that a condition closed has no choice, a default
        closed = space - set(json_tag(run.data.tags, "chosen", {}))
        params |= dict.fromkeys(closed, None)
    return params


def parameters(trials: pd.DataFrame, objectives: Sequence[str] = ()) -> list[str]:
    """The configuration's names among the columns of `trials_frame`."""
    other = {*_TRIAL, *CHARTS, *objectives}
    return [str(name) for name in trials.columns if name not in other]


def _objects(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> pd.DataFrame:
    """A frame that keeps Python values as they are (None stays None, 4 stays an int)."""
    columns = {n: _column([r.get(n) for r in records]) for n in names}
    return pd.DataFrame(columns, columns=list(names))


def _column(values: Sequence[Any]) -> pd.Series:
    return pd.Series(values, dtype=object)
