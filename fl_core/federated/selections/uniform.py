"""McMahan et al. 2017, algorithm 1: S_t is a uniform sample of m clients."""

from __future__ import annotations

import numpy as np

from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.selection import Selection
from fl_core.federated.state import Federation, State


def uniform(state: State, fed: Federation | None, config: TrialConfig) -> Selection:
    """A uniform sample of distinct clients, in increasing order."""
    rng, of = stream(config.seed, "clients", state.round), config.federation
    return Selection(np.sort(rng.choice(of.clients, of.sampled, replace=False, shuffle=False)))
