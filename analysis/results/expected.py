"""What a search of n random trials is expected to find: does a method win, or was it tuned more?

After Dodge et al., "Show Your Work" (EMNLP 2019): of an arm's B trials, drawn independently from
one space, the expected best validation accuracy of n of them, for n = 1 to B. Their estimator puts
the empirical distribution F in for the true one, E[max of n] = sum_i v_i (F(v_i)^n - F(v_i-)^n): n
draws WITH replacement. Tang et al., "Showing Your Work Doesn't Always Work" (ACL 2020), show that
it is too low, most where n comes near B, and give the unbiased one: the mean over all subsets of n
different trials. The line is that one, so at n = B it is the best trial found, the search's score.

The band is one standard deviation of the best of n trials (as in Dodge et al., with replacement):
how far one search is from another. It is no confidence interval of the line; Tang et al. find that
those by bootstrap cover too rarely, and so there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.labels import arm_axes, axis_value, level_labels
from fl_analysis.results.outcome import Outcome
from fl_analysis.results.selection import own, searched
from fl_core.config.titles import FEDAVG, METHOD

LEAST = 2  # trials of an arm: one has no course


@dataclass(frozen=True)
class Expected:
    """One arm. Arrays have an entry for each number of trials, from 1 to as many as it has."""

    arm: Outcome
    stratum: str  # what it shares with the arms that it is compared with: N_c=5
    label: str  # what tells it from them
    fedavg: bool  # whether it is FedAvg beside arms of other methods
    scores: tuple[float, ...]  # of its trials, the lowest first; a diverged one's is chance
    mean: np.ndarray  # expected best validation accuracy
    std: np.ndarray  # standard deviation of the best


def unsuitable(runs: StudyRuns) -> str | None:
    """Why a study's trials are no independent draws that ran to their end; None where they are."""
    searcher = runs.tags.get("searcher", "")
    if searcher != "random":
        tried = searcher or "the searcher"
        return f"trials that {tried} proposes are not drawn independently (--searcher random)"
    if (scheduler := runs.tags.get("scheduler", "")) != "none":
        return f"{scheduler or 'the scheduler'} stops trials early (--scheduler none)"
    return None


def read_expected(runs: StudyRuns, results: Sequence[Outcome]) -> list[Expected]:
    """Every arm with enough trials, in table order; none where the study is unsuitable.

    What was no random draw is left out: the points a study began with, and neighbours' winners.
    """
    if unsuitable(runs) is not None or runs.trials.empty:
        return []
    text = runs.tags.get("first", "0")
    first = int(text) if text.isdigit() else 0
    axes = arm_axes([o.setting for o in results], [o.config for o in results])
    lines = [METHOD] if METHOD in axes else [a for a in axes if a != "sharding"] or axes
    found = []
    for arm in results:
        mine = own(searched(runs.trials[runs.trials["arm"] == arm.arm]))
        mine = mine[[not isinstance(n, int) or n >= first for n in mine["number"]]]
        scores = _scores(mine, arm.task.classes)
        if len(scores) >= LEAST:
            found.append(_expected(arm, axes, lines, scores))
    return found


def _expected(
    arm: Outcome, axes: Sequence[str], lines: Sequence[str], scores: Sequence[float]
) -> Expected:
    stratum = ", ".join(level_labels([axis for axis in axes if axis not in lines], arm.config))
    label = ", ".join(level_labels(lines, arm.config)) or arm.name
    plain = METHOD in lines and axis_value(METHOD, arm.config) == FEDAVG
    mean, std = expected_best(scores), best_std(scores)
    return Expected(arm, stratum, label, plain, tuple(sorted(scores)), mean, std)


def _scores(mine: pd.DataFrame, classes: int | None) -> list[float]:
    """Validation accuracy of each trial. One that diverged has none that could be chosen: it counts
    as what guessing reaches.
    """
    chance = 1 / classes if classes else 0.0
    ended = (mine["status"] == "finished") & np.isfinite(mine["val_accuracy"].astype(float))
    return [float(v) for v in mine["val_accuracy"].where(ended, chance)]


def expected_best(scores: Sequence[float]) -> np.ndarray:
    """Mean of the best over all subsets of n scores, for n = 1 to all (Tang et al. 2020).

    Of B sorted scores the i lowest hold all n with probability C(i, n) / C(B, n).

    >>> expected_best([0.1, 0.4, 0.7]).round(6).tolist()  # pairs: 0.4, 0.7, 0.7
    [0.4, 0.6, 0.7]
    """
    values, count = np.sort(np.asarray(scores, dtype=float)), len(scores)
    place = np.arange(1, count + 1)
    below = np.ones(count)  # P(best of n <= v_i)
    means = []
    for n in range(count):
        below = below * np.maximum(place - n, 0) / (count - n)
        means.append(float(values @ np.diff(below, prepend=0.0)))
    return np.array(means)


def best_std(scores: Sequence[float]) -> np.ndarray:
    """Standard deviation of the best of n draws with replacement, for n = 1 to all (Dodge et al.).

    >>> best_std([0.0, 1.0]).round(6).tolist()  # sqrt(1/2 * 1/2), sqrt(1/4 * 3/4)
    [0.5, 0.433013]
    """
    values = np.sort(np.asarray(scores, dtype=float))
    chances = [_best_chances(len(values), n) for n in range(1, len(values) + 1)]
    means = [values @ p for p in chances]
    return np.array([math.sqrt(p @ (values - m) ** 2) for p, m in zip(chances, means, strict=True)])


def wins(one: Sequence[float], other: Sequence[float], n: int) -> float:
    """How often the best of n draws (with replacement) of `one` is above that of `other`; a tie
    counts half. 0.5 is a coin's toss.

    >>> wins([0.1, 0.3], [0.2], 1), wins([0.1, 0.3], [0.2], 2), wins([0.2], [0.2], 5)
    (0.5, 0.75, 0.5)
    """
    mine, theirs = np.sort(one), np.sort(other)
    chances = _best_chances(len(mine), n)
    under = (np.searchsorted(theirs, mine, "left") / len(theirs)) ** n
    upto = (np.searchsorted(theirs, mine, "right") / len(theirs)) ** n
    return float(chances @ (under + upto) / 2)


def _best_chances(count: int, n: int) -> np.ndarray:
    """Probability that the i-th of `count` sorted scores is the best of n draws."""
    return np.diff((np.arange(count + 1) / count) ** n)


def ahead(one: Expected, other: Expected) -> list[tuple[int, int]]:
    """The numbers of trials at which `one` is expected to find more, as spans (first, last)."""
    count = min(len(one.mean), len(other.mean))
    above = [n for n in range(1, count + 1) if one.mean[n - 1] > other.mean[n - 1]]
    spans: list[tuple[int, int]] = []
    for n in above:
        if spans and spans[-1][1] == n - 1:
            spans[-1] = (spans[-1][0], n)
        else:
            spans.append((n, n))
    return spans


def rival(one: Expected, found: Sequence[Expected]) -> Expected | None:
    """FedAvg in the stratum of this arm; None without, or where arms are no methods."""
    return next((e for e in found if e.fedavg and e.stratum == one.stratum), None)
