"""Searches with several objectives: the Pareto front, its thinning, its confirmation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from fl_core.base.errors import UserError
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.study.jobs import SCORE, TIME, Arm, Job
from fl_core.study.plan import Plan
from fl_core.study.search.confirm import (
    best_trials,
    confirm,
    finalists,
    pareto_front,
    past_jobs,
    thinned,
)
from fl_core.study.search.journal import JOURNAL, open_studies
from fl_core.study.search.search import Search

Point = tuple[float, float]  # score, bytes


def space(trial: optuna.Trial) -> Mapping[str, Value]:
    return {
        "local.lr": trial.suggest_float("local.lr", 1e-3, 1.0, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.9),
    }


def arm(*objectives: str) -> Arm:
    config = TrialConfig().override({"rounds": 10, "local.steps": 4})
    return Arm("all", {}, config, objectives)


def searcher(tmp_path: Path, trials: int) -> Search:
    return Search([arm("bytes_up")], space, Plan(trials), tmp_path / JOURNAL)


def record(score: float, bytes_up: float, **more: Any) -> dict[str, Any]:
    values = {TIME: 40, SCORE: score, "bytes_up": bytes_up, "finished": True, "diverged": False}
    return {**values, **more}


def suggested(one: Search) -> Job:
    job = one.next_job()
    assert job is not None
    return job


def drive(one: Search, first: int, last: int) -> list[Job]:
    """Ask for and finish trials, one at a time; each sixth diverges, having sent little."""
    jobs = []
    for n in range(first, last):
        job = suggested(one)
        assert not one.report(job, record(0.1, 10.0, finished=False))  # ASHA would compare
        local = job.config.local
        end = record(0.9 - abs(local.lr - 0.1), 100 * (1 - local.momentum))
        if n % 6 == 5:
            end = record(0.0, 1.0, diverged=True)
        one.end(job, end)
        jobs.append(job)
    return jobs


def study_of(points: list[Point]) -> optuna.Study:
    """An Optuna study whose finished trials have these values."""
    study = optuna.create_study(directions=["maximize", "minimize"])
    for n, values in enumerate(points):
        trial = study.ask()
        trial.set_user_attr("chosen", {"local.lr": 0.01 * (n + 1)})
        study.tell(trial, values)
    return study


# --- the search -----------------------------------------------------------------------------------


def test_trials_are_told_score_and_cost(tmp_path: Path) -> None:
    one = searcher(tmp_path, 3)
    jobs = [suggested(one) for _ in range(3)]
    one.report(jobs[0], record(0.3, 10.0, finished=False))  # no curve is kept, no error
    one.end(jobs[0], record(0.7, 100.0))
    one.end(jobs[1], record(0.0, 1.0, diverged=True))
    one.end(jobs[2], None)
    trials = one.studies[0].get_trials()
    assert [t.state for t in trials] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    assert trials[0].values == [0.7, 100.0]
    assert trials[1].user_attrs["status"] == "diverged"
    assert [t.number for t in pareto_front(one.studies[0])] == [0]
    assert [t.number for t in best_trials(one.studies[0])] == [0]


def test_a_trial_that_its_start_beats_is_not_on_the_front(tmp_path: Path) -> None:
    """The head alone: 0.7 for 60 bytes. 0.65 for 100 is dominated, 0.8 for 200 is not."""
    one = searcher(tmp_path, 3)
    before = {"val_accuracy_start": 0.7, "bytes_up_head": 50, "bytes_up_masks": 10}
    for score, sent in ((0.65, 100.0), (0.8, 200.0)):
        one.end(suggested(one), record(score, sent, **before))
    found = one.studies[0]
    assert found.get_trials()[0].user_attrs["start"] == [0.7, 60.0]
    assert [t.number for t in pareto_front(found)] == [1]
    assert [t.number for t in finalists(found, 1)] == [1]
    beaten = searcher(tmp_path / "beaten", 2)
    for score, sent in ((0.6, 100.0), (0.65, 200.0)):
        beaten.end(suggested(beaten), record(score, sent, **before))
    assert pareto_front(beaten.studies[0]) == []
    assert [t.number for t in finalists(beaten.studies[0], 1)] == [1]  # and so the start's test


@pytest.mark.parametrize("stop", [3, 7, 15])
def test_interrupted_search_makes_the_same_suggestions(stop: int, tmp_path: Path) -> None:
    """Also beyond the random trials, and with diverged ones among them."""
    whole = drive(searcher(tmp_path / "whole", 20), 0, 20)
    first = drive(searcher(tmp_path / "parts", 20), 0, stop)
    rest = drive(searcher(tmp_path / "parts", 20), stop, 20)
    assert first + rest == whole
    assert len({job.config.digest() for job in whole}) == 20


def test_running_trial_goes_on_with_its_values(tmp_path: Path) -> None:
    killed = searcher(tmp_path, 9)
    drive(killed, 0, 7)
    live = suggested(killed)
    assert suggested(searcher(tmp_path, 9)) == live


def test_a_search_learns_both_objectives(tmp_path: Path) -> None:
    """After the random trials: nearer to the best learning rate or to the highest momentum."""
    jobs = drive(searcher(tmp_path, 40), 0, 40)
    early, late = ([j.config.local.momentum for j in part] for part in (jobs[:5], jobs[20:]))
    assert sum(late) / len(late) > sum(early) / len(early)


def test_one_objective_and_two_are_two_searches(tmp_path: Path) -> None:
    """A study that gets another objective does not go on with trials that were told one value."""
    both = open_studies([arm(), arm("bytes_up")], [space, space], tmp_path / JOURNAL)
    assert [len(study.directions) for study in both] == [1, 2]
    assert arm().digest() != arm("bytes_up").digest() != arm("bytes_down").digest()


# --- the front ------------------------------------------------------------------------------------


def test_front_of_hand_worked_points() -> None:
    study = study_of([
        (0.50, 10.0),  # cheapest
        (0.60, 30.0),  # beaten by the next
        (0.70, 20.0),
        (0.70, 20.0),  # the same point again
        (0.70, 25.0),  # as good, dearer
        (0.90, 90.0),  # best
        (0.40, 10.0),  # as cheap as the cheapest, worse
    ])  # fmt: skip
    pruned = study.ask()
    study.tell(pruned, state=TrialState.PRUNED)
    assert [trial.number for trial in pareto_front(study)] == [5, 2, 0]
    assert [trial.number for trial in finalists(study, 1)] == [5, 2, 0]


@pytest.mark.parametrize("cost", [lambda place: 1e3 * 1e4**place, lambda place: place])
def test_a_long_front_is_thinned_to_its_ends_and_what_is_far_apart(
    cost: Callable[[float], float],
) -> None:
    """On the diagonal of the unit square: 0, 1, then the middle, then the quarters.

    Bytes over four decades count by their logarithms; costs that may be 0 as they are.
    """
    places = [0.0, 0.04, 0.08, 0.25, 0.5, 0.52, 0.75, 0.96, 1.0]
    study = study_of([(place, cost(place)) for place in places])

    def kept(most: int) -> list[float]:
        return [trial.values[0] for trial in thinned(pareto_front(study), most)]

    assert kept(2) == [1.0, 0.0]
    assert kept(3) == [1.0, 0.5, 0.0]
    assert kept(5) == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert len(finalists(study, 1)) == 6
    assert kept(9) == sorted(places, reverse=True)


def test_nothing_to_choose_from() -> None:
    assert finalists(study_of([]), 1) == []
    one = optuna.create_study(direction="maximize")
    assert finalists(one, 3) == []


# --- the confirmation -----------------------------------------------------------------------------


def test_each_point_of_the_front_is_confirmed_with_every_seed() -> None:
    study = study_of([(0.5, 10.0), (0.4, 20.0), (0.9, 90.0)])
    jobs = confirm(3, arm("bytes_up"), study, [7, 8], {"data.train_on": "train+val"})
    assert [(job.arm, job.number, job.config.seed, job.chosen["local.lr"]) for job in jobs] == [
        (3, 7, 7, 0.03), (3, 8, 8, 0.03), (3, 7, 7, 0.01), (3, 8, 8, 0.01),
    ]  # fmt: skip
    assert {job.config.data.train_on for job in jobs} == {"train+val"}
    keys = {(job.arm, job.number, job.config.digest()) for job in jobs}
    assert len(keys) == len(jobs)  # what names a run in MLflow


def test_finalists_of_one_objective_are_distinct(tmp_path: Path) -> None:
    """The best n configurations, each with the same seeds; a repeated one counts once."""
    one = Search([arm()], space, Plan(5, pruner="none"), tmp_path / JOURNAL)
    jobs = [suggested(one) for _ in range(5)]
    for job, score in zip(jobs, (0.3, 0.9, 0.5, 0.7, 0.1), strict=True):
        one.end(job, record(score, 1.0))
    study = one.studies[0]
    assert [t.number for t in finalists(study, 3)] == [1, 3, 2]
    twin = study.ask()
    twin.set_user_attr("digest", jobs[1].config.digest())
    twin.set_user_attr("chosen", dict(jobs[1].chosen))
    study.tell(twin, 0.9)
    assert [t.number for t in finalists(study, 2)] == [1, 3]
    confirming = confirm(0, arm(), study, [4, 5], {}, most=2)
    assert [job.number for job in confirming] == [4, 5, 4, 5]
    assert [job.chosen for job in confirming] == [dict(jobs[n].chosen) for n in (1, 1, 3, 3)]


def curve_of(tmp_path: Path, base: Arm, scores: list[float]) -> optuna.Study:
    """A search of one trial that was evaluated every second round."""
    one = Search([base], space, Plan(1, pruner="none"), tmp_path / JOURNAL)
    job = suggested(one)
    for place, score in enumerate(scores, 1):
        last = place == len(scores)
        said = record(score, 1.0, local_steps=8 * place, finished=last)
        one.report(job, said)
        if last:
            one.end(job, said)
    return one.studies[0]


@pytest.mark.parametrize(
    ("fields", "rounds"),
    [
        ({}, None),  # all of them
        ({"keep": "best"}, 4),  # after the second evaluation, the first of equals
        ({"keep": "best", "patience": 2}, 4),
        ({"patience": 2}, 8),  # where the search's trial stopped: its last parameters count
    ],
)
def test_without_validation_images_it_trains_as_long_as_what_was_chosen(
    fields: dict[str, Value], rounds: int | None, tmp_path: Path
) -> None:
    """Nothing can stop early on train+val, and no evaluation is best: the search has said when."""
    base = arm()
    base = replace(base, config=base.config.override({"schedule.name": "cosine", **fields}))
    study = curve_of(tmp_path, base, [0.3, 0.7, 0.7, 0.7])  # of kept parameters: never less
    (job,) = confirm(0, base, study, [7], {"data.train_on": "train+val"})
    assert job.config.stop_round == rounds
    assert job.config.rounds == 10  # the length of the schedule
    (job,) = confirm(0, base, study, [7], {"data.train_on": "train"})
    assert job.config.stop_round is None


def test_what_stops_early_needs_a_recorded_curve() -> None:
    study = study_of([(0.5, 10.0)])
    base = arm("bytes_up")
    base = replace(base, config=base.config.override({"keep": "best"}))
    with pytest.raises(UserError, match="--confirm-on train\\+val: trial 0 of arm all"):
        confirm(3, base, study, [7], {"data.train_on": "train+val"})


def test_a_damaged_curve_is_told_as_far_as_it_is_remembered(tmp_path: Path) -> None:
    """A new store must not hear of a finished trial without a score."""
    one = Search([arm()], space, Plan(2, pruner="none"), tmp_path / JOURNAL)
    jobs = [suggested(one) for _ in range(2)]
    one.report(jobs[0], record(0.3, 1.0, finished=False, local_steps=20))
    one.end(jobs[0], record(0.6, 1.0))
    one.end(jobs[1], record(0.4, 1.0, finished=False, local_steps=20))
    (_, _, first), (_, status, second) = past_jobs([arm()], one.studies, tmp_path)
    assert [(r[TIME], r[SCORE], r["val_accuracy"]) for r in first] == [
        (20, 0.3, 0.3),
        (40, 0.6, 0.6),
    ]
    assert [(r[TIME], r[SCORE]) for r in second] == [(20, 0.4)]
    assert status == "pruned"
    both = searcher(tmp_path / "both", 1)
    both.end(suggested(both), record(0.7, 123.0))
    ((_, _, last),) = past_jobs([arm("bytes_up")], both.studies, tmp_path)
    assert [(r[SCORE], r["bytes_up"]) for r in last] == [(0.7, 123.0)]


def test_what_an_earlier_run_left(tmp_path: Path) -> None:
    """Diverged trials are past, and never finalists."""
    one = searcher(tmp_path, 12)
    jobs = drive(one, 0, 12)
    past = past_jobs([arm("bytes_up")], one.studies, tmp_path)
    assert [job for job, _, _ in past] == jobs
    assert [status for _, status, _ in past] == (["finished"] * 5 + ["diverged"]) * 2
    assert {5, 11}.isdisjoint(trial.number for trial in finalists(one.studies[0], 1))
