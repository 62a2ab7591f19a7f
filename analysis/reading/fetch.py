"""What figures need of a few runs besides their last metrics: histories and artifacts.

One call per run and metric, or per artifact; `store` reads a whole study in a handful.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fl_analysis.reading.connect import AnalysisError, artifact, connect, one_line
from fl_analysis.reading.frames import finite
from fl_analysis.reading.store import StudyRuns

if TYPE_CHECKING:
    pass

LAYER_COLUMNS = ("size", "active_share", "jaccard", "expected", "excess")
TESTED_COLUMNS = ("run_id", "round", "step", "test_accuracy", "test_loss", "virtual_seconds",
                  "bytes_up", "bytes_down")  # fmt: skip
PREDICTION_COLUMNS = ("label", "prediction", "confidence")


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
                rows += [(run_id, name, step, finite(m.value)) for step, m in latest.items()]
    frame = pd.DataFrame(rows, columns=["run_id", "metric", "step", "value"])
    return frame.sort_values(["run_id", "metric", "step"], ignore_index=True)


def partition(runs: StudyRuns, arm: int) -> pd.DataFrame | None:
    """The arm's realised partition, counts (clients, classes); None when it was not saved."""
    run_id = runs.arms.at[arm, "run_id"]
    if run_id is None:
        return None
    return partitions(runs, [str(run_id)]).get(str(run_id))


def partitions(runs: StudyRuns, run_ids: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The partition of each of these runs that logged one: an arm's, or a confirmation's own."""
    return {run: _counts(text) for run, text in _texts(runs, run_ids, "partition.csv").items()}


def _counts(text: str) -> pd.DataFrame:
    """A saved partition: (clients, classes)."""
    frame = pd.read_csv(io.StringIO(text), header=None, dtype=str)
    head = list(frame.iloc[0])
    if head == [str(i) for i in range(len(head))] or not all(str(c).isdigit() for c in head):
        frame = frame.iloc[1:]  # a header of class numbers or names
    return frame.astype(int).reset_index(drop=True)


def selections(runs: StudyRuns, run_ids: Sequence[str]) -> dict[str, np.ndarray]:
    """`selections.csv` of those of these runs that logged it, by run: in how many rounds each
    client was selected, (clients,).
    """
    texts = _texts(runs, run_ids, "selections.csv")
    return {run: pd.read_csv(io.StringIO(text))["rounds"].to_numpy() for run, text in texts.items()}


def mask_layers(runs: StudyRuns, run_ids: Sequence[str]) -> pd.DataFrame | None:
    """`masks.csv` of these runs, the seeds of one configuration: the mean of each tensor's figures.

    Index: tensor names in the model's order, without "overall"; columns `LAYER_COLUMNS`, NaN
    where no seed has a value. None when no run saved the table.
    """
    tables = [
        pd.read_csv(io.StringIO(text), index_col="layer").reindex(columns=list(LAYER_COLUMNS))
        for text in _texts(runs, run_ids, "masks.csv").values()
    ]
    if not tables:
        return None
    stacked = pd.concat(tables).astype(float)
    mean = stacked.groupby(level=0, sort=False).mean()  # skips a seed's NaN
    return mean.drop(index="overall", errors="ignore")


def predictions(runs: StudyRuns, run_ids: Sequence[str]) -> dict[str, pd.DataFrame]:
    """`predictions.csv` of those of these confirmation runs that logged it, by run.

    A row a test image in the test set's order: integers `label` and `prediction`, and the
    `confidence` of the prediction. A table that is not whole is an error, not a missing one.
    """
    texts = _texts(runs, run_ids, "predictions.csv")
    tables = {run_id: _predictions(text) for run_id, text in texts.items()}
    if bad := [run_id for run_id, table in tables.items() if table is None]:
        raise AnalysisError(f"run {bad[0]}: its predictions.csv is damaged")
    return {run_id: table for run_id, table in tables.items() if table is not None}


def tested_curves(runs: StudyRuns, run_ids: Sequence[str]) -> pd.DataFrame:
    """`test_curve.csv` of those of these confirmation runs that logged it: `TESTED_COLUMNS`, a row
    an evaluation; NaN for what older runs did not write there.
    """
    tables = [
        pd.read_csv(io.StringIO(text)).rename(columns={"local_steps": "step"}).assign(run_id=run_id)
        for run_id, text in _texts(runs, run_ids, "test_curve.csv").items()
    ]
    whole = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"run_id": []})
    frame = whole.reindex(columns=list(TESTED_COLUMNS)).astype({"step": int})
    return frame.astype({"run_id": object})


def every_round(runs: StudyRuns, run_ids: Sequence[str]) -> pd.DataFrame:
    """`rounds.csv` of those of these runs that logged it, one below the other, with run_id."""
    tables = [
        pd.read_csv(io.StringIO(text)).assign(run_id=run_id)
        for run_id, text in _texts(runs, run_ids, "rounds.csv").items()
    ]
    names = ["run_id", "round", "local_steps", "client_drift"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=names)


def messages(runs: StudyRuns, run_ids: Sequence[str]) -> dict[str, pd.DataFrame]:
    """`messages.csv` of those of these runs that logged it, by run: what was sent in each encoding,
    a row an evaluation.
    """
    texts = _texts(runs, run_ids, "messages.csv")
    return {run: pd.read_csv(io.StringIO(text)) for run, text in texts.items() if text}


def _predictions(text: str) -> pd.DataFrame | None:
    """The table, or None where it is none."""
    try:
        types = dict(zip(PREDICTION_COLUMNS, (int, int, float), strict=True))
        table = pd.read_csv(io.StringIO(text), dtype=types)[list(PREDICTION_COLUMNS)]
    except (KeyError, ValueError, TypeError):  # pandas' parser errors are ValueErrors
        return None
    sound = table[["label", "prediction"]].ge(0).all(axis=None)
    sound &= table["confidence"].between(0, 1).all()
    return table if sound and len(table) else None


def _texts(runs: StudyRuns, run_ids: Sequence[str], name: str) -> dict[str, str]:
    """A text artifact of those of these runs that have it, by run."""
    client, _ = connect(runs.tracking_uri)
    texts = {run_id: artifact(client, run_id, name) for run_id in run_ids}
    return {run_id: text for run_id, text in texts.items() if text is not None}
