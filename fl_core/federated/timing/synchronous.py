"""McMahan et al. 2017, algorithm 1: the server waits for all whom it has chosen.

A round takes as long as the slowest of them, or until the deadline: who is later is dropped, as
who fails. Of the chosen those take part who are there (`timing.window`); where none of them is, the
server waits for the first. Clients that are asked for their loss before the choice
(`select.rule=power_of_choice`) get the model for it, look at their examples and answer; those who
then train have the model by then.
"""

from __future__ import annotations

import numpy as np

from fl_core.federated.booking import ANSWERED
from fl_core.federated.books import AnyLedger
from fl_core.federated.run import Run
from fl_core.federated.selection import Selection
from fl_core.federated.selections.table import select
from fl_core.federated.state import State
from fl_core.federated.timing.asking import Asking, opening
from fl_core.federated.timing.fates import Errand, answered, asks_again
from fl_core.federated.timing.turnout import Turnout


def synchronous(run: Run, state: State, ledger: AnyLedger) -> Turnout:
    """All start from the server's parameters."""
    config, time = run.config, state.totals["virtual_seconds"]
    selected = select(state, run.fed, config)
    opens = opening(config, selected.clients.tolist(), time)
    waits = float(opens.min())
    chosen = selected.only(opens <= waits)
    clients = chosen.clients.tolist()
    asking = Asking.of(run, state, ledger, clients)
    before = waits + _answering(asking, chosen)
    has_model = len(chosen.asked) > 0
    fates = [
        asking.fate(client, time + before, config.timing.limit, has_model=has_model)
        for client in clients
    ]
    seconds = max(fate.seconds for fate in fates)
    if asks_again(config):
        fates = answered(fates, seconds)
    arrived = chosen.only(np.array([fate.arrives for fate in fates]))
    return Turnout(arrived, asking.now, before + seconds, fates)


def _answering(asking: Asking, chosen: Selection) -> float:
    """Seconds until the last of those has answered who are asked before the choice."""
    run = asking.run
    most, trains = run.config.select.examples, set(chosen.clients.tolist())
    seconds = [0.0]
    for client in chosen.asked:
        down = asking.errand(client).down if client in trains else asking.to_judge(client)
        examples = len(run.fed.shards[client])
        errand = Errand(down, examples if most is None else min(most, examples), ANSWERED)
        seconds.append(errand.seconds(asking.device(client)))
    return max(seconds)
