"""What a search found: the finalists, the jobs that confirm them, what ran before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from fl_core.config.trial_config import Value
from fl_core.study.jobs import SCORE, TIME, Arm, Job
from fl_core.study.trial_files import known_records
from fl_core.trial import Record

MOST = 6  # configurations of a Pareto front that are confirmed


def best_trials(study: optuna.Study, most: int = 1) -> list[FrozenTrial]:
    """The selection rule: the highest scores among trials that ran to their full budget.

    Ties go to the earliest; of trials with the same configuration the first stands for all.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    ranked = sorted(finished, key=lambda t: (-t.values[0], t.number))
    distinct = {trial.user_attrs["digest"]: trial for trial in reversed(ranked)}
    return [trial for trial in ranked if distinct[trial.user_attrs["digest"]] is trial][:most]


def pareto_front(study: optuna.Study) -> list[FrozenTrial]:
    """The finished trials that none beats in everything, best score first.

    Of trials with equal values the earliest: the others add nothing to the front.
    """
    points: dict[tuple[float, ...], FrozenTrial] = {}
    for trial in sorted(study.best_trials, key=lambda t: t.number):
        points.setdefault(tuple(trial.values), trial)
    return [points[values] for values in sorted(points, key=lambda v: (-v[0], *v[1:]))]


def thinned(front: list[FrozenTrial], most: int = MOST) -> list[FrozenTrial]:
    """At most `most` trials spread along a front, its ends (the best in each objective) included.

    Each further one is the farthest from those chosen, the score and the logarithms of the costs
    (bytes span decades) scaled to the ranges they have on the front; ties go to the higher score.
    """
    if len(front) <= most:
        return front
    points = np.array([trial.values for trial in front])  # (trials, objectives)
    costs = points[:, 1:]  # a view
    if (costs > 0).all():
        np.log(costs, out=costs)
    span = np.ptp(points, axis=0)
    points = points / np.where(span > 0, span, 1.0)
    chosen = list(dict.fromkeys([0, *map(int, points[:, 1:].argmin(axis=0))]))
    while len(chosen) < most:
        apart = np.linalg.norm(points[:, None] - points[chosen], axis=2)  # (trials, chosen)
        chosen.append(int(apart.min(axis=1).argmax()))
    return [front[place] for place in sorted(chosen[:most])]


def finalists(study: optuna.Study, most: int) -> list[FrozenTrial]:
    """What is confirmed: the best trials; with several objectives, the Pareto front, thinned."""
    if len(study.directions) > 1:
        return thinned(pareto_front(study))
    return best_trials(study, most)


def confirm(
    number: int,
    arm: Arm,
    study: optuna.Study,
    seeds: Sequence[int],
    overrides: Mapping[str, Value],
    most: int = 1,
) -> list[Job]:
    """The confirmation of an arm: each of its finalists with each fresh seed.

    The same seeds for all arms and finalists: their results are paired. None without a finished
    trial. These jobs alone read the test set (contract 5).
    """
    jobs = []
    for finalist in finalists(study, most):
        chosen = finalist.user_attrs["chosen"]
        for seed in seeds:
            config = arm.config.override({**chosen, **overrides, "seed": seed})
            jobs.append(Job("confirm", number, seed, config, chosen))
    return jobs


def past_jobs(
    arms: list[Arm], studies: Sequence[optuna.Study], folder: Path
) -> list[tuple[Job, str, list[Record]]]:
    """Search trials that ended in earlier runs: job, status, recorded curve."""
    past = []
    for number, study in enumerate(studies):
        for old in study.get_trials(deepcopy=False):
            if not old.state.is_finished() or "chosen" not in old.user_attrs:
                continue
            chosen = old.user_attrs["chosen"]
            job = Job("search", number, old.number, arms[number].config.override(chosen), chosen)
            status = old.user_attrs.get("status", "failed")
            records = known_records(folder, job) or _remembered(old, job, arms[number].objectives)
            past.append((job, status, records))
    return past


def _remembered(old: FrozenTrial, job: Job, objectives: Sequence[str]) -> list[Record]:
    """The curve of a trial whose file is damaged, as far as Optuna remembers it."""
    curve = {step: {SCORE: score} for step, score in sorted(old.intermediate_values.items())}
    if old.state == TrialState.COMPLETE:
        last = job.config.rounds * job.config.local.steps
        curve[last] = dict(zip((SCORE, *objectives), old.values, strict=True))
    return [{TIME: step, "val_accuracy": at[SCORE], **at} for step, at in curve.items()]
