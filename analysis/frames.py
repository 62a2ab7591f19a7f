"""MLflow's runs as tidy frames: one row an arm, one row a trial, values in their own types.

The test set's contract is kept here once for all readers: test metrics of search runs are
dropped at the door (and reported), so no rule or table downstream can see them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.connect import AnalysisError
from analysis.labels import arm_label

if TYPE_CHECKING:
    from mlflow.entities import Run

Value = str | int | float | bool | None

METRICS = (
    *("val_accuracy", "val_loss", "test_accuracy", "test_loss", "train_loss", "client_drift"),
    *("round", "bytes_up", "bytes_down", "seconds_train", "seconds_eval", "seconds_overhead"),
    *("bytes_up_dense", "mask_active_share", "mask_jaccard", "mask_expected", "mask_excess"),
    "mask_expected_given_layers",
)
PARENT = "mlflow.parentRunId"


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


def started(run: Run) -> tuple[int, str]:
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
        {"run_id": None, "arm_name": arm_label(setting), **setting} for setting in settings
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
    trial_runs: Sequence[Run],
    owner: Mapping[str, int],
    space: set[str],
    objectives: Sequence[str] = (),
) -> tuple[pd.DataFrame, list[str]]:
    """One row a trial run whose parent is an arm of this study, oldest first."""
    keys = ["run_id", "arm", "phase", "status", "digest", "number"]
    names = tuple(dict.fromkeys((*METRICS, *objectives)))
    records: list[dict[str, Any]] = []
    dropped = 0
    for run in sorted(trial_runs, key=started):
        tags, metrics = run.data.tags, dict(run.data.metrics)
        if tags.get(PARENT) not in owner:
            continue
        if tags.get("phase") != "confirm":
            forbidden = [name for name in metrics if name.startswith("test_")]
            dropped += bool(forbidden)
            for name in forbidden:
                del metrics[name]
        head = [run.info.run_id, owner[tags[PARENT]], *(tags.get(k, "") for k in keys[2:5])]
        head.append(parse_value(tags.get("number", "None")))
        params = {key: parse_value(text) for key, text in run.data.params.items()}
        if "chosen" in tags:  # a dimension that a condition closed has a default, not a choice
            closed = space - set(json_tag(tags, "chosen", {}))
            params |= dict.fromkeys(closed, None)
        last = {name: finite(metrics.get(name, math.nan)) for name in names}
        # what the search maximised: of the best evaluation where that one is kept
        last["val_accuracy"] = metrics.get("score", last["val_accuracy"])
        records.append({**dict(zip(keys, head, strict=True)), **params, **last})
    params_seen = {k for r in records for k in r} - set(keys) - set(names)
    frame = _objects(records, [*keys, *sorted(params_seen), *names])
    types: dict[str, Any] = {"arm": int, **dict.fromkeys(names, float)}
    notes = [f"{dropped} search run(s) carry a test metric: ignored, but the search was not blind"]
    return frame.astype(types), notes if dropped else []


def _objects(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> pd.DataFrame:
    """A frame that keeps Python values as they are (None stays None, 4 stays an int)."""
    columns = {n: pd.Series([r.get(n) for r in records], dtype=object) for n in names}
    return pd.DataFrame(columns, columns=list(names))
