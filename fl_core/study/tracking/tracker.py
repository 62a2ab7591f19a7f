"""Every run in MLflow: study -> arm -> trial.

Runs are found again by their tags, so a resumed trial continues its own run. All writes go
through one background queue (`outbox`): the search does not wait for the store, and what a
store that is away for a while should have heard waits for it. `analysis/` reads what is written
here; what the store holds: docs/results.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from fl_core.base.errors import hidden
from fl_core.config.record import FACTS, Record
from fl_core.study.jobs import Arm, Job
from fl_core.study.tracking.arm_runs import ArmResult, write_result
from fl_core.study.tracking.client import insist, one_line
from fl_core.study.tracking.facts import text_of
from fl_core.study.tracking.load import INTERVAL, MachineLoad
from fl_core.study.tracking.metrics import DETAILS_FILE, ROUNDS_FILE, split, table_of
from fl_core.study.tracking.notes import NOTE, study_note
from fl_core.study.tracking.outbox import Writer
from fl_core.study.tracking.runs import OUTCOMES, RunStore
from fl_core.study.tracking.tree import RunTree, moment
from fl_core.study.tracking.views import link

FLUSH_SECONDS = 5.0  # what is known of a running trial reaches the store at least this often
PATIENCE = 600.0  # seconds that a study which ends waits for a store that is away


class Tracker:
    """Logs one study. A listener of `fl_core.study.workers.dispatch`; close it to drain its queue.

    `cache`: see `client.connect`. `patience`: seconds that `close` waits for a store that is away.
    `load_seconds`: between samples of the machine's load.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        cache: Path | None = None,
        patience: float = PATIENCE,
        load_seconds: float = INTERVAL,
    ) -> None:
        self.uri = uri
        self._store = RunStore(uri, experiment, cache)
        self.client, self.experiment = self._store.client, self._store.experiment
        self._tree = RunTree(self._store)
        self._writer = Writer(self._store.is_away, patience)
        self._load_seconds = load_seconds
        self._load: MachineLoad | None = None
        self._facts: Mapping[str, Any] = {}
        # run -> file -> step -> values
        self._rows: dict[str, dict[str, dict[int, Mapping[str, float]]]] = {}
        self._flushed = time.monotonic()
        self._closed = False

    def open(self, digest: str, facts: Mapping[str, Any], arms: list[Arm]) -> str:
        """Find or create the run of the study and of each arm; returns the study run's id.

        facts: all that is known of the study (`facts`). Trials that a dead driver left running are
        marked as interrupted.
        """
        self._facts = facts
        with one_line(self.uri):
            stale = insist(partial(self._tree.open, digest, facts, arms))
        self.text(self.study_run, text_of(facts), FACTS)
        for run in stale:
            self._later(self._store.interrupt, run)
        for arm in arms:
            self._later(self._store.revive, self.arm_run(arm))
        start = self._store.started(self.study_run)
        self._load = MachineLoad(self._machine, start, self._load_seconds)
        return self.study_run

    def where(self) -> str:
        """The address of the arms' page, or how to come there."""
        if self.uri.startswith(("http:", "https:")):
            return f"{self.uri.rstrip('/')}/{link(self.experiment)}"
        return f"{hidden(self.uri)}  (make ui prints the link to these runs)"

    @property
    def study_run(self) -> str:
        """The run id of the study; empty before it was opened."""
        return self._tree.study_run

    def arm_run(self, arm: Arm) -> str:
        """The run id of an arm."""
        return self._tree.arm_run(arm)

    def knows(self, job: Job) -> bool:
        """Whether the store has this job's run, ended as jobs end."""
        return bool(self._store.outcome(self._tree.known(job)))

    def job_started(self, job: Job) -> None:
        """Create the job's run, or go on with the one it has."""
        self._writer.put(partial(self._start, job, moment()))

    def job_record(self, job: Job, record: Record) -> None:
        """Log an evaluation; ones the store has already (a replayed curve) are skipped.

        Tables of a trial's last record become artifacts. They are written again when the record
        comes again: the driver may have been killed between the metrics and them.
        """
        metrics, details = split(record, self._tree.arms[job.arm].objectives)
        step, now, tables = int(record["local_steps"]), moment(), dict(record.get("tables", {}))
        rounds: list[dict[str, float]] = record.get("rounds", [])

        def write(again: bool) -> None:
            run = self._tree.job_run(job, now, again)
            for name, text in tables.items():
                self.client.log_text(run, text, name)
            files = self._rows.setdefault(run, {})
            if details:
                row = {"local_steps": step, **details}
                files.setdefault(DETAILS_FILE, {})[step] = row
            for row in rounds:
                files.setdefault(ROUNDS_FILE, {})[int(row["round"])] = row
            self._store.add(run, metrics, step, now)
            self._flush_if_due()

        self._writer.put(write)

    def job_ended(self, job: Job, status: str, message: str) -> None:
        """Log what is left of the curve, and how the job ended."""
        now = moment()

        def write(again: bool) -> None:
            run = self._tree.job_run(job, now, again)
            if self._store.outcome(run) == status:
                return  # told before, and nothing new since
            for name, rows in self._rows.get(run, {}).items():
                self.client.log_text(run, table_of(rows), name)
            self._store.end_trial(run, status, message, now)
            self._rows.pop(run, None)

        def refused() -> None:
            """The end is worth more than a curve that the store refuses."""
            run = self._tree.known(job)
            if run is not None:
                self._store.drop(run)
                self._rows.pop(run, None)
                self._writer.put(write)

        self._writer.put(write, refused)

    def log_past(self, job: Job, status: str, records: list[Record]) -> None:
        """A whole job at once, from its record on disk."""
        for record in records:
            self.job_record(job, record)
        self.job_ended(job, status, "")

    def text(self, run: str, text: str, name: str) -> None:
        """Attach a text to a run."""
        self._later(self.client.log_text, run, text, name)

    def arm_result(self, result: ArmResult) -> None:
        """What an arm came to, in its run; its whole best configuration as `best.yaml`."""
        now = moment()
        text = yaml.safe_dump(result.best.to_flat(), sort_keys=False)

        def write(again: bool) -> None:
            run = write_result(self._store, result, now)
            self.client.log_text(run, text, "best.yaml")

        self._writer.put(write)

    def summary(self, answer: str, files: Sequence[tuple[Path, str]] = ()) -> str | None:
        """Show the answer (Markdown) in the description of the study's run, and attach files, each
        to the folder of its name (empty: none).

        Also after `close`; then what it returns is a warning like that of `close`.
        """
        note = study_note(self._facts, self.experiment, answer)
        self._later(self.client.set_tag, self.study_run, NOTE, note)
        for path, folder in files:
            self._later(self.client.log_artifact, self.study_run, str(path), folder or None)
        return self._writer.close() if self._closed else None

    def close(self, status: str) -> str | None:
        """Drain, end the runs of study and arms, and trials that have not ended as interrupted.

        A line about writes that failed, if any.
        """
        if self._load:
            self._load.stop()
        now = moment()

        def end(again: bool) -> None:
            for run in self._store.running_trials():
                self._later(self._store.cut, run, now)
            for run in self._tree.all_but_trials():
                self._later(self._store.end, run, status, now)

        self._writer.put(end)
        self._closed = True
        return self._writer.close()

    def _start(self, job: Job, now: int, again: bool) -> None:
        run = self._tree.job_run(job, now, again)
        if self._store.outcome(run) not in OUTCOMES:  # else it is a replay, until news come
            self._store.revive(run)
        self._flush_if_due()

    def _machine(self, means: Mapping[str, float], step: int) -> None:
        """The machine's load, on the study's run."""
        now = moment()

        def write(again: bool) -> None:
            self._store.log(self.study_run, means, step, now)
            self._flush_if_due()

        self._writer.put(write)

    def _flush_if_due(self) -> None:
        """A task a run, so that one that the store refuses holds up nobody else's."""
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flushed = time.monotonic()
            for run in self._store.unsent():
                refused = partial(self._store.drop, run)
                self._later(self._store.flush, run, refused=refused)

    def _later(
        self, write: Callable[..., object], *args: Any, refused: Callable[[], object] | None = None
    ) -> None:
        """Queue a write that may simply be repeated."""
        self._writer.put(lambda again: write(*args), refused)
