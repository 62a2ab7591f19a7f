"""Every job as a run of Weights & Biases: its configuration, its metrics against local steps.

Arms are groups, phases are job types. A run's id follows from its configuration, so that a job
which goes on after a kill continues its run: W&B drops steps that it has. WANDB_MODE=offline keeps
all in the study's folder, for `wandb sync`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from fl_core.base.digests import digest_of
from fl_core.config.record import Record
from fl_core.study.jobs import TIME, Arm, Job
from fl_core.study.tracking.metrics import split
from fl_core.study.tracking.notes import run_name


class WeightsAndBiases:
    """A run a job in one project."""

    def __init__(self, project: str, arms: list[Arm], folder: Path) -> None:
        self._project, self._arms, self._folder = project, arms, folder
        self._wandb: Any = import_module("wandb")
        self._runs: dict[str, Any] = {}

    def job_started(self, job: Job) -> None:
        arm = self._arms[job.arm]
        self._runs[job.to_json()] = self._wandb.init(
            project=self._project,
            id=digest_of([arm.digest(), job.phase, job.number, job.config.digest()]),
            name=run_name(arm, job),
            group=arm.name,
            job_type=job.phase,
            config=job.config.to_flat(),
            dir=str(self._folder),
            resume="allow",
            reinit="create_new",  # several jobs at a time
            settings=self._wandb.Settings(silent=True),
        )

    def job_record(self, job: Job, record: Record) -> None:
        metrics = split(record, self._arms[job.arm].objectives)[0]
        self._runs[job.to_json()].log(metrics, step=int(record[TIME]))

    def job_ended(self, job: Job, status: str, message: str) -> None:
        if run := self._runs.pop(job.to_json(), None):
            run.summary["status"] = status
            run.finish(exit_code=int(status == "failed"))

    def close(self) -> None:
        """What runs still goes on with the next command."""
        for run in self._runs.values():
            run.finish()
