"""Studies with several objectives: each arm's Pareto front and what its points confirm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.reading.store import StudyRuns
from analysis.results.confirmation import confirmed_runs, over_seeds, own_trials
from analysis.results.outcome import Outcome, front_of
from fl_core.config.vocabulary import cell


@dataclass(frozen=True)
class FrontPoint:
    """One configuration of an arm's front: its search trial and the confirmation runs of it."""

    arm: Outcome
    trial: pd.Series
    confirmed: pd.DataFrame
    warnings: tuple[str, ...]

    @property
    def test(self) -> tuple[float, float]:
        """Mean and sample standard deviation of the test accuracy; NaN where unconfirmed."""
        return over_seeds(self.confirmed, "test_accuracy")


def front_points(runs: StudyRuns, results: Sequence[Outcome]) -> list[FrontPoint]:
    """Every arm's front, best validation first; empty for studies with one objective."""
    points = []
    for outcome in results:
        mine, _ = own_trials(runs, outcome.arm)
        for _, trial in front_of(runs, outcome.arm).iterrows():
            confirmed, lines = confirmed_runs(runs, mine, trial)
            which = f"{outcome.name}, trial {cell(trial['number'])}"
            chosen = outcome.best is not None and trial["run_id"] == outcome.best["run_id"]
            if confirmed.empty or chosen:
                lines = []  # unconfirmed on purpose; or said of the arm already
            warnings = tuple(f"{which}: {line}" for line in lines)
            points.append(FrontPoint(outcome, trial, confirmed, warnings))
    return points
