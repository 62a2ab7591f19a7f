"""When a search stops a trial early, by name.

Every rule reads nothing but the curves that Optuna's journal holds: there is no scheduler whose
state could be lost, and a search that goes on after a kill decides as it would have.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.trial import FrozenTrial, TrialState

from fl_core.study.plan import PRUNERS
from fl_core.study.search.confirm import configuration_of

REDUCTION = 3  # ASHA keeps one trial in three at each rung
STARTUP_TRIALS = 5  # finished ones, before the median says anything


class ASHA(BasePruner):
    """Asynchronous successive halving (Li et al., MLSys 2020, algorithm 2, stopping variant).

    Rungs lie at grace * REDUCTION^k local steps. A trial that reaches a rung is stopped if its
    score is below that of the best third of the trials that were there before. The same decisions
    as Ray Tune's `ASHAScheduler` with one bracket, from the recorded curves instead of a state.
    """

    def __init__(self, grace_steps: int) -> None:
        self.grace = grace_steps

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Optuna's hook: whether the trial stops at its last reported step."""
        step = trial.last_step
        if step is None or step < self.grace:
            return False
        rung = self._rung(step)
        if any(step > earlier >= rung for earlier in trial.intermediate_values):
            return False  # it was judged at this rung before
        others = [
            self._at(rung, other.intermediate_values)
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number
        ]
        scores = [score for score in others if score is not None]
        cutoff = np.percentile(scores, 100 * (1 - 1 / REDUCTION)) if scores else -np.inf
        return bool(trial.intermediate_values[step] < cutoff)

    def _rung(self, step: int) -> int:
        """The highest rung that a step has reached."""
        rung = self.grace
        while rung * REDUCTION <= step:
            rung *= REDUCTION
        return rung

    def _at(self, rung: int, curve: Mapping[int, float]) -> float | None:
        """The score with which a trial arrived at a rung; None if it did not, or jumped over it."""
        steps = [step for step in curve if rung <= step < rung * REDUCTION]
        return curve[min(steps)] if steps else None


class Floor(BasePruner):
    """A rule that may not stop the `least` best configurations of a step.

    A trial is stopped if the rule says so and `least` other configurations were better at the same
    step, or where J varies at their last evaluation before it (of equal ones the earlier trial).
    The best `least` of all that ever come to a step are therefore never stopped there, in whatever
    order they come: as many run to the end, unless they diverge or fail.
    """

    def __init__(self, rule: BasePruner, least: int) -> None:
        self.rule, self.least = rule, least

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Optuna's hook: whether the trial stops at its last reported step."""
        if not self.rule.prune(study, trial):
            return False
        step = trial.last_step
        assert step is not None  # the rule has seen it
        mine = (trial.intermediate_values[step], -trial.number)
        better = {
            configuration_of(other)
            for other in study.get_trials(deepcopy=False)
            if _may_finish(other)
            and (score := _score_at(step, other.intermediate_values)) is not None
            and (score, -other.number) > mine
        }
        return len(better - {configuration_of(trial)}) >= self.least


def _score_at(step: int, curve: Mapping[int, float]) -> float | None:
    """The last score up to a step; None of a trial that has not come so far."""
    return curve[max(s for s in curve if s <= step)] if curve and max(curve) >= step else None


def _may_finish(trial: FrozenTrial) -> bool:
    """Whether a trial has neither diverged nor failed: those leave their place to others."""
    return trial.state != TrialState.FAIL and trial.user_attrs.get("status") != "diverged"


def pruner_of(name: str, grace_steps: int, floor: int) -> BasePruner:
    """The pruner of this name; none stops a trial before `grace_steps` local steps, or the best
    `floor` configurations at all.
    """
    match name:
        case "asha":
            return Floor(ASHA(grace_steps), floor)
        case "median":
            median = MedianPruner(STARTUP_TRIALS, n_warmup_steps=grace_steps)
            return Floor(median, floor)
        case "none":
            return NopPruner()
    raise ValueError(f"no pruner {name!r}: {', '.join(PRUNERS)}")
