"""The caption says which method, and which masks, the numbers are of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fl_analysis.tables.conditions import _budget, method_conditions
from fl_analysis.tables.mask_conditions import mask_conditions

FEDAVG = {"local.rule": "plain", "local.blend": "none", "server.optimiser": "sgd",
          "select.rule": "uniform", "aggregate.rule": "mean", "local.mu": 0.01}  # fmt: skip


def said(
    configs: list[dict[str, Any]], arms: tuple[str, ...] = (), space: tuple[str, ...] = ()
) -> str:
    runs = SimpleNamespace(settings=[dict.fromkeys(arms)], space=dict.fromkeys(space))
    return method_conditions(runs, configs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, ""),
        ({"local.rule": "prox"}, "method: local.rule = prox, local.mu = 0.01; "),
        ({"local.blend": "fisher"}, "method: local.blend = fisher; "),
        (
            {"server.optimiser": "momentum", "server.momentum": 0.9},
            "method: server.optimiser = momentum, server.momentum = 0.9; ",
        ),
        ({"local.rule": "mine:pulled"}, "method: local.rule = mine:pulled; "),
    ],
)
def test_what_is_not_fedavg_is_said(values: dict[str, Any], text: str) -> None:
    assert said([{**FEDAVG, **values}]) == text


def test_what_stands_in_a_column_is_not_said_again() -> None:
    configs = [{**FEDAVG, "local.rule": rule} for rule in ("plain", "prox")]
    assert said(configs) == "method: local.rule = plain/prox, local.mu = 0.01; "
    assert said(configs, arms=("local.rule",)) == "method: local.mu = 0.01; "
    assert said(configs, arms=("local.rule",), space=("local.mu",)) == ""


@pytest.mark.parametrize(("grouping", "trains_before"), [("confidence", True), ("oracle", False)])
def test_what_a_choice_does_not_read_is_not_said(grouping: str, trains_before: bool) -> None:
    values = {"timing.mode": "superclients", "timing.grouping": grouping, "timing.pretraining": 3}
    text = said([{**FEDAVG, **values}])
    assert f"timing.grouping = {grouping}" in text
    assert ("timing.pretraining = 3" in text) == trains_before


def test_runs_of_before_there_were_methods_say_nothing() -> None:
    assert said([{"local.lr": 0.1}]) == ""


def test_trials_from_neighbours_are_said() -> None:
    runs: Any = SimpleNamespace(budget=10, tags={"preset": "paper", "neighbours": "True"})
    assert _budget(runs).startswith(
        "10 search trials per arm and one of what won in each neighbouring arm (preset paper"
    )


def test_how_the_search_stopped_trials_is_said() -> None:
    tags = {"preset": "paper", "scheduler": "asha", "floor": "3", "time_budget": "60.0"}
    runs: Any = SimpleNamespace(budget=10, tags=tags)
    assert _budget(runs) == (
        "10 search trials per arm (preset paper, scheduler asha, which never stops the best 3 of "
        "an arm, time budget 60 s)"
    )


MASK = {"mask.preset": "none", "mask.rule": "least_sensitive", "mask.sparsity": 0.9,
        "mask.threshold": None, "mask.rounds": 4, "mask.scope": "shared", "mask.source": "server",
        "mask.layers": "all", "mask.granularity": "global", "mask.fisher": "sampled",
        "mask.examples": 256, "mask.dropped_weight": 0.1, "mask.min_active": 1}  # fmt: skip


def said_of_masks(*values: dict[str, Any], arms: tuple[str, ...] = ()) -> str:
    runs = SimpleNamespace(settings=[dict.fromkeys(arms)], space={})
    return mask_conditions(runs, [{**MASK, **one} for one in values])  # type: ignore[arg-type]


def test_a_mask_that_reads_the_validation_labels_says_so() -> None:
    text = "the empirical Fisher of the server reads the validation labels; "
    assert said_of_masks({"mask.fisher": "empirical"}).endswith(text)
    assert said_of_masks({}, {"mask.fisher": "empirical"}, arms=("mask.fisher",)).endswith(text)
    for other in (
        {},
        {"mask.fisher": "empirical", "mask.scope": "per_client"},  # its own training labels
        {"mask.fisher": "empirical", "mask.source": "scores"},
        {"mask.fisher": "empirical", "mask.rule": "random"},
    ):
        assert "labels" not in said_of_masks(other)


def test_a_threshold_stands_in_the_sparsity_s_place() -> None:
    below = {"mask.sparsity": 0.0, "mask.threshold": 1e-6}
    text = "trainable where the Fisher information is below 1e-06, R = 4 calibration rounds"
    assert said_of_masks(below).startswith(f"masks: trainable least_sensitive, {text}")
    assert said_of_masks(below, arms=("mask.threshold",)).startswith("masks: trainable least_se")
    both = said_of_masks({}, {"mask.threshold": 1e-6, "mask.sparsity": 0.0})
    assert "sparsity 0.9/0" in both
    assert "below 1e-06" in both


def test_a_preset_is_named() -> None:
    assert said_of_masks({"mask.preset": "talos"}).startswith("masks: conventions of talos, train")
    assert "conventions" not in said_of_masks({})
