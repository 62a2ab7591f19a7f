"""What passes between a study and its workers: arms, jobs, how they end.

Without Ray and Optuna, so that a study is resolved, and refused, before those are imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from fl_core.base.digests import digest_of
from fl_core.config.record import Record
from fl_core.config.trial_config import TrialConfig, Value

SCORE = "score"  # what a search maximises: validation accuracy (of the kept parameters)
TIME = "local_steps"  # what a trial costs
NEIGHBOUR = "neighbour"  # names the arm whose search found a trial, where it was not the own


@dataclass(frozen=True)
class Arm:
    """One setting of the scientific parameters, with its complete base configuration.

    objectives: metrics of a trial's last record that its search minimises while it maximises
    the score; with any, a search has a Pareto front of winners. settled: the fields that it sets,
    where another arm with the same configuration leaves one of them to the search.
    """

    name: str
    values: Mapping[str, Value]
    config: TrialConfig
    objectives: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()

    def digest(self) -> str:
        """Names the arm's search: base configuration (nuisance parameters at their defaults), what
        it minimises, and what is not searched in it alone.
        """
        minimised = {"objectives": self.objectives} if self.objectives else {}
        settled = {"settled": self.settled} if self.settled else {}
        return digest_of({"arm": self.config.digest(), **minimised, **settled})


@dataclass(frozen=True)
class Job:
    """One trial to run: of the search (number counts up), the confirmation or a probe of the
    clients' drift (number = seed).

    alone: with the whole machine to itself, after it ran out of memory while others ran.
    neighbour: the name of the arm whose search found it; empty where the arm's own did.
    """

    phase: str  # "search" | "confirm" | "probe"
    arm: int
    number: int
    config: TrialConfig
    chosen: Mapping[str, Value] = field(default_factory=dict)  # the searched values
    alone: bool = False
    neighbour: str = ""

    def by_itself(self) -> Job:
        """The same job with the whole machine to itself."""
        return replace(self, alone=True)

    def to_json(self) -> str:
        """For the way to a worker and back."""
        return json.dumps({**self.__dict__, "config": self.config.to_flat()})

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        return cls(**{**fields, "config": TrialConfig.from_flat(fields["config"])})


@dataclass(frozen=True)
class Workers:
    """How jobs are spread over the machine."""

    slots: int  # jobs at a time
    cpus: float  # of each
    gpus: float  # of each, a fraction 1/n shares a GPU

    def of(self, config: Mapping[str, Any]) -> dict[str, float]:
        """What a job asks of Ray; one that ran out of memory while others ran has a GPU, or the
        machine, to itself.
        """
        if not json.loads(config["job"])["alone"]:
            return {"cpu": self.cpus, "gpu": self.gpus}
        cpus = self.cpus if self.gpus else self.cpus * self.slots
        return {"cpu": cpus, "gpu": 1.0 if self.gpus else 0.0}


class Listener(Protocol):
    """Hears of every job: the display and the tracker."""

    def job_started(self, job: Job) -> None: ...
    def job_record(self, job: Job, record: Record) -> None: ...
    def job_ended(self, job: Job, status: str, message: str) -> None: ...


def outcome(record: Mapping[str, Any]) -> str:
    """finished, diverged, or pruned (stopped before its budget was spent)."""
    if record["diverged"]:
        return "diverged"
    return "finished" if record["finished"] else "pruned"
