"""Selection rules, borders, importance: on frames made by hand."""

from __future__ import annotations

import doctest
import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fl_analysis
from fl_analysis.results import labels
from fl_analysis.results.importance import importance, within_arm_ranks
from fl_analysis.results.selection import best_validation, border_warnings, diverged_share


def with_examples(folder: Path) -> list[str]:
    """The modules below a folder that show examples."""
    return [
        ".".join(file.relative_to(folder).with_suffix("").parts)
        for file in folder.rglob("*.py")
        if ">>> " in file.read_text(encoding="utf-8")
    ]


def trials(**columns: list[Any]) -> pd.DataFrame:
    size = len(columns["status"])
    base = {"phase": ["search"] * size, "digest": [chr(97 + i) for i in range(size)]}
    return pd.DataFrame({**base, **columns})


def test_only_finished_search_trials_with_a_number_can_win() -> None:
    frame = trials(
        status=["finished", "pruned", "diverged", "finished", "finished", "finished"],
        phase=["search", "search", "search", "search", "confirm", "search"],
        val_accuracy=[0.5, 0.9, 0.95, math.nan, 0.99, math.inf],
    )
    best = best_validation(frame)
    assert best is not None
    assert best["digest"] == "a"
    assert best_validation(frame.iloc[1:4]) is None


def test_ties_go_to_the_earliest_trial_then_the_lowest_digest() -> None:
    frame = trials(status=["finished"] * 3, val_accuracy=[0.5] * 3, digest=["b", "c", "a"])
    best = best_validation(frame)
    assert best is not None
    assert best["digest"] == "a"
    best = best_validation(frame.assign(number=pd.Series([2, 0, 1], dtype=object)))
    assert best is not None
    assert best["digest"] == "c"


def test_diverged_share_is_of_the_trials_that_gave_a_result() -> None:
    frame = trials(status=["finished", "pruned", "diverged", "failed", "running"])
    assert diverged_share(frame) == pytest.approx(1 / 3)
    assert math.isnan(diverged_share(frame.iloc[3:]))


@pytest.mark.parametrize(
    ("value", "spec", "side"),
    [
        (0.001, {"low": 1e-3, "high": 1.0, "log": True}, "low"),
        (0.00114, {"low": 1e-3, "high": 1.0, "log": True}, "low"),  # 1.9 % of the log range
        (0.00116, {"low": 1e-3, "high": 1.0, "log": True}, None),  # 2.1 %
        (0.88, {"low": 1e-3, "high": 1.0, "log": True}, "high"),
        (0.88, {"low": 1e-3, "high": 1.0, "log": False}, None),
        (0.981, {"low": 0, "high": 1, "log": False}, "high"),
        (0.019, {"low": 0, "high": 1, "log": False}, "low"),
        (5, {"low": 5, "high": 5}, None),
        (128, {"choices": [32, 64, 128]}, "high"),
        (64, {"choices": [32, 64, 128]}, None),
        (32, {"choices": [32, 64]}, None),
        ("a", {"choices": ["a", "b", "c"]}, None),
        (True, {"choices": [True, False]}, None),
        (None, {"low": 0, "high": 1}, None),
    ],
)
def test_border(value: object, spec: dict[str, Any], side: str | None) -> None:
    assert border_warnings({"x": value}, {"x": spec}) == ({"x": side} if side else {})


def test_ranks_are_within_the_arm_and_put_early_stops_below() -> None:
    frame = trials(
        status=["finished", "pruned", "pruned", "diverged", "finished", "finished"],
        arm=[0, 0, 0, 0, 1, 1],
        round=[10, 5, 2, 1, 10, 10],
        val_accuracy=[0.3, 0.2, 0.9, math.nan, 0.1, 0.2],
    )
    assert within_arm_ranks(frame).tolist() == [1.0, 0.75, 0.5, 0.25, 0.5, 1.0]


def test_importance_finds_the_parameter_that_matters_and_knows_chance() -> None:
    rng = np.random.default_rng(1)
    size = 120
    lr, noise = 10 ** rng.uniform(-3, 0, size), rng.uniform(0, 1, size)
    arm = np.arange(size) % 3
    frame = pd.DataFrame(
        {
            **{"phase": "search", "status": "finished", "arm": arm, "round": 10.0},
            **{"lr": lr, "noise": noise, "kind": ["a", "b"] * (size // 2)},
            "val_accuracy": 0.3 * arm - (np.log10(lr) + 1) ** 2,  # arms differ more than trials
        }
    )
    space: dict[str, dict[str, Any]] = {
        "lr": {"low": 1e-3, "high": 1.0, "log": True},
        "noise": {"low": 0.0, "high": 1.0},
        "kind": {"choices": ["a", "b"]},
    }
    table = importance(frame, space)
    assert table["name"][0] == "lr"
    assert table["importance"].sum() == pytest.approx(1)
    above = dict(zip(table["name"], table["importance"] > table["chance"], strict=True))
    assert above == {"lr": True, "noise": False, "kind": False}
    assert table.equals(importance(frame, space))
    closed = frame.assign(noise=frame["noise"].where(frame["kind"] == "a"))
    assert set(importance(closed, space)["name"]) == {"lr", "noise", "kind"}
    assert importance(frame.iloc[:5], space).empty
    assert importance(frame, {}).empty


@pytest.mark.parametrize("module", sorted(with_examples(Path(fl_analysis.__path__[0]))))
def test_doctests(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"fl_analysis.{module}"))
    assert result.attempted
    assert not result.failed


def test_axes_leave_out_what_another_axis_decides() -> None:
    settings: list[dict[str, Any]] = [
        {
            "federation.sharding": "classes" if n else "iid",
            "federation.classes_per_client": n,
            "local.steps": j,
            "rounds": 400 // j,
        }
        for n in (None, 1, 5)
        for j in (4, 8)
    ]
    assert labels.arm_axes(settings, settings) == ["sharding", "local.steps"]
    assert labels.arm_axes(settings[:2], settings[:2]) == ["local.steps"]
