"""Clients that come and go: a uniform sample of those who are there.

Client k is there in a round with probability q_k, independently of the others and of other rounds
(the Bernoulli participation of Wang & Ji, ICLR 2024, among others). q_k is the client's own, once a
run: q_k = U^((1 - a) / a), U uniform in [0, 1), which is Beta(a / (1 - a), 1) and has the mean
a = `select.presence`. So at a = 0.5 they are spread evenly between never and always; at 1 everybody
is always there, which is FedAvg. (That distribution is ours: papers choose many.)

Of those who are there m train; where they are fewer, all of them. Where nobody is, the server waits
for the first to come: of all clients, that with the largest q_k / v_k, v_k the round's draw, which
would be there at the smallest rise of all probabilities. Nobody corrects for who is rarely there.
"""

from __future__ import annotations

import numpy as np

from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.selection import Selection
from fl_core.federated.state import Federation, State


def availability(state: State, fed: Federation, config: TrialConfig) -> Selection:
    """Up to m of the clients that are there."""
    there = present(config, state.round)
    rng, count = stream(config.seed, "clients", state.round), config.federation.sampled
    count = min(count, len(there))
    return Selection(np.sort(rng.choice(there, count, replace=False, shuffle=False)))


def present(config: TrialConfig, round: int) -> np.ndarray:
    """The clients that are there in a round, at least one, in increasing order."""
    clients, mean = config.federation.clients, config.select.presence
    chance = stream(config.seed, "presence").random(clients) ** ((1 - mean) / mean)
    drawn = 1 - stream(config.seed, "present", round).random(clients)  # in (0, 1]
    there = np.flatnonzero(drawn <= chance)
    return there if len(there) else np.array([np.argmax(chance / drawn)])
