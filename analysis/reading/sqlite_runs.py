"""The trial runs of a study straight from MLflow's own SQLite file, read-only.

Why it is here: 10,000 runs are to be read within 20 s, and through MLflow's client they take 28 s
(a hundred Python objects a run). It reads MLflow's private tables, so only the many trial runs of
a local file come this way; studies, arms, histories and artifacts, and everything on a server, go
through the client. The client stays the oracle (tests/analysis/test_many_runs.py compares) and
takes over where the file's tables are not the ones known here.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from fl_core.base.stores import sqlite_file

#: Table -> the columns that are read.
_KNOWN = {
    "runs": {"run_uuid", "start_time", "lifecycle_stage", "experiment_id"},
    "tags": {"key", "value", "run_uuid"},
    "params": {"key", "value", "run_uuid"},
    "latest_metrics": {"key", "value", "is_nan", "run_uuid"},
}
_MINE = """
    FROM runs AS r JOIN tags AS k ON k.run_uuid = r.run_uuid AND k.key = 'kind'
    {join} WHERE k.value = 'trial' AND r.lifecycle_stage = 'active' AND r.experiment_id = ? {digest}
    ORDER BY r.run_uuid
"""
_DIGEST = "AND r.run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'study_digest' AND value = ?)"
_WAIT = 30.0  # seconds for a study that is writing just now


@dataclass(frozen=True)
class PlainInfo:
    """Of `mlflow.entities.RunInfo` what the frames read."""

    run_id: str
    start_time: int | None


@dataclass(frozen=True)
class PlainData:
    """Of `mlflow.entities.RunData` what the frames read."""

    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]


@dataclass(frozen=True)
class PlainRun:
    """Of `mlflow.entities.Run` what the frames read."""

    info: PlainInfo
    data: PlainData


def readable(uri: str) -> bool:
    """Whether this is a SQLite file with the tables known here."""
    file = sqlite_file(uri)
    if file is None:
        return False
    try:
        with contextlib.closing(_open(file)) as db:
            for table, columns in _KNOWN.items():
                found = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
                if not columns <= found:
                    return False
    except sqlite3.Error:
        return False
    return True


def trial_runs(uri: str, experiment: str, digest: str | None) -> Iterator[PlainRun]:
    """The experiment's active trial runs (of one study digest), one by one, by run id."""
    file = sqlite_file(uri)
    assert file is not None, uri
    args = (int(experiment), *([] if digest is None else [digest]))
    where = {"digest": "" if digest is None else _DIGEST}
    with contextlib.closing(_open(file)) as db:

        def select(values: str, table: str | None = None) -> sqlite3.Cursor:
            join = "" if table is None else f"JOIN {table} AS v ON v.run_uuid = r.run_uuid"
            return db.execute(
                f"SELECT r.run_uuid, {values} {_MINE.format(join=join, **where)}", args
            )

        db.execute("BEGIN")  # one state of the file for all four queries
        number = "CASE WHEN v.is_nan THEN NULL ELSE v.value END"
        runs = select("r.start_time")
        columns = (
            _Groups(select("v.key, v.value", "tags")),
            _Groups(select("v.key, v.value", "params")),
            _Groups(select(f"v.key, {number}", "latest_metrics")),
        )
        for run_id, start in runs:
            tags, params, metrics = (column.of(run_id) for column in columns)
            values = {k: math.nan if v is None else float(v) for k, v in metrics.items()}
            yield PlainRun(PlainInfo(run_id, start), PlainData(tags, params, values))


class _Groups:
    """Rows (run id, key, value) in order of the run ids, as one dictionary a run."""

    def __init__(self, rows: sqlite3.Cursor) -> None:
        self._rows = itertools.groupby(rows, key=itemgetter(0))
        self._next = next(self._rows, None)

    def of(self, run_id: str) -> dict[str, Any]:
        """Of this run, asked for in order; empty where it has no row."""
        if self._next is None or self._next[0] != run_id:
            return {}
        found = {key: value for _, key, value in self._next[1]}
        self._next = next(self._rows, None)
        return found


def _open(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=_WAIT, isolation_level=None
    )
