"""What few seeds allow to say: Student's interval of a mean, the paired test, Holm's correction.

Of n values with mean m and sample standard deviation s (ddof = 1) the 95 % interval of the mean is
m ± t s / sqrt(n), with t the 0.975 quantile of Student's distribution of n - 1 degrees of freedom:
12.7 for two seeds, 4.3 for three, 2.8 for five. Holm (1979): the i-th smallest of m p values is
multiplied by m - i + 1, made monotone, at most 1.

Numbers are rounded to twelve digits: beyond them the quantiles differ between builds of scipy.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95
#: Differences of accuracies that agree to this are equal: a test set has fewer than 1e7 examples.
RESOLUTION = 1e-7
_DIGITS = 12


@dataclass(frozen=True)
class Paired:
    """The differences of two samples of accuracies, pair by pair; NaN for what there is too little
    of.
    """

    mean: float
    low: float
    high: float
    p: float  # two-sided; NaN without a spread, unless all differences are zero
    pairs: int


def mean_interval(
    values: Sequence[float], level: float = LEVEL, least: float = 0.0, most: float = 1.0
) -> tuple[float, float]:
    """Ends of Student's interval of the mean, which end where the values themselves do (accuracies
    in [0, 1]; few seeds give ends beyond); NaN with fewer than two values.

    >>> mean_interval([0.69, 0.70, 0.71])  # 0.70 -+ 4.3027 * 0.01 / sqrt(3)
    (0.675158622882, 0.724841377118)
    >>> mean_interval([0.97, 0.99])[1]
    1.0
    """
    if len(values) < 2:
        return math.nan, math.nan
    from scipy.special import stdtrit  # much quicker to import than scipy.stats

    mean, spread = statistics.mean(values), statistics.stdev(values)
    quantile = float(stdtrit(len(values) - 1, (1 + level) / 2))
    half = quantile * spread / math.sqrt(len(values))
    return round(max(least, mean - half), _DIGITS), round(min(most, mean + half), _DIGITS)


def paired(one: Sequence[float], other: Sequence[float]) -> Paired:
    """One minus the other, and Student's paired test of no difference.

    >>> paired([0.70, 0.71, 0.72], [0.69, 0.69, 0.69]).p  # t = 0.02 / (0.01 / sqrt(3))
    0.0741799002274
    """
    gaps = [a - b for a, b in zip(one, other, strict=True)]
    if not gaps:
        return Paired(math.nan, math.nan, math.nan, math.nan, 0)
    mean = round(statistics.mean(gaps), _DIGITS)
    if len(gaps) < 2:
        return Paired(mean, math.nan, math.nan, math.nan, 1)
    spread = statistics.stdev(gaps)
    if spread < RESOLUTION:
        if abs(mean) < RESOLUTION:
            return Paired(0.0, 0.0, 0.0, 1.0, len(gaps))
        return Paired(mean, math.nan, math.nan, math.nan, len(gaps))
    from scipy.special import stdtr

    t = statistics.mean(gaps) / (spread / math.sqrt(len(gaps)))
    p = min(1.0, 2 * float(stdtr(len(gaps) - 1, -abs(t))))
    return Paired(mean, *mean_interval(gaps, least=-1.0), float(f"{p:.{_DIGITS}g}"), len(gaps))


def holm(values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values in the order given; NaN is no test and stays NaN.

    >>> holm([0.04, 0.01, 0.03, math.nan])
    [0.06, 0.03, 0.06, nan]
    """
    places = sorted((p, i) for i, p in enumerate(values) if not math.isnan(p))
    adjusted, floor = [math.nan] * len(values), 0.0
    for rank, (p, place) in enumerate(places):
        floor = max(floor, min(1.0, p * (len(places) - rank)))
        adjusted[place] = float(f"{floor:.{_DIGITS}g}")
    return adjusted
