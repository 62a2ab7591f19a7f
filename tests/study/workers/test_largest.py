"""The most memory-hungry configuration of a space is found by its estimate."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
import pytest

from fl_core.config.trial_config import TrialConfig, Value
from fl_core.study.jobs import Arm
from fl_core.study.workers.largest import (
    SIZES,
    clients_at_a_time,
    describe,
    estimated_bytes,
    largest_config,
)
from search_spaces import federated, masks

IMAGES: Mapping[str, Value] = {
    "fine_tune.strategy": "full",
    "backbone.weights": "random",
    "federation.clients": 100,
}


def arm(**values: Value) -> Arm:
    flat = {name.replace("__", "."): value for name, value in values.items()}
    return Arm(str(flat), flat, TrialConfig().override({**IMAGES, **flat}))


def test_the_ends_of_the_ranges_are_tried() -> None:
    def space(trial: optuna.Trial) -> Mapping[str, Value]:
        values: dict[str, Value] = {
            "local.lr": trial.suggest_float("local.lr", 1e-4, 1.0, log=True),
            "local.batch_size": trial.suggest_int("local.batch_size", 1, 500, log=True),
            "federation.participation": trial.suggest_float("federation.participation", 0.05, 0.4),
        }
        if values["local.batch_size"] == 500:  # a dimension that only one end opens
            values["backbone.image_size"] = trial.suggest_int(
                "backbone.image_size", 32, 224, step=32
            )
        return values

    found = largest_config([arm()], space)
    assert found.local.batch_size == 500
    assert found.federation.participation == 0.4
    assert found.backbone.image_size == 224
    assert found == largest_config([arm()], space)


def test_every_arm_competes() -> None:
    arms = [arm(local__batch_size=16), arm(fine_tune__strategy="head"), arm(local__batch_size=32)]
    found = largest_config(arms, masks.untuned)
    assert found == arms[2].config


def test_the_projects_spaces() -> None:
    head = arm(fine_tune__strategy="head")
    assert largest_config([head], federated.head).local.batch_size == 128
    sparse = arm(fine_tune__strategy="sparse_full")
    found = largest_config([sparse], masks.communication_backbone)
    assert found.federation.participation == 0.2
    assert found.mask.scope == "per_client"
    assert found.mask.in_force
    assert found.local.momentum > 0


def test_points_that_an_arm_refuses_are_left_out() -> None:
    def space(trial: optuna.Trial) -> Mapping[str, Value]:
        rule = trial.suggest_categorical("mask.rule", ["hybrid", "random"])
        return {"mask.rule": rule, "mask.sparsity": 0.5}

    sparse = arm(fine_tune__strategy="sparse_full")
    assert largest_config([sparse], space).mask.rule == "random"  # hybrid needs its weight

    def impossible(trial: optuna.Trial) -> Mapping[str, Value]:
        return {"local.batch_size": 0}

    assert largest_config([sparse], impossible) == sparse.config


@pytest.mark.parametrize(
    "values",
    [
        {"backbone.image_size": 256},
        {"backbone.patch_size": 8},
        {"backbone.name": "vit_small_patch16_224"},
        {"local.batch_size": 65},
        {"local.momentum": 0.9},
        {"local.blend": "fisher"},
        {"federation.participation": 0.2},
        {"fine_tune.strategy": "sparse_full", "mask.sparsity": 0.5},
        {"fine_tune.strategy": "sparse_full", "mask.sparsity": 0.5, "mask.scope": "per_client"},
    ],
)
def test_what_takes_memory_counts(values: Mapping[str, Value]) -> None:
    config = TrialConfig().override(IMAGES)
    assert estimated_bytes(config.override(values)) > estimated_bytes(config)


def test_aggregates_that_hold_a_round_s_updates_count() -> None:
    """Where clients train stacked the updates are there anyway."""
    for execution, more in (("sequential", True), ("stacked", False)):
        config = TrialConfig().override({**IMAGES, "compute.execution": execution})
        plain = estimated_bytes(config)
        parameters = 4 * SIZES["tiny"][0]
        for rule in ("median", "krum", "geometric_median", "package.module:mine"):
            found = estimated_bytes(config.override({"aggregate.rule": rule}))
            assert found == pytest.approx(plain + 9 * parameters * more)
        assert estimated_bytes(config.override({"aggregate.rule": "norm_bound"})) == plain


def test_networks_are_known_by_their_names() -> None:
    """In the order of their sizes, although "small" is a word in the name of a transformer too."""
    values = {**IMAGES, "backbone.weights": "random", "backbone.image_size": 32}
    names = ["mlp", "lenet", "cnn", "resnet18_gn", "resnet18_gn_small", "vit_base_patch16_224"]
    found = [
        estimated_bytes(TrialConfig().override({**values, "backbone.name": name})) for name in names
    ]
    assert found == sorted(found)


def test_what_saves_memory_counts() -> None:
    config = TrialConfig().override(IMAGES)
    for values in ({"fine_tune.strategy": "head"}, {"compute.precision": "bfloat16"},
                   {"compute.execution": "sequential"}):  # fmt: skip
        assert estimated_bytes(config.override(values)) < estimated_bytes(config)
    few = config.override({"federation.clients": 10_000, "federation.participation": 0.001})
    assert few.local.batch_size == 64  # of clients with five images each
    assert estimated_bytes(few) < estimated_bytes(config)


def test_clients_are_stacked_on_a_gpu() -> None:
    config = TrialConfig().override(IMAGES)
    assert clients_at_a_time(config, "cuda") == 10
    assert clients_at_a_time(config, "cpu") == 1
    assert clients_at_a_time(config.override({"compute.execution": "stacked"}), "cpu") == 10
    assert clients_at_a_time(TrialConfig(), "cpu") == 10
    text = describe(config.override({"fine_tune.strategy": "sparse_full", "mask.sparsity": 0.5,
                                     "mask.scope": "per_client"}))  # fmt: skip
    assert text == "batch 64, full model, 224 px, 10 clients at a time, a mask each"
