"""How a winner is chosen: the one place that the search, the tables and MLflow read.

Rows go in, places in them come out, so that the trials of a search and the runs of a store are
judged by the same lines. Everything goes by validation: a row has no test number. The analysis
reads this module too, so it needs nothing but the standard library.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from fl_core.config.record import START
from fl_core.config.vocabulary import known

#: The rules as tables print them; a study names its own by this text (tag `selection`).
BEST = "highest validation accuracy among trials that ran to their full budget"
BEST_CONFIRMED = "highest mean validation accuracy over the confirmation seeds among the finalists"
MOST = 6  # configurations of a Pareto front that are confirmed


class Candidate(NamedTuple):
    """A search trial that ran to its full budget.

    costs: what the search minimises while it maximises the score. order: the earliest is the least.
    configuration: equal for trials of the same configuration.
    """

    score: float
    costs: tuple[float, ...] = ()
    order: tuple[Any, ...] = ()
    configuration: Hashable = None


def start_of(record: Mapping[str, Any], objectives: Sequence[str]) -> Candidate | None:
    """The state before the main stage's first round, judged as a trial is: a front without it
    would offer what costs more for less. None where it was not measured, or an objective has no
    meaning there.

    >>> start_of({"val_accuracy_start": 0.7, "bytes_up": 9, "bytes_up_head": 4}, ["bytes_up"])
    Candidate(score=0.7, costs=(4.0,), order=(), configuration=None)
    """
    costs = [_cost_of_start(name, record) for name in objectives]
    if not known(record.get(START)) or None in costs:
        return None
    return Candidate(float(record[START]), tuple(cost for cost in costs if cost is not None))


def _cost_of_start(objective: str, record: Mapping[str, Any]) -> float | None:
    if objective in ("bytes_up", "bytes_down"):
        spent = (record.get(f"{objective}_{stage}") for stage in ("head", "masks"))
        return float(sum(value for value in spent if value is not None and known(value)))
    of_main = ("bytes_up_main", "bytes_down_main", "local_steps", "round")
    return 0.0 if objective in of_main else None


def ranked(candidates: Sequence[Candidate]) -> list[int]:
    """The best first: by score, then by the lower costs, then the earliest. Without those that
    lack a finite number.

    >>> ranked([Candidate(0.7, order=(1,)), Candidate(0.7, order=(0,)), Candidate(0.8)])
    [2, 1, 0]
    """
    places = [n for n, c in enumerate(candidates) if all(map(math.isfinite, (c.score, *c.costs)))]
    return sorted(places, key=lambda n: (-candidates[n].score, *candidates[n][1:3]))


def finalists(candidates: Sequence[Candidate], most: int) -> list[int]:
    """The best of distinct configurations, at most so many: what is confirmed."""
    found: dict[Hashable, int] = {}
    for place in ranked(candidates):
        found.setdefault(candidates[place].configuration, place)
    return list(found.values())[:most]


def pareto_front(candidates: Sequence[Candidate]) -> list[int]:
    """Those that no other beats in everything, best score first; of equal ones the earliest.

    >>> pareto_front([Candidate(0.5, (10.0,)), Candidate(0.7, (30.0,)), Candidate(0.6, (40.0,))])
    [1, 0]
    """
    front: list[int] = []
    for place in ranked(candidates):  # only one ranked before can be as good in everything
        costs = candidates[place].costs
        if not any(_no_dearer(candidates[other].costs, costs) for other in front):
            front.append(place)
    return front


def _no_dearer(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))


def thinned(front: Sequence[Candidate], most: int = MOST) -> list[int]:
    """At most `most` of a front, spread along it, its ends (the best in each objective) included.

    Each further one is the farthest from those chosen, the score and the logarithms of the costs
    (bytes span decades) scaled to the ranges they have on the front; ties go to the higher score.
    """
    if len(front) <= most:
        return list(range(len(front)))
    costs = [list(values) for values in zip(*(one.costs for one in front), strict=True)]
    if all(value > 0 for values in costs for value in values):
        costs = [list(map(math.log, values)) for values in costs]
    columns = [_scaled([one.score for one in front]), *map(_scaled, costs)]
    points = list(zip(*columns, strict=True))
    cheapest = [values.index(min(values)) for values in columns[1:]]
    chosen = list(dict.fromkeys([0, *cheapest]))
    while len(chosen) < most:
        apart = [min(math.dist(point, points[place]) for place in chosen) for point in points]
        chosen.append(apart.index(max(apart)))
    return sorted(chosen[:most])


def _scaled(values: Sequence[float]) -> list[float]:
    span = (max(values) - min(values)) or 1.0
    return [value / span for value in values]


def complete_means(
    validation: Sequence[Mapping[Any, float]], seeds: Collection[Any]
) -> list[float | None]:
    """Each finalist's mean over the seeds, from its validation accuracy by seed; None where a seed
    is missing. Without `seeds`: those that any finalist has.
    """
    wanted = set(seeds) or {seed for values in validation for seed in values}
    return [
        statistics.mean(values.values()) if values and wanted <= set(values) else None
        for values in validation
    ]


def winner(means: Sequence[float | None]) -> int | None:
    """The finalist with the highest mean, of equal ones the better in the search; None where none
    is complete.

    >>> winner([0.7, None, 0.8, 0.8]), winner([None])
    (2, None)
    """
    complete = [place for place, mean in enumerate(means) if mean is not None]
    return max(complete, key=lambda place: means[place] or 0.0, default=None)
