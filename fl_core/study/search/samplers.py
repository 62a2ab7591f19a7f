"""Which point of the space a search tries next, by name, also after an interruption."""

from __future__ import annotations

import warnings

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from fl_core.base.errors import UserError
from fl_core.study.plan import SEARCHERS, Space
from fl_core.study.search.space import DRAWS, FIX, distributions, grid_points

STARTUP_TRIALS = 5  # random ones, before TPE has something to go by


def sampler_of(name: str, seed: int, objectives: int) -> BaseSampler:
    """The sampler of this name for a search of `objectives` (1 = the score alone).

    tpe: Bergstra et al., NeurIPS 2011; several objectives: Ozaki et al., GECCO 2020. Multivariate
        where there is one objective, grouped by the conditions of the space.
    nsga2: Deb et al., 2002; a population of 8, as studies are short.
    cmaes: Hansen, 2016.
    A grid's points are queued (`space.grid_points`), so its sampler has nothing left to choose.
    """
    with warnings.catch_warnings():  # group is marked experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match name:
            case "tpe" if objectives == 1:
                return TPESampler(
                    n_startup_trials=STARTUP_TRIALS, multivariate=True, group=True, seed=seed
                )
            case "tpe":
                return TPESampler(n_startup_trials=STARTUP_TRIALS, seed=seed)
            case "random" | "grid":
                return RandomSampler(seed=seed)
            case "nsga2":
                return NSGAIISampler(population_size=8, seed=seed)
            case "cmaes":
                return CmaEsSampler(seed=seed, warn_independent_sampling=False)
    raise ValueError(f"no sampler {name!r}: {', '.join(SEARCHERS)}")


def resumed(study: optuna.Study, old: FrozenTrial) -> optuna.Trial:
    """A trial of an interrupted run, with the study's sampler as it was when it was asked. The kill
    may have come between two of its values: those that are missing become what they would have
    been.
    """
    trial = optuna.Trial(study, old._trial_id)
    at_once = {*old.system_attrs.get("fixed_params", ()), *(trial.relative_params or ())}
    for name, kind in old.distributions.items():
        if name not in at_once and not kind.single():
            study.sampler.sample_independent(study, old, name, kind)  # as it was: in its turn
    return trial


def check_searcher(name: str, space: Space, objectives: int) -> None:
    """UserError where the space, or the number of objectives, does not suit the searcher."""
    if name == "grid":
        grid_points(space)
    if name != "cmaes":
        return
    if objectives > 1:
        raise UserError("--searcher cmaes: one objective only; use nsga2 or tpe for several")
    seen = distributions(space)
    for dimension, kinds in seen.items():
        if isinstance(kinds[0], CategoricalDistribution):
            raise UserError(f"--searcher cmaes: {dimension} is a choice, not a number; {FIX}")
        if len(kinds) < DRAWS:
            raise UserError(f"--searcher cmaes: {dimension} is there on a condition only; {FIX}")
    if len(seen) < 2:
        raise UserError("--searcher cmaes: needs two dimensions or more; use tpe")
