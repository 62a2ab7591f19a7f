"""Jobs one after the other in this process, without Ray: for debuggers, notebooks."""

from __future__ import annotations

import traceback

from fl_core.base.machine import Machine
from fl_core.study.jobs import Job
from fl_core.study.workers.dispatch import Conductor
from fl_core.study.workers.run_job import Places, attempt
from fl_core.trial import Record


def run_serial(conductor: Conductor, machine: Machine, places: Places) -> None:
    """Every job of the study, to the same results as one worker of Ray Tune."""
    while (job := conductor.next_job()) is not None:
        run_one(conductor, job, machine, places)
    conductor.close()


def run_one(conductor: Conductor, job: Job, machine: Machine, places: Places) -> None:
    """One job; an error of its own is recorded as such, and the study goes on."""
    last: Record | None = None
    records = attempt(job, machine, places)
    try:
        for record in records:
            last = record
            if conductor.record(job, record):
                break
    except Exception as error:  # whatever the trial raised: with Ray it fails alone, too
        conductor.end(job, None, "".join(traceback.format_exception(error)).strip())
        return
    finally:
        records.close()
    conductor.end(job, last)
