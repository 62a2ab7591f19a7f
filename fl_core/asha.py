"""ASHA for every arm of a search by itself (layer 4)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from fl_core.jobs import SCORE, TIME
from fl_core.search import ArmSearcher, Unpickled

REDUCTION = 3  # ASHA keeps one trial in three at each rung


class ArmASHA(Unpickled, FIFOScheduler):  # type: ignore[misc]
    """ASHA (Li et al., MLSys 2020) for each arm by itself, in local steps.

    Ray does not save schedulers, so the rungs are rebuilt from the curves Optuna remembers.
    """

    def __init__(self, searcher: ArmSearcher, grace_steps: int) -> None:
        super().__init__()
        if any(arm.objectives for arm in searcher.arms):  # a stopped trial has spent little
            raise ValueError("ASHA compares scores: it cannot stop trials of several objectives")
        self._asha = [
            ASHAScheduler(
                time_attr=TIME,
                metric=SCORE,
                mode="max",
                max_t=arm.config.rounds * arm.config.local.steps,
                grace_period=grace_steps,
                reduction_factor=REDUCTION,
            )
            for arm in searcher.arms
        ]
        for asha, study in zip(self._asha, searcher.studies, strict=True):
            for old in study.get_trials(deepcopy=False):
                if old.state != TrialState.RUNNING:
                    _replay(asha, old)

    def _of(self, trial: TuneTrial) -> TrialScheduler:
        """The scheduler of the trial's arm; the confirmation's jobs run to their end."""
        job = json.loads(trial.config["job"])
        return self._asha[int(job["arm"])] if job["phase"] == "search" else FIFOScheduler()

    def on_trial_add(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Tune's hook."""
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(
        self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]
    ) -> str:
        """CONTINUE or STOP, as the arm's own rungs say."""
        return str(self._of(trial).on_trial_result(tune_controller, trial, result))

    def on_trial_complete(
        self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]
    ) -> None:
        """Tune's hook."""
        self._of(trial).on_trial_complete(tune_controller, trial, result)


@dataclass(frozen=True)
class _PastTrial:
    """As much of a Tune trial as ASHA looks at."""

    trial_id: str


def _replay(asha: ASHAScheduler, old: FrozenTrial) -> None:
    past = _PastTrial(f"past-{old.number}")
    asha.on_trial_add(None, past)
    for step, score in sorted(old.intermediate_values.items()):
        if asha.on_trial_result(None, past, {TIME: step, SCORE: score}) == TrialScheduler.STOP:
            break
    asha.on_trial_remove(None, past)
