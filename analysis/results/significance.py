"""Which differences between arms the seeds support: paired tests with Holm's correction.

Arms are confirmed with the same seeds, so differences are taken seed by seed. Where arms are
methods, each is tested against FedAvg, all else the same. Of other arms up to `MOST` every pair is
tested; of more, each arm against the best by validation (`best`): never a reference chosen by test
numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from fl_analysis.results.best import Best, beside, best_arm
from fl_analysis.results.intervals import Paired, holm, paired
from fl_analysis.results.labels import arm_axes, axis_value
from fl_analysis.results.outcome import Outcome
from fl_core.config.titles import FEDAVG, METHOD

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
    arms = confirmed(results)
    methods = against_fedavg(results)
    chosen = methods or list(itertools.combinations(arms, 2))
    if len(results) > MOST and not methods:
        best = reference(results)
        chosen = [] if best is None else [(o, best.arm) for o in arms if o is not best.arm]
    tests = [(one, other, difference(one, other)) for one, other in chosen]
    tests = [test for test in tests if test[2].pairs]
    if all(test[2].pairs < 2 for test in tests):
        return []
    adjusted = holm([difference.p for _, _, difference in tests])
    return [Pair(*test, p) for test, p in zip(tests, adjusted, strict=True)]


def against_fedavg(results: Sequence[Outcome]) -> list[tuple[Outcome, Outcome]]:
    """Each confirmed method with FedAvg beside it; none where arms are no methods."""
    if METHOD not in arm_axes([o.setting for o in results], [o.config for o in results]):
        return []
    found = []
    for group in beside(results).values():
        arms = confirmed(group)
        plain = next((o for o in arms if axis_value(METHOD, o.config) == FEDAVG), None)
        found += [(o, plain) for o in arms if plain is not None and o is not plain]
    return found


def confirmed(results: Sequence[Outcome]) -> list[Outcome]:
    """The arms that have confirmation runs."""
    return [o for o in results if len(o.confirmed) and "seed" in o.confirmed]


def reference(results: Sequence[Outcome]) -> Best | None:
    """What all others are compared with: the best of the confirmed arms."""
    return best_arm(confirmed(results))


def difference(one: Outcome, other: Outcome) -> Paired:
    """One's test accuracy minus the other's, over the seeds that both have."""
    first, second = (
        dict(zip(o.confirmed["seed"], o.confirmed["test_accuracy"], strict=True))
        for o in (one, other)
    )
    shared = [seed for seed in first if seed in second]
    return paired([first[s] for s in shared], [second[s] for s in shared])
