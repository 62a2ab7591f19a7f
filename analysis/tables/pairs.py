"""The paired tests between arms as a table, with what a reader must know of them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from fl_analysis.results.labels import points, span
from fl_analysis.results.outcome import Outcome
from fl_analysis.results.significance import MOST, Pair, against_fedavg, pairs, reference
from fl_analysis.tables.escapes import csv
from fl_analysis.tables.render import Block
from fl_core.config.titles import FEDAVG
from fl_core.config.vocabulary import DASH, known

FEW = 5  # seeds; of fewer a p value says little


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
    return Block("pairs", _caption(results, found), header, rows, _notes(found), [], labels=2)


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
    return csv(pd.DataFrame(records))


def p_text(p: float) -> str:
    """A p value in three decimals.

    >>> p_text(0.0312), p_text(0.00004), p_text(float("nan"))
    ('0.031', '<0.001', '—')
    """
    if not known(p):
        return DASH
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _caption(results: Sequence[Outcome], found: Sequence[Pair]) -> str:
    which = "all pairs of arms"
    if against_fedavg(results):
        which = f"each method against {FEDAVG}, all else the same"
    elif len(results) > MOST:
        best = reference(results)
        assert best is not None, "there are pairs"
        which = f"each arm against {best.arm.name}, which has the {best.by}"
    tests = sum(known(pair.p_holm) for pair in found)
    return (
        f"Differences of test accuracy, seed by seed over the confirmation seeds that both arms "
        f"have ({which}): mean, its 95 % confidence interval and two-sided p value by Student's "
        f"paired t-test; p (Holm): adjusted for the number of tests, {tests}. They compare two "
        "FIXED configurations over seeds: that another search might have chosen other "
        "hyper-parameters for an arm is in neither interval nor p, so a small p can measure tuning."
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
