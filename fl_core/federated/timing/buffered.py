"""FedBuff: the server steps when B updates have arrived, whoever they are of.

Nguyen et al. (Federated Learning with Buffered Asynchronous Aggregation, AISTATS 2022),
algorithm 1. m = `federation.participation` of the clients are at work at any time; one that comes
back, or fails, is replaced by another, which is sent the server's model of now. The server goes to

    w + sum_k v_k D_k / sum_k v_k,      D_k = w_k - w_old,      v_k = n_k (1 + s_k)^-a

over the B = `timing.buffer` updates in its buffer, w_old the model that client k was sent, s_k (its
staleness) the steps of the server since then, a = `timing.staleness`, 1/2 as in the paper. Rounds
are steps of the server. A buffer that is not full at the end of a run is left.

Two deviations. The paper divides by B: with weights that fall with staleness that is a smaller
step, whose size follows the speeds of the clients. We divide by the weights' sum, as the authors'
code (FLSim) does by default. And there clients weigh the same; here, as everywhere, by examples.

FedAsync (Xie, Koyejo & Gupta, Asynchronous Federated Optimization, 2019) is B = 1 with
`timing.mixing=model`: not the difference counts but the model itself,

    w + alpha (1 + s)^-a (w_k - w),      alpha = `server.lr`

which is its polynomial staleness function; its clients' pull is `local.rule=prox`.

A client that fails, or that is lost on the way, frees its place at that moment; all that it was
sent and sent itself counts as lost, in the step in which it began.

Where all take as long, B = m is FedAvg to the bit. A client's batches and rates are named by the
round of the model that it was sent: it is sent each model once at most.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fl_core.federated.books import AnyLedger
from fl_core.federated.run import Run
from fl_core.federated.selection import Selection
from fl_core.federated.selections.uniform import some_of
from fl_core.federated.state import State
from fl_core.federated.timing.asking import Asking
from fl_core.federated.timing.fates import Fate
from fl_core.federated.timing.queue import PREFIX, Flight, Queue
from fl_core.federated.timing.turnout import Start, Turnout

MODEL = PREFIX + "model/"  # of the models that clients are still at work on, by version


def buffered(run: Run, state: State, ledger: AnyLedger) -> Turnout:
    """The first updates to arrive after the server's last step."""
    config, round = run.config, state.round
    asking, fates = Asking.of(run, state, ledger, ()), list[Fate]()

    def launch(client: int, draw: int, seconds: float) -> Flight:
        fate = asking.fate(client, state.totals["virtual_seconds"] + seconds, turn=draw)
        fates.append(fate)
        return Flight(seconds + fate.seconds, client, round, fate.arrives)

    step = Queue.of(state.server).until(
        config.timing.buffer,
        config.federation.sampled,
        lambda draw, some, busy: some_of(config, draw, config.federation.clients, some, busy),
        launch,
    )
    arrived = sorted(step.arrived, key=lambda flight: flight.client)
    starts = {
        flight.client: Start(flight.version, state.server[f"{MODEL}{flight.version}"])
        for flight in arrived
        if flight.version < round
    }
    later = asking.now._replace(state=_with_queue(state, step.queue))
    staleness = [round - flight.version for flight in arrived]
    chosen = _weighed(run, arrived, staleness)
    return Turnout(chosen, later, step.seconds, fates, starts, staleness=staleness)


def _weighed(run: Run, arrived: list[Flight], staleness: list[int]) -> Selection:
    """The clients whose updates have arrived, less of those that come late."""
    timing = run.config.timing
    clients = np.array([flight.client for flight in arrived])
    fresh = [(1 + steps) ** -timing.staleness for steps in staleness]
    if timing.mixing == "model":
        return Selection(clients, scale=fresh[0])
    examples = [len(run.fed.shards[flight.client]) for flight in arrived]
    return Selection(clients, [n * share for n, share in zip(examples, fresh, strict=True)])


def _with_queue(state: State, queue: Queue) -> State:
    """The state with who is at work after the step, and on which models."""
    server = {name: t for name, t in state.server.items() if not name.startswith(PREFIX)}
    for version in queue.versions:
        name = f"{MODEL}{version}"
        server[name] = state.params if version == state.round else state.server[name]
    return replace(state, server={**server, **queue.tensors()})
