"""Studies with several objectives: each arm's Pareto front and what its points confirm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.confirmation import confirmed_runs, over_seeds, own_trials
from fl_analysis.results.outcome import Outcome, front_of
from fl_analysis.results.selection import front_starts
from fl_core.config.record import START, TEST_START
from fl_core.config.vocabulary import cell


@dataclass(frozen=True)
class FrontPoint:
    """One configuration of an arm's front: its search trial and the confirmation runs of it.

    start: it is the state before the main stage; `trial` began so, `confirmed` are the runs that
    began as it did, with the test accuracies of their own starts.
    """

    arm: Outcome
    trial: pd.Series
    confirmed: pd.DataFrame
    warnings: tuple[str, ...] = ()
    start: bool = False

    @property
    def test(self) -> tuple[float, float]:
        """Mean and sample standard deviation of the test accuracy; NaN where unconfirmed."""
        return over_seeds(self.confirmed, "test_accuracy")


def front_points(runs: StudyRuns, results: Sequence[Outcome]) -> list[FrontPoint]:
    """Every arm's front, best validation first; empty for studies with one objective."""
    points: list[FrontPoint] = []
    for outcome in results if runs.objectives else ():
        mine, _ = own_trials(runs, outcome.arm)
        found = []
        for _, trial in front_of(runs, outcome.arm).iterrows():
            confirmed, lines = confirmed_runs(runs, mine, trial)
            which = f"{outcome.name}, trial {cell(trial['number'])}"
            chosen = outcome.best is not None and trial["run_id"] == outcome.best["run_id"]
            if confirmed.empty or chosen:
                lines = []  # unconfirmed on purpose; or said of the arm already
            warnings = tuple(f"{which}: {line}" for line in lines)
            found.append(FrontPoint(outcome, trial, confirmed, warnings))
        for _, trial in front_starts(mine, runs.objectives).iterrows():
            found.append(FrontPoint(outcome, trial, _begun(outcome, found, trial), start=True))
        points += sorted(found, key=lambda point: -float(point.trial["val_accuracy"]))
    return points


def _begun(arm: Outcome, found: Sequence[FrontPoint], start: pd.Series) -> pd.DataFrame:
    """The arm's confirmation runs of trials that began as this one, one a seed: a start has no run
    of its own, but each of theirs measured it.
    """
    same = [p.confirmed for p in found if not p.start and p.trial.get(START) == start.get(START)]
    if not found and arm.best is not None and arm.best.get(START) == start.get(START):
        same = [arm.confirmed]  # it beats all trials, of which the best was confirmed
    rows = pd.concat(same) if same else arm.confirmed.iloc[:0]
    rows = rows.drop_duplicates("seed").sort_values("seed", kind="stable")
    return rows.assign(test_accuracy=rows[TEST_START])
