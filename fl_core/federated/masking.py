"""The masks of one round: the same in every round, or made for it (`fl_core.masks.changing`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from fl_core.federated.cost import Cost
from fl_core.federated.state import Federation, State
from fl_core.optim.sgdm import Active

#: Names of what the server, or a client, keeps of the last calibration of its mask.
CALIBRATED = "mask/"


class Made(NamedTuple):
    """Masks that were made for a round."""

    state: State  # with what later rounds need of them
    #: (client, round) -> its mask in this round, or in an earlier one since the last calibration.
    of: Callable[[int, int], Active]
    sent: Cost | None = None  # where all clients have just scored the model: beside the model


#: (state, clients of the coming round) -> its masks.
Changing = Callable[[State, Sequence[int]], Made]


class RoundMasks(NamedTuple):
    """What a round knows of its masks.

    trained: (P,) bool, what any of its clients trains, where this differs from round to round.
    """

    fed: Federation  # whose masks are those of this round
    state: State
    made: Made | None = None
    trained: Tensor | None = None
    active: float | None = None  # entries that a client trains, mean over the round's


def masks_of(fed: Federation, state: State, clients: Sequence[int]) -> RoundMasks:
    """The masks of the coming round."""
    if fed.changing is None:
        return RoundMasks(fed, state)
    made = fed.changing(state, clients)
    round, trained = state.round, torch.zeros_like(state.params, dtype=torch.bool)
    active = 0
    for client in clients:
        trained |= (mask := made.of(client, round).mask)
        active += int(mask.count_nonzero())
    now = replace(fed, masks=lambda client: made.of(client, round))
    return RoundMasks(now, made.state, made, trained, active / len(clients))
