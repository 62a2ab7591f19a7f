"""One space for plain and for secure aggregation, at any sparsity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fl_core import arm_of

if TYPE_CHECKING:
    import optuna

    from fl_core import Value


def head(trial: optuna.Trial) -> Mapping[str, Value]:
    """A linear head; the head it starts from, if any, has not been hidden.

    Learning rate and momentum: as `federated.head`, without the rates that win only from a ridge
    head. Clipping: an entry moves by 0.001 (rate 0.01) to 0.1 (rate 1) in a round, the largest one
    by 0.01 to 3 (mean over clients and rounds); 0.1 cuts much of what a large rate does, at 10 a
    step of the grid is 0.0003. The noise of zero-sum aggregation cancels or breaks all: it is
    nothing to tune.
    """
    values: dict[str, Value] = {
        "local.lr": trial.suggest_float("local.lr", 1e-2, 3.0, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.95),
        **_clip(trial, 0.1, 10.0),
    }
    return values


def fine_tuning(trial: optuna.Trial) -> Mapping[str, Value]:
    """A whole pre-trained transformer: smaller steps, as `federated.fine_tuning` says; so entries
    move by less.
    """
    return {
        "local.lr": trial.suggest_float("local.lr", 1e-4, 1e-1, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.95),
        **_clip(trial, 1e-3, 1.0),
    }


def _clip(trial: optuna.Trial, least: float, most: float) -> Mapping[str, Value]:
    """Of arms that clip."""
    if arm_of(trial).aggregate.rule != "secure":
        return {}
    return {"aggregate.clip": trial.suggest_float("aggregate.clip", least, most, log=True)}
