"""McMahan et al. 2017, algorithm 1: the server waits for all whom it has chosen.

A round takes as long as the slowest of them, or until the deadline: who is later is dropped, as
who fails. Of the chosen those take part who are there (`timing.window`); where none of them is, the
server waits for the first. Clients that are asked for their loss before the choice
(`select.rule=power_of_choice`) get the model for it, look at their examples and answer; those who
then train have the model by then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fl_core.federated.booking import ANSWERED
from fl_core.federated.books import AnyLedger, errand_of, judged_bytes
from fl_core.federated.masking import RoundMasks, masks_of
from fl_core.federated.run import Run
from fl_core.federated.selection import Selection
from fl_core.federated.selections.table import select
from fl_core.federated.state import State
from fl_core.federated.timing.devices import Devices, devices_of
from fl_core.federated.timing.fates import Errand, Fate, answered, asks_again, fate_of
from fl_core.federated.timing.turnout import Turnout


def synchronous(run: Run, state: State, ledger: AnyLedger) -> Turnout:
    """All start from the server's parameters."""
    config, devices = run.config, devices_of(run.config)
    time = state.totals["virtual_seconds"]
    chosen, waits = _there(run, select(state, run.fed, config), devices, time)
    now = masks_of(run.fed, state, chosen.clients.tolist())
    before = waits + _asking(run, state, ledger, now, chosen, devices)
    fates = _fates(run, state, ledger, now, chosen, devices, time + before)
    seconds = max(fate.seconds for fate in fates)
    if asks_again(config):
        fates = answered(fates, seconds)
    arrived = chosen.only(np.array([fate.arrives for fate in fates]))
    return Turnout(arrived, now, before + seconds, fates)


def _there(run: Run, chosen: Selection, devices: Devices, time: float) -> tuple[Selection, float]:
    """Those who are there, and the seconds until the first of them is."""
    day = run.config.timing.day
    opens = np.array([devices(client).opens_in(time, day) for client in chosen.clients.tolist()])
    waits = float(opens.min())
    return chosen.only(opens <= waits), waits


def _fates(
    run: Run,
    state: State,
    ledger: AnyLedger,
    now: RoundMasks,
    chosen: Selection,
    devices: Devices,
    time: float,
) -> Sequence[Fate]:
    """Of each of the chosen, asked at this time."""
    config, fates = run.config, []
    limit = config.timing.limit
    for client in chosen.clients.tolist():
        errand = errand_of(ledger, run, state, now, client)
        if len(chosen.asked):  # it has the model already
            errand = errand._replace(down=0)
        fates.append(fate_of(config, client, devices(client), errand, time, state.round, limit))
    return fates


def _asking(
    run: Run,
    state: State,
    ledger: AnyLedger,
    now: RoundMasks,
    chosen: Selection,
    devices: Devices,
) -> float:
    """Seconds until the last of those has answered who are asked before the choice."""
    most, trains = run.config.select.examples, set(chosen.clients.tolist())
    seconds = [0.0]
    for client in chosen.asked:
        if client in trains:
            down = errand_of(ledger, run, state, now, client).down
        else:
            down = judged_bytes(ledger, run, state, client)
        examples = len(run.fed.shards[client])
        errand = Errand(down, examples if most is None else min(most, examples), ANSWERED)
        seconds.append(errand.seconds(devices(client)))
    return max(seconds)
