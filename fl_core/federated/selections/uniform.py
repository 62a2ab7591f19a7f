"""McMahan et al. 2017, algorithm 1: S_t is a uniform sample of m clients."""

from __future__ import annotations

import numpy as np

from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.selection import Selection
from fl_core.federated.selections.reweight import reweighted
from fl_core.federated.state import Federation, State


def uniform(state: State, fed: Federation, config: TrialConfig) -> Selection:
    """Every set of m clients is as likely as any other."""
    of = config.federation
    chosen = uniform_sample(config, state.round)
    return reweighted(chosen, lambda: np.full(of.clients, of.sampled / of.clients), fed, config)


def uniform_sample(config: TrialConfig, round: int) -> np.ndarray:
    """(m,) distinct clients, in increasing order."""
    rng, of = stream(config.seed, "clients", round), config.federation
    return np.sort(rng.choice(of.clients, of.sampled, replace=False, shuffle=False))
