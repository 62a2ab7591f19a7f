"""The runs of one study in MLflow, found by the tags that name them.

Works in the thread of the queue (`outbox`). Every method may be repeated after an answer that
was lost: a run is looked for before it is created again, rows that the store has are not doubled
(a metric's key, time, step and value are its identity there), and what is buffered is dropped only
once sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlflow.entities import Metric, Param, Run, RunTag

from fl_core.study.tracking.client import connect, is_outage, is_server_error

PAGE = 1000  # runs a search answers with at a time
PARENT = "mlflow.parentRunId"
OUTCOMES = frozenset(("finished", "pruned", "diverged"))  # a trial that ended so does not go on
_ENDS = OUTCOMES | {"failed"}
NAMING = ("kind", "arm_digest", "phase", "number", "digest")  # the tags that name a run
_STATUS = {"pruned": "KILLED", "failed": "FAILED", "interrupted": "KILLED"}


@dataclass
class _Unsent:
    metrics: list[Metric] = field(default_factory=list)
    params: Mapping[str, object] = field(default_factory=dict)


class RunStore:
    """What is in the store, and what waits to be sent in one batch a run."""

    def __init__(self, uri: str, experiment: str, cache: Path | None = None) -> None:
        self.client, self.experiment = connect(uri, experiment, cache)
        self._study = ""
        self._forget()

    def _forget(self) -> None:
        self._runs: dict[tuple[str, ...], str] = {}  # naming tags -> run id
        self._logged: dict[str, int] = {}  # run id -> last local step in the store or the buffer
        self._trials: set[str] = set()  # run ids
        self._said: dict[str, str] = {}  # trial's run id -> tag status as found
        self._ended: dict[str, str] = {}  # trial's run id -> tag status, unless it runs
        self._parents: dict[str, str] = {}  # run id -> that of the run it is shown below
        self._start: dict[str, int] = {}  # run id -> ms since the epoch
        self._running: dict[str, None] = {}  # run ids that MLflow shows as running
        self._unsent: dict[str, _Unsent] = {}
        self._bare: set[str] = set()  # run ids without parameters: a driver died before they came

    def load(self, study: str) -> list[str]:
        """Find all runs of a study; returns the trials' that were running when a driver died."""
        self._forget()
        self._study = study
        for run in self.search(f"tags.study_digest = '{study}'"):
            self._note(run)
        return self.running_trials()

    def search(self, query: str) -> Iterator[Run]:
        """The experiment's runs that match, a page in memory at a time."""
        token: str | None = ""
        while token is not None:
            page = self.client.search_runs(
                [self.experiment], query, max_results=PAGE, page_token=token or None
            )
            yield from page
            token = page.token or None

    def twins(self, tags: Mapping[str, str]) -> list[Run]:
        """The runs that these tags name: one, or several where an answer was lost."""
        wanted = {"study_digest": self._study, **tags}
        query = " and ".join(f"tags.{name} = '{value}'" for name, value in wanted.items())
        return [run for run in self.search(query) if naming(run.data.tags) == naming(wanted)]

    def _note(self, run: Run) -> None:
        name, tags = run.info.run_id, run.data.tags
        self._runs[naming(tags)] = name
        self._logged[name] = int(run.data.metrics.get("local_steps", -1))
        self._start[name] = run.info.start_time
        self._parents[name] = tags.get(PARENT, "")
        if not run.data.params and tags.get("kind") != "study":
            self._bare.add(name)
        if tags.get("kind") == "trial":
            self._trials.add(name)
            self._said[name] = tags.get("status", "")
        if run.info.status == "RUNNING":
            self._running[name] = None
        elif name in self._trials:
            self._ended[name] = self._said[name]

    def hang(self, study: str, arms: Mapping[str, str]) -> None:
        """Put arms' runs (by arm's digest) below the study's and trials' below their arm's, where
        the one that they were below was deleted.
        """
        for (kind, digest, *_), run in self._runs.items():
            parent = {"arm": study, "trial": arms.get(digest, "")}.get(kind, "")
            if parent and self._parents[run] != parent:
                self.client.set_tag(run, PARENT, parent)
                self._parents[run] = parent

    def find(self, tags: Mapping[str, str]) -> str | None:
        """The run that these tags name."""
        return self._runs.get(naming(tags))

    def create(
        self, tags: Mapping[str, str], name: str, params: Mapping[str, object], at: int, again: bool
    ) -> str:
        """A new run; its parameters go with its first batch. `again`: it may be there already."""
        fields = {**tags, "study_digest": self._study}
        if again:
            for run in self.twins({key: fields[key] for key in NAMING if key in fields}):
                self._note(run)
        key = naming(fields)
        if key not in self._runs:
            run = self.client.create_run(self.experiment, at, fields, name)
            self._note(run)
        self._bare.add(self._runs[key])
        self.complete(self._runs[key], params)
        return self._runs[key]

    def copied(self, old: Run, at: int) -> Run:
        """A new, ended run of the same name and tags, which takes the old one's place."""
        tags, info = old.data.tags, old.info
        new = self.client.create_run(self.experiment, info.start_time, tags, info.run_name)
        self.client.set_terminated(new.info.run_id, "FINISHED", at)
        self._runs[naming(tags)] = new.info.run_id
        self._start[new.info.run_id] = info.start_time
        return new

    def forget(self, run: str) -> None:
        """Move a run to MLflow's bin."""
        self.client.delete_run(run)
        self._running.pop(run, None)

    def complete(self, run: str, params: Mapping[str, object]) -> None:
        """Its parameters, with the next batch, where the store has none."""
        if run in self._bare:
            self._bare.discard(run)
            self._unsent.setdefault(run, _Unsent()).params = params

    def revive(self, run: str) -> None:
        """Running again. (MLflow keeps the end time of before; it is replaced at the new end.)"""
        if run not in self._running:
            tags = [RunTag("status", "running")] if run in self._trials else []
            self.client.log_batch(run, tags=tags)
            self.client.update_run(run, status="RUNNING")
            self._running[run] = None
            self._ended.pop(run, None)

    def outcome(self, run: str | None) -> str:
        """How a trial ended for good, or failed; empty if it did not."""
        status = self._ended.get(run or "", "")
        return status if status in _ENDS and run not in self._bare else ""

    def add(self, run: str, values: Mapping[str, float], step: int, at: int) -> None:
        """Buffer an evaluation; the store's own (a replayed curve) are skipped."""
        if step <= self._logged.get(run, -1):
            return
        if run not in self._running:
            self.revive(run)
        self._logged[run] = step
        rows = [Metric(name, value, at, step) for name, value in values.items()]
        self._unsent.setdefault(run, _Unsent()).metrics.extend(rows)

    def unsent(self) -> list[str]:
        """The runs with something buffered."""
        return list(self._unsent)

    def flush(self, run: str, tags: Mapping[str, str] | None = None) -> None:
        """Send what is buffered for a run, and tags, in as few calls as MLflow's limits allow."""
        rows = self._unsent.get(run, _Unsent())
        params = [Param(name, str(value)) for name, value in rows.params.items()]
        self.client.log_batch(
            run, rows.metrics, params, [RunTag(n, v) for n, v in (tags or {}).items()]
        )
        self._unsent.pop(run, None)

    def drop(self, run: str) -> None:
        """Forget what the store refuses, so that the rest gets through."""
        self._unsent.pop(run, None)

    def end(self, run: str, status: str, at: int) -> None:
        """A run's end in MLflow's own terms."""
        self.client.set_terminated(run, status, at)
        self._running.pop(run, None)

    def end_trial(self, run: str, status: str, message: str, at: int) -> None:
        """Send what is left of a trial, and how it ended."""
        self.flush(run, {"status": status, **({"message": message} if message else {})})
        self.end(run, _STATUS.get(status, "FINISHED"), at)
        self._ended[run] = status

    def interrupt(self, run: str) -> None:
        """A trial whose driver died: it ended with its last evaluation, or as its tag says, if the
        driver died between the two writes of its end.
        """
        said = self._said[run]
        history = self.client.get_metric_history(run, "local_steps")
        last = max((metric.timestamp for metric in history), default=self._start[run])
        self.end_trial(run, said if said in _ENDS else "interrupted", "", last)

    def cut(self, run: str, at: int) -> None:
        """A trial that the end of its study finds running, if it still does."""
        if run in self._running:
            self.end_trial(run, "interrupted", "", at)

    def running_trials(self) -> list[str]:
        """The trials that have not ended."""
        return [run for run in self._running if run in self._trials]

    def log(self, run: str, values: Mapping[str, float], step: int, at: int) -> None:
        """Metrics at once, unbuffered."""
        self.client.log_batch(
            run, [Metric(name, value, at, step) for name, value in values.items()]
        )

    def started(self, run: str) -> float:
        """When a run began, in seconds since the epoch."""
        return self._start[run] / 1000

    def is_away(self, error: Exception) -> bool:
        """An outage, or a server's error while it answers nobody."""
        return is_outage(error) or (is_server_error(error) and not self._answers())

    def _answers(self) -> bool:
        try:
            self.client.get_experiment(self.experiment)
        except Exception:  # whichever way it does not
            return False
        return True


def naming(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The tags that name a run within a study."""
    return tuple(tags.get(name, "") for name in NAMING)
