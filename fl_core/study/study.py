"""A study: one question, its arms, its search space and its budgets.

A study file in `studies/` is a docstring, BASE, ARMS, SPACE and a `Study`; everything else is
here, in `fl_core.study.resolved` and in `fl_core.study.command`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

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
    target, target_of: the accuracy on the test set whose costs the tables tell (rounds, virtual
        seconds, bytes until it is reached): a number in (0, 1]; with `target_of` that share of what
        the best of the arms with these values reaches, under the same conditions where there is
        one. None = what the tables take by themselves.
    budget_counts_head: whether the local steps of a head by FedAvg are part of a preset's budget,
        so that arms with other heads spend the same in all; otherwise they come on top.
    joint_arms, joint_space: what --search-arms asks instead of the arms: these strata, and these
        dimensions together with the nuisance parameters. None = the arm is one more dimension.
    file: where it is declared. What is wrong with it, its command says (`declared.check`).
    """

    name: str
    question: str
    base: Mapping[str, Value]
    arms: Sequence[Mapping[str, Value]]
    space: Space
    presets: Mapping[str, Preset]
    objectives: tuple[str, ...] = ()
    target: float | None = None
    target_of: Mapping[str, Value] = field(default_factory=dict)
    budget_counts_head: bool = False
    joint_arms: Sequence[Mapping[str, Value]] = ({},)
    joint_space: Space | None = None
    file: str = field(init=False, default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "file", _declared_in())


def _declared_in() -> str:
    """The file whose code makes a Study, for messages; relative where it lies below."""
    frame = inspect.currentframe()
    while frame and frame.f_globals.get("__name__") in (__name__, "dataclasses"):
        frame = frame.f_back
    path = Path(frame.f_code.co_filename if frame else "")
    with suppress(FileNotFoundError, ValueError):  # no working directory any more; not below it
        return str(path.relative_to(Path.cwd()))
    return str(path)
