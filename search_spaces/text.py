"""Nuisance parameters of the next-character model, tuned afresh for every arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

    from fl_core import Value


def char_lstm(trial: optuna.Trial) -> Mapping[str, Value]:
    """FedAvg of an LSTM from random weights, gradients clipped to norm 1.

    Learning rate: published for it are 0.8 (LEAF) and 1 (Reddi et al. 2021); below 0.3 it has not
    got past the most frequent character in a short budget, above 5 it oscillates. Momentum: 0 is
    the published one; 0.9 makes a step of ten. Server step: 1 is FedAvg; above, extrapolation.
    """
    return {
        "local.lr": trial.suggest_float("local.lr", 0.3, 5.0, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.9),
        "server.lr": trial.suggest_float("server.lr", 0.7, 1.5, log=True),
    }
