"""What a search found: the finalists, the jobs that confirm them, what ran before."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from fl_core.base.errors import UserError
from fl_core.config.record import Record
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.study import selection
from fl_core.study.jobs import NEIGHBOUR, SCORE, TIME, Arm, Job
from fl_core.study.trial_files import known_records


def best_trials(study: optuna.Study, most: int = 1) -> list[FrozenTrial]:
    """The finished trials with the highest scores, of distinct configurations."""
    return best_of(_finished(study), most)


def best_of(trials: Sequence[FrozenTrial], most: int = 1) -> list[FrozenTrial]:
    """The same of some finished trials."""
    rows = [_candidate(trial)._replace(costs=()) for trial in trials]
    return [trials[place] for place in selection.finalists(rows, most)]


def pareto_front(study: optuna.Study) -> list[FrozenTrial]:
    """The finished trials that none beats in everything, nor the start of any; best first."""
    trials = _finished(study)
    measured = (trial.user_attrs.get("start") for trial in trials)
    starts = [selection.Candidate(score, tuple(costs)) for score, *costs in filter(None, measured)]
    front = selection.pareto_front([*map(_candidate, trials), *starts])
    return [trials[place] for place in front if place < len(trials)]


def thinned(front: list[FrozenTrial], most: int = selection.MOST) -> list[FrozenTrial]:
    """At most `most` trials spread along a front."""
    return [front[place] for place in selection.thinned(list(map(_candidate, front)), most)]


def finalists(study: optuna.Study, most: int) -> list[FrozenTrial]:
    """What is confirmed: the best trials; with several objectives, the Pareto front, thinned, or
    where the start beats every trial, the best of them.
    """
    front = pareto_front(study) if len(study.directions) > 1 else []
    return thinned(front) if front else best_trials(study, most)


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _candidate(trial: FrozenTrial) -> selection.Candidate:
    """A finished trial as the rules see it."""
    score, *costs = trial.values
    return selection.Candidate(score, tuple(costs), (trial.number,), configuration_of(trial))


def configuration_of(trial: FrozenTrial) -> Hashable:
    """Equal for trials of the same configuration."""
    digest: Hashable = trial.user_attrs.get("digest", trial.number)
    return digest


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

    Without validation images, on train+val, nothing can stop early and no evaluation is the best:
    they do as many rounds of the schedule as the finalist's parameters had.
    """
    jobs = []
    for finalist in finalists(study, most):
        chosen = finalist.user_attrs["chosen"]
        for seed in seeds:
            config = arm.config.override({**chosen, **overrides, "seed": seed})
            if config.data.train_on == "train+val" and config.stops_early:
                config = config.override({"stop_round": _rounds_of(finalist, config, arm)})
            jobs.append(Job("confirm", number, seed, config, chosen))
    return jobs


def _rounds_of(trial: FrozenTrial, config: TrialConfig, arm: Arm) -> int:
    """After how many rounds a finished trial had the parameters that counted at its end.

    Its curve is of the parameters that are kept: the best ones' first step has its maximum.
    """
    curve = trial.intermediate_values
    if not curve:
        why = "has no recorded curve to say after how many rounds to stop"
        raise UserError(f"--confirm-on train+val: trial {trial.number} of arm {arm.name} {why}")
    best = max(curve.values())
    first = min(step for step, score in curve.items() if score == best)
    step = first if config.keep == "best" else max(curve)
    return step // config.local.steps


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
            config, found = arms[number].config.override(chosen), old.user_attrs.get(NEIGHBOUR, "")
            job = Job("search", number, old.number, config, chosen, neighbour=found)
            status = old.user_attrs.get("status", "failed")
            records = known_records(folder, job) or _remembered(old, job, arms[number].objectives)
            past.append((job, status, records))
    return past


def _remembered(old: FrozenTrial, job: Job, objectives: Sequence[str]) -> list[Record]:
    """The curve of a trial whose file is damaged, as far as Optuna remembers it."""
    curve = {step: {SCORE: score} for step, score in sorted(old.intermediate_values.items())}
    if old.state == TrialState.COMPLETE:  # of several objectives there is no curve
        last = max(curve, default=job.config.last_round * job.config.local.steps)
        curve[last] = dict(zip((SCORE, *objectives), old.values, strict=True))
    return [{TIME: step, "val_accuracy": at[SCORE], **at} for step, at in curve.items()]
