"""Between the search, the workers and those who listen: what every way of running jobs shares.

`ray_tune` runs the jobs on Ray Tune, `run_serial` one after the other in this process, without
Ray: for debuggers, notebooks. Both ask for jobs, pass on records and say how jobs ended, here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fl_core.base.errors import UserError
from fl_core.base.machine import Machine
from fl_core.checkpoint import forget_state, trial_path
from fl_core.study.jobs import Job, Listener, outcome
from fl_core.study.reports import Aborted, Evaluated, Failed, OutOfMemory, Report
from fl_core.study.search.search import Search
from fl_core.study.trial_files import Places
from fl_core.study.workers.run_job import attempt

FAILURES = "failures.log"  # in the study's folder: tracebacks


class Conductor:
    """One study's jobs from the first to the last. `folder` holds the trials, `out` is the study's.

    aborted: why no job can run until the user has repaired something; what runs then is stopped
    and goes on with the next run of the study.
    """

    def __init__(
        self, search: Search, listeners: Sequence[Listener], folder: Path, out: Path
    ) -> None:
        self.search, self.listeners, self.folder, self.out = search, listeners, folder, out
        self.aborted: str | None = None
        self.failures: list[str] = []
        self._ended = 0
        self._live = 0

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to hand out, now or later."""
        if self.aborted is not None:
            return True
        return self.search.ended and not self._live  # a live one may have to be run again

    def next_job(self) -> Job | None:
        """The next job; None while there is only to wait, or nothing left."""
        job = None if self.aborted else self.search.next_job()
        if job is None:
            return None
        self._live += 1
        if not job.alone:
            for listener in self.listeners:
                listener.job_started(job)
        return job

    def report(self, job: Job, report: Report) -> bool:
        """What a running job reports; whether it should stop."""
        if not isinstance(report, Evaluated):
            return True
        for listener in self.listeners:
            listener.job_record(job, report.record)
        return self.search.report(job, report.record)

    def end(self, job: Job, last: Report) -> None:
        """A job is over, with its last report.

        Out of memory with others on the machine, it is handed out once more, alone.
        """
        self._live -= 1
        if isinstance(last, Aborted):
            self.aborted = self.aborted or last.reason
        if self.aborted is not None and not _finished(last):
            return  # goes on with the next run
        if isinstance(last, OutOfMemory):
            if not job.alone:
                self.search.again(job.by_itself())
                return
            last = Failed("out of memory, even alone on the machine")
        self._ended += 1
        record, status, message = None, "failed", ""
        if isinstance(last, Evaluated):
            record, status = last.record, outcome(last.record)
            message = "out of memory while others ran: run again alone" if job.alone else ""
        elif isinstance(last, Failed):
            message = self._note(job, last.details)
        self.search.end(job, record)
        path = trial_path(self.folder, job.config)
        if status == "pruned" and path.exists():
            forget_state(path)
        for listener in self.listeners:
            listener.job_ended(job, status, message)

    def _note(self, job: Job, details: str) -> str:
        """Keep why a job failed, in FAILURES; its last line."""
        with (self.out / FAILURES).open("a") as file:
            file.write(f"{job.phase} {self.search.arms[job.arm].name} #{job.number}\n{details}\n\n")
        self.failures.append((details.splitlines() or ["unknown"])[-1])
        return self.failures[-1]

    def close(self) -> None:
        """UserError for what made the study stop, or if every job failed."""
        if self.aborted is not None:
            raise UserError(f"{self.aborted}; nothing is lost: the same command goes on from here")
        if self.failures and len(self.failures) == self._ended:
            raise UserError(f"every trial failed; the last one: {self.failures[-1]}")


def _finished(last: Report) -> bool:
    return isinstance(last, Evaluated) and bool(last.record["finished"])


def run_serial(conductor: Conductor, machine: Machine, places: Places) -> None:
    """Every job of the study, to the same results as one worker of Ray Tune."""
    while (job := conductor.next_job()) is not None:
        run_one(conductor, job, machine, places)
    conductor.close()


def run_one(conductor: Conductor, job: Job, machine: Machine, places: Places) -> None:
    """One job; an error of its own is recorded as such, and the study goes on."""
    reports = attempt(job, machine, places)
    try:
        for last in reports:
            if conductor.report(job, last):
                break
    finally:
        reports.close()
    conductor.end(job, last)
