"""Arms put together by name; every study file's arms and spaces give valid configurations."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from fl_core.base.errors import ConfigError
from fl_core.config.steps_done import steps_before
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.study.arms import COMPARED, DENSE, each, grid, rules, shardings
from fl_core.study.resolved import resolve
from fl_core.study.search.space import inside
from fl_core.study.settled import within
from studies import ROOT, load_study

SPARSE = {"fine_tune.strategy": "head_then_sparse_backbone"}
STUDIES = sorted((ROOT / "studies").glob("[!_]*.py"))


def test_grid_is_the_product_in_order() -> None:
    found = grid(each("seed", (1, 2)), [DENSE, {"mask.sparsity": 0.5, "rounds": 3}])
    assert found == [
        {"seed": 1, "mask.sparsity": 0.0},
        {"seed": 1, "mask.sparsity": 0.5, "rounds": 3},
        {"seed": 2, "mask.sparsity": 0.0},
        {"seed": 2, "mask.sparsity": 0.5, "rounds": 3},
    ]
    assert grid() == [{}]


def test_shardings_and_rules() -> None:
    assert shardings(None, 5) == [
        {"federation.sharding": "iid"},
        {"federation.sharding": "classes", "federation.classes_per_client": 5},
    ]
    assert [setting["mask.rule"] for setting in rules()] == list(COMPARED)
    assert rules("hybrid", hybrid_weight=0.25) == [
        {"mask.rule": "hybrid", "mask.hybrid_weight": 0.25}
    ]
    assert all("mask.hybrid_weight" not in s for s in rules() if s["mask.rule"] != "hybrid")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_gives_valid_configurations(path: Path) -> None:
    """Each preset: arms with names of their own; 30 draws of its space, and of the joint search."""
    study = load_study(path)
    assert study.name == path.stem
    assert {"smoke", "paper"} <= study.presets.keys()
    default = "vit-tiny" if path.stem == "augmentation" else "embedded"  # which has no images
    assert next(iter(study.presets)) == default
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for preset in study.presets.values():
        own = any("rounds" in setting for setting in preset.arms or study.arms)  # not the budget's
        for joint in (True, False):
            asked = resolve(study, preset, {"seed": 3}, joint=joint)
            arms = asked.arms
            assert (
                len({arm.name for arm in arms}) == len({arm.digest() for arm in arms}) == len(arms)
            )
            sampler = optuna.samplers.RandomSampler(seed=0)
            search = optuna.create_study(sampler=sampler)
            for arm, _ in itertools.product(arms, range(max(2, 30 // len(arms)))):
                config = arm.config.override(within(asked.space, arm)(search.ask()))
                assert isinstance(config, TrialConfig)
                assert config.seed == 3
                rounds, j = config.rounds, config.local.steps
                steps = steps_before(config.schedule, j, rounds, rounds)
                if study.budget_counts_head and config.head.method == "fedavg":
                    steps += config.head.rounds * config.head.local.steps
                assert own or abs(steps - preset.budget) < j  # contract 7
        for point in preset.first:  # of the space: all of it in some arm
            spaces = [within(asked.space, arm) for arm in arms]
            rooms = [inside(space, [point])[0] for space in spaces]
            assert {name for room in rooms for name in room} == point.keys()
            search.enqueue_trial(rooms[0])
            chosen = spaces[0](search.ask())
            assert {name: chosen[name] for name in rooms[0]} == rooms[0]


def test_a_conditional_dimension_opens_only_where_it_is_used() -> None:
    (path,) = [p for p in STUDIES if p.stem == "calibration_rules"]
    study = load_study(path)
    preset = study.presets["embedded"]
    space = resolve(study, preset, {}, joint=True).space
    search = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(60):
        chosen = space(search.ask())
        fisher = chosen["mask.rule"] in ("least_sensitive", "most_sensitive", "hybrid")
        assert fisher == ("mask.rounds" in chosen) == ("mask.fisher" in chosen)
        assert ("mask.hybrid_weight" in chosen) == (chosen["mask.rule"] == "hybrid")
        seen.add(chosen["mask.rule"])
    assert seen == set(COMPARED)


@pytest.mark.parametrize("preset", ["embedded", "smoke", "vit-tiny", "paper"])
@pytest.mark.parametrize("name", ["training_strategies", "ridge_then_sparse"])
def test_head_first_arms_have_the_same_budget_in_all(name: str, preset: str) -> None:
    """A head by FedAvg leaves fewer rounds: steps of both stages together are every arm's."""
    (path,) = [p for p in STUDIES if p.stem == name]
    study = load_study(path)
    totals, heads = set(), set()
    for one in resolve(study, study.presets[preset], {}).arms:
        head = one.config.head
        heads.add(head.rounds * head.local.steps if head.method == "fedavg" else 0)
        spent = head.rounds * head.local.steps if head.method == "fedavg" else 0
        totals.add(spent + one.config.rounds * one.config.local.steps)
    assert len(heads) == 2
    assert totals == {study.presets[preset].budget}


