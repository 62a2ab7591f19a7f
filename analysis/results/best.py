"""Which arm of a study is the best: the one place that pictures, tests, tables and screens read.

By validation alone: a reference that test numbers had chosen would make them too good. The score
of the search is the best of many trials and too high by an amount that differs from arm to arm, so
it decides only where no arm has anything better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fl_analysis.results.labels import arm_axes, axis_value
from fl_analysis.results.matching import validated
from fl_analysis.results.outcome import Outcome
from fl_core.config.titles import METHOD
from fl_core.study.selection import complete_means, winner

BY_CONFIRMATION = "highest mean validation accuracy over the confirmation seeds"
BY_SEARCH = "highest validation accuracy in the search"


@dataclass(frozen=True)
class Best:
    """The best arm, and in what it is the best."""

    arm: Outcome
    by: str


def best_arm(results: Sequence[Outcome]) -> Best | None:
    """The arm with the highest mean validation accuracy over the confirmation seeds, of those that
    have one of every seed; where none has, that with the highest score in the search.

    Of equal ones the better in the search, then the first of the table. None without either.
    """
    by_search = sorted(results, key=lambda arm: -_score(arm))
    seen = [_by_seed(arm) for arm in by_search]
    place = winner(complete_means(seen, ()))
    if place is not None:
        return Best(by_search[place], BY_CONFIRMATION)
    if by_search and math.isfinite(_score(by_search[0])):
        return Best(by_search[0], BY_SEARCH)
    return None


def best_arms(results: Sequence[Outcome]) -> list[Best]:
    """The best arm; where arms are methods, the best method in each setting of all else."""
    groups = beside(results).values()
    return [found for group in groups if (found := best_arm(group)) is not None]


def beside(results: Sequence[Outcome]) -> dict[tuple[str, ...], list[Outcome]]:
    """The arms that are compared with each other, in table order: all; where arms are methods,
    those that differ in nothing else, by their levels of all else.
    """
    axes = arm_axes([o.setting for o in results], [o.config for o in results])
    others = [axis for axis in axes if axis != METHOD] if METHOD in axes else []
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for o in results:
        groups.setdefault(tuple(axis_value(axis, o.config) for axis in others), []).append(o)
    return groups


def _score(arm: Outcome) -> float:
    return -math.inf if arm.best is None else float(arm.best["val_accuracy"])


def _by_seed(arm: Outcome) -> dict[object, float]:
    """Validation accuracy by seed of the confirmation runs that did not train on these examples."""
    rows = arm.confirmed
    if rows.empty or "seed" not in rows:
        return {}
    values = zip(rows["seed"], validated(rows).astype(float), strict=True)
    return {seed: value for seed, value in values if math.isfinite(value)}
