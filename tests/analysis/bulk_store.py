"""Writes whole studies into a store: through MLflow's client, or in bulk into its SQLite file.

The client needs a minute for a thousand runs. In bulk MLflow makes the tables and the experiment,
and the rows are inserted at once; test_many_runs.py compares what is read back.
"""

from __future__ import annotations

import random
import sqlite3
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Run:
    """One run to be: `key` names it within its study, `parent` another one; `run_id` is made up
    where none is given, and by the client always.
    """

    key: str
    parent: str | None
    start: int
    tags: dict[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    run_id: str | None = None


def write_client(uri: str, name: str, runs: Iterable[Run]) -> None:
    """As `fl_core.study.tracking.tracker` does."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(uri)
    experiment = client.create_experiment(name)
    ids: dict[str, str] = {}
    for run in runs:
        tags = {**run.tags, **({"mlflow.parentRunId": ids[run.parent]} if run.parent else {})}
        made = client.create_run(experiment, start_time=run.start, tags=tags).info.run_id
        ids[run.key] = made
        params = [Param(k, v) for k, v in run.params.items()]
        metrics = [Metric(k, v, run.start, 1) for k, v in run.metrics.items()]
        client.log_batch(made, metrics=metrics, params=params)


def write_bulk(file: Path, name: str, runs: Iterable[Run]) -> None:
    """The same rows, inserted at once into the tables that MLflow made."""
    from mlflow import MlflowClient

    experiment = int(MlflowClient(f"sqlite:///{file}").create_experiment(name))
    rows: dict[str, list[tuple[Any, ...]]] = {k: [] for k in ("runs", "tags", "params", "metrics")}
    ids: dict[str, str] = {}
    rng = random.Random(name)
    for run in runs:
        made = run.run_id or uuid.UUID(int=rng.getrandbits(128), version=4).hex
        ids[run.key] = made
        parent = {"mlflow.parentRunId": ids[run.parent]} if run.parent else {}
        place = (file.parent / "artifacts" / made).as_uri()
        rows["runs"].append((made, f"run {run.key}", run.start, place, experiment))
        tags = {**run.tags, **parent, "mlflow.runName": f"run {run.key}"}
        rows["tags"] += [(k, v, made) for k, v in tags.items()]
        rows["params"] += [(k, v, made) for k, v in run.params.items()]
        rows["metrics"] += [
            (k, 0.0 if v != v else v, run.start, made, v != v) for k, v in run.metrics.items()
        ]
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.executemany(
            "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id,"
            " status, start_time, source_version, lifecycle_stage, artifact_uri, experiment_id)"
            " VALUES (?, ?, 'UNKNOWN', '', '', 'unknown', 'RUNNING', ?, '', 'active', ?, ?)",
            rows["runs"],
        )
        db.executemany("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", rows["tags"])
        db.executemany("INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)", rows["params"])
        for table in ("metrics", "latest_metrics"):
            db.executemany(
                f"INSERT INTO {table} (key, value, timestamp, run_uuid, step, is_nan)"
                " VALUES (?, ?, ?, ?, 1, ?)",
                rows["metrics"],
            )
    db.close()
