"""One space for every method: FedAvg's own, and beside it what the arm's method alone reads.

FedAvg's dimensions are in every arm, so that no method wins by a wider choice of what all have. Two
differ with the method: a rule that takes no momentum has none to choose, and a server that rescales
the step has a wider range of rates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fl_core import UserError, arm_of

if TYPE_CHECKING:
    import optuna

    from fl_core import TrialConfig, Value


def mlp(trial: optuna.Trial) -> Mapping[str, Value]:
    """A head with a normed hidden layer, from random weights.

    Learning rate: without momentum 0.3 to 1 is best under all shardings (LOG.md), which 0.95 of it
    multiplies by 20; a factor of two above. Momentum, weight decay and batch size as
    `federated.head`.
    """
    return {
        "local.lr": trial.suggest_float("local.lr", 1e-2, 2.0, log=True),
        "local.weight_decay": trial.suggest_float("local.weight_decay", 1e-6, 1e-2, log=True),
        "local.batch_size": trial.suggest_categorical("local.batch_size", [32, 64, 128]),
        **_momentum(trial, arm_of(trial)),
        **_rule(trial, arm_of(trial).local.rule),
        **_server(trial, arm_of(trial).server.optimiser),
    }


def fine_tuning(trial: optuna.Trial) -> Mapping[str, Value]:
    """A whole pre-trained transformer: smaller steps, as `federated.fine_tuning` says."""
    return {
        "local.lr": trial.suggest_float("local.lr", 1e-4, 1e-1, log=True),
        "local.weight_decay": trial.suggest_float("local.weight_decay", 1e-6, 1e-2, log=True),
        "local.batch_size": trial.suggest_categorical("local.batch_size", [32, 64]),
        **_momentum(trial, arm_of(trial)),
        **_rule(trial, arm_of(trial).local.rule),
        **_server(trial, arm_of(trial).server.optimiser),
    }


def _momentum(trial: optuna.Trial, arm: TrialConfig) -> Mapping[str, Value]:
    """The clients' momentum, where the method allows any."""
    try:
        arm.override({"local.momentum": 0.5})
    except UserError:
        return {}
    return {"local.momentum": trial.suggest_float("local.momentum", 0.0, 0.95)}


def _rule(trial: optuna.Trial, rule: str) -> Mapping[str, Value]:
    """What a local rule reads.

    prox: Li et al. 2020 choose mu among 0.001, 0.01, 0.1, 1. dyn: alpha is 0.1 or 0.01 in Acar et
    al. 2021; a decade beside both. cm: alpha is 0.1 in Xu et al. 2021, and 1 is FedAvg. ghbm, hbm:
    beta is 0.9 in Zaccone et al. 2025 and 1 in their code; tau is about 1/C = 10 there, 1 is
    classical momentum, and the rounds before tau are FedAvg's.
    """
    match rule:
        case "prox":
            return {"local.mu": trial.suggest_float("local.mu", 1e-3, 1.0, log=True)}
        case "dyn":
            return {"local.alpha": trial.suggest_float("local.alpha", 1e-3, 1.0, log=True)}
        case "cm":
            return {"local.alpha": trial.suggest_float("local.alpha", 0.03, 1.0, log=True)}
        case "ghbm":
            return {
                "local.beta": trial.suggest_float("local.beta", 0.3, 1.0),
                "local.tau": trial.suggest_int("local.tau", 1, 20, log=True),
            }
        case "hbm":
            return {"local.beta": trial.suggest_float("local.beta", 0.3, 1.0)}
    return {}


def _server(trial: optuna.Trial, optimiser: str) -> Mapping[str, Value]:
    """What the server reads: its rate, and what goes with it.

    sgd: 1 is FedAvg; above, extrapolation. momentum: Hsu et al. 2019 try up to 0.997 at clients'
    rates of their own; at 0.97 the step is 33 times as long, so the rate begins lower. slowmo: Wang
    et al. 2020 use up to 0.8, and a rate of 1. adagrad, adam, yogi: the grids of Reddi et al. 2021;
    no bias correction, and the betas that Adam and Yogi have there. Adagrad has them here as well;
    in the paper its beta1 is 0, so that ours is FedAdagrad with momentum.
    """
    match optimiser:
        case "momentum":
            return {
                "server.lr": trial.suggest_float("server.lr", 0.03, 2.0, log=True),
                "server.momentum": trial.suggest_float("server.momentum", 0.5, 0.97),
            }
        case "slowmo":
            return {
                "server.lr": trial.suggest_float("server.lr", 0.1, 2.0, log=True),
                "server.momentum": trial.suggest_float("server.momentum", 0.0, 0.8),
            }
        case "adagrad" | "adam" | "yogi":
            return {
                "server.lr": trial.suggest_float("server.lr", 1e-3, 10.0, log=True),
                "server.tau": trial.suggest_float("server.tau", 1e-5, 1e-1, log=True),
            }
    return {"server.lr": trial.suggest_float("server.lr", 0.5, 2.0, log=True)}
