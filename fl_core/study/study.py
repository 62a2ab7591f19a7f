"""A study: one question, its arms, its search space and its budgets.

A study file in `studies/` is a docstring, BASE, ARMS, SPACE and a `Study`; everything else is
here and in `fl_core.study.command`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from fl_core.base.errors import ConfigError, UserError
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.study.arms import arm_name

if TYPE_CHECKING:
    import optuna

    from fl_core.study.jobs import Arm

Space = Callable[["optuna.Trial"], Mapping[str, Value]]

PACE = ("rounds", "eval_every")  # these follow from the budget and J


@dataclass(frozen=True)
class Preset:
    """How much work, on what: the same question at another size."""

    help: str
    budget: int  # local steps (or epochs) of a full trial: rounds = budget / J (contract 7)
    eval_steps: int  # local steps between evaluations; also ASHA's first rung
    trials: int  # of each arm
    seeds: int  # of the confirmation
    overrides: Mapping[str, Value] = field(default_factory=dict)
    space: Space | None = None  # None = the study's own
    arms: Sequence[Mapping[str, Value]] | None = None  # None = the study's own
    first: Sequence[Mapping[str, Value]] = ()  # points of the space that are tried first
    prune: bool = True  # ASHA; without it a search of random trials does not depend on timing
    finalists: int = 1  # best trials of an arm that are confirmed

    def pace(self, steps: int, fixed: Mapping[str, Value]) -> dict[str, Value]:
        """Rounds and evaluations for J local steps (contract 7), but for what the user fixes."""
        pace = {
            "rounds": max(1, self.budget // steps),
            "eval_every": max(1, self.eval_steps // steps),
        }
        return {name: value for name, value in pace.items() if name not in fixed}


PAPER_BACKBONE: Mapping[str, Value] = {
    "backbone.name": "vit_small_patch16_224",
    "backbone.tag": "dino",
}
#: The real weights at hand for development, at a resolution that a CPU can train at.
VIT_TINY: Mapping[str, Value] = {
    "backbone.image_size": 64,
    "federation.participation": 0.05,
    "local.batch_size": 32,
}
#: What few trials of a fine-tuning should begin with: the least sensitive half of a transformer
#: learns well at a rate that throws the dense one back to chance (LOG.md).
FIRST: Sequence[Mapping[str, Value]] = (
    {"local.lr": 0.03, "local.momentum": 0.9},
    {"local.lr": 0.003, "local.momentum": 0.9},
)
#: The head first, as long as it takes, then a part of the backbone.
SPARSE_BACKBONE: Mapping[str, Value] = {
    "head.method": "fedavg",
    "head.rounds": 200,
    "head.lr": 0.03,
    "head.momentum": 0.9,
    "fine_tune.strategy": "head_then_sparse_backbone",
}


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


def describe_space(space: Space) -> dict[str, dict[str, Any]]:
    """Bounds or choices of every configuration field it sets, found by drawing from the space."""
    import optuna
    from optuna.distributions import CategoricalDistribution

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found: dict[str, dict[str, Any]] = {}
    for _ in range(100):  # conditional dimensions show up in some draws only
        trial = study.ask()
        for name, value in space(trial).items():
            kind = trial.distributions.get(name)
            if name in PACE:  # follows from J
                continue
            if kind is None:  # follows from another dimension: an arm's own field
                choices = found.setdefault(name, {"choices": []})["choices"]
                choices += [value] if value not in choices else []
            elif isinstance(kind, CategoricalDistribution):
                found[name] = {"choices": list(kind.choices)}
            else:
                found[name] = {k: getattr(kind, k) for k in ("low", "high", "log", "step")}
    return found
