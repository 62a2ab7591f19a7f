"""Bytes of a round of the main stage, all clients, as sent and in each encoding alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from fl_analysis.reading.fetch import every_round, messages
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.outcome import Outcome

ENCODINGS = ("dense", "index", "bitmap")
FLOAT = 4  # bytes of a parameter
_WAYS = ("up", "down")


@dataclass(frozen=True)
class Traffic:
    """One arm. mean: bytes a round, over rounds and seeds, by direction (`up`: as sent) and by
    direction and encoding (`up_index`), without those that were not counted. span: the least and
    the most of all rounds, or of those at the evaluations where the run kept no other.
    """

    arm: Outcome
    mean: Mapping[str, float]
    span: Mapping[str, tuple[float, float]]


def read_traffic(runs: StudyRuns, results: Sequence[Outcome]) -> list[Traffic]:
    """The federated arms whose confirmation, else chosen trial, logged what it sent."""
    found = []
    for outcome in results:
        rows = outcome.confirmed
        if rows.empty and outcome.best is not None:
            rows = outcome.best.to_frame().T
        if rows.empty or outcome.config.get("federation.clients") == 1:
            continue
        logged = messages(runs, rows["run_id"].tolist())
        rounds = every_round(runs, list(logged))
        rounds = rounds if "bytes_up_round" in rounds else pd.concat([*logged.values(), rounds])
        each = [
            _of_run(row, logged[row["run_id"]])
            for _, row in rows.iterrows()
            if row["run_id"] in logged and row["round"] > 0
        ]
        if each:
            found.append(_traffic(outcome, each, rounds))
    return found


def _of_run(row: pd.Series, table: pd.DataFrame) -> dict[str, float]:
    """Totals of a run over its rounds. A total as sent is of the main stage where the run tells."""
    last = table.iloc[-1]
    total: dict[str, float] = {}
    for way in _WAYS:
        sent = row.get(f"bytes_{way}_main")
        total[way] = row[f"bytes_{way}"] if sent is None or math.isnan(sent) else sent
        for code in ENCODINGS:
            name = f"bytes_{way}_{code}"
            total[f"{way}_{code}"] = float(last[name] if name in last else row.get(name, math.nan))
    return {name: float(value) / float(row["round"]) for name, value in total.items()}


def _traffic(
    outcome: Outcome, each: Sequence[Mapping[str, float]], rounds: pd.DataFrame
) -> Traffic:
    mean = pd.DataFrame(each).mean().dropna()
    span = {
        way: (float(rounds[f"bytes_{way}_round"].min()), float(rounds[f"bytes_{way}_round"].max()))
        for way in _WAYS
    }
    return Traffic(outcome, {str(k): float(v) for k, v in mean.items()}, span)
