"""A study without a mistake, for tests that put one in."""

from __future__ import annotations

from collections.abc import Mapping

import optuna

from fl_core.config.trial_config import Value
from fl_core.study.presets import Preset
from fl_core.study.study import Study


def space(trial: optuna.Trial) -> Mapping[str, Value]:
    """A range and a choice."""
    return {
        "local.lr": trial.suggest_float("local.lr", 0.1, 1.0),
        "local.batch_size": trial.suggest_categorical("local.batch_size", [32, 64]),
    }


SMALL = Preset("small", budget=32, eval_steps=16, trials=2, seeds=1)
STUDY = Study("mine", "Why?", {}, [{"local.steps": 4}, {"local.steps": 8}], space, {"small": SMALL})
