"""Which point of the space a search tries next, by name."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, RandomSampler, TPESampler

from fl_core.base.errors import UserError
from fl_core.config.trial_config import Value
from fl_core.study.jobs import SEARCHERS

Space = Callable[[optuna.Trial], Mapping[str, Value]]
Point = Mapping[str, Value]
STARTUP_TRIALS = 5  # random ones, before TPE has something to go by
MOST_POINTS = 1000  # of a grid
DRAWS = 100  # that show a space: conditional dimensions are in some only


def sampler_of(name: str, seed: int, objectives: int) -> BaseSampler:
    """The sampler of this name for a search of `objectives` (1 = the score alone).

    tpe: Bergstra et al., NeurIPS 2011; several objectives: Ozaki et al., GECCO 2020. Multivariate
        where there is one objective, grouped by the conditions of the space.
    nsga2: Deb et al., 2002; a population of 8, as studies are short.
    cmaes: Hansen, 2016.
    A grid's points are queued (`grid_points`), so its sampler has nothing left to choose.
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
            raise UserError(f"--searcher cmaes: {dimension} is a choice, not a number; {_FIX}")
        if len(kinds) < DRAWS:
            raise UserError(f"--searcher cmaes: {dimension} is there on a condition only; {_FIX}")
    if len(seen) < 2:
        raise UserError("--searcher cmaes: needs two dimensions or more; use tpe")


_FIX = "fix it with --set NAME=VALUE, or use tpe"


def distributions(space: Space) -> dict[str, list[BaseDistribution]]:
    """Each dimension's distribution in every one of DRAWS random points that has it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    found: dict[str, list[BaseDistribution]] = {}
    for _ in range(DRAWS):
        trial = study.ask()
        space(trial)
        for name, kind in trial.distributions.items():
            found.setdefault(name, []).append(kind)
    return found


def grid_points(space: Space) -> list[Point]:
    """Every point of a space of choices and stepped ranges, the last dimension running fastest.

    Points that differ only in a dimension which a condition closes are one. UserError for a
    continuous dimension, or for more than MOST_POINTS.
    """
    levels = {name: _levels(name, kinds[0]) for name, kinds in distributions(space).items()}
    size = 1
    for values in levels.values():
        size *= len(values)
    if size > MOST_POINTS:
        raise UserError(f"--searcher grid: {size} points, at most {MOST_POINTS}; {_FIX}")
    points: dict[str, Point] = {}
    for combination in itertools.product(*levels.values()):
        point = dict(zip(levels, combination, strict=True))
        fixed = optuna.trial.FixedTrial(point)
        space(fixed)  # type: ignore[arg-type]
        points.setdefault(str(sorted(fixed.params.items(), key=str)), fixed.params)
    return list(points.values())


def _levels(name: str, kind: BaseDistribution) -> list[Any]:
    """A dimension's values in order."""
    if isinstance(kind, CategoricalDistribution):
        return list(kind.choices)
    if isinstance(kind, IntDistribution):
        return list(range(kind.low, kind.high + 1, kind.step))
    if isinstance(kind, FloatDistribution) and kind.step is not None:
        steps = round((kind.high - kind.low) / kind.step)
        return [kind.low + kind.step * n for n in range(steps + 1)]
    raise UserError(f"--searcher grid: {name} is continuous; {_FIX}")
