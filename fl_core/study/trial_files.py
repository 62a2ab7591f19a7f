"""Where a study's trials are kept, and what is known of one from its files.

A trial's file (`fl_core.checkpoint`) holds its curve and, until it ends, its state. The records of
an ended job lie under the same name; those of a confirmation apart, as no search may see its test
metrics (contract 5). A study shares what has ended through the cache folder with all others.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fl_core.base.cache import DamagedArtefact, load_artefact, save_artefact
from fl_core.base.machine import Machine
from fl_core.checkpoint import drop_trial, forget_clients, recorded_curve, trial_path
from fl_core.config.record import Record
from fl_core.study.jobs import Job


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


def ended_path(folder: Path, job: Job) -> Path:
    """The file of an ended job."""
    path = trial_path(folder, job.config)
    return path if job.phase != "confirm" else path.with_name(f"{path.stem}-tested{path.suffix}")


def known_records(folder: Path, job: Job) -> list[Record]:
    """What is known of a job's curve: of an ended one all, else up to its last checkpoint."""
    with suppress(DamagedArtefact):
        records: list[Record] = load_artefact(ended_path(folder, job), "none")[1]["records"]
        return records
    return recorded_curve(folder, job.config)


def ended_records(job: Job, machine: Machine, places: Places) -> list[Record] | None:
    """The records of a job that ended, here or on the same kind of device in another study."""
    for folder in filter(None, (places.own, places.shared)):
        try:
            meta = load_artefact(ended_path(folder, job), "none")[1]
        except DamagedArtefact:
            continue
        if meta.get("device") == _kind(machine):  # a checkpoint says nothing of its device
            if folder != places.own:
                save_artefact(ended_path(places.own, job), {}, meta)
            if not places.keep:  # a kill may have come before they went
                forget_clients(trial_path(places.own, job.config))
            records: list[Record] = meta["records"]
            return records
    return None


def clear_for(job: Job, places: Places) -> None:
    """Make a confirmation start again where only the curve was kept: it needs the parameters."""
    path = trial_path(places.own, job.config)
    if job.phase != "confirm" or not path.exists():
        return
    try:
        if not load_artefact(path, "params")[0]:
            drop_trial(path)
    except DamagedArtefact:
        drop_trial(path)


def keep_records(job: Job, machine: Machine, places: Places, records: list[Record]) -> None:
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
    if own == path:
        forget_clients(own)
    elif not places.keep:
        drop_trial(own)


def _kind(machine: Machine) -> str:
    return machine.device.split(":")[0]
