"""One space for every way of personalising: FedAvg's own, and what the arm's method reads.

The same dimensions of FedAvg are in every arm, so that none wins by a wider choice of them. Its
server's rate is not: where every client has its own model, how far the shared one steps matters
little, and a dimension less leaves more trials for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fl_core import arm_of

if TYPE_CHECKING:
    import optuna

    from fl_core import TrialConfig, Value


def mlp(trial: optuna.Trial) -> Mapping[str, Value]:
    """A head with a hidden layer, from random weights.

    Learning rate: as `methods.mlp`; what a client trains alone may want more than what is averaged.
    """
    return {
        "local.lr": trial.suggest_float("local.lr", 3e-3, 1.0, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.95),
        "local.weight_decay": trial.suggest_float("local.weight_decay", 1e-6, 1e-2, log=True),
        "local.batch_size": trial.suggest_categorical("local.batch_size", [32, 64, 128]),
        **_own(trial, arm_of(trial)),
    }


def fine_tuning(trial: optuna.Trial) -> Mapping[str, Value]:
    """A whole pre-trained transformer: smaller steps, as `federated.fine_tuning` says."""
    return {
        "local.lr": trial.suggest_float("local.lr", 1e-4, 1e-1, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.95),
        "local.weight_decay": trial.suggest_float("local.weight_decay", 1e-6, 1e-2, log=True),
        "local.batch_size": trial.suggest_categorical("local.batch_size", [32, 64]),
        **_own(trial, arm_of(trial)),
    }


def _own(trial: optuna.Trial, arm: TrialConfig) -> Mapping[str, Value]:
    """What a method reads.

    fedrep: steps of the head, of J in all, at least one of them left for the body. ditto: lambda
    as Li et al. 2021 try it, 0.05 to 2; as many own steps as a client makes for the shared model,
    or fewer or more by a factor of two. fine_tune: from one step to what a small shard needs to be
    learnt by heart. All of one kind, so that the arms can be searched together.
    """
    steps = arm.local.steps
    match arm.personal.rule:
        case "fedrep":
            return {"personal.steps": trial.suggest_int("personal.steps", 1, steps - 1, log=True)}
        case "ditto":
            return {
                "personal.lambda_": trial.suggest_float("personal.lambda_", 0.05, 2.0, log=True),
                "personal.steps": trial.suggest_int(
                    "personal.steps", max(1, steps // 2), 2 * steps, log=True
                ),
            }
        case "fine_tune":
            return {"personal.steps": trial.suggest_int("personal.steps", 1, 64, log=True)}
    return {}
