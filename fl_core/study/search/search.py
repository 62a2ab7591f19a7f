"""What a study tries next and when it stops a trial: Optuna for many arms at once.

Every arm is searched on its own: its own Optuna study, its own ASHA rungs, the same number of
trials. Then it tries what its neighbours found (`neighbours`), then it is confirmed. The search
knows neither Ray nor processes: `fl_core.study.workers.dispatch` asks it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from fl_core.base.rng import stream
from fl_core.config.record import Record
from fl_core.study.jobs import NEIGHBOUR, SCORE, TIME, Arm, Job, outcome
from fl_core.study.plan import Plan, Space
from fl_core.study.search.journal import UNNAMED, open_studies, try_again
from fl_core.study.search.neighbours import Transfer, is_own, neighbours, transfers
from fl_core.study.search.pruning import pruner_of
from fl_core.study.search.samplers import resumed, sampler_of
from fl_core.study.search.space import grid_points, in_arms, inside
from fl_core.study.selection import start_of
from fl_core.study.settled import within

Then = Callable[[int, optuna.Study], list[Job]]  # an arm's confirmation, once its search has ended


class Search:
    """Asks the arm with the fewest trials, tells Optuna how trials ended.

    When an arm has had all its trials and those of its neighbours, the jobs that `then` makes of it
    follow, its confirmation, while other arms are still being searched: workers stay busy.
    `labels`: what Optuna's studies are shown with (`journal.open_studies`).
    """

    def __init__(
        self,
        arms: list[Arm],
        space: Space,
        plan: Plan,
        journal: Path,
        then: Then | None = None,
        labels: Mapping[str, str] = UNNAMED,
    ) -> None:
        self.arms, self.plan = arms, plan
        self.spaces = [within(space, arm) for arm in arms]
        self._then = then or (lambda arm, study: [])
        self._points = [inside(space, plan.first) for space in self.spaces]
        self._trials = [plan.trials for _ in arms]
        if plan.searcher == "grid":
            self._points = [grid_points(space) for space in self.spaces]
            self._trials = [min(plan.trials, len(points)) for points in self._points]
        self.studies = open_studies(arms, in_arms(space, arms), journal, plan.way, labels)
        for study in self.studies:
            study.pruner = pruner_of(plan.pruner, plan.grace_steps, plan.floor)
        beside = neighbours([arm.values for arm in arms])
        self._beside = beside if plan.neighbours else [[] for _ in arms]
        self._transfers: dict[int, list[Transfer]] = {}  # by arm, once they are known
        self._unconfirmed = list(range(len(arms)))
        self._jobs: list[Job] = []  # of the confirmation, to be handed out
        self._live: dict[tuple[int, int], optuna.Trial] = {}  # by arm and number
        # trials of an interrupted run: they go on from their last checkpoint
        self._resumed = [
            (arm, old)
            for arm, study in enumerate(self.studies)
            for old in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        ]
        self._again = [try_again(study) for study in self.studies]
        self._asked = [
            sum(
                t.state != TrialState.WAITING and is_own(t)
                for t in study.get_trials(deepcopy=False)
            )
            for study in self.studies
        ]
        self._started = time.monotonic()

    @property
    def remaining(self) -> int:
        """Trials still to be run, resumed ones included; of neighbours' at most so many."""
        if self._overtime():
            return len(self._resumed)
        arms = range(len(self.arms))
        own = sum(max(0, self._left(arm)) for arm in arms)
        return len(self._resumed) + own + sum(self._of_neighbours(arm) for arm in arms)

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to hand out, now or later."""
        return not (
            self._resumed or self._jobs or self._unconfirmed or self._next_arm() is not None
        )

    def next_job(self) -> Job | None:
        """The next job; None while there is only the search to wait for, or nothing left."""
        if self._resumed:
            arm, old = self._resumed.pop(0)
            return self._job(arm, self._resume(arm, old))
        number = self._next_arm()
        if number is not None:
            return self._job(number, self._own(number))
        return self._transfer() or self._confirmation()

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
        return self._trials[arm] + self._again[arm] - self._asked[arm]

    def _overtime(self) -> bool:
        seconds = self.plan.seconds
        return seconds is not None and time.monotonic() - self._started > seconds

    def _has_finished(self, study: optuna.Study) -> bool:
        """Whether there would be something to confirm."""
        return bool(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))

    def _job(self, arm: int, trial: optuna.Trial) -> Job:
        chosen = dict(self.spaces[arm](trial))
        config = self.arms[arm].config.override(chosen)
        trial.set_user_attr("digest", config.digest())
        trial.set_user_attr("chosen", chosen)
        self._live[arm, trial.number] = trial
        found = trial.user_attrs.get(NEIGHBOUR, "")
        return Job("search", arm, trial.number, config, chosen, neighbour=found)

    def _confirmation(self) -> Job | None:
        searching = {arm for arm, _ in self._live}
        for arm in [arm for arm in self._unconfirmed if arm not in searching]:
            if self._overtime() or not self._of_neighbours(arm):
                self._unconfirmed.remove(arm)
                self._jobs += self._then(arm, self.studies[arm])
        return self._jobs.pop(0) if self._jobs else None

    def _transfer(self) -> Job | None:
        """The next trial that an arm has from a neighbour."""
        for arm, study in enumerate(self.studies):
            if self._overtime() or not self._known(arm) or not self._transfers[arm]:
                continue
            first = self._transfers[arm][0]
            first.enqueue(study)
            trial = self._ask(arm)
            if trial.user_attrs.get("digest") == first.digest:  # else one that waited before
                del self._transfers[arm][0]
            return self._job(arm, trial)
        return None

    def _of_neighbours(self, arm: int) -> int:
        """How many trials an arm still gets from its neighbours, at most while those search."""
        return len(self._transfers[arm] if self._known(arm) else self._beside[arm])

    def _known(self, arm: int) -> bool:
        """Whether the own searches of an arm and its neighbours have ended, so that what it gets
        from them is known.
        """
        if arm not in self._transfers:
            beside = self._beside[arm]
            if any(self._left(a) > 0 for a in (arm, *beside)):
                return False
            own = [arm for (arm, _), trial in self._live.items() if is_own(trial)]
            own += [arm for arm, old in self._resumed if is_own(old)]
            if not {arm, *beside}.isdisjoint(own):
                return False
            others = [(self.arms[a], self.studies[a]) for a in beside]
            self._transfers[arm] = transfers(self.arms[arm], self.studies[arm], others)
        return True

    def _own(self, arm: int) -> optuna.Trial:
        """A new trial of an arm's own search, unless one waits from a run that was killed."""
        number = self._asked[arm]
        if number < len(self._points[arm]):
            self.studies[arm].enqueue_trial(dict(self._points[arm][number]), skip_if_exists=True)
        return self._ask(arm)

    def _ask(self, arm: int) -> optuna.Trial:
        """A new Optuna trial. Its random stream is a function of (seed, arm, number), so a search
        that goes on after an interruption makes the suggestions it would have made.
        """
        study = self.studies[arm]
        study.sampler = self._sampler(arm, self._asked[arm])
        trial = study.ask()
        self._asked[arm] += is_own(trial)
        return trial

    def _resume(self, arm: int, old: FrozenTrial) -> optuna.Trial:
        """A trial of an interrupted run."""
        study = self.studies[arm]
        before = study.get_trials(deepcopy=False)[: old.number]
        study.sampler = self._sampler(arm, sum(is_own(t) for t in before))
        return resumed(study, old)

    def _sampler(self, arm: int, number: int) -> BaseSampler:
        """For the trial of an arm that has so many before it."""
        rng = stream(self.plan.seed, f"sampler-{self.arms[arm].digest()}", number)
        objectives = len(self.studies[arm].directions)
        return sampler_of(self.plan.searcher, int(rng.integers(2**31)), objectives)
