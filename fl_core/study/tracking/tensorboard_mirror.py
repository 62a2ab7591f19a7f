"""Every job as a run of TensorBoard: its metrics against local steps.

Written by tensorboardX, which comes with Ray Tune; `tensorboard --logdir DIR` shows it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from fl_core.config.record import Record
from fl_core.study.jobs import TIME, Arm, Job
from fl_core.study.tracking.metrics import split
from fl_core.study.tracking.notes import run_name


class TensorBoard:
    """A folder a job. One that is told again, as after a kill, replaces what it said before."""

    def __init__(self, folder: Path, arms: list[Arm]) -> None:
        self._folder, self._arms = folder, arms
        self._tensorboard: Any = import_module("tensorboardX")
        self._writers: dict[str, Any] = {}

    def job_started(self, job: Job) -> None:
        """Its folder is made with its first record."""

    def job_record(self, job: Job, record: Record) -> None:
        arm, step = self._arms[job.arm], int(record[TIME])
        for name, value in split(record, arm.objectives)[0].items():
            self._writer(job, step).add_scalar(name, value, step)

    def job_ended(self, job: Job, status: str, message: str) -> None:
        if writer := self._writers.pop(job.to_json(), None):
            writer.close()

    def close(self) -> None:
        """What runs still goes on with the next command."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, job: Job, step: int) -> Any:
        key = job.to_json()
        if key not in self._writers:
            arm = self._arms[job.arm]
            name = f"{run_name(arm, job)} {job.config.digest()[:6]}".replace("/", "_")
            self._writers[key] = self._tensorboard.SummaryWriter(
                str(self._folder / name), purge_step=step
            )
        return self._writers[key]
