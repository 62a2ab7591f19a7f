"""The modes of timing by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fl_core.federated.run import Run
from fl_core.federated.state import State
from fl_core.federated.timing.synchronous import synchronous
from fl_core.federated.timing.turnout import Turnout

#: Values of `timing.mode`.
MODES: Mapping[str, Callable[[Run, State], Turnout]] = {
    "synchronous": synchronous,
}


def turnout_of(run: Run, state: State) -> Turnout:
    """Whose updates the coming step of the server is made of."""
    return MODES[run.config.timing.mode](run, state)
