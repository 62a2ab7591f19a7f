"""How long a study still takes: work done per second, and what is left to do.

Work is counted in local steps of the main stage. A trial that has not started counts as much as
those of its phase that have ended took on average: trials that are stopped early, diverge or are
known from elsewhere make the next ones cheaper, too. The pace is that of the last part of the run,
all workers together; what jobs do besides their steps (features, evaluations, the test) is in it.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fl_core.config.record import Record
from fl_core.config.trial_config import TrialConfig
from fl_core.study.jobs import TIME, Job

WINDOW = 60.0  # seconds, at least, over which the pace is taken
PART = 0.3  # of the time so far, where that is more
SOON = 3.0  # seconds of work that tell something
FEW = 3  # jobs of a phase that have ended, before they tell what the next one takes


def work_of(config: TrialConfig) -> float:
    """Local steps (or epochs) of a job that runs to its end."""
    return float(config.last_round * config.local.steps)


@dataclass
class _Phase:
    """What jobs that have ended took, of what they might have."""

    ended: int = 0
    taken: float = 0.0
    planned: float = 0.0
    waiting: float = 0.0  # what jobs that are known and have not started may take

    def share(self) -> float:
        """How much of its plan the next one takes."""
        return self.taken / self.planned if self.ended >= FEW and self.planned else 1.0


class Progress:
    """Hears of jobs as a listener of the conductor does.

    trial: the work of one trial of the search. confirming: of each arm, all that is to follow its
    search, as long as that has not decided it (see `expect`).
    """

    def __init__(
        self,
        trial: float,
        confirming: Sequence[float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trial, self._confirming, self._clock = trial, list(confirming), clock
        self._live: dict[tuple[str, int, int, str], tuple[Job, float]] = {}  # with the work done
        self._phases: dict[str, _Phase] = defaultdict(_Phase)
        self._done = 0.0
        self._points: deque[tuple[float, float]] = deque()  # when, how much work was done
        self._first = 0.0  # when there was some: what came before is the start of the workers

    def expect(self, arm: int, jobs: Sequence[Job]) -> None:
        """These follow the search of an arm."""
        self._confirming[arm] = 0.0
        for job in jobs:
            self._phases[job.phase].waiting += work_of(job.config)

    def job_started(self, job: Job) -> None:
        """It waits no more."""
        self._live[_key(job)] = (job, 0.0)
        if job.phase != "search":
            self._phases[job.phase].waiting -= work_of(job.config)

    def job_record(self, job: Job, record: Record) -> None:
        """So much of it is done."""
        _, before = self._live.get(_key(job), (job, 0.0))
        now = max(before, float(record.get(TIME, 0.0)))
        self._live[_key(job)] = (job, now)
        self._done += now - before
        if not self._points:
            self._first = self._clock()
        self._points.append((self._clock(), self._done))

    def job_ended(self, job: Job) -> None:
        """What is left of it is not to be done."""
        _, taken = self._live.pop(_key(job), (job, 0.0))
        phase = self._phases[job.phase]
        phase.ended += 1
        phase.taken += taken
        phase.planned += work_of(job.config)

    def left(self, trials: int) -> float | None:
        """Seconds until all is done, with so many trials to start; None where nobody can know."""
        pace = self._pace()
        if not pace:
            return None
        work = trials * self._trial * self._phases["search"].share()
        work += sum(self._confirming) * self._phases["confirm"].share()
        work += sum(phase.waiting * phase.share() for phase in self._phases.values())
        live = [
            max(0.0, work_of(job.config) * self._phases[job.phase].share() - done)
            for job, done in self._live.values()
        ]
        longest = max(live, default=0.0) * len(live)  # one worker does it, at its part of the pace
        return max(work + sum(live), longest) / pace

    def _pace(self) -> float:
        """Work in a second over the window; 0 as long as there is too little to tell."""
        points, now = self._points, self._clock()
        span = max(WINDOW, PART * (now - self._first))
        while len(points) > 2 and now - points[1][0] >= span:
            points.popleft()
        if len(points) < 2 or now - points[0][0] < SOON:
            return 0.0
        return (self._done - points[0][1]) / (now - points[0][0])


def _key(job: Job) -> tuple[str, int, int, str]:
    return job.phase, job.arm, job.number, job.config.digest()


def in_words(seconds: float) -> str:
    """A time that nobody knows exactly.

    >>> [in_words(s) for s in (4, 33, 80, 610, 5000, 40000)]
    ['about 10 s', 'about 30 s', 'about 1 min', 'about 10 min', 'about 1 h 20 min', 'about 11 h']
    """
    minutes = seconds / 60
    if minutes < 0.9:
        return f"about {max(1, round(seconds / 10))}0 s"
    if minutes < 57:
        step = 1 if minutes < 9.5 else 5
        return f"about {max(1, step * round(minutes / step))} min"
    hours, rest = divmod(round(minutes / 10) * 10, 60)
    if hours >= 10 or not rest:
        return f"about {round(minutes / 60)} h"
    return f"about {hours} h {rest} min"
