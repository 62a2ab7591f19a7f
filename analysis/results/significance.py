"""Which differences between arms the seeds support: paired tests with Holm's correction.

Arms are confirmed with the same seeds, so differences are taken seed by seed. Up to `MOST` arms
every pair is tested; of more, each arm against the one that is best by validation: never a
reference chosen by test numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.results.confirmation import mean_std
from analysis.results.intervals import Paired, holm, paired
from analysis.results.matching import validated
from analysis.results.outcome import Outcome
from fl_core.config.vocabulary import known

MOST = 6  # arms of which all pairs are tested


@dataclass(frozen=True)
class Pair:
    """Two arms and their difference in test accuracy over the seeds that both have."""

    one: Outcome
    other: Outcome
    difference: Paired
    p_holm: float


def pairs(results: Sequence[Outcome]) -> list[Pair]:
    """The tests of a study, in table order; empty where no two arms share two seeds."""
    arms = [o for o in results if len(o.confirmed) and "seed" in o.confirmed]
    chosen = list(itertools.combinations(arms, 2))
    if len(results) > MOST:
        best = reference(results)
        chosen = [] if best is None else [(o, best) for o in arms if o is not best]
    tests = [(one, other, _difference(one, other)) for one, other in chosen]
    tests = [test for test in tests if test[2].pairs]
    if all(test[2].pairs < 2 for test in tests):
        return []
    adjusted = holm([difference.p for _, _, difference in tests])
    return [Pair(*test, p) for test, p in zip(tests, adjusted, strict=True)]


def reference(results: Sequence[Outcome]) -> Outcome | None:
    """The confirmed arm with the highest validation accuracy, the first of equals."""
    arms = [o for o in results if len(o.confirmed) and "seed" in o.confirmed]
    values = validation(arms)
    best = max((v for v in values if known(v)), default=None)
    return None if best is None else arms[values.index(best)]


def validation(arms: Sequence[Outcome]) -> list[float]:
    """Mean validation accuracy over the confirmation seeds where all arms have one, else that of
    the chosen search trials.
    """
    means = [mean_std(list(validated(o.confirmed)))[0] for o in arms]
    if all(map(known, means)):
        return means
    return [math.nan if o.best is None else float(o.best["val_accuracy"]) for o in arms]


def _difference(one: Outcome, other: Outcome) -> Paired:
    first, second = (
        dict(zip(o.confirmed["seed"], o.confirmed["test_accuracy"], strict=True))
        for o in (one, other)
    )
    shared = [seed for seed in first if seed in second]
    return paired([first[s] for s in shared], [second[s] for s in shared])
