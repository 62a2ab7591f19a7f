"""What arms reach for the same cost, and what the same accuracy costs them: on the test set.

Read off the curves of the confirmation runs, which chose nothing (`Curves.wide`): a run has reached
what its last evaluation by then measured, nothing is interpolated. Arms are compared with those
that differ from them in the method alone (`best.beside`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from fl_analysis.reading.connect import AnalysisError
from fl_analysis.reading.frames import json_tag
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.best import beside, best_arm
from fl_analysis.results.confirmation import mean_std
from fl_analysis.results.curves import Curves
from fl_analysis.results.labels import axis_names, axis_value
from fl_analysis.results.outcome import Outcome
from fl_core.config.titles import FEDAVG, METHOD
from fl_core.config.vocabulary import arm_name, known

SECONDS, BYTES = "virtual_seconds", "bytes"  # columns of `Curves.wide`
SPENT = ("round", "step", SECONDS, BYTES)
SHARE = 0.95  # of what the plain arm reaches: the target where nobody names one
_TIMING = "timing."
#: What the clock has where clients are all alike, are always there and never fail: the defaults.
STILL: Mapping[str, object] = {
    "timing.mode": "synchronous",
    "timing.speed_spread": 0.0,
    "timing.table": "none",
    "timing.failure_rate": 0.0,
    "timing.dropout": 0.0,
    "timing.window": 1.0,
    "timing.deadline": None,
}


@dataclass(frozen=True)
class Wanted:
    """What a reader asks for. at: by cost, after how much of it; a cost without is compared after
    as much as all arms have. target: a test accuracy; with `of`, the name of an arm, that share of
    the arm's; None: what the study names, or `SHARE` of the plain arm's.
    """

    at: Mapping[str, float] = field(default_factory=dict)
    target: float | None = None
    of: str | None = None


NOTHING = Wanted()


@dataclass(frozen=True)
class After:
    """One arm when it had cost `limit`, over its runs that had an evaluation by then: mean and std
    of the accuracy and of the rounds; `before`: what the evaluation had cost less than the limit,
    mean. end, spent: accuracy and cost of the last evaluation of all.
    """

    arm: Outcome
    limit: float
    accuracy: tuple[float, float]
    rounds: tuple[float, float]
    before: float
    end: tuple[float, float]
    spent: float
    runs: int


@dataclass(frozen=True)
class Toward:
    """One arm on its way to an accuracy: how many of its runs reached it, and mean and std over
    those of what their first evaluation with it had cost, by `SPENT`. ran: the most of each that
    the arm's runs have.
    """

    arm: Outcome
    target: float
    reached: int
    runs: int
    needed: Mapping[str, tuple[float, float]]
    ran: Mapping[str, float]


def timed(runs: StudyRuns, results: Sequence[Outcome]) -> bool:
    """Whether the study is about time: clients that differ, fail or come and go, a deadline,
    another mode than synchronous, or whatever of it an arm sets or a search chooses.
    """
    if any(name.startswith(_TIMING) for one in (*runs.settings, runs.space) for name in one):
        return True
    return any(moved(o.config) for o in results)


def moved(config: Mapping[str, Any]) -> list[str]:
    """The fields of `STILL` that a configuration has otherwise."""
    return [n for n, value in STILL.items() if known(config.get(n)) and config[n] != value]


def after(
    results: Sequence[Outcome], data: Curves, cost: str, at: float | None = None
) -> list[After]:
    """The arms in groups that are compared, each after the same cost: `at`, or the most that every
    run of the group has. Arms of one client send nothing and wait for nobody: without them.
    """
    found = []
    for group in beside(results).values():
        each = {o.arm: _runs(data, o, cost) for o in group}
        ends = [float(run[cost].iloc[-1]) for several in each.values() for run in several]
        limit = min(ends, default=math.nan) if at is None else at
        found += [_after(o, each[o.arm], cost, limit) for o in group if each[o.arm]]
    return found


def _runs(data: Curves, outcome: Outcome, cost: str) -> list[pd.DataFrame]:
    """An arm's runs in order, each with an evaluation on the test set and what it had cost."""
    if outcome.arm in data.alone:
        return []
    mine = data.wide[data.wide["arm"] == outcome.arm].dropna(subset=["test_accuracy", cost])
    return [run.sort_values("step") for _, run in mine.groupby("run_id")]


