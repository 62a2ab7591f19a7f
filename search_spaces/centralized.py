"""Nuisance parameters of centralised SGD with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

    from fl_core import Value


def sgdm(trial: optuna.Trial) -> Mapping[str, Value]:
    """Learning rate, momentum, weight decay and batch size of the baseline.

    The learning rate reaches from useless (1e-3 on a head) to unstable (1); batch sizes change
    the noise of a step by a factor of four.
    """
    return {
        "local.lr": trial.suggest_float("local.lr", 1e-4, 1.0, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.95),
        "local.weight_decay": trial.suggest_float("local.weight_decay", 1e-6, 1e-2, log=True),
        "local.batch_size": trial.suggest_categorical("local.batch_size", [64, 128, 256]),
    }
