"""What asking a client for an update comes to, in the coming round."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Self

import numpy as np

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.books import AnyLedger, errand_of, judged_bytes
from fl_core.federated.masking import RoundMasks, masks_of
from fl_core.federated.run import Run
from fl_core.federated.state import State
from fl_core.federated.timing.devices import Device, devices_of
from fl_core.federated.timing.fates import Errand, Fate, fate_of


def opening(config: TrialConfig, clients: Iterable[int], time: float) -> np.ndarray:
    """(clients,) seconds from this time until each is there."""
    devices, day = devices_of(config), config.timing.day
    return np.array([devices(client).opens_in(time, day) for client in clients])


class Asking(NamedTuple):
    """A round's clients as the server may ask them; nothing changes by it.

    now: the masks of those who may train. device: of a client, by its number.
    """

    run: Run
    state: State
    ledger: AnyLedger
    now: RoundMasks
    device: Callable[[int], Device]

    @classmethod
    def of(cls, run: Run, state: State, ledger: AnyLedger, clients: Sequence[int]) -> Self:
        """These may train."""
        now = masks_of(run.fed, state, clients)
        return cls(run, state, ledger, now, devices_of(run.config))

    def errand(self, client: int) -> Errand:
        """A client's turn, if it comes to its end."""
        return errand_of(self.ledger, self.run, self.state, self.now, client)

    def to_judge(self, client: int) -> int:
        """Bytes of the model for one that is asked for its loss alone."""
        return judged_bytes(self.ledger, self.run, self.state, client)

    def fate(
        self,
        client: int,
        time: float,
        limit: float = math.inf,
        *,
        turn: int | None = None,
        has_model: bool = False,
    ) -> Fate:
        """What becomes of a client that is asked at this time (see `fate_of`).

        turn: None = the round. has_model: it was sent the model before.
        """
        errand = self.errand(client)
        if has_model:
            errand = errand._replace(down=0)
        turn = self.state.round if turn is None else turn
        return fate_of(self.run.config, client, self.device(client), errand, time, turn, limit)
