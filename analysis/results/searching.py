"""Whether an arm was searched enough for its choice to mean something.

Too little search looks like a finding: an arm that kept one trial has "chosen" it, and its distance
to the next arm is a distance between two draws. A test over seeds cannot see that, so it is said
of every arm that shows a sign of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.matching import asked_of
from fl_analysis.results.selection import own, searched

LOUD = "NOT SEARCHED ENOUGH"


def borrowed(trials: pd.DataFrame) -> pd.Series:
    """Which trials are the winner of a neighbouring arm, tried in this one as well."""
    return ~trials.index.to_series().isin(own(trials).index)


def finished(trials: pd.DataFrame) -> int:
    """How many search trials ran to their full budget."""
    return int((searched(trials)["status"] == "finished").sum())


def needed(runs: StudyRuns) -> int:
    """Finished trials below which there was no choice: one more than there are finalists."""
    return asked_of(runs).finalists + 1


def shortfalls(runs: StudyRuns, mine: pd.DataFrame, best: pd.Series | None) -> tuple[str, ...]:
    """Why an arm was not searched enough; empty where it was, or where nothing was searched."""
    ran = searched(mine)
    if not runs.space or ran.empty:
        return ()
    if len(ran) > 1 and ran["digest"].nunique() == 1:
        return ()  # of this arm there is nothing to choose: all its trials are one configuration
    lines = []
    if (count := finished(mine)) < needed(runs):
        lines.append(f"{count} of {len(ran)} search trials finished, a choice takes {needed(runs)}")
    in_turn = runs.tags.get("searcher") not in ("grid", "random")  # their order means nothing
    if best is not None and in_turn and len(ran) > 1 and best["number"] == 0:
        lines.append("its first trial was chosen, before the search had learned anything")
    return tuple(lines)


def study_lines(short: Sequence[tuple[str, Sequence[str]]], arms: int) -> list[str]:
    """The warnings of a study: how many arms, what it means, then a line each (name, reasons)."""
    found = [(name, reasons) for name, reasons in short if reasons]
    if not found:
        return []
    head = (
        f"{LOUD}: {len(found)} of {arms} arms; what tells these arms from others may be their "
        "hyper-parameters and not what the study asks"
    )
    return [head, *(f"{LOUD}: {name}: {'; '.join(reasons)}" for name, reasons in found)]


@dataclass(frozen=True)
class Course:
    """An arm's trials in the order of their start: the score of each that finished (else NaN), the
    best of them so far, and which are a neighbour's winner, tried here as well.
    """

    arm: int
    score: pd.Series
    best: pd.Series
    borrowed: pd.Series


def courses(runs: StudyRuns) -> list[Course]:
    """How each arm's search went; a pruned or diverged trial counts as one, without a score."""
    found = []
    for arm, mine in searched(runs.trials).groupby("arm", sort=True):
        order = sorted(range(len(mine)), key=lambda n: _place(mine["number"].iloc[n], n))
        mine = mine.iloc[order]
        score = mine["val_accuracy"].where(mine["status"] == "finished").astype(float)
        score = score.where(np.isfinite(score))
        found.append(Course(int(arm), score, score.cummax().ffill(), borrowed(mine)))  # type: ignore[call-overload]
    return found


def _place(number: object, row: int) -> tuple[float, int]:
    """By its number where it has one, else as the store has them, by their start."""
    return (float(number) if isinstance(number, (int, float)) else math.inf, row)
