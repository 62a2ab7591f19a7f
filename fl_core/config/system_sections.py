"""The section of a trial's configuration that says how long clients take and whether they fail."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from fl_core.config.fields import NO_PATH, Section, choice, number, path, refuse
from fl_core.config.methods import METHODS

MOST_A_SECOND = 1e12  # bytes or examples: no link, no device is faster
MOST_SECONDS = 1e9  # 30 years
OF_A_TABLE = ("speed", "speed_spread", "down", "up", "failure_rate", "window")


@dataclass(frozen=True)
class TimingConfig(Section):
    """When the server steps, with whose updates, and what the clock says (see federated.timing).

    Speed and bandwidths are of the order of a phone's (6 Mbit/s down, 2 Mbit/s up): ours, of no
    paper. By default all clients are alike and none fails: whatever the clock says then, it changes
    no other number.
    """

    prefix: ClassVar[str] = "timing."
    mode: str = choice("synchronous", *METHODS["timing.mode"])
    speed: float = number(100.0, 0, MOST_A_SECOND, above=True)  # examples/s, median client
    speed_spread: float = number(0.0, 0, 5)  # sigma of the log-normal speeds; 0 = all alike
    down: float = number(750_000.0, 0, MOST_A_SECOND, above=True)  # bytes/s to a client
    up: float = number(250_000.0, 0, MOST_A_SECOND, above=True)  # bytes/s from a client
    table: str = path()  # a CSV with a row a client instead (federated.timing.devices)
    failure_rate: float = number(0.0, 0)  # of a client at work, 1/s
    dropout: float = number(0.0, 0, 1, below=True)  # chance that a client fails in a round
    window: float = number(1.0, 0, 1, above=True)  # share of a day that a client is there
    day: float = number(86_400.0, 0, MOST_SECONDS, above=True)  # s
    deadline: float | None = number(None, 0, MOST_SECONDS, above=True)  # s of a round; None = none
    buffer: int = number(10, 1)  # B, updates that mode=buffered waits for
    staleness: float = number(0.5, 0)  # a of their weight (1 + s)^-a, s steps late; 0 = as fresh
    mixing: str = choice("difference", "difference", "model")  # what counts of a late one
    #: By what mode=superclients forms them, and until when one is added to.
    grouping: str = choice("confidence", *METHODS["timing.grouping"])
    chain: int = number(11, 1)  # clients of a superclient; 1 = FedAvg
    examples: int = number(800, 1)  # of a superclient
    pretraining: int = number(10, 1, 1000)  # epochs of each client before its confidence is asked

    def __post_init__(self) -> None:
        super().__post_init__()
        self.only_for("mode", METHODS["timing.mode"])
        self.only_for("grouping", METHODS["timing.grouping"])
        defaults = type(self).__dataclass_fields__
        for name in OF_A_TABLE if self.has_table else ():
            if (value := getattr(self, name)) != defaults[name].default:
                raise refuse(f"timing.{name}", value, "not with timing.table, which says it")
        if self.day != defaults["day"].default and self.window == 1 and not self.has_table:
            raise refuse("timing.day", self.day, "only for timing.window < 1")

    @property
    def has_table(self) -> bool:
        """Whether a table says what the clients' devices are."""
        return self.table != NO_PATH

    @property
    def fails(self) -> bool:
        """Whether an update may not arrive; a table may say so too (timing.devices)."""
        late = self.deadline is not None
        return late or self.failure_rate > 0 or self.dropout > 0 or self.window < 1

    @property
    def limit(self) -> float:
        """Seconds of a round after which nobody is waited for."""
        return math.inf if self.deadline is None else self.deadline

    @property
    def asks_exemplars(self) -> bool:
        """Whether superclients are formed by what clients' models say of the server's examples."""
        return self.mode == "superclients" and self.grouping == "confidence"
