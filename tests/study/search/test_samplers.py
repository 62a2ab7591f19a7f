"""Searchers by name: what suits which space, and the grid's points."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
import pytest

from fl_core.base.errors import UserError
from fl_core.config.trial_config import Value
from fl_core.study.search.samplers import check_searcher, sampler_of
from fl_core.study.search.space import grid_points


def continuous(trial: optuna.Trial) -> Mapping[str, Value]:
    return {
        "local.lr": trial.suggest_float("local.lr", 1e-3, 1.0, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.9),
    }


def discrete(trial: optuna.Trial) -> Mapping[str, Value]:
    """R opens only where something is frozen."""
    values: dict[str, Value] = {
        "mask.sparsity": trial.suggest_categorical("mask.sparsity", [0.0, 0.5]),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.9, step=0.45),
    }
    if values["mask.sparsity"]:
        values["mask.rounds"] = trial.suggest_int("mask.rounds", 1, 4, log=True)
    return values


def test_every_point_of_a_grid_once() -> None:
    points = grid_points(discrete)
    assert len(points) == 3 + 3 * 4  # R means nothing without a mask
    assert len({str(sorted(point.items())) for point in points}) == len(points)
    assert {point["local.momentum"] for point in points} == {0.0, 0.45, 0.9}
    assert {point.get("mask.rounds") for point in points} == {None, 1, 2, 3, 4}
    assert grid_points(discrete) == points


def test_what_does_not_suit_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"grid: local\.lr is continuous; fix it with --set"):
        check_searcher("grid", continuous, 1)
    with pytest.raises(UserError, match=r"cmaes: mask\.sparsity is a choice"):
        check_searcher("cmaes", discrete, 1)
    with pytest.raises(UserError, match="one objective"):
        check_searcher("cmaes", continuous, 2)
    with pytest.raises(UserError, match="two dimensions"):
        check_searcher("cmaes", lambda t: {"seed": t.suggest_int("seed", 0, 9)}, 1)

    def many(trial: optuna.Trial) -> Mapping[str, Value]:
        return {name: trial.suggest_int(name, 0, 99) for name in ("rounds", "seed")}

    with pytest.raises(UserError, match="10000 points, at most 1000"):
        check_searcher("grid", many, 1)

    def conditional(trial: optuna.Trial) -> Mapping[str, Value]:
        first = trial.suggest_float("local.lr", 0.0, 1.0)
        if first < 0.5:
            trial.suggest_float("local.momentum", 0.0, 1.0)
        return {"local.lr": first}

    with pytest.raises(UserError, match=r"local\.momentum is there on a condition only"):
        check_searcher("cmaes", conditional, 1)


@pytest.mark.parametrize("name", ["tpe", "random", "nsga2", "cmaes"])
def test_samplers_are_functions_of_their_seed(name: str) -> None:
    check_searcher(name, continuous, 1)

    def run(seed: int) -> list[float]:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(direction="maximize")
        for number in range(12):
            study.sampler = sampler_of(name, 100 * seed + number, 1)
            trial = study.ask()
            study.tell(trial, -abs(float(continuous(trial)["local.lr"] or 0) - 0.1))
        return [trial.params["local.lr"] for trial in study.trials]

    assert run(0) == run(0)
    assert run(0) != run(1)


def test_two_objectives() -> None:
    for name in ("tpe", "random", "nsga2"):
        study = optuna.create_study(
            directions=["maximize", "minimize"], sampler=sampler_of(name, 0, 2)
        )
        for _ in range(10):
            trial = study.ask()
            lr = float(continuous(trial)["local.lr"] or 0)
            study.tell(trial, [lr, lr**2])
        assert study.best_trials
    with pytest.raises(ValueError, match="no sampler"):
        sampler_of("bohb", 0, 1)
