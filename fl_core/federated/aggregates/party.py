"""What an aggregate that is a protocol knows of a round, and what it gives.

Other aggregates are functions of the updates alone; these also know who was asked and failed, and
they send more than the updates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from fl_core.config.fields import refuse
from fl_core.config.method_sections import AggregateConfig
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.booking import Exchanged
from fl_core.federated.run import Run
from fl_core.federated.secure.protocol import STAGES
from fl_core.federated.timing.fates import ARRIVED
from fl_core.federated.timing.turnout import Turnout
from fl_core.federated.update import Update


class Party(NamedTuple):
    """The clients of a round and what they have agreed on.

    asked: in increasing order. failed: those of them who fail, client -> the stage (one of STAGES)
    that it does not come to the end of; "answering" is the failure of one whose update has arrived.
    """

    run: Run
    round: int  # rounds completed before this one
    asked: Sequence[int]
    failed: Mapping[int, str] = {}

    @classmethod
    def of(cls, run: Run, round: int, turnout: Turnout) -> Party:
        """All who were asked."""
        failed = {fate.client: fate.stage for fate in turnout.fates if fate.stage != ARRIVED}
        return cls(run, round, sorted(fate.client for fate in turnout.fates), failed)

    def beyond(self, stage: str) -> list[int]:
        """Those asked who come to the end of this stage."""
        last = STAGES.index(stage)
        ends = (STAGES.index(self.failed.get(c, STAGES[-1])) for c in self.asked)
        return [client for client, end in zip(self.asked, ends, strict=True) if end > last]

    @property
    def entries(self) -> Tensor | None:
        """(P,) bool: what all clients send; None: everything."""
        run, masks = self.run, self.run.fed.masks
        kept = None if run.part is None else ~run.part
        if masks is None:
            return kept
        mask = masks(0).mask  # a shared one
        return mask if kept is None else mask & kept

    def weight(self, client: int) -> int:
        """In the average."""
        return 1 if self.run.rule.uniform else len(self.run.fed.shards[client])


@dataclass(frozen=True)
class Joined:
    """The round's updates as one.

    target: (P,) float64, what the server steps towards; None where too few clients are left.
    exchanged: by client; also of clients that failed. told: by the names of `config.record`.
    """

    target: Tensor | None
    exchanged: Mapping[int, Exchanged] = field(default_factory=dict)
    told: Mapping[str, float] = field(default_factory=dict)


class Protocol(NamedTuple):
    """An aggregate that is a protocol.

    join: (updates, start (P,) float64, party) -> the round's updates as one.
    exchange: what a client of a full round exchanges beside its update, if nobody fails; the clock
        reckons with it.
    upload: bytes of an update of so many entries, where it has an encoding of its own.
    """

    join: Callable[[Iterable[Update], Tensor, Party], Joined]
    exchange: Callable[[TrialConfig], Exchanged]
    upload: Callable[[AggregateConfig, int], int] | None = None


def hidden(updates: Iterable[Update], party: Party) -> Iterator[Update]:
    """The same updates; ConfigError where clients send anything beside their parameters, or weigh
    other than the others reckon with.
    """
    rule = party.run.config.aggregate.rule
    for update in updates:
        if len(update.sent) > 1:
            needs = "what clients send beside their parameters would not be hidden"
            raise refuse("aggregate.rule", rule, needs)
        if update.weight != party.weight(update.client):
            needs = f"gives clients weights that aggregate.rule={rule} does not know"
            raise refuse("select.rule", party.run.config.select.rule, needs)
        yield update
