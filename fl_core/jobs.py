"""What passes between a study and its workers: arms, jobs, how they end (layer 4).

Without Ray and Optuna, so that a study is resolved, and refused, before those are imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fl_core.config import TrialConfig, Value, digest_of

SCORE = "score"  # what a search maximises: validation accuracy (of the kept parameters)
TIME = "local_steps"  # what a trial costs


@dataclass(frozen=True)
class Arm:
    """One setting of the scientific parameters, with its complete base configuration.

    objectives: metrics of a trial's last record that its search minimises beside maximising the
    score; with any, a search has a Pareto front of winners.
    """

    name: str
    values: Mapping[str, Value]
    config: TrialConfig
    objectives: tuple[str, ...] = ()

    def digest(self) -> str:
        """Names the arm's search: base configuration (nuisance parameters at their defaults), and
        what it minimises.
        """
        minimised = {"objectives": self.objectives} if self.objectives else {}
        return digest_of({"arm": self.config.to_flat(), **minimised})


@dataclass(frozen=True)
class Job:
    """One trial to run: of the search (number counts up) or the confirmation (number = seed)."""

    phase: str  # "search" | "confirm"
    arm: int
    number: int
    config: TrialConfig
    chosen: Mapping[str, Value] = field(default_factory=dict)  # the searched values

    def to_json(self) -> str:
        """For the way to a worker and back."""
        return json.dumps({**self.__dict__, "config": self.config.to_flat()})

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        return cls(**{**fields, "config": TrialConfig.from_flat(fields["config"])})


def outcome(record: Mapping[str, Any]) -> str:
    """finished, diverged, or pruned (stopped before its budget was spent)."""
    if record["diverged"]:
        return "diverged"
    return "finished" if record["finished"] else "pruned"
