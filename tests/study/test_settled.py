"""What an arm settles is not searched there, and a space opens what the arm's method reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from small_study import SMALL, STUDY

from fl_core import arm_of, each
from fl_core.base.errors import UserError
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.study import declared, options
from fl_core.study.plan import Plan
from fl_core.study.resolved import ResolvedStudy, resolve
from fl_core.study.search import probing
from fl_core.study.search.journal import JOURNAL, prepare
from fl_core.study.search.search import Search
from fl_core.study.search.space import describe_spaces, distributions, in_arms
from fl_core.study.settled import within


def space(trial: optuna.Trial) -> Mapping[str, Value]:
    """A rate of the server that one arm sets, and what another's method reads."""
    values: dict[str, Value] = {"server.lr": trial.suggest_float("server.lr", 0.5, 2.0)}
    if arm_of(trial).local.rule == "prox":
        values["local.mu"] = trial.suggest_float("local.mu", 0.1, 1.0)
    return values


ARMS = [{"server.lr": 1.0}, {"local.rule": "plain"}, {"local.rule": "prox"}]


def resolved(joint: bool = False) -> ResolvedStudy:
    study = replace(STUDY, arms=ARMS, space=space)
    declared.check(study)
    return resolve(study, replace(SMALL, arms=None), {}, joint=joint)


def test_a_space_in_an_arm() -> None:
    asked = resolved()
    dimensions = [set(distributions(within(asked.space, arm))) for arm in asked.arms]
    assert dimensions == [set(), {"server.lr"}, {"server.lr", "local.mu"}]
    probing.check_space(asked.space, asked.arms, "here")
    bounds = describe_spaces(in_arms(asked.space, asked.arms))
    assert {name: (one["low"], one["high"]) for name, one in bounds.items()} == {
        "server.lr": (0.5, 2.0), "local.mu": (0.1, 1.0),
    }  # fmt: skip


def test_a_search_asks_each_arm_for_its_own(tmp_path: Path) -> None:
    asked = resolved()
    prepare(tmp_path / JOURNAL)
    search = Search(asked.arms, asked.space, Plan(2, searcher="random"), tmp_path / JOURNAL)
    jobs = [search.next_job() for _ in range(6)]
    chosen = [(job.arm, set(job.chosen)) for job in jobs if job]
    names: list[set[str]] = [set(), {"server.lr"}, {"server.lr", "local.mu"}]
    assert sorted(chosen, key=lambda one: one[0]) == [
        (arm, names[arm]) for arm in range(3) for _ in range(2)
    ]
    for job in jobs:
        assert job
        assert (job.config.server.lr == 1.0) == (job.arm == 0)


def test_a_joint_search_opens_what_the_chosen_arm_reads() -> None:
    asked = resolved(joint=True)
    (arm,) = asked.arms
    search = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(20):
        chosen = within(asked.space, arm)(search.ask())
        config = arm.config.override(chosen)
        assert ("local.mu" in chosen) == (config.local.rule == "prox")
        seen.add((config.local.rule, config.server.lr == 1.0))
    assert seen == {("plain", True), ("plain", False), ("prox", False)}


def test_arms_with_one_configuration_are_told_apart_by_what_is_searched() -> None:
    first, second, third = resolved().arms
    assert first.config == second.config != third.config
    assert len({arm.digest() for arm in resolved().arms}) == 3
    assert third.digest() == replace(third, settled=()).digest()
    study = replace(STUDY, arms=[{}, {"local.rule": "plain"}])  # nothing there looks at the rule
    asked = resolve(study, replace(SMALL, arms=None), {})
    with pytest.raises(UserError, match=r"here: arms all and FedAvg ask the same"):
        probing.check_space(asked.space, asked.arms, "here")


def test_a_space_that_looks_at_no_arm_is_described_once() -> None:
    study = replace(STUDY, arms=each("local.steps", (1, 2)))
    asked = resolve(study, replace(SMALL, arms=None), {})
    one, other = in_arms(asked.space, asked.arms)
    assert one is other


def test_a_space_by_itself_is_that_of_the_default() -> None:
    trial = optuna.trial.FixedTrial({"server.lr": 1.5})
    assert space(trial) == {"server.lr": 1.5}  # type: ignore[arg-type]
    assert arm_of(trial) == TrialConfig()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("own", "typed", "expected"),
    [
        ({}, [], ("tpe", True, "")),
        ({"searcher": "random", "neighbours": False}, [], ("random", False, "")),
        ({"searcher": "random"}, ["--searcher", "tpe"], ("tpe", True, "tpe")),
        ({}, ["--searcher", "random"], ("random", True, "random")),
    ],
)
def test_a_preset_s_own_way_of_searching(
    own: dict[str, object], typed: list[str], expected: tuple[str, bool, str]
) -> None:
    preset = replace(SMALL, **own)  # type: ignore[arg-type]
    study = replace(STUDY, presets={"small": preset})
    args = options.parse(study, typed)
    plan = options.plan_of(args, resolve(study, preset, {}))
    assert (plan.searcher, plan.neighbours, plan.way) == expected
