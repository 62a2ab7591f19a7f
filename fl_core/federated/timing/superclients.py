"""FedSeq (Zaccone et al., ICPR 2022, algorithm 1): groups of clients that train in sequence.

Once, before the first round, clients become superclients whose classes together are close to
uniform (`timing.grouping`, see `grouping`):

    confidence   from what clients' models, trained for a while, say of exemplars (`confidence`)
    oracle       from the clients' numbers of examples of each class, which they tell the server
    random       whatever they have

A superclient has `timing.examples` examples or `timing.chain` clients. In a round some
superclients train, each as a chain: its clients in an order that is drawn anew, the first from the
server's parameters, every other from those of the one before it. The last one's parameters are
averaged with those of the other chains by the examples of the whole chain.

Who trains is max(1, round(C S)) of S superclients, drawn uniformly: C and the rounding are those of
FedAvg's clients, so that chains of one client are FedAvg to the bit (the authors take the floor).
One superclient of all clients is cyclic SGD. The authors' further rounds through a chain (E_S) and
FedSeqInter, whose models stay with the superclients for some rounds, are not here.

On the clock a chain takes as long as its clients together, a round as long as its slowest chain. A
client that fails, or is not there when its turn comes, is passed over: the next one goes on from
the one before it. At the deadline a chain ends with what has arrived.

A chain does the local steps of its clients one after the other: `local_steps` counts those of the
round's longest. All models go through the server: each client of a chain is sent one and sends one.
Privacy: in a chain a client is sent what one other client has made of a model that it may know,
so it sees the update of a single client, which no secure sum can hide; the oracle tells the server
every client's classes, a confidence vector much of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.books import AnyLedger
from fl_core.federated.cost import Cost, cost_of_counts, cost_of_pretraining
from fl_core.federated.run import Run
from fl_core.federated.selection import Selection
from fl_core.federated.selections.uniform import some_of
from fl_core.federated.state import Federation, State
from fl_core.federated.timing.asking import Asking, opening
from fl_core.federated.timing.confidence import confidences
from fl_core.federated.timing.fates import Fate
from fl_core.federated.timing.grouping import at_random, greedy
from fl_core.federated.timing.turnout import Turnout

MEMBERS = "timing/superclient"  # (K,) int32 in the server's state: that of each client


def formed(run: Run, state: State) -> State:
    """The state that knows who is in which superclient."""
    if MEMBERS in state.server:
        return state
    timing, fed = run.config.timing, run.fed
    examples = np.array([len(shard) for shard in fed.shards])
    if timing.grouping == "random":
        rng = stream(run.config.seed, "superclients")
        found = at_random(rng, examples, timing.chain, timing.examples)
    else:
        mixes = fed.class_counts / examples[:, None]
        if timing.grouping == "confidence":
            mixes = confidences(run, state)
        found = greedy(mixes, examples, timing.chain, timing.examples)
    return replace(state, server={**state.server, MEMBERS: torch.from_numpy(found)})


def superclients(run: Run, state: State, ledger: AnyLedger) -> Turnout:
    """The clients of some superclients, chain by chain, but for those that are passed over."""
    state = formed(run, state)
    drawn = _chains(run, state)
    everyone = sorted(client for chain in drawn for client in chain)
    asking, time = Asking.of(run, state, ledger, everyone), state.totals["virtual_seconds"]
    waits = float(opening(run.config, everyone, time).min())
    chains: list[list[int]] = []
    seconds, fates = 0.0, list[Fate]()
    for chain in drawn:
        turns, lasts = _turns(asking, chain, time + waits)
        fates, seconds = fates + turns, max(seconds, lasts)
        if arrived := [fate.client for fate in turns if fate.arrives]:
            chains.append(arrived)
    chosen = np.array(sorted(client for chain in chains for client in chain), dtype=np.int64)
    fates.sort(key=lambda fate: fate.client)
    return Turnout(Selection(chosen), asking.now, waits + seconds, fates, chains=chains)


def _chains(run: Run, state: State) -> list[list[int]]:
    """The clients of the round's superclients, each in the order in which they train."""
    config, members = run.config, members_of(state)
    count = int(members.max()) + 1
    some = max(1, round(config.federation.participation * count))
    chains = []
    for number in some_of(config, state.round, count, some).tolist():
        order = stream(config.seed, "chain", state.round, number)
        chains.append(order.permutation(np.flatnonzero(members == number)).tolist())
    return chains


def _turns(asking: Asking, chain: Sequence[int], begins: float) -> tuple[list[Fate], float]:
    """Of the clients of a chain that are asked, one after the other; and when the last one ends."""
    timing, found, seconds = asking.run.config.timing, list[Fate](), 0.0
    for client in chain:
        time = begins + seconds
        if seconds >= timing.limit or asking.device(client).opens_in(time, timing.day):
            continue
        found.append(asking.fate(client, time, timing.limit - seconds))
        seconds += found[-1].seconds
    return found, seconds


def members_of(state: State) -> np.ndarray:
    """(K,) the superclient of each client."""
    found: np.ndarray = state.server[MEMBERS].cpu().numpy()
    return found


def superclients_cost(config: TrialConfig, fed: Federation) -> Cost:
    """What forming them takes: nothing by chance, since the server knows how many examples a client
    has, by which it weighs it. steps: those of the client with the most examples.
    """
    timing, (clients, classes) = config.timing, fed.class_counts.shape
    if timing.mode != "superclients" or timing.grouping == "random":
        return Cost()
    if timing.grouping == "oracle":
        return cost_of_counts(classes, clients)
    passes = math.ceil(max(map(len, fed.shards)) / config.local.batch_size)
    steps = timing.pretraining * passes
    return cost_of_pretraining(fed.model.layout.size, fed.beside, clients, steps)
