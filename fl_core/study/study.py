"""A study: one question, its arms, its search space and its budgets.

A study file in `studies/` is a docstring, BASE, ARMS, SPACE and a `Study`; everything else is
here and in `fl_core.study.command`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from fl_core.base.errors import ConfigError, UserError
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.study.arms import arm_name
from fl_core.study.plan import Space
from fl_core.study.presets import PACE, Preset

if TYPE_CHECKING:
    import optuna

    from fl_core.study.jobs import Arm


@dataclass(frozen=True)
class Study:
    """What a study file declares.

    name: also the MLflow experiment and the folder under results/.
    question: the study file's docstring.
    base: the fixed parameters that differ from `TrialConfig()`.
    arms: settings of the scientific parameters, in table order.
    space: the nuisance parameters, tuned afresh for every arm.
    presets: by name; "embedded" is the default.
    objectives: metrics to minimise beside maximising the score, e.g. ("bytes_up",). Such a study
        never prunes, and confirms the Pareto front of every arm.
    joint_arms, joint_space: what --search-arms asks instead of the arms: these strata, and these
        dimensions beside the nuisance parameters. None = the arm is one more dimension.
    """

    name: str
    question: str
    base: Mapping[str, Value]
    arms: Sequence[Mapping[str, Value]]
    space: Space
    presets: Mapping[str, Preset]
    objectives: tuple[str, ...] = ()
    joint_arms: Sequence[Mapping[str, Value]] = ({},)
    joint_space: Space | None = None

    def pruner(self, preset: Preset, wanted: str | None) -> str:
        """What may stop trials early: nothing where spending little is an objective."""
        if self.objectives and wanted not in (None, "none"):
            raise UserError(
                f"--scheduler {wanted}: {self.name} minimises {', '.join(self.objectives)} too, "
                "and a trial that is stopped early looks cheap; only none is possible"
            )
        return wanted or ("asha" if preset.prune and not self.objectives else "none")

    def resolve(self, preset: Preset, extra: Mapping[str, Value]) -> list[Arm]:
        """Every arm with its complete configuration; ConfigError for what is not possible.

        Rounds follow from the budget, T = budget / J, unless `extra` sets them.
        """
        from fl_core.study.jobs import Arm

        arms = []
        for values in self.arms:
            config = self.config(preset, values, extra)
            config = config.override(preset.pace(config.local.steps, extra))
            arms.append(Arm(arm_name(values), dict(values), config, self.objectives))
        return arms

    def at(self, preset: Preset, fixed: Mapping[str, Value]) -> Study:
        """The study with the preset's own arms and search space, less what the user fixes.

        A space that searches J sets the rounds too, as for an arm.
        """
        space = preset.space or self.space
        arms = self.arms if preset.arms is None else preset.arms

        def open_dimensions(trial: optuna.Trial) -> Mapping[str, Value]:
            chosen = space(cast("optuna.Trial", _Fixing(trial, fixed)))
            free = {name: value for name, value in chosen.items() if name not in fixed}
            steps = free.get("local.steps")
            return free if steps is None else {**preset.pace(cast("int", steps), fixed), **free}

        return replace(self, arms=arms, space=open_dimensions)

    def uses_images(self, preset: Preset, extra: Mapping[str, Value]) -> bool:
        """Whether any arm trains on images rather than on cached features."""
        return any(arm.config.part != "head" for arm in self.resolve(preset, extra))

    def joint(self, preset: Preset, extra: Mapping[str, Value]) -> Study:
        """The same question with the arm, or what it stands for, searched too."""
        if self.joint_space is not None:
            nuisance, beside = self.space, self.joint_space

            def both(trial: optuna.Trial) -> Mapping[str, Value]:
                return {**nuisance(trial), **beside(trial)}

            return self.at(replace(preset, arms=self.joint_arms, space=both), extra)
        arms, space = {arm.name: arm for arm in self.resolve(preset, extra)}, self.space
        own = {*PACE, *(name for values in self.arms for name in values)}

        def search_arms(trial: optuna.Trial) -> Mapping[str, Value]:
            flat = arms[trial.suggest_categorical("arm", list(arms))].config.to_flat()
            return {**{name: flat[name] for name in sorted(own)}, **space(trial)}

        return replace(self, arms=[{}], space=search_arms)

    def config(
        self, preset: Preset, values: Mapping[str, Value], extra: Mapping[str, Value]
    ) -> TrialConfig:
        """The configuration of one arm, or with no `values` what all arms start from."""
        clash = sorted(set(values) & set(extra))
        if clash:
            raise ConfigError(f"--set {clash[0]}: this study's arms set it already")
        return TrialConfig().override({**self.base, **preset.overrides, **extra, **values})


class _Fixing:
    """An Optuna trial that answers with the user's value, unsearched, where there is one."""

    def __init__(self, trial: optuna.Trial, fixed: Mapping[str, Value]) -> None:
        self._trial, self._fixed = trial, fixed

    def __getattr__(self, method: str) -> Any:
        inner = getattr(self._trial, method)
        if not method.startswith("suggest_"):
            return inner

        def suggest(name: str, *args: Any, **kwargs: Any) -> Any:
            return self._fixed[name] if name in self._fixed else inner(name, *args, **kwargs)

        return suggest
