"""Which hyper-parameters decided the search: PED-ANOVA (Watanabe et al., IJCAI 2023) by Optuna.

Arms differ in level and in spread, so their accuracies are not pooled as they are: each search
trial is ranked WITHIN its arm and the ranks are pooled. The question answered is "what separates
the top quarter of an arm's trials from the rest of that arm", each arm weighing by its trials;
a hyper-parameter whose best value moves from arm to arm scores low. Within an arm, trials that
finished rank above pruned ones, those by the rounds they reached, and diverged ones last: all
trials count, and no early accuracy is compared with a late one.

The estimate is positive even for a parameter without effect, so it stands beside chance: the
95th percentile of the same estimate with the ranks shuffled within the arms.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fl_analysis.results.selection import searched

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

TOP = 0.25  # PED-ANOVA wants at least five trials in the top quantile
LEAST = 20  # trials; fewer say nothing
MOST = 1000  # trials; of more, so many at random, always the same
SHUFFLES = 60


def importance(trials: pd.DataFrame, space: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """name, importance, chance for each searched parameter, most important first, in shares of
    the summed importance; empty when fewer than LEAST trials ran or nothing was searched.
    """
    ran = searched(trials)
    columns = ["name", "importance", "chance"]
    if len(ran) < LEAST or not space:
        return pd.DataFrame(columns=columns)
    ranks = within_arm_ranks(ran)
    if len(ran) > MOST:
        ran = ran.sample(MOST, random_state=0)
        ranks = ranks[ran.index]
    study = _study([_frozen(row, space) for _, row in ran.iterrows()])
    real = _ped_anova(study, ranks.to_numpy())
    rng = np.random.default_rng(0)
    arms = ran["arm"].to_numpy()
    null = [_ped_anova(study, _shuffled(ranks.to_numpy(), arms, rng)) for _ in range(SHUFFLES)]
    total = sum(real.values()) or 1.0
    rows = [
        (name, value / total, _chance([draw.get(name, 0.0) for draw in null]) / total)
        for name, value in sorted(real.items(), key=lambda item: (-item[1], item[0]))
    ]
    return pd.DataFrame(rows, columns=columns)


def _chance(draws: Sequence[float]) -> float:
    return float(np.quantile(draws, 0.95))


def within_arm_ranks(ran: pd.DataFrame) -> pd.Series:
    """Each trial's rank in its own arm, in (0, 1], 1 = best; see the module's docstring."""
    level = ran["status"].map({"finished": 2, "pruned": 1, "diverged": 0})
    reached = ran["round"].where(level == 1, 0.0).fillna(0.0)
    score = ran["val_accuracy"].where(level > 0, 0.0).fillna(-math.inf)
    order = pd.Series(list(zip(level, reached, score, strict=True)), index=ran.index)
    place = order.map({key: i for i, key in enumerate(sorted(set(order)))})
    return place.groupby(ran["arm"]).rank(pct=True)


def _shuffled(ranks: np.ndarray, arms: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mixed = ranks.copy()
    for arm in np.unique(arms):
        mixed[arms == arm] = rng.permutation(ranks[arms == arm])
    return mixed


def _frozen(row: pd.Series, space: Mapping[str, Mapping[str, Any]]) -> FrozenTrial:
    """The trial as Optuna knew it: without the dimensions that were closed in it."""
    from optuna.trial import create_trial

    params: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}
    for name, spec in space.items():
        value = row.get(name)
        if _within(value, spec):
            params[name], distributions[name] = value, _distribution(spec)
    return create_trial(params=params, distributions=distributions, value=0.0)


def _within(value: Any, spec: Mapping[str, Any]) -> bool:
    if "choices" in spec:
        return value in spec["choices"]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and spec["low"] <= value <= spec["high"]


def _distribution(spec: Mapping[str, Any]) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if "choices" in spec:
        return CategoricalDistribution(spec["choices"])
    low, high, log, step = spec["low"], spec["high"], bool(spec.get("log")), spec.get("step")
    if isinstance(low, int) and isinstance(high, int) and isinstance(step, int):
        return IntDistribution(low, high, log=log, step=step)
    return FloatDistribution(low, high, log=log)  # the step only matters to a sampler


def _study(made: Sequence[FrozenTrial]) -> optuna.Study:
    """An in-memory study of these trials; their values are given later, as the target."""
    import optuna

    quiet = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # "A new study created in memory"
    study = optuna.create_study()
    optuna.logging.set_verbosity(quiet)
    study.add_trials(made)
    return study


def _ped_anova(study: optuna.Study, ranks: np.ndarray) -> dict[str, float]:
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    evaluator = PedAnovaImportanceEvaluator(target_quantile=TOP)
    with warnings.catch_warnings():  # that a target is minimised; few trials in a regime
        warnings.simplefilter("ignore")
        return dict(
            get_param_importances(
                study,
                evaluator=evaluator,
                target=lambda trial: -float(ranks[trial.number]),
                normalize=False,
            )
        )
