"""Running a study's jobs on Ray Tune, on one machine or a cluster.

Tune asks for jobs, spreads them over workers that are reused, and starts a job of a dead worker
again; what is tried and what is stopped, `study.search` says through `dispatch`.
Neither Tune's checkpoints nor its experiment state are used: jobs are idempotent.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from fl_core.base.machine import Machine
from fl_core.study import stopping
from fl_core.study.jobs import Job, Workers
from fl_core.study.reports import Evaluated, Failed, Report, from_json, to_json
from fl_core.study.stopping import Stopped
from fl_core.study.trial_files import Places
from fl_core.study.workers.cluster import check_cluster, within_one_machine
from fl_core.study.workers.dispatch import Conductor
from fl_core.study.workers.gpu import release
from fl_core.study.workers.post_mortem import post_mortem
from fl_core.study.workers.ray_instance import watched
from fl_core.study.workers.run_job import attempt
from fl_core.study.workers.scratch import private_folder


class TrialRunner(tune.Trainable):  # type: ignore[misc]
    """One evaluation interval a `step`; the process is reused for the next job, unless this one
    failed: on a GPU it may have left nothing that works.
    """

    def setup(self, config: dict[str, Any], machine: Machine, places: Places) -> None:
        self.machine, self.places = machine, places
        self.reports: Any = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        if self.reports is not None:  # of a stopped job: its memory is free before the next begins
            self.reports.close()
            release(self.machine.device)
        self.reports = attempt(Job.from_json(new_config["job"]), self.machine, self.places)
        self.failed = False
        return True

    def step(self) -> dict[str, Any]:
        if self.failed:
            raise RuntimeError("the job failed, and has said why")
        report = next(self.reports)
        self.failed = isinstance(report, Failed)
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
        self.reasons: dict[str, str] = {}  # why one failed, in its own words

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
        """CONTINUE or STOP; after a failure the former, so that Tune ends the process, too."""
        told = _told(result)
        if isinstance(told, Failed):
            self.jobs.reasons[trial.trial_id] = told.details
            trial.max_failures = 0  # it would fail again; tried again is a job whose worker died
            return str(TrialScheduler.CONTINUE)
        stop = self.jobs.conductor.report(self.jobs.live[trial.trial_id], told)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)


class _Failures(_Unpickled, tune.Callback):  # type: ignore[misc]
    """Tune's callback: a job has failed, or its worker died three times."""

    def __init__(self, jobs: _Jobs, logs: Path | None) -> None:
        self.jobs, self.logs = jobs, logs

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        if trial.trial_id in self.jobs.live:
            told = self.jobs.reasons.pop(trial.trial_id, None)
            last = Failed(told) if told else post_mortem(Path(trial.error_file), self.logs)
            self.jobs.conductor.end(self.jobs.live.pop(trial.trial_id), last)


class _Abort(_Unpickled, tune.Stopper):  # type: ignore[misc]
    """Tune's stopper: ends the run when no job can go on."""

    def __init__(self, conductor: Conductor) -> None:
        self.conductor = conductor

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False  # the last record says `done` itself

    def stop_all(self) -> bool:
        return self.conductor.aborted is not None


def run_on_ray(
    conductor: Conductor,
    machine: Machine,
    places: Places,
    workers: Workers,
    logs: Path | None = None,
) -> None:
    """Every job of the study. Raises UserError where the user must mend something.

    logs: where Ray keeps what the workers print, if it is on this machine.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are told by the display
    check_cluster(places.own, workers)
    trainable = tune.with_parameters(TrialRunner, machine=machine, places=places)
    sized = tune.with_resources(trainable, within_one_machine(workers))
    try:
        with private_folder(Path(tempfile.gettempdir())) as scratch, watched(conductor):
            _tuner(sized, conductor, workers.slots, scratch, logs).fit()
    except (Exception, KeyboardInterrupt) as error:
        if number := stopping.asked():  # whatever else broke on the way
            raise Stopped(number) from error
        if conductor.aborted is None:
            raise
    conductor.close()


def _tuner(
    trainable: Any, conductor: Conductor, slots: int, scratch: Path, logs: Path | None
) -> tune.Tuner:
    """Tune as the conductor's hands. `scratch` is for its own records: nothing we need."""
    jobs = _Jobs(conductor)
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=jobs,
            scheduler=_Verdicts(jobs),
            num_samples=-1,
            max_concurrent_trials=slots,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            storage_path=str(scratch),
            verbose=0,
            callbacks=[_Failures(jobs, logs)],
            stop=_Abort(conductor),
            failure_config=tune.FailureConfig(max_failures=2),
            # at a class's end Tune makes one unless told; scratch is not there on other nodes
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
