"""Running a study's jobs on Ray Tune, on one machine or a cluster (the only Ray imports).

Tune asks for jobs, spreads them over workers that are reused, and starts a job of a dead worker
again; what is tried and what is stopped, `study.search` says through `dispatch`.
Neither Tune's checkpoints nor its experiment state are used: jobs are idempotent.
"""

from __future__ import annotations

import _thread
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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

import psutil  # noqa: E402
import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import FIFOScheduler, TrialScheduler  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

from fl_core.base.addresses import answers, check_ray_address, split  # noqa: E402
from fl_core.base.errors import UserError  # noqa: E402
from fl_core.base.machine import Machine  # noqa: E402
from fl_core.study.jobs import Job, Workers  # noqa: E402
from fl_core.study.reports import Evaluated, Failed, Report, from_json, to_json  # noqa: E402
from fl_core.study.trial_files import Places  # noqa: E402
from fl_core.study.workers.cluster import check_cluster, within_one_machine  # noqa: E402
from fl_core.study.workers.dispatch import Conductor  # noqa: E402
from fl_core.study.workers.gpu import release  # noqa: E402
from fl_core.study.workers.run_job import attempt  # noqa: E402

SILENCE = 20  # seconds without an answer, after which a cluster's head is given up


class TrialRunner(tune.Trainable):  # type: ignore[misc]
    """One evaluation interval a `step`; the process is reused for the next job."""

    def setup(self, config: dict[str, Any], machine: Machine, places: Places) -> None:
        self.machine, self.places = machine, places
        self.reports: Any = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        if self.reports is not None:  # of a stopped job: its memory is free before the next begins
            self.reports.close()
            release(self.machine.device)
        self.reports = attempt(Job.from_json(new_config["job"]), self.machine, self.places)
        return True

    def step(self) -> dict[str, Any]:
        report = next(self.reports)
        done = isinstance(report, Evaluated) and report.record["done"]
        # as text: Tune flattens what is nested before the searcher hears of it
        return {"report": to_json(report), "done": bool(done)}

    def cleanup(self) -> None:
        self.reports.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: run_trial keeps its own checkpoints, by content."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: run_trial finds its own checkpoint."""


def _told(result: Mapping[str, Any] | None) -> Report:
    """What `TrialRunner.step` put into a result of Tune's."""
    text = (result or {}).get("report")
    return Failed("") if text is None else from_json(text)


class _Unpickled:
    """Tune pickles its parts for `Tuner.restore`; ours have their state on disk and stay out."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> _Unpickled:
        return self


class _Jobs(_Unpickled, Searcher):  # type: ignore[misc]
    """Tune's searcher: hands out the conductor's jobs."""

    def __init__(self, conductor: Conductor) -> None:
        super().__init__()  # no metric: confirmation jobs have no score to search by
        self.conductor = conductor
        self.live: dict[str, Job] = {}  # by Tune's trial id

    def suggest(self, trial_id: str) -> dict[str, str] | str | None:
        """The next job, as Tune configuration; None while there is only to wait."""
        job = self.conductor.next_job()
        if job is None:
            return str(Searcher.FINISHED) if self.conductor.ended else None
        self.live[trial_id] = job
        return {"job": job.to_json()}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The end of a job; of one that failed, `_Failures` hears the reason."""
        if error or trial_id not in self.live:
            return
        job, last = self.live.pop(trial_id), _told(result)
        # Tune's scheduler does not hear of the last evaluation
        if isinstance(last, Evaluated) and last.record["finished"]:
            self.conductor.report(job, last)
        self.conductor.end(job, last)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the journal holds it all."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the journal holds it all."""


class _Verdicts(_Unpickled, FIFOScheduler):  # type: ignore[misc]
    """Tune's scheduler: passes reports on, stops what the conductor says."""

    def __init__(self, jobs: _Jobs) -> None:
        super().__init__()
        self.jobs = jobs

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """CONTINUE or STOP."""
        stop = self.jobs.conductor.report(self.jobs.live[trial.trial_id], _told(result))
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)


