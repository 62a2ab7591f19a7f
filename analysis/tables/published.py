"""Published numbers as one tidy frame, with the conditions that keep them apart from ours.

`published_reports` reads the reports' tables (facts, with their sources in the comment lines of the
CSV files). `value` is an accuracy in [0, 1] or an overlap, sparsity is the FROZEN fraction (NaN =
dense), `rule` what the mask keeps trainable, `mask_rounds` its calibration rounds, `gamma` that of
the clients' chances (NaN = all the same), `local_unit` says what the report's J counts, `key` names
the document in `sources`, `data` is our `data.name` of what they trained on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fl_analysis.tables import published_reports as reports
from fl_core.config.vocabulary import known, masked

COLUMNS = (
    *("key", "source", "data", "setting", "strategy", "sharding", "classes_per_client"),
    *("local_work", "local_unit", "sparsity", "rule", "mask_rounds"),
    *("gamma", "metric", "value", "comparable", "conditions"),
)
#: What the reports trained -> our names for it; one report does not say which sparse part.
_STRATEGIES = {
    "head": {"head"},
    "sparse head": {"head"},
    "full": {"full"},
    "LeNet": {"full"},
    "head + backbone": {"head_then_sparse_backbone"},  # at sparsity 0
    "head + sparse backbone": {"head_then_sparse_backbone"},
    "head + sparse full": {"head_then_sparse_full"},
    "head + sparse": {"head_then_sparse_backbone", "head_then_sparse_full"},
}


def published() -> pd.DataFrame:
    """All published accuracies and overlaps, in the order of `sources`."""
    rows = [
        *reports.del_vecchio(),
        *reports.pirilli_federated(),
        *reports.pirilli_centralised(),
        *reports.track_b(),
        *reports.hatem(),
        *reports.alcani(),
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.drop_duplicates(ignore_index=True)


def beside(
    config: Mapping[str, Any], frame: pd.DataFrame | None = None, by_strategy: bool = False
) -> pd.DataFrame:
    """The published test accuracies for an arm's own problem: same data set, K, C, selection of
    the clients, sharding, N_c, J (whatever it counts there) and sparsity; where a mask is in force,
    or on request, the same strategy too. Rule, backbone and schedule may differ: that is what
    `conditions` says.
    """
    rows = _same_problem(config, published() if frame is None else frame, "test_accuracy")
    if known(config.get("mask.threshold")):  # which nobody has published
        return rows.iloc[:0]
    sparsity = config.get("mask.sparsity") or math.nan
    rows = _where_close(rows, "sparsity", sparsity)
    strategy = config.get("fine_tune.strategy")
    if known(strategy) and (by_strategy or masked(config)):
        rows = _where(rows, [strategy in _STRATEGIES[name] for name in rows["strategy"]])
    return rows


def beside_overlap(config: Mapping[str, Any], frame: pd.DataFrame | None = None) -> pd.DataFrame:
    """The published overlaps of per-client masks by the same rule, at this sparsity and N_c."""
    rows = _same_problem(config, published() if frame is None else frame, "jaccard")
    if config.get("mask.scope") != "per_client":
        return rows.iloc[:0]
    rows = rows[rows["rule"] == config.get("mask.rule")]
    return _where_close(rows, "sparsity", config.get("mask.sparsity"))


def _same_problem(config: Mapping[str, Any], rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows of this metric for the same data set, K, C, selection, sharding, N_c and J."""
    rows = rows[rows["metric"] == metric]
    rows = rows[rows["data"] == config.get("data.name")]
    clients, share = config.get("federation.clients"), config.get("federation.participation")
    if clients == 1:
        return rows[rows["setting"] == "centralised"]
    if (clients, share) != (100, 0.1):
        return rows.iloc[:0]
    rows = rows[rows["setting"] == "federated"]
    rows = rows[rows["sharding"] == config.get("federation.sharding")]
    if metric != "jaccard":  # masks are made before any client is selected and any local step
        rows = _of_selection(config, rows)
        rows = _where_close(rows, "local_work", config.get("local.steps"))
    return _where_close(rows, "classes_per_client", config.get("federation.classes_per_client"))


def _of_selection(config: Mapping[str, Any], rows: pd.DataFrame) -> pd.DataFrame:
    """The rows whose clients were drawn as the arm's are; other selections nobody has published."""
    rule = config.get("select.rule")  # which older studies do not tell
    if known(rule) and rule not in ("uniform", "dirichlet"):
        return rows.iloc[:0]
    return _where_close(rows, "gamma", config["select.gamma"] if rule == "dirichlet" else None)


def _where_close(rows: pd.DataFrame, column: str, value: float | None) -> pd.DataFrame:
    return _where(rows, [_close(other, value) for other in rows[column]])


def _where(rows: pd.DataFrame, keep: Sequence[bool]) -> pd.DataFrame:
    return rows[np.array(keep, dtype=bool)]  # an array: pandas takes [] for a choice of columns


def _close(one: float, other: float | None) -> bool:
    if other is None or math.isnan(other) or math.isnan(one):
        return math.isnan(one) and (other is None or math.isnan(other))
    return math.isclose(one, other)
