"""One space for LocalSGD, SlowMo, DiLoCo and post-local SGD: what the arm's own method reads.

Published values lie inside, and are tried first: `PUBLISHED`, of which an arm takes what it reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fl_core import arm_of

if TYPE_CHECKING:
    import optuna

    from fl_core import TrialConfig, Value

#: SGD with momentum 0.9 everywhere; SlowMo (Wang et al. 2020): slow momentum 0.4 to 0.8, SGD's
#: own starting anew. DiLoCo (Douillard et al. 2023): AdamW at 4e-4 and decay 0.1, outer Nesterov
#: with rate 0.7 and momentum 0.9.
PUBLISHED: Sequence[Mapping[str, Value]] = (
    {
        "local.lr": 0.1,
        "local.momentum": 0.9,
        "local.weight_decay": 1e-4,
        "local.keep_momentum": False,
        "server.momentum": 0.6,
    },
    {
        "local.lr": 4e-4,
        "local.beta2": 0.95,
        "local.weight_decay": 0.1,
        "server.lr": 0.7,
        "server.momentum": 0.9,
    },
)


def mlp(trial: optuna.Trial) -> Mapping[str, Value]:
    """A head with a normed hidden layer, from random weights.

    Learning rate of SGD as `methods.mlp`; of AdamW a decade and a half around 1e-3, its usual
    one, with the published 4e-4 inside.
    """
    arm = arm_of(trial)
    low, high = (1e-4, 3e-2) if arm.local.optimiser == "adamw" else (1e-2, 2.0)
    return {"local.lr": trial.suggest_float("local.lr", low, high, log=True), **_others(trial, arm)}


def fine_tuning(trial: optuna.Trial) -> Mapping[str, Value]:
    """A whole pre-trained transformer: SGD as `federated.fine_tuning` says, AdamW a hundredth."""
    arm = arm_of(trial)
    low, high = (1e-6, 1e-3) if arm.local.optimiser == "adamw" else (1e-4, 1e-1)
    return {"local.lr": trial.suggest_float("local.lr", low, high, log=True), **_others(trial, arm)}


def _others(trial: optuna.Trial, arm: TrialConfig) -> Mapping[str, Value]:
    return {**_inner(trial, arm.local.optimiser), **_outer(trial, arm.server.optimiser)}


def _inner(trial: optuna.Trial, optimiser: str) -> Mapping[str, Value]:
    """AdamW's decay is a share of the rate, so it is larger; beta2 is torch's or the paper's."""
    if optimiser == "adamw":
        return {
            "local.weight_decay": trial.suggest_float("local.weight_decay", 1e-3, 0.3, log=True),
            "local.beta2": trial.suggest_categorical("local.beta2", [0.95, 0.999]),
        }
    return {
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.95),
        "local.weight_decay": trial.suggest_float("local.weight_decay", 1e-6, 1e-2, log=True),
    }


def _outer(trial: optuna.Trial, optimiser: str) -> Mapping[str, Value]:
    """slowmo: the paper finds a rate of 1 best everywhere, and says of what clients' optimisers
    remember that which way is better depends. nesterov: DiLoCo's table 5, rates 0.1 to 1, momenta
    0.8 to 0.95; lower ones for the few rounds that a large J leaves.
    """
    match optimiser:
        case "slowmo":
            return {
                "server.momentum": trial.suggest_float("server.momentum", 0.0, 0.8),
                "local.keep_momentum": trial.suggest_categorical(
                    "local.keep_momentum", [False, True]
                ),
            }
        case "nesterov":
            return {
                "server.lr": trial.suggest_float("server.lr", 0.1, 1.0, log=True),
                "server.momentum": trial.suggest_float("server.momentum", 0.5, 0.95),
            }
    return {}
