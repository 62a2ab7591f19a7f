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

import pandas as pd

from analysis.results.confirmation import mean_std
from analysis.results.intervals import Paired, holm, paired
from analysis.results.labels import DASH, known, points, span
from analysis.results.matching import validated
from analysis.results.outcome import Outcome
from analysis.tables.render import Block

MOST = 6  # arms of which all pairs are tested
FEW = 5  # seeds; of fewer a p value says little


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


def pairs_block(results: Sequence[Outcome]) -> Block | None:
    """The tests as a table; None where there are none."""
    found = pairs(results)
    if not found:
        return None
    rows = [
        [
            pair.one.name,
            pair.other.name,
            points(pair.difference.mean),
            span(pair.difference.low, pair.difference.high, points),
            p_text(pair.difference.p),
            p_text(pair.p_holm),
            str(pair.difference.pairs),
        ]
        for pair in found
    ]
    header = ["arm A", "arm B", "A - B [pp]", "95 % CI [pp]", "p", "p (Holm)", "seeds"]
    return Block("pairs", _caption(results, found), header, rows, _notes(found), [])


def pairs_csv(results: Sequence[Outcome]) -> str | None:
    """The tests at full precision; differences are of accuracies in [0, 1]."""
    found = pairs(results)
    if not found:
        return None
    records = [
        {
            "arm_a": pair.one.name,
            "arm_b": pair.other.name,
            "difference": pair.difference.mean,
            "ci_low": pair.difference.low,
            "ci_high": pair.difference.high,
            "p": pair.difference.p,
            "p_holm": pair.p_holm,
            "seeds": pair.difference.pairs,
        }
        for pair in found
    ]
    return pd.DataFrame(records).to_csv(index=False, lineterminator="\n")


def p_text(p: float) -> str:
    """A p value in three decimals.

    >>> p_text(0.0312), p_text(0.00004), p_text(math.nan)
    ('0.031', '<0.001', '—')
    """
    if not known(p):
        return DASH
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _caption(results: Sequence[Outcome], found: Sequence[Pair]) -> str:
    which = "all pairs of arms"
    if len(results) > MOST:
        by = "over the confirmation seeds"
        arms = [o for o in results if len(o.confirmed) and "seed" in o.confirmed]
        if not all(known(mean_std(list(validated(o.confirmed)))[0]) for o in arms):
            by = "of the chosen search trial"
        best = found[0].other.name
        which = f"each arm against {best}, which has the highest validation accuracy {by}"
    tests = sum(known(pair.p_holm) for pair in found)
    return (
        f"Differences of test accuracy, seed by seed over the confirmation seeds that both arms "
        f"have ({which}): mean, its 95 % confidence interval and two-sided p value by Student's "
        f"paired t-test; p (Holm): adjusted for the number of tests, {tests}."
    )


def _notes(found: Sequence[Pair]) -> list[str]:
    tested = [pair.difference for pair in found if pair.difference.pairs > 1]
    notes = []
    if few := sorted({d.pairs for d in tested if d.pairs < FEW}):
        notes.append(
            f"{'/'.join(map(str, few))} seeds: a p value says little, and the test takes the "
            "differences for normal; look at the differences and their intervals."
        )
    if any(d.p == 1.0 and d.low == d.high for d in tested):
        notes.append("p = 1.000 and an interval of no width: the two arms agree in every seed.")
    if any(not known(d.p) for d in tested):
        notes.append(
            f"p = {DASH} over several seeds: the difference is the same in all of them; without "
            "a spread there is neither test nor interval."
        )
    return notes
