"""Nuisance parameters of whole networks, trained from random weights or from pre-trained ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fl_core import arm_of

if TYPE_CHECKING:
    import optuna

    from fl_core import Value


#: Of the learning rate, by whether weights are random and whether AdamW steps.
RATES = {
    (True, False): (1e-3, 0.5),
    (False, False): (1e-4, 0.1),
    (True, True): (3e-4, 1e-2),
    (False, True): (3e-5, 1e-3),
}


def networks(trial: optuna.Trial) -> Mapping[str, Value]:
    """FedAvg's own, the server's step at 1; the rates that learn depend on the weights to begin
    with.

    Learning rate from random weights: the public LeNet of track B chose 0.005 to 0.1; a factor
    of five below and above (0.5 is for networks with norms). From pre-trained ones: as
    `federated.fine_tuning`, fine-tuned ViTs take 0.001 to 0.03. Momentum: 0.9 multiplies the
    step by ten. AdamW: a decade around 0.001 from random weights, a decade below from others.
    Weight decay: theirs is 0.0001 or 0.001. Batch size: clients of the digits have 65 examples,
    of the paper's preset 450.
    """
    arm = arm_of(trial)
    random, adamw = arm.backbone.weights == "random", arm.local.optimiser == "adamw"
    lowest, highest = RATES[random, adamw]
    momentum = {} if adamw else {"local.momentum": trial.suggest_float("local.momentum", 0.0, 0.9)}
    return {
        "local.lr": trial.suggest_float("local.lr", lowest, highest, log=True),
        **momentum,
        "local.weight_decay": trial.suggest_float("local.weight_decay", 1e-6, 1e-2, log=True),
        "local.batch_size": trial.suggest_categorical("local.batch_size", [16, 32, 64]),
    }
