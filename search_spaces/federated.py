"""Nuisance parameters of FedAvg, tuned afresh for every arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

    from fl_core import Value


def head_of_zeros(trial: optuna.Trial) -> Mapping[str, Value]:
    """FedAvg of a linear head on frozen features, from zeros.

    Learning rate: below 0.003 a head of zeros does not get anywhere in the budget, but a ridge
    head at N_c = 1 wants that and less; above 3 it diverges or oscillates.
    Momentum: the brief's SGDM; 0 is in, 0.95 multiplies the step by 20.
    Weight decay: up to where it costs accuracy. Server step: 1 is FedAvg; above, extrapolation.
    """
    return {
        "local.lr": trial.suggest_float("local.lr", 1e-3, 3.0, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.95),
        "local.weight_decay": trial.suggest_float("local.weight_decay", 1e-6, 1e-2, log=True),
        "local.batch_size": trial.suggest_categorical("local.batch_size", [32, 64, 128]),
        "server.lr": trial.suggest_float("server.lr", 0.5, 2.0, log=True),
    }


def head(trial: optuna.Trial) -> Mapping[str, Value]:
    """The same from zeros, or from the ridge solution of one round of summed statistics (Fed3R),
    whose regularisation opens only then.
    """
    values: dict[str, Value] = {
        **head_of_zeros(trial),
        "head.method": trial.suggest_categorical("head.method", ["none", "ridge"]),
    }
    if values["head.method"] == "ridge":
        values["head.ridge_lambda"] = trial.suggest_float("head.ridge_lambda", 1e-3, 10, log=True)
    return values


def fine_tuning(trial: optuna.Trial) -> Mapping[str, Value]:
    """FedAvg of a whole pre-trained transformer: smaller steps, the head given.

    Learning rate: pre-trained ViTs are fine-tuned with SGD at 0.001 to 0.03 (Dosovitskiy et al.
    2021); a decade of margin below and a factor of three above. Temperature of a ridge head: the
    calibrated softmax is the better start at small rates, the nearly uniform one at the rates that
    win in the end (ViT-Ti at 64 px: 66 against 69 %; LOG.md), so the search decides.
    """
    return {
        "head.temperature": trial.suggest_categorical("head.temperature", ["auto", 1.0]),
        "local.lr": trial.suggest_float("local.lr", 1e-4, 1e-1, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.95),
        "local.weight_decay": trial.suggest_float("local.weight_decay", 1e-6, 1e-2, log=True),
        "local.batch_size": trial.suggest_categorical("local.batch_size", [32, 64]),
        "server.lr": trial.suggest_float("server.lr", 0.5, 1.5, log=True),
    }
