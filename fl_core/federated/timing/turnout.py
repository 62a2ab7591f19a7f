"""What a mode of timing gives: the clients whose updates the server steps with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from fl_core.federated.selection import Selection
from fl_core.federated.state import State


class Start(NamedTuple):
    """What a client began with: the server's parameters (P,) after `version` rounds."""

    version: int
    params: Tensor


class Turnout(NamedTuple):
    """One step of the server: who its updates are of.

    chosen: the clients whose updates arrive. state: the state before the step, with what the mode
    keeps for the next ones. starts: of those clients that began from an older model than the
    server has now, by client.
    """

    chosen: Selection
    state: State
    starts: Mapping[int, Start] = {}
