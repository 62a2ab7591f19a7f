"""What stops trials early, against Ray's ASHA and by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from fl_core.study.search.pruning import ASHA, REDUCTION, Floor, pruner_of

optuna.logging.set_verbosity(optuna.logging.ERROR)


def study_with(pruner: optuna.pruners.BasePruner) -> optuna.Study:
    return optuna.create_study(direction="maximize", pruner=pruner)


def test_by_hand() -> None:
    """Rungs at 4 and 12; at each the best third of those that were there before is the limit."""
    study = study_with(ASHA(4))
    trials = [study.ask() for _ in range(5)]
    verdicts = []
    for trial, score in zip(trials, (0.5, 0.6, 0.4, 0.7, 0.58), strict=True):
        trial.report(score, 4)
        verdicts.append(trial.should_prune())
    assert verdicts == [False, False, True, False, True]  # 0.58 < the 67th percentile, 0.6
    trials[0].report(0.1, 8)  # between rungs nothing is judged
    assert not trials[0].should_prune()
    trials[1].report(0.9, 12)
    assert not trials[1].should_prune()  # the first at its rung
    trials[0].report(0.8, 12)
    assert trials[0].should_prune()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), grace=st.integers(1, 6), every=st.integers(1, 4))
def test_decides_as_rays_asha(seed: int, grace: int, every: int) -> None:
    """Random curves of trials that run side by side and report in random order."""
    rng = np.random.default_rng(seed)
    grace *= every  # evaluations fall on the rungs, as a study's do
    full = grace * REDUCTION**2
    oracle = ASHAScheduler(
        time_attr="t", metric="score", mode="max", max_t=full + 1, grace_period=grace,
        reduction_factor=REDUCTION,
    )  # fmt: skip
    study = study_with(ASHA(grace))
    live: list[tuple[Any, optuna.Trial, int]] = []
    for number in range(8):
        past = SimpleNamespace(trial_id=str(number))
        oracle.on_trial_add(None, past)
        live.append((past, study.ask(), 0))
    while live:
        place = int(rng.integers(len(live)))
        past, trial, step = live.pop(place)
        step, score = step + every, float(rng.integers(20)) / 20  # with ties
        verdict = oracle.on_trial_result(None, past, {"t": step, "score": score})
        trial.report(score, step)
        assert trial.should_prune() == (verdict == TrialScheduler.STOP)
        if verdict != TrialScheduler.STOP and step + every <= full:
            live.append((past, trial, step))


def test_a_search_that_goes_on_decides_as_it_would_have() -> None:
    """There is no state: another pruner object, the same verdicts."""
    study = study_with(ASHA(4))
    first, second = study.ask(), study.ask()
    first.report(0.5, 4)
    study.pruner = ASHA(4)
    second.report(0.4, 4)
    assert second.should_prune()
    assert second.should_prune()  # asked again after a kill


def test_median_and_none() -> None:
    study = study_with(pruner_of("median", grace_steps=4, floor=1))
    for score in (0.2, 0.4, 0.6, 0.8, 0.7):
        trial = study.ask()
        trial.report(score, 8)
        assert not trial.should_prune()  # too few have finished
        study.tell(trial, score, state=TrialState.COMPLETE)
    early, bad, good = study.ask(), study.ask(), study.ask()
    early.report(0.1, 2)
    bad.report(0.5, 8)
    good.report(0.65, 8)
    assert [trial.should_prune() for trial in (early, bad, good)] == [False, True, False]
    study.pruner = pruner_of("none", 4, 1)
    assert not bad.should_prune()
    with pytest.raises(ValueError, match="asha, median, none"):
        pruner_of("hyperband", 4, 1)


# --- the floor ------------------------------------------------------------------------------------


class Always(optuna.pruners.BasePruner):
    """The harshest rule: it would stop every trial at every step."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return True


RULES = {"always": Always(), "asha": ASHA(4), "median": optuna.pruners.MedianPruner(1)}


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    rule=st.sampled_from(sorted(RULES)),
    floor=st.integers(1, 5),
    count=st.integers(1, 9),
    side_by_side=st.integers(1, 4),
    asked_twice=st.booleans(),
)
def test_as_many_trials_run_to_the_end_whatever_the_scores_and_the_order(
    data: st.DataObject, rule: str, floor: int, count: int, side_by_side: int, asked_twice: bool
) -> None:
    """Few values, so that ties occur; a verdict may be asked for again, by a run that goes on."""
    study = study_with(Floor(RULES[rule], floor))
    steps, finished, started = (4, 8, 12, 16), 0, 0
    live: list[tuple[optuna.Trial, int]] = []
    while live or started < count:
        if started < count and len(live) < side_by_side:
            live.append((study.ask(), 0))
            started += 1
            continue
        trial, place = live.pop(data.draw(st.integers(0, len(live) - 1)))
        score = data.draw(st.integers(0, 3)) / 3
        trial.report(score, steps[place])
        stopped = place + 1 < len(steps) and trial.should_prune()
        if not stopped and place + 1 < len(steps):
            live.append((trial, place + 1))
        elif stopped:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, score)
            finished += 1
        if asked_twice:
            still = []
            for other, at in live:
                if at and other.should_prune():
                    study.tell(other, state=TrialState.PRUNED)
                else:
                    still.append((other, at))
            live = still
    assert finished >= min(floor, count)


def test_the_floor_stops_only_whom_the_rule_stops() -> None:
    """ASHA alone would stop 0.4 and 0.58 too: two are better, and three may go on."""
    study = study_with(Floor(ASHA(4), 3))
    verdicts = []
    for score in (0.5, 0.6, 0.4, 0.7, 0.58, 0.3):
        trial = study.ask()
        trial.report(score, 4)
        verdicts.append(trial.should_prune())
    assert verdicts == [False, False, False, False, False, True]


def test_what_diverged_or_failed_leaves_its_place() -> None:
    """And a configuration that was tried twice has one."""
    study = study_with(Floor(Always(), 2))
    best, second, twin, third = (study.ask() for _ in range(4))
    for trial, score, digest in ((best, 0.9, "a"), (second, 0.8, "b"), (twin, 0.8, "b")):
        trial.set_user_attr("digest", digest)
        trial.report(score, 4)
    third.report(0.1, 4)
    assert third.should_prune()
    study.tell(best, state=TrialState.FAIL)
    assert not third.should_prune()
    other = study.ask()
    other.report(0.7, 4)
    assert third.should_prune()
    other.set_user_attr("status", "diverged")
    assert not third.should_prune()
