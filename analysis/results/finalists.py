"""The finalists of a search: its n best configurations, each confirmed with the same seeds.

The best score of a search is the best of many and therefore too high (the winner's curse), and the
trial that had it may have had luck. So the n best are run again and the choice among them goes by
the mean validation accuracy of those fresh runs (`selection.best_confirmed`). Their test numbers
stand in a table of their own; the choice never looks at them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.confirmation import confirmed_runs, over_seeds
from fl_analysis.results.matching import Asked, asked_of, validated
from fl_analysis.results.selection import complete_means, finalists


@dataclass(frozen=True)
class Finalist:
    """One of an arm's best configurations. `rank` 1 is the search's best."""

    rank: int
    trial: pd.Series
    confirmed: pd.DataFrame  # one row a seed, each with a test accuracy
    complete: bool  # every seed asked for finished with a validation accuracy
    chosen: bool
    warnings: tuple[str, ...]

    @property
    def validation(self) -> tuple[float, float]:
        """Mean and standard deviation over the seeds."""
        return over_seeds(
            self.confirmed.assign(val_accuracy=validated(self.confirmed)), "val_accuracy"
        )

    @property
    def test(self) -> tuple[float, float]:
        """Mean and standard deviation over the seeds."""
        return over_seeds(self.confirmed, "test_accuracy")


def arm_finalists(
    runs: StudyRuns, mine: pd.DataFrame, best: pd.Series | None
) -> tuple[Finalist, ...]:
    """An arm's finalists, best of the search first; none where one configuration is confirmed."""
    asked = asked_of(runs)
    if asked.finalists < 2 or runs.objectives:
        return ()
    found = []
    trials = finalists(mine, asked)
    means = complete_means(mine, trials, asked)
    for place, (_, trial) in enumerate(trials.iterrows()):
        confirmed, lines = confirmed_runs(runs, mine, trial)
        chosen = best is not None and trial["run_id"] == best["run_id"]
        complete = means[place] is not None
        found.append(Finalist(place + 1, trial, confirmed, complete, chosen, tuple(lines)))
    return tuple(found)


def finalist_lines(asked: Asked, found: Sequence[Finalist]) -> list[str]:
    """What a reader must know about the choice among an arm's finalists."""
    if not found:
        return []
    lines = []
    if len(found) < asked.finalists:
        lines.append(f"{len(found)} of {asked.finalists} finalists: no more trials finished")
    for finalist in found:
        if not finalist.chosen:  # of the chosen one the arm itself tells
            lines += [f"finalist {finalist.rank}: {line}" for line in finalist.warnings]
    confirmed = [f for f in found if len(f.confirmed)]
    if not any(f.complete for f in found):
        why = "no finalist has a validation accuracy of every seed"
        if confirmed and all(not math.isfinite(f.validation[0]) for f in confirmed):
            why = "the confirmation has no validation accuracy"
        return [*lines, f"{why}: the search's best trial was taken instead"]
    lines += [
        f"finalist {f.rank}: not every seed has a validation accuracy, so it cannot be chosen"
        for f in found
        if not f.complete
    ]
    return lines
