"""How well a trial's score on the way ranks what it reaches: what a pruner's decisions rest on.

For each share of the budget at which trials were evaluated: Spearman's rank correlation of their
validation accuracy there and at their end. Ranks are taken within an arm and pooled, as for the
importance of hyper-parameters. Only trials that ran to the end can be compared: pruned ones, mostly
worse, are missing, so that a true correlation over all trials would be higher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fl_analysis.reading.fetch import curves
from fl_analysis.reading.store import StudyRuns

MOST = 200  # trials whose histories are read; of more, so many evenly spaced
LEAST = 4  # finished trials of an arm: fewer have no order to speak of


@dataclass(frozen=True)
class Rung:
    """One share of the budget: the correlation, over how many trials."""

    share: float
    correlation: float
    trials: int


def rungs(runs: StudyRuns) -> list[Rung]:
    """The shares before the end at which at least half of the compared trials were evaluated."""
    trials = runs.trials
    done = trials[(trials["phase"] == "search") & (trials["status"] == "finished")]
    done = done[done.groupby("arm")["arm"].transform("size") >= LEAST]
    if len(done) > MOST:
        done = done.iloc[[i * len(done) // MOST for i in range(MOST)]]
    if done.empty:
        return []
    history = curves(runs, done["run_id"].tolist(), ["val_accuracy"])
    history = history.merge(done[["run_id", "arm", "val_accuracy"]], on="run_id")
    return correlations(history)


def correlations(history: pd.DataFrame) -> list[Rung]:
    """The same from a frame with run_id, arm, step, value, and the final `val_accuracy`."""
    history = history[np.isfinite(history["value"]) & np.isfinite(history["val_accuracy"])]
    last = history.groupby("run_id")["step"].transform("max")
    history = history.assign(share=(history["step"] / last).round(2))
    count = history["run_id"].nunique()
    found = []
    for share, rows in history[history["share"] < 1].groupby("share"):
        rows = rows.drop_duplicates("run_id", keep="last")
        if len(rows) < max(LEAST, count / 2):
            continue
        here, end = (_ranks(rows, name) for name in ("value", "val_accuracy"))
        if np.std(here) > 0 and np.std(end) > 0:
            value = float(np.corrcoef(here, end)[0, 1])
            found.append(Rung(float(share), round(value, 12), len(rows)))  # type: ignore[arg-type]
    return found


def _ranks(rows: pd.DataFrame, column: str) -> Sequence[float]:
    """Ranks within the arm, around zero, so that an arm's level adds nothing."""
    ranks = rows.groupby("arm")[column].rank()
    return list(ranks - ranks.groupby(rows["arm"]).transform("mean"))
