"""The lowest of many scores: an exact number of them, whatever is equal.

In numpy on the CPU, for scores of any device: every device gives the same mask, and numpy's
partition and boolean indexing take a fraction of the time of torch's there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating[Any]]

#: Numbers, one an entry, of which the lower decides between equal scores; drawn when asked for.
Order = Callable[[], npt.NDArray[np.floating[Any]]]
#: Scores from which the place of a threshold is guessed.
SAMPLE = 1 << 16


def lowest(scores: Scores, count: int, order: Order) -> Bools:
    """(N,) with exactly `count` True: the lowest scores, equal ones by lower order."""
    if not 0 <= count <= scores.size:
        raise ValueError(f"cannot choose {count} of {scores.size} scores")
    check_scores(scores)
    if count == 0:
        return np.zeros(scores.shape, np.bool_)
    threshold = _kth(scores, count)
    chosen: Bools = scores <= threshold
    surplus = np.count_nonzero(chosen) - count
    if surplus:
        equal = np.flatnonzero(scores == threshold)
        chosen[equal[np.argpartition(order()[equal], -surplus)[-surplus:]]] = False
    return chosen


def check_scores(scores: Scores) -> None:
    """A NaN is neither low nor high: ValueError."""
    if scores.size and np.isnan(scores.max()):  # max hands a NaN on
        raise ValueError("a score is not a number (NaN)")


def _kth(scores: Scores, k: int) -> float:
    """The k-th lowest score (1-based): of those between two quantiles of a sample, if it is there.

    So the partition sees one score in sixty: it is slow without a CPU's vector instructions, and
    with them where many scores are equal (1 s for 21.6 million, nine in ten of them zero).
    """
    sample = np.sort(scores[:: -(-scores.size // SAMPLE)])
    middle, reach = (k - 1) * sample.size // scores.size, round(2 * sample.size**0.5)  # 4 sigma
    low, high = sample[max(middle - reach, 0)], sample[min(middle + reach, sample.size - 1)]
    inside = scores >= low
    below = scores.size - int(np.count_nonzero(inside))
    inside &= scores <= high
    if below < k <= below + np.count_nonzero(inside):
        if low == high:
            return float(low)
        scores, k = scores[inside], k - below
    return float(np.partition(scores, k - 1)[k - 1])
