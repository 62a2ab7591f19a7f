"""What a schedule of the clients' work is: how it goes on from what the server has seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.update import Measured

Memory = Mapping[str, float]  # what the server remembers, by name; part of the state


@dataclass(frozen=True)
class Pace:
    """The two functions of a schedule, and what they ask for.

    now(config, memory, round): what a client does in the coming round, after so many; of no memory,
        in the first.
    after(config, memory, round, measured): what the server remembers from then on; round: those
        completed. Not asked where no update arrived.
    loss: every client tells the loss that it found before its first step.
    moves: `measured.moved` is wanted.
    shown: what it is called in a round's row.
    told: clients are sent the number for each round; otherwise they know it beforehand.
    """

    now: Callable[[TrialConfig, Memory, int], int]
    after: Callable[[TrialConfig, Memory, int, Measured], Memory]
    shown: str
    loss: bool = False
    moves: bool = False
    told: bool = True
