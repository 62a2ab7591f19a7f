"""McMahan et al. 2017, algorithm 1: the server waits for all whom it has chosen."""

from __future__ import annotations

from fl_core.federated.run import Run
from fl_core.federated.selections.table import select
from fl_core.federated.state import State
from fl_core.federated.timing.turnout import Turnout


def synchronous(run: Run, state: State) -> Turnout:
    """All start from the server's parameters."""
    return Turnout(select(state, run.fed, run.config), state)
