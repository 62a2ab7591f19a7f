"""Every run in MLflow: study -> arm -> trial (layer 4; the only MLflow import).

Runs are found again by their tags, so a resumed trial continues its own run. All writes go
through one background thread: the search does not wait for the store. `analysis/` reads what is
written here; the schema is in its README section.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # no network at run time
for _name in ("alembic", "mlflow.store.db.utils"):  # a new store's set-up: ten lines of it
    logging.getLogger(_name).setLevel(logging.WARNING)

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Metric, Param, RunTag  # noqa: E402

from fl_core.config import UserError  # noqa: E402
from fl_core.jobs import Arm, Job  # noqa: E402
from fl_core.trial import Record  # noqa: E402

FLUSH_SECONDS = 5.0  # metrics of a running trial reach the store at least this often


@contextmanager
def _one_line(uri: str) -> Iterator[None]:
    """MLflow, SQLAlchemy and requests each raise their own: one clear line for all."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(f"--tracking-uri {uri}: cannot be used ({reason})") from error


class Tracker:
    """Logs one study. A listener of `fl_core.tuning`; close it to drain its queue."""

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = uri
        with _one_line(uri):
            self.client = MlflowClient(uri)
            found = self.client.get_experiment_by_name(experiment)
            self.experiment = (
                found.experiment_id
                if found
                else self.client.create_experiment(experiment, _artifact_location(uri))
            )
        self._runs: dict[tuple[str, ...], str] = {}  # tags that name a run -> run id
        self._logged: dict[str, int] = {}  # run id -> last local step in the store
        self._pending: dict[str, list[Metric]] = {}
        self._flushed = time.monotonic()
        self._failures: list[str] = []
        self._queue: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def open(self, digest: str, tags: Mapping[str, str], arms: list[Arm]) -> str:
        """Find or create the run of the study and of each arm; returns the study run's id."""
        self.arms, self._study = arms, digest
        with _one_line(self.uri):
            self._find_runs()
            name = f"{tags['study']} ({tags['preset']})"
            self.study_run = self._run({"kind": "study", **tags}, name, None, {})
            self.client.update_run(self.study_run, status="RUNNING")
            for arm in arms:
                fields = {"kind": "arm", "arm_digest": arm.digest(), **_arm_tags(arm)}
                self._run(fields, arm.name, self.study_run, arm.config.to_flat())
        return self.study_run

    def _find_runs(self) -> None:
        """All runs of this study that the store has, by the tags that name them."""
        token: str | None = ""
        while token is not None:
            page = self.client.search_runs(
                [self.experiment], f"tags.study_digest = '{self._study}'", max_results=5000,
                page_token=token or None,
            )  # fmt: skip
            for run in page:
                self._runs[_key(run.data.tags)] = run.info.run_id
                self._logged[run.info.run_id] = int(run.data.metrics.get("local_steps", -1))
            token = page.token or None

    def arm_run(self, arm: Arm) -> str:
        """The run id of an arm."""
        return self._runs[_key({"kind": "arm", "arm_digest": arm.digest()})]

    def knows(self, job: Job) -> bool:
        """Whether this job has a run already."""
        return _key(self._job_tags(job)) in self._runs

    def job_started(self, job: Job) -> None:
        """Create the job's run, or go on with the one it has."""
        self._queue.put(partial(self._job_run, job))

    def job_record(self, job: Job, record: Record) -> None:
        """Log an evaluation; ones the store has already (a replayed curve) are skipped.

        Tables of a trial's last record become artifacts. They are written again when the record
        comes again: the driver may have been killed between the metrics and them.
        """

        def write() -> None:
            run, step = self._job_run(job), int(record["local_steps"])
            for name, text in record.get("tables", {}).items():
                self.client.log_text(run, text, name)
            if step <= self._logged.get(run, -1):
                return
            self._logged[run] = step
            now = int(time.time() * 1000)
            self._pending.setdefault(run, []).extend(
                Metric(name, float(value), now, step)
                for name, value in record.items()
                if isinstance(value, (int, float))
                and (name in METRICS or name.startswith(FAMILIES))
            )
            if time.monotonic() - self._flushed > FLUSH_SECONDS:
                self._flush_all()

        self._queue.put(write)

    def job_ended(self, job: Job, status: str, message: str) -> None:
        """Log what is left of the curve, and how the job ended."""

        def write() -> None:
            run = self._job_run(job)
            self._flush(run)
            tags = [RunTag("status", status)] + ([RunTag("message", message)] if message else [])
            self.client.log_batch(run, tags=tags)
            self.client.set_terminated(run, _STATUS.get(status, "FINISHED"))

        self._queue.put(write)

    def log_past(self, job: Job, status: str, records: list[Record]) -> None:
        """A whole job at once, from its record on disk."""
        for record in records:
            self.job_record(job, record)
        self.job_ended(job, status, "")

    def text(self, run: str, text: str, name: str) -> None:
        """Attach a text to a run."""
        self._queue.put(lambda: self.client.log_text(run, text, name))

    def close(self, status: str) -> str | None:
        """Drain, end the arms' and the study's runs; a line about writes that failed, if any."""

        def end() -> None:
            self._flush_all()
            for run in [*map(self.arm_run, self.arms), self.study_run]:
                self.client.set_terminated(run, status)

        self._queue.put(end)
        self._queue.put(None)
        self._thread.join()
        if not self._failures:
            return None
        count, last = len(self._failures), self._failures[-1]
        return f"{count} writes to MLflow failed ({last}); run the same command again to repair it"

    def _write(self) -> None:
        while (task := self._queue.get()) is not None:
            for attempt in range(3):
                try:
                    task()
                    break
                except Exception as error:  # a store's trouble must not end a search
                    if attempt == 2:
                        self._failures.append(str(error).strip().splitlines()[0][:200])
                    time.sleep(attempt)

    def _flush_all(self) -> None:
        for run in list(self._pending):
            self._flush(run)
        self._flushed = time.monotonic()

    def _flush(self, run: str) -> None:
        metrics = self._pending.pop(run, [])
        for start in range(0, len(metrics), 1000):
            self.client.log_batch(run, metrics=metrics[start : start + 1000])

    def _job_tags(self, job: Job) -> dict[str, str]:
        arm = self.arms[job.arm]
        return {"kind": "trial", "arm_digest": arm.digest(), "phase": job.phase,
                "number": str(job.number), "digest": job.config.digest(),
                **_arm_tags(arm)}  # fmt: skip

    def _job_run(self, job: Job) -> str:
        arm = self.arms[job.arm]
        chosen = json.dumps(dict(job.chosen))  # without the dimensions a condition closed
        tags = {**self._job_tags(job), "status": "running", "chosen": chosen}
        kind = f"#{job.number}" if job.phase == "search" else f"seed {job.number}"
        return self._run(tags, f"{arm.name} {kind}", self.arm_run(arm), job.config.to_flat())

    def _run(
        self, tags: Mapping[str, str], name: str, parent: str | None, params: Mapping[str, Any]
    ) -> str:
        """The run these tags name, created if it is new."""
        key = _key(tags)
        if key not in self._runs:
            fields = {**tags, "study_digest": self._study}
            if parent:
                fields["mlflow.parentRunId"] = parent
            run = self.client.create_run(self.experiment, tags=fields, run_name=name).info.run_id
            self._runs[key] = run
            self.client.log_batch(run, params=[Param(n, str(v)) for n, v in params.items()])
        elif tags["kind"] == "study":
            run_tags = [RunTag(n, v) for n, v in tags.items()]
            self.client.log_batch(self._runs[key], tags=run_tags)
        return self._runs[key]


METRICS = frozenset(
    ("score", "train_loss", "client_drift", "client_drift_active", "val_accuracy", "val_loss",
     "test_accuracy", "test_loss",
     "client_accuracy_worst", "client_accuracy_best", "client_accuracy_std", "round",
     "local_steps", "seconds_train", "seconds_eval",
     "seconds_overhead", "images_per_second", "peak_memory_bytes")
)  # fmt: skip
#: What messages cost, by direction and encoding; what masks look like.
FAMILIES = ("bytes_", "messages_", "mask_")
_STATUS = {"pruned": "KILLED", "failed": "FAILED"}


def _key(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The tags that name a run within a study."""
    names = ("kind", "arm_digest", "phase", "number", "digest")
    return tuple(tags.get(name, "") for name in names)


def _arm_tags(arm: Arm) -> dict[str, str]:
    return {"arm": json.dumps(dict(arm.values)), "arm_name": arm.name}


def _artifact_location(uri: str) -> str | None:
    """Beside the SQLite file; a server decides for itself."""
    parsed = urlparse(uri)
    if parsed.scheme != "sqlite":
        return None
    return (Path(parsed.path.removeprefix("/")).resolve().parent / "mlartifacts").as_uri()
