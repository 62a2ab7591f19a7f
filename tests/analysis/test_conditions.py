"""The caption says which method the numbers are of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from analysis.tables.conditions import _budget, method_conditions

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


def test_runs_of_before_there_were_methods_say_nothing() -> None:
    assert said([{"local.lr": 0.1}]) == ""


def test_how_the_search_stopped_trials_is_said() -> None:
    tags = {"preset": "paper", "scheduler": "asha", "floor": "3", "time_budget": "60.0"}
    runs: Any = SimpleNamespace(budget=10, tags=tags)
    assert _budget(runs) == (
        "10 search trials per arm (preset paper, scheduler asha, which never stops the best 3 of "
        "an arm, time budget 60 s)"
    )