def test_an_arm_may_say_its_rounds() -> None:
    """Where the question is one of equal bytes; other arms follow from the budget."""
    study = replace(load_study("fedavg_iid"), arms=[{"rounds": 3}, {"local.steps": 8}])
    small = study.presets["smoke"]
    arms = resolve(study, replace(small, arms=None), {}).arms
    assert [arm.config.rounds for arm in arms] == [3, small.budget // 8]
    with pytest.raises(ConfigError, match="rounds: this study's arms set it already"):
        resolve(study, replace(small, arms=None), {"rounds": 5})


@pytest.mark.parametrize(
    ("fixed", "text"),
    [
        ({"head.rounds": 100}, "head.rounds=100: 400 local steps"),
        ({"head.local.unit": "epochs"}, "head.local.unit='epochs': must be local.unit=steps"),
    ],
)
def test_a_head_that_leaves_nothing_is_one_line(fixed: dict[str, Value], text: str) -> None:
    (path,) = [p for p in STUDIES if p.stem == "training_strategies"]
    study = load_study(path)
    with pytest.raises(ConfigError) as caught:
        resolve(study, study.presets["embedded"], fixed)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    asked = resolve(study, study.presets["embedded"], {**fixed, "rounds": 3})
    assert {arm.config.rounds for arm in asked.arms} == {3}


@pytest.mark.parametrize("name", ["sparsity", "calibration_rounds", "sparse_fedavg"])
def test_a_preset_of_masks_can_be_set_for_a_whole_study(name: str) -> None:
    """The arms say how much and how often; the conventions hold for all, and are not searched."""
    study = load_study(name)
    values = {"mask.preset": "talos", "mask.examples": 64}
    found = resolve(study, study.presets["paper"], values)
    assert len(found.arms) == len(study.arms)
    for arm in found.arms:
        mask = arm.config.mask
        assert (mask.fisher, mask.min_active, mask.examples) == ("talos", 0, 64)
        own = {n: v for n, v in arm.values.items() if n.startswith("mask.")}
        assert own.items() <= mask.to_flat().items()


def test_what_a_preset_of_masks_fixes_is_not_searched() -> None:
    study, arms = load_study("calibration_rules"), each("mask.sparsity", (0.8,))
    study = replace(study, base={**study.base, **SPARSE}, arms=arms, joint_arms=arms)
    found = resolve(study, study.presets["embedded"], {"mask.preset": "talos"}, joint=True)
    asked = {"local.lr": 0.01, "local.momentum": 0.5, "mask.rule": "most_sensitive",
             "mask.rounds": 2, "mask.examples": 64}  # fmt: skip
    point = found.space(optuna.trial.FixedTrial(asked))
    assert point == asked
    (arm,) = found.arms
    assert arm.config.override(point).mask.fisher == "talos"
