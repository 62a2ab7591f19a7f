"""A study at one preset with the user's values: all that is decided before anything runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fl_core.base.errors import ConfigError, UserError
from fl_core.base.files import working_directory
from fl_core.config.fields import NO_PATH, refuse, specs
from fl_core.config.mask_presets import conventions
from fl_core.config.steps_done import rounds_of
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.config.vocabulary import arm_name
from fl_core.study.arms import Setting
from fl_core.study.jobs import Arm
from fl_core.study.plan import Space
from fl_core.study.presets import PROBE_SHARE, Preset
from fl_core.study.spaces import both, choosing_arm, left_open
from fl_core.study.study import Study

SEEDS = "the search has this one, and the confirmation those that follow it"


@dataclass(frozen=True)
class ResolvedStudy:
    """What is asked, of which arms, in which space.

    base: what all arms start from. space: the dimensions that the user leaves open; `within` an arm
    those that the arm leaves open, too. uses_images: whether any of the study's arms trains on
    images rather than on cached features. named: the fields that study, preset or user give a value
    to. target: what the tables are to tell the costs of, as facts; {} where the study names none.
    probe: nuisance values that are the same in every arm, at which drift is measured; none = it is
    not.
    """

    name: str
    question: str
    preset: Preset
    base: TrialConfig
    arms: list[Arm]
    space: Space
    objectives: tuple[str, ...]
    target: Mapping[str, Any]
    uses_images: bool
    named: frozenset[str]
    probe: Mapping[str, Value]

    def pruner(self, wanted: str | None) -> str:
        """What may stop trials early: nothing where spending little is an objective."""
        if self.objectives and wanted not in (None, "none"):
            raise UserError(
                f"--scheduler {wanted}: {self.name} minimises {', '.join(self.objectives)} too, "
                "and a trial that is stopped early looks cheap; only none is possible"
            )
        return wanted or ("asha" if self.preset.prune and not self.objectives else "none")

    def finalists(self, wanted: int | None) -> int:
        """How many trials of an arm are confirmed (a Pareto front has its own number)."""
        return 1 if self.objectives else wanted or self.preset.finalists

    def check_confirmation(self, train_on: str) -> None:
        """Without validation images only a search's curve says where early stopping stops: one with
        several objectives keeps none, and its local steps tell the round where J is constant alone.
        """
        if train_on != "train+val":
            return
        for arm in self.arms:
            if not arm.config.stops_early:
                continue
            if self.objectives:
                what = f"in a study that minimises {', '.join(self.objectives)} too"
            elif arm.config.schedule.steps != "constant":
                what = f"with schedule.steps={arm.config.schedule.steps}"
            else:
                continue
            raise UserError(
                f"--confirm-on train+val: not with keep=best or patience {what}; "
                "only train is possible"
            )

    def probe_of(self, arm: Arm) -> TrialConfig:
        """An arm's short run at the values that all arms share."""
        steps, schedule = arm.config.local.steps, arm.config.schedule
        rounds = max(1, rounds_of(schedule, steps, self.preset.budget // PROBE_SHARE))
        pace = {"rounds": rounds, "eval_every": rounds, "stop_round": None, "keep": "last"}
        return arm.config.override({**self.probe, **pace, "patience": 0})

    def with_default(self, name: str, value: Value) -> ResolvedStudy:
        """The same with this value of a field that neither study, arm nor user names."""
        if name in self.named:
            return self
        arms = [
            arm if name in arm.values else replace(arm, config=arm.config.override({name: value}))
            for arm in self.arms
        ]
        return replace(self, base=self.base.override({name: value}), arms=arms)


TRAIN = (
    "must be train, a search has no other images to choose by; for a confirmation that trains on "
    "them too: --confirm-on train+val"
)


def resolve(
    study: Study, preset: Preset, fixed: Mapping[str, Value], *, joint: bool = False
) -> ResolvedStudy:
    """The study at a preset; ConfigError for what is not possible.

    fixed: the user's values. joint: with the arm, or what it stands for, searched too.
    """
    fixed = {**conventions(fixed), **fixed}  # nor is what a preset of masks fixes searched
    start = _placed({**study.base, **preset.overrides, **fixed})
    settings = study.arms if preset.arms is None else preset.arms
    for where in (study.base, preset.overrides, *settings, *study.joint_arms):
        if "seed" in where:
            raise refuse("seed", where["seed"], f"a study sets none, --seed does; {SEEDS}")
    _check_unset(fixed, [*settings, *(study.joint_arms if joint else ())])
    base = TrialConfig().override(start)

    def config_of(values: Setting) -> TrialConfig:
        try:
            config = TrialConfig().override({**start, **_placed(values)})
        except ConfigError as error:  # the base alone is possible
            raise ConfigError(f"{error} (in the arm {arm_name(values)})") from error
        if config.data.train_on != "train":  # the search chooses by the validation images
            raise refuse("data.train_on", config.data.train_on, TRAIN)
        return config

    counted = study.budget_counts_head and "rounds" not in fixed

    def arm(values: Setting) -> Arm:
        config = config_of(values)
        spent = _spent(config, preset) if counted else 0
        paced = preset.pace(config.local.steps, config.schedule, {**fixed, **values}, spent)
        config = config.override(paced)
        return Arm(arm_name(values), dict(values), config, study.objectives)

    asked = _told_apart([arm(values) for values in settings])
    own_space = preset.space or study.space
    arms, space = asked, left_open(own_space, preset, fixed, counted)
    if joint and study.joint_space is not None:
        arms = [arm(values) for values in study.joint_arms]
        space = left_open(both(own_space, study.joint_space), preset, fixed, counted)
    elif joint:
        arms, space = [arm({})], choosing_arm(asked, space)
    asked_probe = {} if joint else preset.probe or {}  # the user's values hold everywhere
    probe = {name: value for name, value in asked_probe.items() if name not in fixed}
    if set_by_arms := sorted({name for one in arms for name in one.values} & set(probe)):
        raise ConfigError(f"probe {set_by_arms[0]}: this study's arms set it already")
    return ResolvedStudy(
        name=study.name,
        question=study.question,
        preset=preset,
        base=base,
        arms=arms,
        space=space,
        objectives=study.objectives,
        target={"test_accuracy": study.target, "of": dict(study.target_of)} if study.target else {},
        uses_images=any(one.config.part != "head" for one in asked),
        named=frozenset(start),
        probe=probe,
    )


def _placed(values: Mapping[str, Value]) -> dict[str, Value]:
    """The same with paths in full: workers and replays have other working directories."""
    known = specs(TrialConfig)

    def placed(name: str, value: Value) -> Value:
        is_path = name in known and known[name].metadata.get("path")
        if not is_path or value in (NO_PATH, "") or not isinstance(value, str):
            return value
        return str(working_directory() / value)

    return {name: placed(name, value) for name, value in values.items()}


def _check_unset(fixed: Mapping[str, Value], settings: Sequence[Setting]) -> None:
    """ConfigError for a value of the user's that would be every arm's, and is not."""
    if clash := sorted({name for values in settings for name in values} & set(fixed)):
        raise ConfigError(f"--set {clash[0]}: this study's arms set it already")


def _told_apart(arms: Sequence[Arm]) -> list[Arm]:
    """Arms with the same configuration differ in what they settle; UserError for two that ask the
    same.
    """
    seen: dict[tuple[TrialConfig, tuple[str, ...]], int] = {}
    for number, arm in enumerate(arms):
        first = seen.setdefault((arm.config, tuple(sorted(arm.values))), number)
        if first != number:
            raise UserError(f"arms[{number}]: the same as arms[{first}], {arm.name}")
    count = Counter(config for config, _ in seen)
    return [
        replace(arm, settled=settled) if count[config] > 1 else arm
        for arm, (config, settled) in zip(arms, seen, strict=True)
    ]


def _spent(config: TrialConfig, preset: Preset) -> int:
    """What of the budget the head's own FedAvg takes: local steps (or epochs)."""
    head = config.head
    steps = head.rounds * head.local.steps if head.method == "fedavg" else 0
    if steps and head.local.unit != config.local.unit:
        needs = f"must be local.unit={config.local.unit}: the budget of this study counts both"
        raise refuse("head.local.unit", head.local.unit, needs)
    if steps + config.local.steps > preset.budget:
        left = f"{steps} local steps with head.local.steps={head.local.steps} leave no round of the"
        raise refuse("head.rounds", head.rounds, f"{left} budget of {preset.budget} in all")
    return steps