def _after(outcome: Outcome, each: Sequence[pd.DataFrame], cost: str, limit: float) -> After:
    last = [run.iloc[-1] for run in each]
    seen = [run[run[cost] <= limit] for run in each]
    then = [run.iloc[-1] for run in seen if len(run)]
    return After(
        outcome,
        limit,
        _over(then, "test_accuracy"),
        _over(then, "round"),
        limit - _over(then, cost)[0],
        _over(last, "test_accuracy"),
        _over(last, cost)[0],
        len(then),
    )


def _over(rows: Sequence[pd.Series], name: str) -> tuple[float, float]:
    return mean_std([float(row[name]) for row in rows])


@dataclass(frozen=True)
class Aim:
    """An accuracy, or where `of` finds arms beside a group of arms that share of what the best of
    them reaches; `text`: the same in words.
    """

    accuracy: float
    text: str
    of: Callable[[Sequence[Outcome]], Sequence[Outcome]] | None = None

    def over(self, group: Sequence[Outcome]) -> float:
        """What this group is to reach; NaN where it is a share of nothing."""
        if self.of is None:
            return self.accuracy
        arms = self.of(group)
        best = best_arm(arms) if len(arms) > 1 else None
        mean = best.arm.mean if best else arms[0].mean if arms else math.nan
        return self.accuracy * mean


def aim_of(runs: StudyRuns, results: Sequence[Outcome], wanted: Wanted) -> Aim:
    """What arms are to reach: the reader's, else the study's, else a share of the plain arm's."""
    if wanted.of is not None:
        named = [o for o in results if o.name == wanted.of]
        if not named:
            names = "; ".join(o.name for o in results)
            raise AnalysisError(f"--target-of {wanted.of}: no arm of {runs.study}; it has: {names}")
        share = SHARE if wanted.target is None else wanted.target
        return Aim(share, f"{share:.3g} of what {wanted.of} reaches", lambda _: named)
    if wanted.target is not None:
        return Aim(wanted.target, f"{wanted.target:.3g}")
    told = json_tag(runs.tags, "target", {})
    share, values = float(told.get("test_accuracy", SHARE)), dict(told.get("of", {}))
    if told and not values:
        return Aim(share, f"{share:.3g}")
    if values:
        fits = [o for o in results if all(o.config.get(n) == v for n, v in values.items())]
        numbers = {o.arm for o in fits}
        text = f"{share:.3g} of what the best arm with {arm_name(values)} reaches"
        return Aim(share, text, lambda group: [o for o in group if o.arm in numbers] or fits)
    plain = FEDAVG if _are_methods(results) else "the first arm"
    return Aim(
        share,
        f"{share:.3g} of what {plain} reaches under the same conditions",
        lambda group: [_plain(group)],
    )


def _are_methods(results: Sequence[Outcome]) -> bool:
    return METHOD in axis_names([o.setting for o in results])


def _plain(group: Sequence[Outcome]) -> Outcome:
    """FedAvg, where arms are methods and one of these is it; else the first."""
    methods = group if _are_methods(group) else ()
    return next((o for o in methods if axis_value(METHOD, o.config) == FEDAVG), group[0])


def toward(results: Sequence[Outcome], data: Curves, aim: Aim) -> list[Toward]:
    """The arms in groups that are compared, with what they need for the target of their group; a
    group without one is left out.
    """
    found = []
    for group in beside(results).values():
        target = aim.over(group)
        each = {o.arm: _runs(data, o, "round") for o in group} if known(target) else {}
        found += [_toward(o, each[o.arm], target) for o in group if each.get(o.arm)]
    return found


def _toward(outcome: Outcome, each: Sequence[pd.DataFrame], target: float) -> Toward:
    hits = [run[run["test_accuracy"] >= target] for run in each]
    first = [run.iloc[0] for run in hits if len(run)]
    last = pd.DataFrame([run.iloc[-1] for run in each])
    needed = {name: _over(first, name) for name in SPENT}
    ran = {name: float(last[name].max()) for name in SPENT}
    return Toward(outcome, target, len(first), len(each), needed, ran)
