"""What can be wrong with a search space, found by drawing from it before anything runs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from optuna.samplers import RandomSampler

from fl_core.base.errors import UserError, kind_and_line
from fl_core.config.fields import shown
from fl_core.config.trial_config import Value
from fl_core.study.jobs import Arm
from fl_core.study.plan import Space
from fl_core.study.search.space import Ends, drawn

POINTS = 12  # at the ends of the ranges, and as many within: all in the first arm, two in others


def check_space(space: Space, arms: Sequence[Arm], file: str) -> None:
    """UserError where the space raises, sets what an arm sets or what its configuration refuses.

    file: where the study is written.
    """
    try:
        with warnings.catch_warnings():  # a choice that is no value is refused below
            warnings.simplefilter("ignore")
            points = [dict(values) for values in _points(space)]
    except UserError as error:
        raise UserError(f"{file}: space: {error}") from error
    except Exception as error:  # whatever the user's function does
        raise UserError(f"{file}: space: raises {kind_and_line(error)}") from error
    for number, arm in enumerate(arms):
        for point in points if number == 0 else (points[number % POINTS], points[-1]):
            _check_point(point, arm, file)


def _points(space: Space) -> list[Mapping[str, Value]]:
    samplers = (Ends(seed=0), RandomSampler(seed=0))
    return [values for sampler in samplers for _, values in drawn(space, sampler, POINTS)]


def _check_point(point: Mapping[str, Value], arm: Arm, file: str) -> None:
    for name in arm.values.keys() & point.keys():
        said = f"{name}={shown(point[name])}: is searched, and arm {arm.name} sets it"
        raise UserError(f"{file}: space: {said}")
    try:
        arm.config.override(point)
    except UserError as error:
        raise UserError(f"{file}: space: {error} (arm {arm.name})") from error
