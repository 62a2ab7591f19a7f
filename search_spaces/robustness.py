"""One space for every aggregate, with attackers or without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fl_core import arm_of

if TYPE_CHECKING:
    import optuna

    from fl_core import Value


def head(trial: optuna.Trial) -> Mapping[str, Value]:
    """A linear head from zeros: from the ridge head, which is honest, attacks would begin at 71 %.

    Learning rate, momentum, weight decay, batch size: as `federated.head`. Server step: wider than
    there: attackers who send the opposite shorten the mean's step, and it must be allowed to
    lengthen it. Bound: from where it cuts everybody down to where it hardly ever cuts (a client
    moves by 0.3 to 30 at these rates).
    """
    values: dict[str, Value] = {
        "local.lr": trial.suggest_float("local.lr", 1e-2, 3.0, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.95),
        "local.weight_decay": trial.suggest_float("local.weight_decay", 1e-6, 1e-2, log=True),
        "local.batch_size": trial.suggest_categorical("local.batch_size", [32, 64, 128]),
        "server.lr": trial.suggest_float("server.lr", 0.5, 4.0, log=True),
    }
    if arm_of(trial).aggregate.rule == "norm_bound":
        values["aggregate.bound"] = trial.suggest_float("aggregate.bound", 0.1, 10.0, log=True)
    return values


def fine_tuning(trial: optuna.Trial) -> Mapping[str, Value]:
    """A whole pre-trained transformer: smaller steps, as `federated.fine_tuning` says."""
    values: dict[str, Value] = {
        "local.lr": trial.suggest_float("local.lr", 1e-4, 1e-1, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.95),
        "local.weight_decay": trial.suggest_float("local.weight_decay", 1e-6, 1e-2, log=True),
        "local.batch_size": trial.suggest_categorical("local.batch_size", [32, 64]),
        "server.lr": trial.suggest_float("server.lr", 0.5, 4.0, log=True),
    }
    if arm_of(trial).aggregate.rule == "norm_bound":
        values["aggregate.bound"] = trial.suggest_float("aggregate.bound", 0.03, 3.0, log=True)
    return values
