"""The modes of timing by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fl_core.federated.books import AnyLedger
from fl_core.federated.run import Run
from fl_core.federated.state import State
from fl_core.federated.timing.buffered import buffered
from fl_core.federated.timing.superclients import superclients
from fl_core.federated.timing.synchronous import synchronous
from fl_core.federated.timing.turnout import Turnout

#: Values of `timing.mode`.
MODES: Mapping[str, Callable[[Run, State, AnyLedger], Turnout]] = {
    "synchronous": synchronous,
    "buffered": buffered,
    "superclients": superclients,
}


def turnout_of(run: Run, state: State, ledger: AnyLedger) -> Turnout:
    """Whose updates the coming step of the server is made of; nothing changes by it."""
    return MODES[run.config.timing.mode](run, state, ledger)
