"""Running jobs on Ray Tune: the search and the confirmation (layer 4; the only Ray imports
besides fl_core.search and fl_core.asha).

`run_study` searches every arm on validation data alone, then runs the jobs of
`fl_core.findings.confirm`: the chosen configurations with fresh seeds, the only ones that read the
test set.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

# Ray reads these when it is imported; its workers inherit them.
for _name, _value in {
    "RAY_AIR_NEW_OUTPUT": "0",  # our own display instead
    "RAY_AUTH_MODE": "disabled",  # a local instance; otherwise a token is written to $HOME
    "RAY_USAGE_STATS_ENABLED": "0",  # no network
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow is the log
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C stops at once: every trial has its checkpoint
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",  # our journal and trial files are the state
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # deterministic matrix products on a GPU
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads collapse when cores are shared
}.items():
    os.environ.setdefault(_name, _value)

import optuna  # noqa: E402
import ray  # noqa: E402
from ray import tune  # noqa: E402

from fl_core.asha import ArmASHA  # noqa: E402
from fl_core.config import Machine, UserError, Value  # noqa: E402
from fl_core.jobs import SCORE, Arm, Job, outcome  # noqa: E402
from fl_core.search import JOURNAL, ArmSearcher, Space, Unpickled  # noqa: E402
from fl_core.trial import (  # noqa: E402
    Record,
    forget_state,
    mask_report,
    run_trial,
    test_metrics,
    trial_path,
)


class Listener(Protocol):
    """Hears of every job: the display and the tracker."""

    def job_started(self, job: Job) -> None: ...
    def job_record(self, job: Job, record: Record) -> None: ...
    def job_ended(self, job: Job, status: str, message: str) -> None: ...


@dataclass(frozen=True)
class Workers:
    """How jobs are spread over the machine."""

    slots: int  # jobs at a time
    cpus: float  # of each
    gpus: float  # of each, a fraction 1/n shares a GPU


class TrialRunner(tune.Trainable):  # type: ignore[misc]
    """One evaluation interval a `step`; the process is reused for the next job."""

    def setup(self, config: dict[str, Any], machine: Machine, folder: Path) -> None:
        self.machine, self.folder = machine, folder
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.job = Job.from_json(new_config["job"])
        self.records = run_trial(self.job.config, self.machine, self.folder)
        self.best = 0.0
        return True

    def step(self) -> dict[str, Any]:
        record = dict(next(self.records))
        record["finished"] = record["done"]
        if self.job.phase == "search":
            record[SCORE] = self._score(record)
        if record["finished"]:
            path = trial_path(self.folder, self.job.config)
            if self.job.phase == "search":
                forget_state(path)
            elif not record["diverged"]:
                record |= test_metrics(self.job.config, self.machine, self.folder)
                metrics, tables = mask_report(self.job.config, self.machine)
                record |= metrics | ({"tables": tables} if tables else {})
        return record

    def _score(self, record: Record) -> float:
        """Validation accuracy of the parameters that would be kept; 0 for a diverged trial."""
        accuracy = float(record.get("val_accuracy", 0.0))
        self.best = max(self.best, accuracy)
        if record["diverged"]:
            return 0.0
        return self.best if self.job.config.fine_tune.keep == "best" else accuracy

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: run_trial keeps its own checkpoints, by content."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: run_trial finds its own checkpoint."""


class _Relay(Unpickled, tune.Callback):  # type: ignore[misc]
    """Tune's callbacks, passed on to the listeners; keeps failures and prunes the disk."""

    def __init__(self, listeners: Sequence[Listener], folder: Path) -> None:
        self.listeners, self.folder = listeners, folder
        self.failures: list[str] = []
        self.started: set[str] = set()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        if trial.trial_id not in self.started:  # a retried trial is not a new one
            self.started.add(trial.trial_id)
            for listener in self.listeners:
                listener.job_started(Job.from_json(trial.config["job"]))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        job = Job.from_json(trial.config["job"])
        for listener in self.listeners:
            listener.job_record(job, result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        job = Job.from_json(trial.config["job"])
        status = outcome(trial.last_result)
        path = trial_path(self.folder, job.config)
        if status == "pruned" and path.exists():
            forget_state(path)
        for listener in self.listeners:
            listener.job_ended(job, status, "")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        lines = str(trial.get_pickled_error() or "worker died").strip().splitlines()
        self.failures.append(lines[-1])
        for listener in self.listeners:
            listener.job_ended(Job.from_json(trial.config["job"]), "failed", lines[-1])


@contextmanager
def ray_session(address: str | None = None, cpus: int | None = None) -> Iterator[None]:
    """A local Ray instance for the time of a study (or a connection to a cluster's)."""
    options: dict[str, Any] = {"address": address or "local", "logging_level": "ERROR"}
    if address is None:
        options |= {"num_cpus": cpus, "include_dashboard": False}
    try:
        ray.init(log_to_driver=False, configure_logging=True, **options)
    except (ConnectionError, RuntimeError, OSError) as error:
        raise UserError(f"Ray does not start: {str(error).splitlines()[0]}") from error
    try:
        yield
    finally:
        ray.shutdown()


def run_study(
    arms: list[Arm],
    space: Space,
    trials: int,
    *,
    folder: Path,
    machine: Machine,
    workers: Workers,
    seed: int,
    grace_steps: int | None,
    then: Callable[[int, optuna.Study], list[Job]],
    listeners: Sequence[Listener],
    first: Sequence[Mapping[str, Value]] = (),
) -> None:
    """Search every arm until it has had `trials` trials, then run the jobs `then` makes of each.

    What finished in an earlier run is not repeated. `grace_steps`: local steps before ASHA may
    stop a trial; None runs every trial to its end. `first`: points of the space that every arm
    tries before any other. Raises UserError if every job failed.
    """
    searcher = ArmSearcher(arms, space, trials, folder / JOURNAL, seed, then, first)
    scheduler = None if grace_steps is None else ArmASHA(searcher, grace_steps)
    relay = _Relay(listeners, folder / "trials")
    trainable = tune.with_parameters(TrialRunner, machine=machine, folder=folder / "trials")
    scratch = tempfile.mkdtemp(prefix="fl-tune-")  # Tune's own records: nothing we need
    try:
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": workers.cpus, "gpu": workers.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,
                max_concurrent_trials=workers.slots,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                verbose=0,
                callbacks=[relay],
                failure_config=tune.FailureConfig(max_failures=2),
            ),
        ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if relay.failures and len(relay.failures) == len(relay.started):
        raise UserError(f"every trial failed; the last one: {relay.failures[-1]}")
