"""Whether an arm was searched enough for its choice to mean something.

Too little search looks like a finding: an arm that kept one trial has "chosen" it, and its distance
to the next arm is a distance between two draws. A test over seeds cannot see that, so it is said
of every arm that shows a sign of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.reading.store import StudyRuns
from analysis.results.matching import asked_of
from analysis.results.selection import searched

LOUD = "NOT SEARCHED ENOUGH"


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
    lines = []
    if (count := finished(mine)) < needed(runs):
        lines.append(f"{count} of {len(ran)} search trials finished, a choice takes {needed(runs)}")
    in_turn = runs.tags.get("searcher") != "grid"  # whose order means nothing
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
