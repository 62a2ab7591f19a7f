"""What of a trial's record becomes a metric in MLflow (no MLflow).

A metric is a chart on the page of every trial and rows in the store for every evaluation. What
messages would have cost in other encodings is neither read by a table nor worth a chart: it goes
into one file a trial, unless the study minimises it. What every round measured goes into another.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from fl_core.base.tables import csv_text
from fl_core.config.record import METRICS

DETAILS_FILE = "messages.csv"
ROUNDS_FILE = "rounds.csv"  # of every round its loss, drift and bytes


def split(
    record: Mapping[str, Any], objectives: Collection[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """A record's metrics, and its details; what is no number, or a yes or no, is bookkeeping.

    A number that METRICS does not name, as of a user's own method, is a metric: nothing
    that was measured vanishes.

    >>> split({"round": 2, "bytes_up": 8, "bytes_up_bitmap": 9, "done": True, "mine": 0.5}, ())
    ({'round': 2.0, 'bytes_up': 8.0, 'mine': 0.5}, {'bytes_up_bitmap': 9.0})
    """
    metrics: dict[str, float] = {}
    details: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        detail = name in METRICS and not METRICS[name].chart and name not in objectives
        (details if detail else metrics)[name] = float(value)
    return metrics, details


def table_of(rows: Mapping[int, Mapping[str, float]]) -> str:
    """Details by step as CSV, one row an evaluation or a round."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    return csv_text(names, ([rows[step].get(name) for name in names] for step in sorted(rows)))
