"""Reads one study out of an MLflow store into tidy frames.

A study is a tree of runs in one experiment: study run -> arm runs -> trial runs (tag `kind`).
`read_study` fetches each level with paged searches, never a call per run; `curves` and
`partitions` fetch the metric histories and artifacts of the few runs that a figure needs.

The test set's contract is kept here once for all readers: test metrics of search runs are
dropped at the door (and reported), so no rule or table downstream can see them.
"""

from __future__ import annotations

import io
import json
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.connect import AnalysisError, connect, one_line, search
from analysis.labels import arm_label

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Value = str | int | float | bool | None

METRICS = (
    *("val_accuracy", "val_loss", "test_accuracy", "test_loss", "train_loss", "client_drift"),
    *("round", "bytes_up", "bytes_down", "seconds_train", "seconds_eval", "seconds_overhead"),
)
_PARENT = "mlflow.parentRunId"
_PAGE = 1000  # runs per search call


@dataclass(frozen=True)
class StudyRuns:
    """One study as read from the store.

    `arms`: one row an arm in table order, index 0..n-1: `run_id` (None: the arm has no run yet),
    `arm_name`, then the arm's base configuration by dotted name.
    `trials`: one row a trial run: `run_id`, `arm` (index into `arms`), `phase`, `status`,
    `digest`, `number` (in order of search; None if not logged), then its configuration by dotted
    name and its last metrics (floats, NaN = none).
    """

    tracking_uri: str
    study: str
    run_id: str
    tags: Mapping[str, str]
    settings: tuple[dict[str, Value], ...]  # the arms' own overrides, in table order
    space: dict[str, dict[str, Any]]
    seeds: tuple[int, ...]
    budget: int | None  # search trials per arm
    arms: pd.DataFrame
    trials: pd.DataFrame
    notes: tuple[str, ...]  # what was odd in the store; printed under every table


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


def list_studies(tracking_uri: str | None = None) -> list[str]:
    """Names of the experiments that hold a study of this suite, sorted."""
    client, uri = connect(tracking_uri)
    with one_line(uri):
        names = {e.experiment_id: e.name for e in client.search_experiments()}
        runs = search(client, list(names), "tags.kind = 'study'") if names else []
    return sorted({names[run.info.experiment_id] for run in runs})


def read_study(tracking_uri: str | None, study: str | None, run_id: str | None = None) -> StudyRuns:
    """The newest study run of `study`, or the one with `run_id`, with its arms and trials."""
    client, uri = connect(tracking_uri)
    with one_line(uri):
        root, study = _study_run(client, uri, study, run_id)
        experiment = [root.info.experiment_id]
        arm_runs = [
            run
            for run in search(client, experiment, "tags.kind = 'arm'")
            if run.data.tags.get(_PARENT) == root.info.run_id
        ]
        trial_runs = search(client, experiment, "tags.kind = 'trial'")
    tags = dict(root.data.tags)
    settings = tuple(_json_tag(tags, "arms", [])) or tuple(
        _json_tag(run.data.tags, "arm", {}) for run in sorted(arm_runs, key=_start)
    )
    arms, owner, notes = _arms_frame(settings, arm_runs)
    space = _json_tag(tags, "space", {})
    trials, trial_notes = _trials_frame(trial_runs, owner, set(space))
    return StudyRuns(
        tracking_uri=uri,
        study=study,
        run_id=root.info.run_id,
        tags=tags,
        settings=settings,
        space=space,
        seeds=tuple(_json_tag(tags, "seeds", [])),
        budget=int(tags["trials"]) if tags.get("trials", "").isdigit() else None,
        arms=arms,
        trials=trials,
        notes=(*notes, *trial_notes),
    )


