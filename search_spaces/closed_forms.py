"""What is tuned of a head from one round, and of FedAvg that may send as much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fl_core import arm_of

if TYPE_CHECKING:
    import optuna

    from fl_core import Value


def head(trial: optuna.Trial) -> Mapping[str, Value]:
    """By how the arm makes its head; class means alone leave nothing to choose.

    ridge: as `federated.head`. cof: Goswami et al. 2025 take 1 for ViTs and 0.1 for MobileNet; a
    decade on each side. FedAvg from zeros: as `federated.head`, and J, since local steps cost no
    bytes; the rate begins where few rounds still get somewhere.
    """
    match arm_of(trial).head.method:
        case "ridge":
            return {
                "head.ridge_lambda": trial.suggest_float("head.ridge_lambda", 1e-3, 10, log=True)
            }
        case "cof":
            return {"head.shrinkage": trial.suggest_float("head.shrinkage", 1e-2, 10, log=True)}
        case "ncm":
            return {}
    return {
        "local.lr": trial.suggest_float("local.lr", 1e-2, 3.0, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.95),
        "local.weight_decay": trial.suggest_float("local.weight_decay", 1e-6, 1e-2, log=True),
        "local.batch_size": trial.suggest_categorical("local.batch_size", [32, 64, 128]),
        "local.steps": trial.suggest_categorical("local.steps", [4, 16, 64]),
        "server.lr": trial.suggest_float("server.lr", 0.5, 2.0, log=True),
    }
