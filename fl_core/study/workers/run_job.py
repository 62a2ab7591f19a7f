"""One job from its first record to its last, wherever it runs.

    for record in run_job(job, machine, places):
        ...

A job is idempotent: interrupted, it goes on from its last checkpoint; once it has ended, its curve
(and what was measured on the test set) is read, not computed again, in any study that shares the
cache folder. What is computed again are checkpoints' later rounds, at most `eval_every` of them.
"""

from __future__ import annotations

import traceback
from collections.abc import Generator, Iterator

from fl_core.base.errors import UserError
from fl_core.base.machine import Machine
from fl_core.config.record import Record
from fl_core.study.jobs import SCORE, Job
from fl_core.study.reports import Aborted, Evaluated, Failed, OutOfMemory, Report
from fl_core.study.trial_files import Places, clear_for, ended_records, keep_records
from fl_core.study.workers.gpu import is_out_of_memory, limit_process_memory, release
from fl_core.trial import Trial


def run_job(job: Job, machine: Machine, places: Places) -> Iterator[Record]:
    """Yield the job's records; the last has `finished=True`, and of a confirmation the test
    metrics, masks and predictions. Raises UserError for what the user can mend.
    """
    records = ended_records(job, machine, places)
    if records is not None:
        yield from records
        return
    limit_process_memory(1.0 if job.alone else machine.gpu_share, machine.device)
    clear_for(job, places)
    best, records = 0.0, []
    trial = Trial(job.config, machine, places.own, tested=job.phase == "confirm")
    for plain in trial.records():
        record = {**plain, "finished": plain["done"]}
        accuracy = 0.0 if record["diverged"] else record.get(job.config.judged_by)
        if accuracy is not None:  # None: all images train, there is no validation set
            best = max(best, accuracy)
            keeps_best = job.config.keep == "best" and not record["diverged"]
            record[SCORE] = best if keeps_best else accuracy
        if record["finished"] and not record["diverged"]:
            record |= _report(trial) if job.phase == "confirm" else {}
        records.append(record)
        if record["finished"]:
            keep_records(job, machine, places, records)
        yield record


def attempt(job: Job, machine: Machine, places: Places) -> Generator[Report, None, None]:
    """`run_job` in reports; the last one says why, where something else than its end ended it."""
    trouble: Report
    try:
        yield from map(Evaluated, run_job(job, machine, places))
        return
    except UserError as error:
        trouble = Aborted(str(error))
    except (Exception, SystemExit) as error:  # whatever the trial, or the user's own in it, raises
        # as text: an exception may not survive the way out of its process
        lines = traceback.format_exception(error)
        trouble = OutOfMemory() if is_out_of_memory(error) else Failed("".join(lines).strip())
    release(machine.device)
    yield trouble


def _report(trial: Trial) -> Record:
    """What a confirmation measures once, at its end: test metrics, and tables."""
    metrics, predictions = trial.test_metrics()
    masks, tables = trial.mask_report()
    return {**metrics, **masks, "tables": {**tables, **predictions}}
