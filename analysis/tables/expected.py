"""What a search of n random trials is expected to find, as a table: who is ahead, from where."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from fl_analysis.results.expected import Expected, ahead, rival, wins
from fl_analysis.results.labels import percent, points
from fl_analysis.tables.escapes import csv
from fl_analysis.tables.render import Block
from fl_core.config.vocabulary import DASH

_CAPTION = (
    "What a search of n random trials is expected to find: the best validation accuracy of n of an "
    "arm's trials (Dodge et al. 2019), mean over all subsets of n, which is unbiased (Tang et al. "
    "2020), and the standard deviation of the best of n draws with replacement. Trials: random "
    "draws that ran to their end; one that diverged counts as chance."
)
_RIVAL = (
    " A - FedAvg: the difference at as many trials as both have; ahead at: the numbers of trials "
    "at which the arm is expected to find more than FedAvg of its stratum; wins: how often the "
    "best of so many draws of its trials is above that of FedAvg's (50: a coin's toss). All on "
    "the validation examples, for one seed of each trial."
)


def expected_block(found: Sequence[Expected]) -> Block | None:
    """One row an arm; None without."""
    if not found:
        return None
    compared = any(rival(e, found) for e in found)
    half = max(1, min(len(e.mean) for e in found) // 2)
    header = ["arm", "trials", "n=1 [%]", f"n={half} [%]", "all [%]"]
    header += ["A - FedAvg [pp]", "ahead at", "wins [%]"] if compared else []
    rows = []
    for one in found:
        at = [0, half - 1, len(one.mean) - 1]
        row = [", ".join(filter(None, (one.stratum, one.label))), str(len(one.mean))]
        row += [percent(float(one.mean[n]), float(one.std[n])) for n in at]
        rows.append(row + (_against(one, rival(one, found)) if compared else []))
    return Block("expected", _CAPTION + (_RIVAL if compared else ""), header, rows, [], [])


def _against(one: Expected, other: Expected | None) -> list[str]:
    """Difference, where it is ahead, how often it wins; dashes for FedAvg itself."""
    if other is None or other is one:
        return [DASH] * 3
    count = min(len(one.mean), len(other.mean))
    gap = float(one.mean[count - 1] - other.mean[count - 1])
    return [
        points(gap),
        ahead_text(ahead(one, other), count),
        f"{100 * wins(one.scores, other.scores, count):.0f}",
    ]


def ahead_text(spans: Sequence[tuple[int, int]], count: int) -> str:
    """Spans of 1 to `count` in words.

    >>> ahead_text([(1, 9)], 9), ahead_text([], 9), ahead_text([(1, 1), (4, 6), (8, 9)], 9)
    ('every n', 'no n', '1, 4 to 6, from 8')
    """
    if not spans:
        return "no n"
    if list(spans) == [(1, count)]:
        return "every n"
    words = [f"from {a}" if b == count else str(a) if a == b else f"{a} to {b}" for a, b in spans]
    return ", ".join(words)


def expected_csv(found: Sequence[Expected]) -> str | None:
    """The lines at full precision, one row an arm and number of trials; None without arms."""
    records = [
        {"stratum": e.stratum, "arm": e.arm.name, "n": n + 1,
         "expected_best": float(e.mean[n]), "std": float(e.std[n])}
        for e in found for n in range(len(e.mean))
    ]  # fmt: skip
    return csv(pd.DataFrame(records)) if records else None
