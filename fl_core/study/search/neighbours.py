"""Cross-evaluation: an arm tries what its neighbours' searches found.

A search of few trials finds a good configuration or misses it, and what one arm missed can look
like an effect of the question. The winner of a neighbouring arm is a good guess that costs one
run: it becomes a trial more of the arm's own search, and the validation score decides. An arm
learns from the trials of its neighbours' own searches alone, so that no order of the arms matters.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from fl_core.base.errors import ConfigError
from fl_core.config.vocabulary import SHARDING
from fl_core.study.arms import Setting
from fl_core.study.jobs import NEIGHBOUR, Arm
from fl_core.study.search.confirm import best_of


@dataclass(frozen=True)
class Transfer:
    """A neighbour's winner, to be tried: the arm that found it, its point of the space."""

    neighbour: str
    params: Mapping[str, Any]
    digest: str  # of the configuration that it makes here

    def enqueue(self, study: optuna.Study) -> None:
        """Make it the next trial of the search, unless a killed run has left it there."""
        waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if all(trial.user_attrs.get("digest") != self.digest for trial in waiting):
            marks = {NEIGHBOUR: self.neighbour, "digest": self.digest}
            study.enqueue_trial(dict(self.params), user_attrs=marks)


def is_own(trial: optuna.Trial | FrozenTrial) -> bool:
    """Whether a trial is of the arm's own search."""
    return NEIGHBOUR not in trial.user_attrs


def transfers(
    arm: Arm, study: optuna.Study, others: Sequence[tuple[Arm, optuna.Study]]
) -> list[Transfer]:
    """The winners of these arms' searches that an arm allows and has not tried, in their order.

    What failed in an earlier run, or waits since, has not been tried.
    """
    untried = (TrialState.FAIL, TrialState.WAITING)
    trials = study.get_trials(deepcopy=False)
    tried = {trial.user_attrs.get("digest") for trial in trials if trial.state not in untried}
    found = []
    for other, its in others:
        finished = its.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        for best in best_of(list(filter(is_own, finished))):
            try:
                digest = arm.config.override(best.user_attrs["chosen"]).digest()
            except ConfigError:
                continue  # what is possible there is not possible here
            if digest not in tried:
                tried.add(digest)
                found.append(Transfer(other.name, best.params, digest))
    return found


def neighbours(settings: Sequence[Setting]) -> list[list[int]]:
    """The neighbours of each arm: those that differ from it in one axis, and there by one place in
    the order in which its levels appear.

    An axis is a field, or several of which one decides the others: those of the sharding always,
    the weight that only a hybrid rule has, all fields of a list of strategies.

    >>> neighbours([{"rounds": t, "local.lr": lr} for t in (5, 10, 20) for lr in (0.1, 0.2)])
    [[1, 2], [0, 3], [0, 3, 4], [1, 2, 5], [2, 5], [3, 4]]
    """
    columns = list(map(_places, _axes(settings)))
    places = [[column[n] for column in columns] for n in range(len(settings))]
    return [[n for n, other in enumerate(places) if _steps(one, other) == 1] for one in places]


def _steps(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def _places(axis: Sequence[Hashable]) -> list[int]:
    """The place of each arm's level among the levels in order of appearance."""
    levels = list(dict.fromkeys(axis))
    return [levels.index(level) for level in axis]


def _axes(settings: Sequence[Setting]) -> list[list[Hashable]]:
    """The arms' levels on each axis."""
    names = dict.fromkeys(name for setting in settings for name in setting)
    spread = [tuple(setting.get(name) for name in SHARDING) for setting in settings]
    fields = [[setting.get(name) for setting in settings] for name in names if name not in SHARDING]
    columns: list[Sequence[Hashable]] = [spread, *fields]
    axes: list[list[Hashable]] = []
    for column in columns:
        if len(set(column)) > 1:
            one = [axis for axis in axes if _decides(axis, column) or _decides(column, axis)]
            apart = [axis for axis in axes if axis not in one]
            axes = [*apart, [tuple(levels) for levels in zip(*one, column, strict=True)]]
    return axes


def _decides(one: Sequence[Hashable], other: Sequence[Hashable]) -> bool:
    """Whether equal levels of one mean equal levels of the other."""
    return len(set(zip(one, other, strict=True))) == len(set(one))
