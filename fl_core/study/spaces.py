"""What a study searches, put together: less what the user fixes, with another's dimensions, with
the arm as one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fl_core.config.fields import refuse
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.study.jobs import Arm
from fl_core.study.plan import Space
from fl_core.study.presets import PACE, Preset
from fl_core.study.settled import arm_of, settled, within

if TYPE_CHECKING:
    import optuna

#: What the rounds of a budget follow from.
PACING = ("local.steps", "schedule.steps", "schedule.switch")


def both(one: Space, other: Space) -> Space:
    """All dimensions of two spaces."""

    def in_both(trial: optuna.Trial) -> Mapping[str, Value]:
        return {**one(trial), **other(trial)}

    return in_both


def choosing_arm(arms: Sequence[Arm], space: Space) -> Space:
    """The space with the arm as one more dimension: its own fields follow from it."""
    by_name = {arm.name: arm for arm in arms}
    own = sorted({*PACE, *(name for arm in arms for name in arm.values)})

    def choosing(trial: optuna.Trial) -> Mapping[str, Value]:
        arm = by_name[trial.suggest_categorical("arm", list(by_name))]
        flat = arm.config.to_flat()
        return {**{name: flat[name] for name in own}, **within(space, arm)(trial)}

    return choosing


def left_open(space: Space, preset: Preset, fixed: Mapping[str, Value], counted: bool) -> Space:
    """The space less what the user fixes. If it searches J or its schedule it sets the rounds, too,
    as an arm, which it cannot where the arms' heads are counted.
    """
    unfixed = settled(space, fixed)

    def open_dimensions(trial: optuna.Trial) -> Mapping[str, Value]:
        free = unfixed(trial)
        pacing = [name for name in PACING if name in free]
        if not pacing:
            return free
        if counted and "rounds" not in fixed:
            needs = "is not searched where arms differ in a head's steps"
            raise refuse(pacing[0], free[pacing[0]], needs)
        flat = arm_of(trial).to_flat()
        one = TrialConfig().override({name: free.get(name, flat[name]) for name in PACING})
        return {**preset.pace(one.local.steps, one.schedule, fixed), **free}

    return open_dimensions
