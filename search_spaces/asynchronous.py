"""One space for every way of waiting for clients, and what FedBuff alone reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fl_core import arm_of

if TYPE_CHECKING:
    import optuna

    from fl_core import Value


def head(trial: optuna.Trial) -> Mapping[str, Value]:
    """A linear head from zeros.

    Learning rate, momentum: as `federated.head`, which is wide. Server step: 1 is FedAvg's; few
    updates a step are noisier, so it goes lower than there. Staleness: 0 weighs late updates like
    others, 0.5 is the value of Nguyen et al. 2022, at 2 three steps late are a sixteenth. Not the
    batch size: on the clock a larger one takes longer.
    """
    return {
        "local.lr": trial.suggest_float("local.lr", 1e-2, 3.0, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.95),
        **_server(trial),
    }


def fine_tuning(trial: optuna.Trial) -> Mapping[str, Value]:
    """A whole pre-trained transformer: smaller steps, as `federated.fine_tuning` says."""
    return {
        "local.lr": trial.suggest_float("local.lr", 1e-4, 1e-1, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.95),
        **_server(trial),
    }


def _server(trial: optuna.Trial) -> Mapping[str, Value]:
    values: dict[str, Value] = {"server.lr": trial.suggest_float("server.lr", 0.1, 2.0, log=True)}
    if arm_of(trial).timing.mode == "buffered":
        values["timing.staleness"] = trial.suggest_float("timing.staleness", 0.0, 2.0)
    return values
