"""Optuna for many arms in one Ray Tune run (layer 4).

One Tune run for all arms keeps the workers alive and busy; still every arm is searched on its
own: its own Optuna study (in one journal file), its own ASHA rungs (fl_core.asha), the same number
of trials.
The journal is the search's memory: reopened, it goes on where it was, running trials included.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState
from ray.tune.search import Searcher

from fl_core.config import UserError, Value
from fl_core.jobs import SCORE, TIME, Arm, Job, outcome
from fl_core.rng import stream

Space = Callable[[optuna.Trial], Mapping[str, Value]]
JOURNAL = "optuna.journal"  # the search's memory, in the study's folder
STARTUP_TRIALS = 5  # random ones, before TPE has something to go by


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
        first: Sequence[Mapping[str, Value]] = (),
    ) -> None:
        super().__init__()  # no metric: confirmation jobs have no score
        self._then = then
        self._unconfirmed = list(range(len(arms)))
        self._jobs: list[Job] = []  # of the confirmation, to be handed out
        self.arms, self.space, self.trials = arms, space, trials
        self.seed, self.first = seed, first  # known good points, tried before any other
        self.studies = open_studies(arms, journal)
        self._live: dict[str, optuna.Trial] = {}
        self._live_arms: dict[str, int] = {}
        # trials of an interrupted run: they go on from their last checkpoint
        self._resumed = [
            (arm, optuna.Trial(study, old._trial_id))
            for arm, study in enumerate(self.studies)
            for old in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        ]
        self._asked = [
            sum(old.state != TrialState.WAITING for old in study.get_trials(deepcopy=False))
            for study in self.studies
        ]

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

        TPE for several objectives too (Ozaki et al., GECCO 2020): the first population of NSGA-II,
        50 random trials, is more than a study has.
        """
        study, number = self.studies[arm], self._asked[arm]
        self._asked[arm] += 1
        if number < len(self.first):
            study.enqueue_trial(dict(self.first[number]), skip_if_exists=True)
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
        """The end of a trial. Diverged ones are told as pruned: never chosen, but learned from."""
        trial = self._live.pop(trial_id, None)
        if trial is None:  # of the confirmation: nothing to learn from
            return
        if error or not result or SCORE not in result:
            trial.study.tell(trial, state=TrialState.FAIL)
            return
        _report(trial, result)
        trial.set_user_attr("status", outcome(result))
        if outcome(result) == "finished":
            minimised = self.arms[self._live_arms[trial_id]].objectives
            trial.study.tell(trial, [result[name] for name in (SCORE, *minimised)])
        else:
            trial.study.tell(trial, state=TrialState.PRUNED)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the journal holds it all."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the journal holds it all."""


def _report(trial: optuna.Trial, result: Mapping[str, Any]) -> None:
    """A point of the curve, for ASHA; Optuna keeps none where there are several objectives."""
    if len(trial.study.directions) > 1:
        return
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
                storage=storage,
                study_name=arm.digest(),
                directions=[
                    StudyDirection.MAXIMIZE,
                    *[StudyDirection.MINIMIZE] * len(arm.objectives),
                ],
                load_if_exists=True,
            )
            for arm in arms
        ]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{journal}: the search state cannot be read ({error})") from error
