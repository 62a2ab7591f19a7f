"""What a selection is: who takes part in a round, how much each weighs, who was asked.

A rule is a function of the state before the round, the federation and the configuration; all that
it draws comes from streams that name the seed and the round. The user's own may give an array of
clients alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.state import Federation, State


class Selection(NamedTuple):
    """The clients of one round.

    weights: what each weighs in the average; None: its examples, or 1 where its rule says so.
    scale: how far the server goes along the average, for an estimator whose weights need not sum
        to those of all clients (`select.reweight`).
    asked: the clients that were sent the model and answered with one number each, so that the
        server could choose; they may be among those chosen.
    """

    clients: np.ndarray  # (m,) distinct, in increasing order
    weights: Sequence[float] | None = None  # (m,)
    scale: float = 1.0
    asked: Sequence[int] = ()

    def only(self, these: np.ndarray) -> Selection:
        """Of the clients these, (m,) bool."""
        if these.all():
            return self
        weights = self.weights
        if weights is not None:
            weights = [weight for weight, taken in zip(weights, these, strict=True) if taken]
        return self._replace(clients=self.clients[these], weights=weights)

    def scaled(self, target: Tensor, start: Tensor) -> Tensor:
        """The aggregate (P,), drawn towards the start or beyond; what did not move keeps its bits.

        start - 0.0 is start, also where that is -0.0.
        """
        return target if self.scale == 1 else start - (start - target).mul_(self.scale)


Select = Callable[[State, Federation, TrialConfig], Selection | np.ndarray]
