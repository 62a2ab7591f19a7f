"""Runs that must never be averaged: other data, backbones, splits, seeds, settings."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from made_study import SEEDS, confirm, search, study

from fl_analysis.results.confirmation import confirmed_runs
from fl_analysis.results.outcome import outcomes
from fl_analysis.tables.conditions import caption
from fl_analysis.tables.final import final_table

ROWS: list[dict[str, Any]] = [search(0, 0.8), *(confirm(0, s, 0.7, 0.6) for s in SEEDS)]


@pytest.mark.parametrize(
    "other",
    [
        {"data.name": "cifar10"},
        {"backbone.name": "vit_tiny"},
        {"backbone.image_size": 224},
        {"backbone.weights": "random"},
        {"rounds": 50},
        {"federation.alpha": 0.3},  # the chosen one has none
    ],
)
def test_runs_of_another_problem_are_left_out_and_told(other: dict[str, Any]) -> None:
    (name,) = other
    rows = [*ROWS[:2], {**ROWS[2], "test_accuracy": 0.9, **other}, ROWS[3]]
    (outcome,) = outcomes(study(rows))
    assert outcome.mean == pytest.approx(0.6)
    assert list(outcome.confirmed["seed"]) == [1, 3]
    assert f"arm 0: 1 confirmation run(s) with another {name} left out" in outcome.warnings
    assert "arm 0: 2 of 3 confirmation seeds" in outcome.warnings


def test_a_search_trial_of_another_problem_cannot_win() -> None:
    rows = [*ROWS, search(1, 0.99, **{"data.name": "cifar10"})]
    (outcome,) = outcomes(study(rows))
    assert outcome.best is not None
    assert outcome.best["number"] == 0
    assert (outcome.trials, outcome.mean) == (1, pytest.approx(0.6))
    assert "arm 0: 1 search trial(s) with another data.name left out" in outcome.warnings


def test_without_a_search_the_arm_s_own_problem_counts() -> None:
    rows = [{**ROWS[1], "data.name": "cifar10", "test_accuracy": 0.9}, *ROWS[2:]]
    runs = dataclasses.replace(study(rows), space={})
    (outcome,) = outcomes(runs)
    assert list(outcome.confirmed["seed"]) == [2, 3]
    assert any("with another data.name left out" in w for w in outcome.warnings)


def test_training_splits_are_not_mixed() -> None:
    rows = [*ROWS, *({**confirm(0, s, 0.7, 0.8), "data.train_on": "train+val"} for s in SEEDS)]
    first = outcomes(study(rows))[0]
    assert first.mean == pytest.approx(0.6)
    assert "arm 0: 3 confirmation run(s) not trained on train left out" in first.warnings
    asked = outcomes(study(rows, confirm_on="train+val"))[0]
    assert asked.mean == pytest.approx(0.8)


def test_where_the_confirmation_stopped_is_its_own_and_said() -> None:
    """On train+val it does the rounds that the search's best parameters had."""
    more = {"data.train_on": "train+val", "stop_round": 7}
    rows = [
        {**row, **(more if row["phase"] == "confirm" else {"stop_round": None})} for row in ROWS
    ]
    runs = study(rows, confirm_on="train+val")
    (outcome,) = outcomes(runs)
    assert outcome.mean == pytest.approx(0.6)
    text = caption(runs, [outcome])
    assert "train+val; without validation examples nothing stops early" in text
    assert "as many rounds as the chosen search trial's parameters had, 7 of T)" in text
    assert "(training split: train)." in caption(study(ROWS), outcomes(study(ROWS)))


def test_public_function_is_as_before() -> None:
    runs = study(ROWS)
    found, lines = confirmed_runs(runs, runs.trials, runs.trials.iloc[0])
    assert (len(found), lines) == (3, [])
    none, _ = confirmed_runs(runs, runs.trials, None)  # a search without a winner
    assert none.empty


def test_a_mean_over_one_seed_has_no_interval() -> None:
    table = final_table(study(ROWS[:2]))
    assert table["test_accuracy_ci_low"].isna().all()


def test_a_grid_that_cuts_updates_down_is_told() -> None:
    for share, told in ((5e-5, False), (0.013, True)):
        rows = [ROWS[0], *({**row, "clipped_share": share} for row in ROWS[1:])]
        (outcome,) = outcomes(study(rows))
        line = "arm 0: 1.3 % of the entries of updates were cut down to aggregate.clip"
        assert any(w.startswith(line) for w in outcome.warnings) == told
