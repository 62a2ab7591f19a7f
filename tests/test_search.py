"""The searcher and the scheduler by themselves: no Ray is started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from fl_core.asha import ArmASHA
from fl_core.config import TrialConfig, UserError, Value
from fl_core.findings import best_trial, confirm
from fl_core.jobs import SCORE, TIME, Arm, Job, outcome
from fl_core.search import ArmSearcher, open_studies


def space(trial: optuna.Trial) -> Mapping[str, Value]:
    return {"local.lr": trial.suggest_float("local.lr", 1e-3, 1.0, log=True)}


def arms(count: int = 2) -> list[Arm]:
    base = TrialConfig().override({"rounds": 10, "local.steps": 4})
    return [Arm(f"seed {n}", {"seed": n}, base.override({"seed": n})) for n in range(count)]


def searcher(tmp_path: Path, trials: int = 4, count: int = 2) -> ArmSearcher:
    return ArmSearcher(arms(count), space, trials, tmp_path / "optuna.journal", seed=0)


def result(step: int, score: float, **more: Any) -> dict[str, Any]:
    return {TIME: step, SCORE: score, "finished": False, "diverged": False, **more}


def drive(one: ArmSearcher, count: int, score: float = 0.5) -> list[Job]:
    """Ask for and finish `count` trials, one at a time."""
    jobs = []
    for n in range(count):
        suggestion = one.suggest(f"t{n}")
        assert isinstance(suggestion, dict)
        job = Job.from_json(suggestion["job"])
        one.on_trial_result(f"t{n}", result(20, score - 0.1))
        lr = job.config.local.lr  # an objective with its best at 0.1
        end = score - abs(lr - 0.1)
        one.on_trial_complete(f"t{n}", result(40, end, finished=True))
        jobs.append(job)
    return jobs


def test_arms_take_turns_and_get_the_same_number_of_trials(tmp_path: Path) -> None:
    one = searcher(tmp_path)
    jobs = drive(one, 8)
    assert [job.arm for job in jobs] == [0, 1] * 4
    assert [job.number for job in jobs] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert one.suggest("more") == Searcher.FINISHED
    assert one.remaining == 0
    for job in jobs:
        assert job.config.seed == job.arm  # the arm's own base
        assert job.config.local.lr == job.chosen["local.lr"]
    assert len({job.config.local.lr for job in jobs}) == 8  # arms search on their own


def test_a_search_is_a_function_of_its_seed(tmp_path: Path) -> None:
    runs = [drive(searcher(tmp_path / name, 8), 16) for name in ("a", "b")]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("stop", [3, 11, 15])
def test_interrupted_search_makes_the_same_suggestions(stop: int, tmp_path: Path) -> None:
    """Also beyond the random trials, where TPE learns from what was told."""
    whole = drive(searcher(tmp_path / "whole", 8), 16)
    first = drive(searcher(tmp_path / "parts", 8), stop)
    rest = drive(searcher(tmp_path / "parts", 8), 16 - stop)
    assert first + rest == whole


def test_running_trial_of_a_killed_driver_goes_on_with_its_values(tmp_path: Path) -> None:
    killed = searcher(tmp_path)
    drive(killed, 2)
    suggestion = killed.suggest("live")
    assert isinstance(suggestion, dict)
    killed.on_trial_result("live", result(20, 0.4))
    again = searcher(tmp_path)
    assert again.remaining == 8 - 2
    resumed = again.suggest("other")
    assert resumed == suggestion
    again.on_trial_result("other", result(20, 0.4))  # the replayed curve
    again.on_trial_complete("other", result(40, 0.6, finished=True))
    assert [len(study.get_trials()) for study in again.studies] == [2, 1]
    assert again.studies[0].get_trials()[1].value == 0.6


def test_more_trials_extend_a_finished_search(tmp_path: Path) -> None:
    drive(searcher(tmp_path, 2), 4)
    assert searcher(tmp_path, 2).remaining == 0
    extended = searcher(tmp_path, 5)
    assert extended.remaining == 6
    assert [job.number for job in drive(extended, 6)] == [2, 2, 3, 3, 4, 4]


def test_how_trials_end(tmp_path: Path) -> None:
    one = searcher(tmp_path, 5, count=1)
    for n in range(5):
        one.suggest(f"t{n}")
    one.on_trial_complete("t0", result(40, 0.7, finished=True))
    one.on_trial_complete("t1", result(20, 0.9))  # stopped early, however good
    one.on_trial_complete("t2", result(8, 0.0, finished=True, diverged=True))
    one.on_trial_complete("t3", None, error=True)
    one.on_trial_complete("t4", result(40, 0.6, finished=True))
    trials = one.studies[0].get_trials()
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED, TrialState.FAIL]
    assert [trial.state for trial in trials[:4]] == states
    assert [trial.user_attrs.get("status") for trial in trials[:3]] == [
        "finished", "pruned", "diverged",
    ]  # fmt: skip
    best = best_trial(one.studies[0])
    assert best is not None
    assert best.number == 0


def test_ties_go_to_the_earliest_trial(tmp_path: Path) -> None:
    one = searcher(tmp_path, 3, count=1)
    for n in range(3):
        one.suggest(f"t{n}")
    for n, score in ((2, 0.7), (1, 0.7), (0, 0.2)):
        one.on_trial_complete(f"t{n}", result(40, score, finished=True))
    best = best_trial(one.studies[0])
    assert best is not None
    assert best.number == 1


def tune_trial(name: str, arm: int) -> Any:
    job = json.dumps({"arm": arm, "phase": "search"})
    return SimpleNamespace(trial_id=name, config={"job": job})


def test_asha_compares_within_an_arm_only(tmp_path: Path) -> None:
    scheduler = ArmASHA(searcher(tmp_path), grace_steps=4)
    trials = [tune_trial(f"a{n}", 0) for n in range(4)] + [tune_trial("b0", 1)]
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    decisions = [
        scheduler.on_trial_result(None, trial, {TIME: 4, SCORE: score})
        for trial, score in zip(trials, (0.5, 0.6, 0.4, 0.7, 0.1), strict=True)
    ]
    go, stop = TrialScheduler.CONTINUE, TrialScheduler.STOP
    assert decisions == [go, go, stop, go, go]  # the other arm's 0.1 is compared with nothing


def test_rungs_are_rebuilt_from_what_trials_reported(tmp_path: Path) -> None:
    one = searcher(tmp_path, 3, count=1)
    for n in range(2):
        one.suggest(f"t{n}")
        one.on_trial_result(f"t{n}", result(4, 0.5 + n / 10))
        one.on_trial_complete(f"t{n}", result(40, 0.7, finished=True))
    scheduler = ArmASHA(searcher(tmp_path, 3, count=1), grace_steps=4)
    bad, good = tune_trial("bad", 0), tune_trial("good", 0)
    for trial in (bad, good):
        scheduler.on_trial_add(None, trial)
    stop = TrialScheduler.STOP
    assert scheduler.on_trial_result(None, bad, {TIME: 4, SCORE: 0.3}) == stop
    assert scheduler.on_trial_result(None, good, {TIME: 4, SCORE: 0.9}) != stop


def test_locks_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    drive(searcher(tmp_path), 2)
    (tmp_path / "optuna.journal.lock").symlink_to("optuna.journal")
    assert searcher(tmp_path).remaining == 6


def test_unreadable_journal_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "optuna.journal").write_bytes(b"\x00\x01 no journal\nmore\n")
    with pytest.raises(UserError, match=r"optuna\.journal"):
        open_studies(arms(), tmp_path / "optuna.journal")


def test_an_arm_is_confirmed_when_its_own_search_has_ended(tmp_path: Path) -> None:
    both = arms(2)

    def then(arm: int, study: optuna.Study) -> list[Job]:
        return confirm(arm, both[arm], study, [7, 8], {"data.train_on": "train+val"})

    one = ArmSearcher(both, space, 1, tmp_path / "optuna.journal", 0, then)
    first, _ = one.suggest("t0"), one.suggest("t1")
    assert isinstance(first, dict)
    assert one.suggest("c0") is None  # both arms are still being searched
    one.on_trial_complete("t0", result(40, 0.5, finished=True))
    suggestions = [one.suggest("c0"), one.suggest("c1")]
    jobs = [Job.from_json(s["job"]) for s in suggestions if isinstance(s, dict)]
    assert [(job.phase, job.arm, job.number, job.config.seed) for job in jobs] == [
        ("confirm", 0, 7, 7), ("confirm", 0, 8, 8),
    ]  # fmt: skip
    best = Job.from_json(first["job"])
    assert {job.config.local.lr for job in jobs} == {best.config.local.lr}
    assert {job.config.data.train_on for job in jobs} == {"train+val"}
    one.on_trial_result("c0", {TIME: 4})  # a confirmation reports no score
    one.on_trial_complete("c0", {TIME: 40, "finished": True, "diverged": False})
    assert one.suggest("c2") is None  # arm 1 is still being searched
    one.on_trial_complete("t1", result(8, 0.0, finished=True, diverged=True))
    assert one.suggest("c2") == Searcher.FINISHED  # and has nothing to confirm
    assert [len(study.get_trials()) for study in one.studies] == [1, 1]


def test_outcome() -> None:
    assert outcome({"diverged": True, "finished": True}) == "diverged"
    assert outcome({"diverged": False, "finished": True}) == "finished"
    assert outcome({"diverged": False, "finished": False}) == "pruned"


FIRST = ({"local.lr": 0.02}, {"local.lr": 0.3})


@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_known_points_come_first_also_after_an_interruption(stop: int, tmp_path: Path) -> None:
    def opened(folder: Path) -> ArmSearcher:
        return ArmSearcher(arms(), space, 3, folder / "optuna.journal", seed=0, first=FIRST)

    whole = drive(opened(tmp_path / "whole"), 6)
    assert [job.config.local.lr for job in whole[:4]] == [0.02, 0.02, 0.3, 0.3]
    assert len({job.config.local.lr for job in whole}) == 4  # then the sampler's own
    parts = drive(opened(tmp_path / "parts"), stop) + drive(opened(tmp_path / "parts"), 6 - stop)
    assert [job.config for job in parts] == [job.config for job in whole]


def test_a_point_that_was_queued_and_never_run_is_run_once(tmp_path: Path) -> None:
    """Killed between the queue and the question."""
    journal = tmp_path / "optuna.journal"
    ArmSearcher(arms(1), space, 3, journal, 0).studies[0].enqueue_trial(dict(FIRST[0]))
    jobs = drive(ArmSearcher(arms(1), space, 3, journal, 0, first=FIRST), 3)
    assert [job.config.local.lr for job in jobs[:2]] == [0.02, 0.3]
