"""The time that is left, against studies whose end is known."""

from __future__ import annotations

import doctest
import heapq
from itertools import count
from statistics import median

import pytest

from fl_core.config.trial_config import TrialConfig
from fl_core.study import progress
from fl_core.study.jobs import Job
from fl_core.study.progress import FEW, Progress

CONFIG = TrialConfig().override({"rounds": 10, "local.steps": 4})
ARMS, TRIALS, SEEDS = 4, 12, 3


class Run:
    """A study on a clock of its own: each evaluation is a round, a round takes some seconds, and
    what a job does besides (the start, the test) as long as some rounds.
    """

    def __init__(self, workers: int, pruned: float, start: float, besides: float) -> None:
        self.now = 0.0
        self.progress = Progress(40.0, [SEEDS * 40.0] * ARMS, lambda: self.now)
        self.said: list[tuple[float, float]] = []  # when, how much is left
        search = [Job("search", n % ARMS, n // ARMS, CONFIG) for n in range(ARMS * TRIALS)]
        confirm = [Job("confirm", n % ARMS, n // ARMS, CONFIG) for n in range(ARMS * SEEDS)]
        waiting, order, live = [*search, *confirm], count(), []
        expected = False

        def begin(at: float) -> None:
            nonlocal expected
            if waiting:
                job = waiting.pop(0)
                if job.phase == "confirm" and not expected:
                    expected = True
                    for arm in range(ARMS):
                        self.progress.expect(arm, [j for j in confirm if j.arm == arm])
                self.progress.job_started(job)
                heapq.heappush(live, (at + besides + 1, next(order), job, 1))

        for _ in range(workers):
            begin(start)
        while live:
            self.now, _, job, rounds = heapq.heappop(live)
            self.progress.job_record(job, {"local_steps": 4 * rounds})
            stop = (
                job.phase == "search" and rounds == 3 and (job.number * 7919) % 100 < 100 * pruned
            )
            if rounds < 10 and not stop:
                heapq.heappush(live, (self.now + 1, next(order), job, rounds + 1))
            else:
                self.progress.job_ended(job)
                begin(self.now)
            left = self.progress.left(sum(j.phase == "search" for j in waiting))
            if left is not None:
                self.said.append((self.now, left))


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("pruned", [0.0, 0.7])
@pytest.mark.parametrize(("start", "besides"), [(0.0, 0.0), (30.0, 2.0)])
def test_what_is_said_is_near_what_is_left(
    workers: int, pruned: float, start: float, besides: float
) -> None:
    run = Run(workers, pruned, start, besides)
    end, began = run.now, run.said[0][0]
    found = [left / (end - now) for now, left in run.said if end - now > 0.1 * (end - began)]
    assert len(found) > 50
    assert 0.45 < min(found) <= max(found) < 2.1, (min(found), max(found))
    assert 0.6 < median(found) < 1.2, median(found)


def test_nothing_is_said_before_there_is_something_to_tell() -> None:
    quiet = Progress(40.0, [40.0], lambda: 100.0)
    job = Job("search", 0, 0, CONFIG)
    quiet.job_started(job)
    assert quiet.left(3) is None
    quiet.job_record(job, {"local_steps": 4})
    quiet.job_record(job, {"local_steps": 8})
    assert quiet.left(3) is None  # no time has passed: it was known before


def test_trials_without_rounds_have_an_end() -> None:
    """Heads in closed form alone: of no steps planned nobody can say what share was taken."""
    now = iter(range(0, 100, 10))
    progress = Progress(0.0, [40.0], lambda: float(next(now)))
    none = TrialConfig().override({"rounds": 0, "head.method": "ridge"})
    for number in range(FEW):
        job = Job("search", 0, number, none)
        progress.job_started(job)
        progress.job_record(job, {"local_steps": 0})
        progress.job_ended(job)
    job = Job("confirm", 0, 0, CONFIG)
    progress.expect(0, [job])
    progress.job_started(job)
    progress.job_record(job, {"local_steps": 4})
    left = progress.left(5)
    assert left is not None
    assert left > 0


def test_in_words() -> None:
    assert doctest.testmod(progress).failed == 0
    said = [progress.in_words(seconds) for seconds in range(1, 200000, 7)]
    assert len(set(said)) < 130
    assert all(word.startswith("about ") for word in said)
