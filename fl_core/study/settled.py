"""A space where some of its dimensions are settled: by the arm that it is tuned for, by the user.

What is settled is not searched: the trial answers `suggest_...` with the value that is there, and
the space's answer leaves it out. A space may also look at the arm (`arm_of`) and open what only its
method reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from fl_core.base.errors import UserError
from fl_core.config.fields import shown
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.study.jobs import Arm
from fl_core.study.plan import Space

if TYPE_CHECKING:
    import optuna


def settled(space: Space, values: Mapping[str, Value], arm: TrialConfig | None = None) -> Space:
    """The space less the dimensions that these values settle; in an arm, where one is given."""

    def open_dimensions(trial: optuna.Trial) -> Mapping[str, Value]:
        chosen = space(cast("optuna.Trial", _Settled(trial, values, arm)))
        if not isinstance(chosen, Mapping):
            needs = "must return a dictionary of fields and values"
            raise UserError(f"returns {shown(chosen)}: {needs}")
        return {name: value for name, value in chosen.items() if name not in values}

    return open_dimensions


def within(space: Space, arm: Arm) -> Space:
    """The space in an arm: what the arm sets is not searched there."""
    return settled(space, arm.values, arm.config)


def arm_of(trial: optuna.Trial) -> TrialConfig:
    """The configuration of the arm that a space is tuned for, searched fields at their defaults;
    the default configuration where nobody asks for an arm.
    """
    found: TrialConfig | None = getattr(trial, "arm", None)
    return found or TrialConfig()


class _Settled:
    """An Optuna trial that answers with the value that is settled, unsearched, where there is one,
    and knows its arm.
    """

    def __init__(
        self, trial: optuna.Trial, values: Mapping[str, Value], arm: TrialConfig | None
    ) -> None:
        self._trial, self._values, self._arm = trial, values, arm

    def __getattr__(self, method: str) -> Any:
        if method == "arm" and self._arm is not None:
            return self._arm
        inner = getattr(self._trial, method)
        if not method.startswith("suggest_"):
            return inner

        def suggest(name: str, *args: Any, **kwargs: Any) -> Any:
            return self._values[name] if name in self._values else inner(name, *args, **kwargs)

        return suggest
