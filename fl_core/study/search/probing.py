"""What can be wrong with a search space, found by drawing from it before anything runs."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence

from optuna.samplers import RandomSampler

from fl_core.base.errors import UserError, kind_and_line
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.study.jobs import Arm
from fl_core.study.plan import Space
from fl_core.study.search.space import Ends, distributions, drawn
from fl_core.study.settled import within

POINTS = 12  # at the ends of the ranges, and as many within, in the first arm
FEW = 2  # of both, in others


def check_space(space: Space, arms: Sequence[Arm], file: str) -> None:
    """UserError where the space raises or sets what an arm's configuration refuses, or where it
    makes no difference between two arms with the same configuration.

    file: where the study is written.
    """
    equal = Counter(arm.config for arm in arms)
    searched: dict[tuple[TrialConfig, frozenset[str]], Arm] = {}
    for number, arm in enumerate(arms):
        for point in _points(within(space, arm), number, file):
            try:
                arm.config.override(point)
            except UserError as error:
                raise UserError(f"{file}: space: {error} (arm {arm.name})") from error
        if equal[arm.config] > 1:
            names = frozenset(distributions(within(space, arm)))
            if (first := searched.setdefault((arm.config, names), arm)) is not arm:
                raise UserError(f"{file}: arms {first.name} and {arm.name} ask the same")


def _points(space: Space, number: int, file: str) -> list[Mapping[str, Value]]:
    """Points in the arm of this number, others in each."""
    draws = FEW if number else POINTS
    try:
        with warnings.catch_warnings():  # a choice that is no value is refused where it is used
            warnings.simplefilter("ignore")
            return [
                dict(values)
                for sampler in (Ends(seed=number), RandomSampler(seed=number))
                for _, values in drawn(space, sampler, draws)
            ]
    except UserError as error:
        raise UserError(f"{file}: space: {error}") from error
    except Exception as error:  # whatever the user's function does
        raise UserError(f"{file}: space: raises {kind_and_line(error)}") from error
