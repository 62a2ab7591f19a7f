"""Spaces of the studies of gradient masks: nuisance parameters, and the masks' own.

A dimension opens only where the ones before it use it: R, the kind of Fisher information and the
number of calibration examples for rules that calibrate, the weight of Fisher for `hybrid`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fl_core import FISHER_RULES

if TYPE_CHECKING:
    import optuna

    from fl_core import Value

PLAIN = ("low_magnitude", "high_magnitude", "random")


def head(trial: optuna.Trial) -> Mapping[str, Value]:
    """SparseSGDM on a linear head.

    Learning rate: a warmed-up head takes 0.01 to 0.3, the least sensitive tenth of it (whose
    gradients are the smallest) up to ten times more; a decade of margin on both sides.
    Momentum: the brief's SGDM; 0 is in, 0.95 multiplies the step by 20.
    """
    return {
        "local.lr": trial.suggest_float("local.lr", 1e-3, 10.0, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.95),
    }


def fine_tuning(trial: optuna.Trial) -> Mapping[str, Value]:
    """SparseSGDM on a pre-trained transformer.

    Learning rate: dense fine-tuning wants 0.001 to 0.03 (Dosovitskiy et al. 2021), the least
    sensitive parameters up to ten times more; a decade below for unstable starts.
    """
    return {
        "local.lr": trial.suggest_float("local.lr", 1e-4, 3e-1, log=True),
        "local.momentum": trial.suggest_float("local.momentum", 0.0, 0.95),
    }


def untuned(trial: optuna.Trial) -> Mapping[str, Value]:
    """Nothing to tune: the question is about the masks themselves."""
    return {}


#: Even in the logarithm of the active share; 0 is dense.
SPARSITIES = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


def sparsity_and_rounds(trial: optuna.Trial) -> Mapping[str, Value]:
    """How sparse, under whose masks, and calibrated how often where something is frozen?"""
    sparsity = trial.suggest_categorical("mask.sparsity", SPARSITIES)
    values: dict[str, Value] = {"mask.sparsity": sparsity}
    if sparsity:
        values["mask.rounds"] = trial.suggest_int("mask.rounds", 1, 8, log=True)
        values["mask.scope"] = trial.suggest_categorical("mask.scope", ["shared", "per_client"])
    return values


def _traffic(trial: optuna.Trial) -> dict[str, Value]:
    """What else decides how much is sent, under a constant budget of local steps: twice the
    local steps are half the rounds.
    """
    return {
        **sparsity_and_rounds(trial),
        "local.steps": trial.suggest_categorical("local.steps", [2, 4, 8, 16]),
        "federation.participation": trial.suggest_categorical(
            "federation.participation", [0.05, 0.1, 0.2]
        ),
    }


def rule(trial: optuna.Trial) -> Mapping[str, Value]:
    """Which rule, with the settings that it uses?

    Of the kinds of Fisher information `empirical` reads, on the server, the labels that a trial is
    scored on; where it wins, the caption says so.
    """
    chosen = trial.suggest_categorical("mask.rule", [*FISHER_RULES, *PLAIN])
    values: dict[str, Value] = {"mask.rule": chosen}
    if chosen in FISHER_RULES:
        values["mask.rounds"] = trial.suggest_int("mask.rounds", 1, 8, log=True)
        values["mask.fisher"] = trial.suggest_categorical(
            "mask.fisher", ["sampled", "talos", "empirical"]
        )
        values["mask.examples"] = trial.suggest_int("mask.examples", 32, 256, log=True)
    if chosen == "hybrid":
        values["mask.hybrid_weight"] = trial.suggest_float("mask.hybrid_weight", 0.0, 1.0)
    return values


def communication(trial: optuna.Trial) -> Mapping[str, Value]:
    """Accuracy against bytes, on a linear head."""
    return {**head(trial), **_traffic(trial)}


def communication_backbone(trial: optuna.Trial) -> Mapping[str, Value]:
    """Accuracy against bytes, on a pre-trained transformer."""
    return {**fine_tuning(trial), **_traffic(trial)}
