"""What a search is told: its space, how many trials, what is tried next, what stops early.

Without Optuna, so that options are read, and refused, before it is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fl_core.config.trial_config import Value

if TYPE_CHECKING:
    import optuna

Space = Callable[["optuna.Trial"], Mapping[str, Value]]
#: What is tried next (search.samplers), what stops a trial early (search.pruning).
SEARCHERS = ("tpe", "random", "grid", "nsga2", "cmaes")
PRUNERS = ("asha", "median", "none")


@dataclass(frozen=True)
class Plan:
    """How a search goes about it.

    trials: of each arm. grace_steps: local steps before a trial may be stopped early. first:
    points of the space that every arm tries before any other. seconds: no trial starts later.
    finalists: of each arm, to be confirmed. neighbours: an arm tries what its neighbours found.
    way: how trials are chosen and stopped where that is not the study's own way; their trials are
    those of another search.
    """

    trials: int
    seed: int = 0
    searcher: str = "tpe"
    pruner: str = "asha"
    grace_steps: int = 1
    first: Sequence[Mapping[str, Value]] = ()
    seconds: float | None = None
    finalists: int = 1
    neighbours: bool = False
    way: str = ""

    @property
    def floor(self) -> int:
        """The best trials of an arm that nothing but the time budget stops: a choice is made."""
        return self.finalists + 1
