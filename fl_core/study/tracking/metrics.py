"""What of a trial's record becomes a metric in MLflow (no MLflow).

A metric is a chart on the page of every trial and rows in the store for every evaluation. What
messages would have cost in other encodings is neither read by a table nor worth a chart: it goes
into one file a trial, unless the study minimises it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from typing import Any

METRICS = frozenset(
    ("score", "train_loss", "client_drift", "client_drift_active", "val_accuracy", "val_loss",
     "test_accuracy", "test_loss",
     "client_accuracy_worst", "client_accuracy_best", "client_accuracy_std", "round",
     "local_steps", "seconds_train", "seconds_eval",
     "seconds_overhead", "images_per_second", "peak_memory_bytes")
)  # fmt: skip
#: What messages cost, by direction and encoding; what masks look like.
FAMILIES = ("bytes_", "messages_", "mask_")
#: Of these, what no table reads goes into a file instead of onto the page of every trial.
DETAILS = ("_round", "_index", "_bitmap", "_values")
DETAILS_FILE = "messages.csv"


def split(
    record: Mapping[str, Any], objectives: Collection[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """A record's metrics, and its details; the rest of it is bookkeeping.

    >>> split({"round": 2, "bytes_up": 8, "bytes_up_bitmap": 9, "done": True}, ())
    ({'round': 2.0, 'bytes_up': 8.0}, {'bytes_up_bitmap': 9.0})
    """
    metrics: dict[str, float] = {}
    details: dict[str, float] = {}
    for name, value in record.items():
        if not isinstance(value, (int, float)):
            continue
        if name in METRICS or name in objectives:
            metrics[name] = float(value)
        elif name.startswith(FAMILIES):
            detail = name.startswith("messages_") or name.endswith(DETAILS)
            (details if detail else metrics)[name] = float(value)
    return metrics, details


def table_of(rows: Mapping[int, Mapping[str, float]]) -> str:
    """Details by step as CSV, one row an evaluation."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows[step] for step in sorted(rows))
    return text.getvalue()
