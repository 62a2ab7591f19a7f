"""What a study tries next and when it stops a trial: Optuna for many arms at once.

Every arm is searched on its own: its own Optuna study, its own ASHA rungs, the same number of
trials. The search knows neither Ray nor processes: `fl_core.study.workers.dispatch` asks it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.trial import TrialState

from fl_core.base.rng import stream
from fl_core.study.jobs import SCORE, TIME, Arm, Job, outcome
from fl_core.study.plan import Plan, Space
from fl_core.study.search.journal import open_studies, try_again
from fl_core.study.search.pruning import pruner_of
from fl_core.study.search.samplers import sampler_of
from fl_core.study.search.space import grid_points
from fl_core.study.selection import start_of
from fl_core.trial import Record

Then = Callable[[int, optuna.Study], list[Job]]  # an arm's confirmation, once its search has ended


class Search:
    """Asks the arm with the fewest trials, tells Optuna how trials ended.

    When an arm has had all its trials, the jobs that `then` makes of it follow, its confirmation,
    while other arms are still being searched: workers stay busy.
    """

    def __init__(
        self, arms: list[Arm], space: Space, plan: Plan, journal: Path, then: Then | None = None
    ) -> None:
        self.arms, self.space, self.plan = arms, space, plan
        self._then = then or (lambda arm, study: [])
        self._points = grid_points(space) if plan.searcher == "grid" else list(plan.first)
        self.trials = plan.trials
        if plan.searcher == "grid":
            self.trials = min(plan.trials, len(self._points))
        self.studies = open_studies(arms, space, journal)
        for study in self.studies:
            study.pruner = pruner_of(plan.pruner, plan.grace_steps, plan.floor)
        self._unconfirmed = list(range(len(arms)))
        self._jobs: list[Job] = []  # of the confirmation, to be handed out
        self._live: dict[tuple[int, int], optuna.Trial] = {}  # by arm and number
        # trials of an interrupted run: they go on from their last checkpoint
        self._resumed = [
            (arm, optuna.Trial(study, old._trial_id))
            for arm, study in enumerate(self.studies)
            for old in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        ]
        self._again = [try_again(study) for study in self.studies]
        self._asked = [
            sum(old.state != TrialState.WAITING for old in study.get_trials(deepcopy=False))
            for study in self.studies
        ]
        self._started = time.monotonic()

    @property
    def remaining(self) -> int:
        """Trials still to be run, resumed ones included."""
        return len(self._resumed) + sum(max(0, self._left(arm)) for arm in range(len(self.arms)))

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to hand out, now or later."""
        return not (
            self._resumed or self._jobs or self._unconfirmed or self._next_arm() is not None
        )

    def next_job(self) -> Job | None:
        """The next job; None while there is only the search to wait for, or nothing left."""
        if self._resumed:
            arm, trial = self._resumed.pop(0)
            return self._job(arm, trial)
        number = self._next_arm()
        return self._confirmation() if number is None else self._job(number, self._ask(number))

    def again(self, job: Job) -> None:
        """Hand this job out once more."""
        self._jobs.append(job)

    def report(self, job: Job, record: Record) -> bool:
        """An intermediate score; whether the trial should stop.

        Of a curve that is played again only the last known point is judged again: the run may
        have been killed before its verdict was carried out.
        """
        trial = self._live.get((job.arm, job.number)) if job.phase == "search" else None
        if trial is None or record["finished"]:
            return False
        study, stop = self.studies[job.arm], False
        if len(study.directions) == 1:  # Optuna keeps no curves of several objectives
            known = trial.storage.get_trial(trial._trial_id).intermediate_values
            step = int(record[TIME])
            if step not in known:
                trial.report(record[SCORE], step)
            if step >= max(known, default=0):
                stop = trial.should_prune()
        return stop or (self._overtime() and self._has_finished(study))

    def end(self, job: Job, record: Record | None) -> None:
        """The end of a job; None if it failed. Optuna hears of a diverged trial as a pruned one:
        it is never chosen, but the sampler learns from it. A confirmation is not part of a search.
        """
        trial = self._live.pop((job.arm, job.number), None) if job.phase == "search" else None
        if trial is None:
            return
        if record is None:
            trial.study.tell(trial, state=TrialState.FAIL)
            return
        if len(trial.study.directions) == 1:
            known = trial.storage.get_trial(trial._trial_id).intermediate_values
            if record[TIME] not in known:
                trial.report(record[SCORE], int(record[TIME]))
        trial.set_user_attr("status", outcome(record))
        if outcome(record) == "finished":
            objectives = self.arms[job.arm].objectives
            if objectives and (start := start_of(record, objectives)):
                trial.set_user_attr("start", [start.score, *start.costs])
            names = (SCORE, *objectives)
            trial.study.tell(trial, [record[name] for name in names])
        else:
            trial.study.tell(trial, state=TrialState.PRUNED)

    def _next_arm(self) -> int | None:
        """The arm that gets the next trial: of those with the most left, the first."""
        arm = max(range(len(self.arms)), key=self._left)
        done = self._left(arm) <= 0 or self._overtime()
        return None if done else arm

    def _left(self, arm: int) -> int:
        """Trials that an arm is still to get."""
        return self.trials + self._again[arm] - self._asked[arm]

    def _overtime(self) -> bool:
        seconds = self.plan.seconds
        return seconds is not None and time.monotonic() - self._started > seconds

    def _has_finished(self, study: optuna.Study) -> bool:
        """Whether there would be something to confirm."""
        return bool(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))

    def _job(self, arm: int, trial: optuna.Trial) -> Job:
        chosen = dict(self.space(trial))
        config = self.arms[arm].config.override(chosen)
        trial.set_user_attr("digest", config.digest())
        trial.set_user_attr("chosen", chosen)
        self._live[arm, trial.number] = trial
        return Job("search", arm, trial.number, config, chosen)

    def _confirmation(self) -> Job | None:
        searching = {arm for arm, _ in self._live}
        for arm in [arm for arm in self._unconfirmed if arm not in searching]:
            self._unconfirmed.remove(arm)
            self._jobs += self._then(arm, self.studies[arm])
        return self._jobs.pop(0) if self._jobs else None

    def _ask(self, arm: int) -> optuna.Trial:
        """A new Optuna trial. Its random stream is a function of (seed, arm, number), so a search
        that goes on after an interruption makes the suggestions it would have made.
        """
        study, number = self.studies[arm], self._asked[arm]
        self._asked[arm] += 1
        if number < len(self._points):
            study.enqueue_trial(dict(self._points[number]), skip_if_exists=True)
        rng = stream(self.plan.seed, f"sampler-{self.arms[arm].digest()}", number)
        study.sampler = sampler_of(
            self.plan.searcher, int(rng.integers(2**31)), len(study.directions)
        )
        return study.ask()
