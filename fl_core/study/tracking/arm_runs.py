"""The run of an arm once its search and confirmation have ended: what it came to.

Parameters are those chosen, and MLflow never changes a parameter: where a longer search has chosen
others, a new run takes the arm's place, with its trials and files, and the old one goes to MLflow's
bin. Metrics that the store has already are not written again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlflow.entities import Metric, Param, Run

from fl_core.config.trial_config import TrialConfig
from fl_core.study.jobs import Arm
from fl_core.study.tracking.notes import NOTE, arm_note
from fl_core.study.tracking.runs import PARENT, RunStore

CURVE = "val_accuracy"


@dataclass(frozen=True)
class ArmResult:
    """What an arm came to. metrics: single numbers by name. curve: local step -> validation
    accuracy of the winner, mean over the confirmation seeds. answer: the same in one line.
    """

    arm: Arm
    best: TrialConfig
    metrics: Mapping[str, float]
    curve: Mapping[int, float]
    answer: str


def write_result(store: RunStore, result: ArmResult, at: int) -> str:
    """Put a result into the arm's run; its id. May be repeated, also after a half-done try."""
    best = result.best.to_flat()
    params = {name: str(value) for name, value in best.items()}
    twins = store.twins({"kind": "arm", "arm_digest": result.arm.digest()})
    fit = next((run for run in twins if _agrees(run, params)), None)
    fit = fit or store.copied(twins[0], at)
    for other in twins:
        if other.info.run_id != fit.info.run_id:
            _take_over(store, other.info.run_id, fit.info.run_id)
    missing = [Param(n, value) for n, value in params.items() if n not in fit.data.params]
    run: str = fit.info.run_id
    store.client.log_batch(run, _news(store, fit, result, at), missing)
    note = arm_note(result.arm, best, result.answer)
    store.client.set_tag(run, NOTE, note)
    return run


def _agrees(run: Run, params: Mapping[str, str]) -> bool:
    return all(run.data.params.get(name, value) == value for name, value in params.items())


def _news(store: RunStore, run: Run, result: ArmResult, at: int) -> Sequence[Metric]:
    """The numbers that the run does not show yet."""
    shown = run.data.metrics
    single = [Metric(n, v, at, 0) for n, v in result.metrics.items() if shown.get(n) != v]
    history = store.client.get_metric_history(run.info.run_id, CURVE) if CURVE in shown else []
    drawn = {one.step: one.value for one in sorted(history, key=lambda one: one.timestamp)}
    points = result.curve.items()
    return [*single, *(Metric(CURVE, v, at, step) for step, v in points if drawn.get(step) != v)]


def _take_over(store: RunStore, old: str, new: str) -> None:
    """The trials and files of an arm's run, which then goes."""
    for trial in store.search(f"tags.`{PARENT}` = '{old}'"):
        store.client.set_tag(trial.info.run_id, PARENT, new)
    with tempfile.TemporaryDirectory(prefix="fl-") as folder:
        for file in store.client.list_artifacts(old):
            store.client.log_artifact(new, store.client.download_artifacts(old, file.path, folder))
    store.forget(old)
