"""Optuna and ASHA for many arms in one Ray Tune run (layer 4).

One Tune run for all arms keeps the workers alive and busy; still every arm is searched on its
own: its own Optuna study (in one journal file), its own ASHA rungs, the same number of trials.
The journal is the search's memory: reopened, it goes on where it was, running trials included.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from fl_core.config import TrialConfig, UserError, Value, digest_of
from fl_core.rng import stream

Space = Callable[[optuna.Trial], Mapping[str, Value]]
SCORE = "score"  # what a search maximises: validation accuracy (of the kept parameters)
TIME = "local_steps"  # what a trial costs
REDUCTION = 3  # ASHA keeps one trial in three at each rung
STARTUP_TRIALS = 5  # random ones, before TPE has something to go by


@dataclass(frozen=True)
class Arm:
    """One setting of the scientific parameters, with its complete base configuration."""

    name: str
    values: Mapping[str, Value]
    config: TrialConfig

    def digest(self) -> str:
        """Names the arm's search: base configuration, nuisance parameters at their defaults."""
        return digest_of({"arm": self.config.to_flat()})


@dataclass(frozen=True)
class Job:
    """One trial to run: of the search (number counts up) or the confirmation (number = seed)."""

    phase: str  # "search" | "confirm"
    arm: int
    number: int
    config: TrialConfig
    chosen: Mapping[str, Value] = field(default_factory=dict)  # the searched values

    def to_json(self) -> str:
        """For the way to a worker and back."""
        return json.dumps({**self.__dict__, "config": self.config.to_flat()})

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        return cls(**{**fields, "config": TrialConfig.from_flat(fields["config"])})


def outcome(record: Mapping[str, Any]) -> str:
    """finished, diverged, or pruned (stopped before its budget was spent)."""
    if record["diverged"]:
        return "diverged"
    return "finished" if record["finished"] else "pruned"


class Unpickled:
    """Tune pickles its parts for `Tuner.restore`; ours have their state on disk and stay out."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Unpickled:
        return self


class ArmSearcher(Unpickled, Searcher):  # type: ignore[misc]
    """Tune's searcher: asks the arm with the fewest trials, tells Optuna how trials ended.

    When all trials are asked for, it hands out the jobs that `then` makes of an arm whose search
    has ended, the confirmation: one Tune run for both, so that the workers stay alive and busy.
    """

    def __init__(
        self,
        arms: list[Arm],
        space: Space,
        trials: int,
        journal: Path,
        seed: int,
        then: Callable[[int, optuna.Study], list[Job]] = lambda arm, study: [],
    ) -> None:
        super().__init__()  # no metric: confirmation jobs have no score
        self._then = then
        self._unconfirmed = list(range(len(arms)))
        self._jobs: list[Job] = []  # of the confirmation, to be handed out
        self.arms, self.space, self.trials = arms, space, trials
        self.seed = seed
        self.studies = open_studies(arms, journal)
        self._live: dict[str, optuna.Trial] = {}
        self._live_arms: dict[str, int] = {}
        # trials of an interrupted run: they go on from their last checkpoint
        self._resumed = [
            (arm, optuna.Trial(study, old._trial_id))
            for arm, study in enumerate(self.studies)
            for old in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        ]
        self._asked = [len(study.get_trials(deepcopy=False)) for study in self.studies]

    @property
    def remaining(self) -> int:
        """Trials still to be run, resumed ones included."""
        return len(self._resumed) + sum(max(0, self.trials - n) for n in self._asked)

    def suggest(self, trial_id: str) -> dict[str, str] | str | None:
        """The next job, as Tune configuration; None while there is only the search to wait for."""
        if self._resumed:
            arm, trial = self._resumed.pop(0)
        else:
            arm = min(range(len(self.arms)), key=self._asked.__getitem__)
            if self._asked[arm] >= self.trials:
                return self._confirmation()
            trial = self._ask(arm)
        chosen = dict(self.space(trial))
        config = self.arms[arm].config.override(chosen)
        trial.set_user_attr("digest", config.digest())
        trial.set_user_attr("chosen", chosen)
        self._live[trial_id], self._live_arms[trial_id] = trial, arm
        return {"job": Job("search", arm, trial.number, config, chosen).to_json()}

    def _confirmation(self) -> dict[str, str] | str | None:
        searching = {self._live_arms[trial_id] for trial_id in self._live}
        for arm in [arm for arm in self._unconfirmed if arm not in searching]:
            self._unconfirmed.remove(arm)
            self._jobs += self._then(arm, self.studies[arm])
        if self._jobs:
            return {"job": self._jobs.pop(0).to_json()}
        return None if self._unconfirmed else str(Searcher.FINISHED)

    def _ask(self, arm: int) -> optuna.Trial:
        """A new Optuna trial. Its random stream is a function of (seed, arm, number), so a search
        that goes on after an interruption makes the suggestions it would have made.
        """
        study, number = self.studies[arm], self._asked[arm]
        self._asked[arm] += 1
        rng = stream(self.seed, f"sampler-{self.arms[arm].digest()}", number)
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=STARTUP_TRIALS, seed=int(rng.integers(2**31))
        )
        return study.ask()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An intermediate score; repeated ones, of a replayed curve, are ignored."""
        if trial_id in self._live:
            _report(self._live[trial_id], result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The end of a trial. Diverged ones are told as pruned with the lowest score."""
        trial = self._live.pop(trial_id, None)
        if trial is None:  # of the confirmation: nothing to learn from
            return
        if error or not result or SCORE not in result:
            trial.study.tell(trial, state=TrialState.FAIL)
            return
        _report(trial, result)
        trial.set_user_attr("status", outcome(result))
        if outcome(result) == "finished":
            trial.study.tell(trial, result[SCORE])
        else:
            trial.study.tell(trial, state=TrialState.PRUNED)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the journal holds it all."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the journal holds it all."""


class ArmASHA(Unpickled, FIFOScheduler):  # type: ignore[misc]
    """ASHA (Li et al., MLSys 2020) for each arm by itself, in local steps.

    Ray does not save schedulers, so the rungs are rebuilt from the curves Optuna remembers.
    """

    def __init__(self, searcher: ArmSearcher, grace_steps: int) -> None:
        super().__init__()
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


def _report(trial: optuna.Trial, result: Mapping[str, Any]) -> None:
    known = trial.storage.get_trial(trial._trial_id).intermediate_values
    if result[TIME] not in known:
        trial.report(result[SCORE], int(result[TIME]))


def open_studies(arms: list[Arm], journal: Path) -> list[optuna.Study]:
    """Each arm's Optuna study, new or reopened from the journal file.

    The caller holds the study folder's lock, so a lock left by a killed run can be removed.
    """
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        for stale in journal.parent.glob(journal.name + ".lock*"):
            stale.unlink()
        storage = JournalStorage(JournalFileBackend(str(journal)))
        return [
            optuna.create_study(
                storage=storage, study_name=arm.digest(), direction="maximize", load_if_exists=True
            )
            for arm in arms
        ]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{journal}: the search state cannot be read ({error})") from error


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The selection rule: the highest score among trials that ran to their full budget."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(finished, key=lambda t: (t.value or 0.0, -t.number), default=None)
