"""Nuisance parameters of training with large batches, tuned afresh for every optimiser and batch.

The learning rate is that of 256 examples; the study scales it with the square root of the batch, so
that one range serves all batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fl_core import arm_of

if TYPE_CHECKING:
    import optuna

    from fl_core import Value

#: Learning rates on the MLP. sgdm: as `methods.mlp`. lars: eta_t = 0.001 makes a step 1e-3 lr of a
#: tensor's norm, so that 1 to 30 is 0.1 to 3 %; a factor of three below. lamb: a step is lr of the
#: norm; the paper's rates for small batches are 0.0005 to 0.01, a decade above for few steps.
MLP_RATES = {"sgdm": (1e-2, 2.0), "lars": (0.3, 30.0), "lamb": (3e-4, 0.1)}
#: The same for all of a network: SGD takes smaller steps, the others follow its norms.
NETWORK_RATES = {"sgdm": (1e-3, 0.5), "lars": (0.3, 30.0), "lamb": (1e-4, 0.03)}


def mlp(trial: optuna.Trial) -> Mapping[str, Value]:
    """A head with a normed hidden layer, from random weights."""
    return _shared(trial, MLP_RATES)


def network(trial: optuna.Trial) -> Mapping[str, Value]:
    """A whole network on images."""
    return _shared(trial, NETWORK_RATES)


def _shared(trial: optuna.Trial, rates: Mapping[str, tuple[float, float]]) -> Mapping[str, Value]:
    """Warm-up: Goyal et al. 2017 take 5 of 90 epochs, You et al. 2020 up to a third of the steps.
    Weight decay: 0.01 in LAMB's paper, 1e-4 in Goyal's; a decade around both. Momentum: what
    reads it; the betas of LAMB are the paper's.
    """
    optimiser = arm_of(trial).local.optimiser
    low, high = rates[optimiser]
    values: dict[str, Value] = {
        "local.lr": trial.suggest_float("local.lr", low, high, log=True),
        "local.weight_decay": trial.suggest_float("local.weight_decay", 1e-5, 0.1, log=True),
        "schedule.warmup": trial.suggest_float("schedule.warmup", 0.02, 0.4, log=True),
    }
    if optimiser != "lamb":
        values["local.momentum"] = trial.suggest_float("local.momentum", 0.5, 0.95)
    return values
