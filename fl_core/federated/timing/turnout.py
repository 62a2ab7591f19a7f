"""What a mode of timing gives: the clients whose updates the server steps with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from fl_core.federated.masking import RoundMasks
from fl_core.federated.selection import Selection
from fl_core.federated.timing.fates import Fate


class Start(NamedTuple):
    """What a client began with: the server's parameters (P,) after `version` rounds."""

    version: int
    params: Tensor


class Turnout(NamedTuple):
    """One step of the server: who its updates are of.

    chosen: the clients whose updates arrive; there may be none.
    now: the masks of this round; and the state before the step, with what the mode keeps for the
        next ones.
    seconds: virtual seconds from the server's last step, or the start, until it steps; with what it
        waits for clients to be there.
    fates: of every client that was asked, by client: those chosen and those lost; where clients
        begin at any time, of those that have begun.
    starts: of those chosen that began from an older model than the server has now, by client.
    chains: those chosen where each goes on from what the one before it in its chain has made; ():
        each from the server's parameters.
    staleness: where clients begin at any time, how many steps of the server that was ago, of each
        of those chosen.
    """

    chosen: Selection
    now: RoundMasks
    seconds: float
    fates: Sequence[Fate]
    starts: Mapping[int, Start] = {}
    chains: Sequence[Sequence[int]] = ()
    staleness: Sequence[int] | None = None

    @property
    def lost(self) -> list[Fate]:
        """Of the clients whose updates do not arrive."""
        return [fate for fate in self.fates if not fate.arrives]

    @property
    def depth(self) -> int:
        """Clients that train one after the other, in the longest chain."""
        return max(map(len, self.chains), default=1)

    @property
    def told(self) -> dict[str, float]:
        """What a round's row says of it."""
        if self.staleness is None:
            return {}
        mean = sum(self.staleness) / len(self.staleness)
        return {"staleness_mean": mean, "staleness_max": max(self.staleness)}