def curves(runs: StudyRuns, run_ids: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """Metric histories, long: run_id, metric, step, value. One call per run and logged metric."""
    client, uri = connect(runs.tracking_uri)
    last = runs.trials.set_index("run_id")
    ended = set(last.index[last["status"] == "finished"])
    logged = {name: set(last.index[last[name].notna()]) for name in metrics}
    rows: list[tuple[str, str, int, float]] = []
    with one_line(uri):
        for run_id in run_ids:
            for name in metrics:
                if run_id in ended and run_id not in logged[name]:
                    continue  # never logged; a diverged run may end in NaN and have a history
                history = client.get_metric_history(run_id, name)
                latest = {m.step: m for m in sorted(history, key=lambda m: m.timestamp)}
                rows += [(run_id, name, step, _finite(m.value)) for step, m in latest.items()]
    frame = pd.DataFrame(rows, columns=["run_id", "metric", "step", "value"])
    return frame.sort_values(["run_id", "metric", "step"], ignore_index=True)


def partition(runs: StudyRuns, arm: int) -> pd.DataFrame | None:
    """The arm's realised partition, counts (clients, classes); None when it was not saved."""
    run_id = runs.arms.at[arm, "run_id"]
    if run_id is None:
        return None
    client, _ = connect(runs.tracking_uri)
    with tempfile.TemporaryDirectory() as folder:
        try:
            text = Path(client.download_artifacts(run_id, "partition.csv", folder)).read_text()
        except Exception:  # the kinds differ by artifact store; all mean: not there
            return None
    frame = pd.read_csv(io.StringIO(text), header=None, dtype=str)
    head = list(frame.iloc[0])
    if head == [str(i) for i in range(len(head))] or not all(str(c).isdigit() for c in head):
        frame = frame.iloc[1:]  # a header of class numbers or names
    return frame.astype(int).reset_index(drop=True)


def _study_run(
    client: MlflowClient, uri: str, study: str | None, run_id: str | None
) -> tuple[Run, str]:
    if run_id is not None:
        run = client.get_run(run_id)
        if run.data.tags.get("kind") != "study":
            kind = run.data.tags.get("kind", "foreign")
            raise AnalysisError(f"run {run_id}: a run of kind {kind}, not a study run")
        name = client.get_experiment(run.info.experiment_id).name
        if study is not None and study != name:
            raise AnalysisError(f"run {run_id}: belongs to study {name}, not {study}")
        return run, name
    if study is None:
        raise AnalysisError("a study's name or a study run's id is needed")
    experiment = client.get_experiment_by_name(study)
    found = []
    if experiment is not None and experiment.lifecycle_stage == "active":
        found = search(client, [experiment.experiment_id], "tags.kind = 'study'")
    if not found:
        known = ", ".join(list_studies(uri)) or "none"
        raise AnalysisError(f"study {study!r}: not in {uri}; studies there: {known}")
    return max(found, key=_start), study


def _start(run: Run) -> tuple[int, str]:
    return run.info.start_time or 0, run.info.run_id


def _finite(value: float) -> float:
    """MLflow stores an infinity as the largest double."""
    return math.copysign(math.inf, value) if abs(value) >= 1.797e308 else value


def _json_tag(tags: Mapping[str, str], name: str, default: Any) -> Any:
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


def _arms_frame(
    settings: Sequence[dict[str, Value]], arm_runs: Sequence[Run]
) -> tuple[pd.DataFrame, dict[str, int], list[str]]:
    """The arms in table order, the arm index of each arm run, and notes."""
    index = {_key(setting): i for i, setting in enumerate(settings)}
    owner: dict[str, int] = {}
    records: list[dict[str, Value]] = [
        {"run_id": None, "arm_name": arm_label(setting), **setting} for setting in settings
    ]
    stray = 0
    for run in sorted(arm_runs, key=_start):
        place = index.get(_key(_json_tag(run.data.tags, "arm", {})))
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


def _trials_frame(
    trial_runs: Sequence[Run], owner: Mapping[str, int], space: set[str]
) -> tuple[pd.DataFrame, list[str]]:
    """One row a trial run whose parent is an arm of this study, oldest first."""
    keys = ["run_id", "arm", "phase", "status", "digest", "number"]
    records: list[dict[str, Any]] = []
    dropped = 0
    for run in sorted(trial_runs, key=_start):
        tags, metrics = run.data.tags, dict(run.data.metrics)
        if tags.get(_PARENT) not in owner:
            continue
        if tags.get("phase") != "confirm":
            forbidden = [name for name in metrics if name.startswith("test_")]
            dropped += bool(forbidden)
            for name in forbidden:
                del metrics[name]
        head = [run.info.run_id, owner[tags[_PARENT]], *(tags.get(k, "") for k in keys[2:5])]
        head.append(parse_value(tags.get("number", "None")))
        params = {key: parse_value(text) for key, text in run.data.params.items()}
        if "chosen" in tags:  # a dimension that a condition closed has a default, not a choice
            closed = space - set(_json_tag(tags, "chosen", {}))
            params |= dict.fromkeys(closed, None)
        last = {name: _finite(metrics.get(name, math.nan)) for name in METRICS}
        # what the search maximised: of the best evaluation where that one is kept
        last["val_accuracy"] = metrics.get("score", last["val_accuracy"])
        records.append({**dict(zip(keys, head, strict=True)), **params, **last})
    params_seen = {k for r in records for k in r} - set(keys) - set(METRICS)
    frame = _objects(records, [*keys, *sorted(params_seen), *METRICS])
    types: dict[str, Any] = {"arm": int, **dict.fromkeys(METRICS, float)}
    notes = [f"{dropped} search run(s) carry a test metric: ignored, but the search was not blind"]
    return frame.astype(types), notes if dropped else []


def _objects(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> pd.DataFrame:
    """A frame that keeps Python values as they are (None stays None, 4 stays an int)."""
    columns = {n: pd.Series([r.get(n) for r in records], dtype=object) for n in names}
    return pd.DataFrame(columns, columns=list(names))
