"""A study: one question, its arms, its search space and its budgets.

A study file in `studies/` is a docstring, BASE, ARMS, SPACE and a `Study`; everything else is
here, in `fl_core.study.resolved` and in `fl_core.study.command`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fl_core.config.trial_config import Value
from fl_core.study.plan import Space
from fl_core.study.presets import Preset


@dataclass(frozen=True)
class Study:
    """What a study file declares.

    name: also the MLflow experiment and the folder under results/.
    question: the study file's docstring.
    base: the fixed parameters that differ from `TrialConfig()`.
    arms: settings of the scientific parameters, in table order.
    space: the nuisance parameters, tuned afresh for every arm.
    presets: by name; the first is the default.
    objectives: metrics to minimise while the score is maximised, e.g. ("bytes_up",). Such a
        study never prunes, and confirms the Pareto front of every arm.
    budget_counts_head: whether the local steps of a head by FedAvg are part of a preset's budget,
        so that arms with other heads spend the same in all; otherwise they come on top.
    joint_arms, joint_space: what --search-arms asks instead of the arms: these strata, and these
        dimensions together with the nuisance parameters. None = the arm is one more dimension.
    """

    name: str
    question: str
    base: Mapping[str, Value]
    arms: Sequence[Mapping[str, Value]]
    space: Space
    presets: Mapping[str, Preset]
    objectives: tuple[str, ...] = ()
    budget_counts_head: bool = False
    joint_arms: Sequence[Mapping[str, Value]] = ({},)
    joint_space: Space | None = None