class _Failures(_Unpickled, tune.Callback):  # type: ignore[misc]
    """Tune's callback: why a job failed, after it was tried three times."""

    def __init__(self, jobs: _Jobs) -> None:
        self.jobs = jobs

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        details = str(trial.get_pickled_error() or "worker died").strip()
        if trial.trial_id in self.jobs.live:
            self.jobs.conductor.end(self.jobs.live.pop(trial.trial_id), Failed(details))


class _Abort(_Unpickled, tune.Stopper):  # type: ignore[misc]
    """Tune's stopper: ends the run when no job can go on."""

    def __init__(self, conductor: Conductor) -> None:
        self.conductor = conductor

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False  # the last record says `done` itself

    def stop_all(self) -> bool:
        return self.conductor.aborted is not None


@contextmanager
def ray_session(address: str | None = None, cpus: int | None = None) -> Iterator[None]:
    """A local Ray instance for the time of a study (or a connection to a cluster's)."""
    options: dict[str, Any] = {"address": address or "local", "logging_level": "ERROR"}
    if address is None:
        options |= {"num_cpus": cpus, "include_dashboard": False}
    else:
        check_ray_address(address)
    try:
        ray.init(log_to_driver=False, configure_logging=True, **options)
    except Exception as error:  # Ray raises bare ones, too, when a busy machine is slow to start it
        what = f"--ray-address {address}" if address else "Ray does not start"
        raise UserError(f"{what}: {' '.join(str(error).split())[:300]}") from error
    try:
        yield
    finally:
        ray.shutdown()


def run_on_ray(conductor: Conductor, machine: Machine, places: Places, workers: Workers) -> None:
    """Every job of the study. Raises UserError where the user must mend something."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are told by the display
    check_cluster(places.own, workers)
    jobs = _Jobs(conductor)
    trainable = tune.with_parameters(TrialRunner, machine=machine, places=places)
    scratch = _scratch()  # Tune's own records: nothing we need
    tuner = tune.Tuner(
        tune.with_resources(trainable, within_one_machine(workers)),
        tune_config=tune.TuneConfig(
            search_alg=jobs,
            scheduler=_Verdicts(jobs),
            num_samples=-1,
            max_concurrent_trials=workers.slots,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            storage_path=scratch,
            verbose=0,
            callbacks=[_Failures(jobs)],
            stop=_Abort(conductor),
            failure_config=tune.FailureConfig(max_failures=2),
            # at a class's end Tune makes one unless told; scratch is not there on other nodes
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    try:
        with _watched(conductor):
            tuner.fit()
    except (Exception, KeyboardInterrupt):
        if conductor.aborted is None:
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    conductor.close()


def _scratch() -> str:
    """A folder that goes away: at the end, or at the start of the next study after a kill."""
    for left in Path(tempfile.gettempdir()).glob("fl-tune-*-*"):
        if not psutil.pid_exists(int(left.name.split("-")[2])):
            shutil.rmtree(left, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"fl-tune-{os.getpid()}-")


@contextmanager
def _watched(conductor: Conductor) -> Iterator[None]:
    """Stop when Ray itself dies, here or at the head of a cluster: Tune would retry its trials to
    death first, and Ray end this process after a minute.
    """
    ours = [child for child in psutil.Process().children() if child.name() == "raylet"]
    head = ray.get_runtime_context().gcs_address
    over = threading.Event()

    def watch() -> None:
        heard = time.monotonic()
        while not over.wait(0.5):
            if answers(*split(head)):
                heard = time.monotonic()
            lost = time.monotonic() - heard > SILENCE
            whole = all(raylet.is_running() and raylet.status() != "zombie" for raylet in ours)
            if whole and not lost:
                continue
            conductor.aborted = "Ray's own process died (killed, or the machine's memory is full)"
            if whole:
                conductor.aborted = f"the Ray cluster's head, {head}, does not answer any more"
            _thread.interrupt_main()
            if not over.wait(10):
                end = f"error: {conductor.aborted}; the same command goes on from here"
                print(end, file=sys.stderr)
                os._exit(2)
            return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
