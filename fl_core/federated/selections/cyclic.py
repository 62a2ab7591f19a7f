"""Clients in turn, after CyCP (Cho et al., On the Convergence of Federated Averaging with Cyclic
Client Participation, ICML 2023).

The clients form groups, and the groups come one after the other, in the same order in every cycle.
Ours, where a server may choose: the groups are drawn at random, once a run, and all of a group take
part, so that every client does exactly once a cycle. A group has m clients, or up to one less where
m does not divide K; with m = K there is one group, and this is FedAvg.
"""

from __future__ import annotations

import math

import numpy as np

from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.selection import Selection
from fl_core.federated.state import Federation, State


def cyclic(state: State, fed: Federation, config: TrialConfig) -> Selection:
    """The group whose turn it is."""
    of = config.federation
    groups = math.ceil(of.clients / of.sampled)
    turn = state.round % groups
    size, larger = divmod(of.clients, groups)  # the first groups have one more
    begin = turn * size + min(turn, larger)
    order = stream(config.seed, "groups").permutation(of.clients)
    return Selection(np.sort(order[begin : begin + size + (turn < larger)]))
