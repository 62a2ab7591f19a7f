"""One job from its first record to its last, wherever it runs.

    for record in run_job(job, machine, places):
        ...

A job is idempotent: interrupted, it goes on from its last checkpoint; once it has ended, its curve
(and what was measured on the test set) is read, not computed again, in any study that shares the
cache folder. What is computed again are checkpoints' later rounds, at most `eval_every` of them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fl_core.base.cache import DamagedArtefact, load_artefact, save_artefact
from fl_core.base.errors import UserError
from fl_core.base.machine import Machine
from fl_core.study.jobs import ABORTED, OUT_OF_MEMORY, SCORE, TIME, Job
from fl_core.study.workers.gpu import is_out_of_memory, limit_process_memory, release
from fl_core.trial import (
    Record,
    mask_report,
    recorded_curve,
    run_trial,
    test_metrics,
    trial_path,
)


@dataclass(frozen=True)
class Places:
    """Where trials are kept.

    own: curves and checkpoints of the study. shared: ended trials of all studies that use the
    same cache folder; None = nothing is taken from others or given to them. keep: whether the
    final parameters stay on disk.
    """

    own: Path
    shared: Path | None = None
    keep: bool = False


def run_job(job: Job, machine: Machine, places: Places) -> Iterator[Record]:
    """Yield the job's records; the last has `finished=True`, and of a confirmation the test
    metrics, masks and predictions. Raises UserError for what the user can mend.
    """
    records = _ended(job, machine, places)
    if records is not None:
        yield from records
        return
    limit_process_memory(1.0 if job.alone else machine.gpu_share, machine.device)
    _without_state(job, places.own)
    best, records = 0.0, []
    for plain in run_trial(job.config, machine, places.own):
        record = {**plain, "finished": plain["done"]}
        accuracy = 0.0 if record["diverged"] else record.get("val_accuracy")
        if accuracy is not None:  # None: all images train, there is no validation set
            best = max(best, accuracy)
            keeps_best = job.config.fine_tune.keep == "best" and not record["diverged"]
            record[SCORE] = best if keeps_best else accuracy
        if record["finished"] and not record["diverged"]:
            record |= {} if job.phase == "search" else _report(job, machine, places.own)
        records.append(record)
        if record["finished"]:
            _keep(job, machine, places, records)
        yield record


def attempt(job: Job, machine: Machine, places: Places) -> Generator[Record, None, None]:
    """`run_job`, with trouble that is no fault of the job as its last record: ABORTED with a
    reason where the user must mend something, OUT_OF_MEMORY.
    """
    last: Record = {TIME: 0}
    ending: Record
    try:
        for last in run_job(job, machine, places):
            yield last
        return
    except UserError as error:
        ending = {ABORTED: str(error)}
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        ending = {OUT_OF_MEMORY: True}
    release(machine.device)
    yield {TIME: last[TIME], "finished": False, "diverged": False, **ending}


def _report(job: Job, machine: Machine, folder: Path) -> Record:
    """What a confirmation measures once, at its end: test metrics, and tables."""
    metrics, predictions = test_metrics(job.config, machine, folder)
    masks, tables = mask_report(job.config, machine)
    return {**metrics, **masks, "tables": {**tables, **predictions}}


def ended_path(folder: Path, job: Job) -> Path:
    """The file of an ended job: of a confirmation apart, as no search may see its test metrics."""
    path = trial_path(folder, job.config)
    return path if job.phase == "search" else path.with_name(f"{path.stem}-tested{path.suffix}")


def ended_records(folder: Path, job: Job) -> list[Record]:
    """What is known of a job's curve: of an ended one all, else up to its last checkpoint."""
    with suppress(DamagedArtefact):
        records: list[Record] = load_artefact(ended_path(folder, job), "none")[1]["records"]
        return records
    return recorded_curve(folder, job.config)


def _ended(job: Job, machine: Machine, places: Places) -> list[Record] | None:
    """The records of a job that ended, here or on the same kind of device in another study."""
    for folder in filter(None, (places.own, places.shared)):
        try:
            meta = load_artefact(ended_path(folder, job), "none")[1]
        except DamagedArtefact:
            continue
        if meta.get("device") == _kind(machine):  # a checkpoint says nothing of its device
            if folder != places.own:
                save_artefact(ended_path(places.own, job), {}, meta)
            records: list[Record] = meta["records"]
            return records
    return None


def _without_state(job: Job, folder: Path) -> None:
    """A confirmation needs the parameters: of a trial that kept its curve alone, start again."""
    path = trial_path(folder, job.config)
    if job.phase == "search" or not path.exists():
        return
    try:
        if not load_artefact(path, "params")[0]:
            path.unlink()
    except DamagedArtefact:
        path.unlink()


def _keep(job: Job, machine: Machine, places: Places, records: list[Record]) -> None:
    """Keep an ended job's records, for this study and for others; drop its checkpoint."""
    own, path = trial_path(places.own, job.config), ended_path(places.own, job)
    meta = {"records": records, "config": job.config.to_flat(), "device": _kind(machine)}
    if places.shared is not None:
        save_artefact(ended_path(places.shared, job), {}, meta)
    if places.keep and own == path:
        tensors, before = load_artefact(own)
        save_artefact(path, tensors, {**before, **meta})
        return
    save_artefact(path, {}, meta)
    if own != path and not places.keep:
        own.unlink(missing_ok=True)


def _kind(machine: Machine) -> str:
    return machine.device.split(":")[0]
