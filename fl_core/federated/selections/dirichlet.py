"""Unequal chances: p ~ Dirichlet(gamma), once a run (track B of the course brief).

Each round m clients are drawn without replacement, the first with probability p_k, each next one
with its share of what is left. gamma = `select.gamma`: large is uniform; small lets a few clients
take part nearly always, and most of them never. Which clients these are follows the seed.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.selection import Selection
from fl_core.federated.selections.drawing import draw, inclusion
from fl_core.federated.selections.reweight import reweighted
from fl_core.federated.state import Federation, State


def dirichlet(state: State, fed: Federation, config: TrialConfig) -> Selection:
    """The clients of a round, by the run's chances."""
    of = config.federation
    log_p = log_chances(config.seed, config.select.gamma, of.clients)
    chosen = draw(stream(config.seed, "clients", state.round), log_p, of.sampled)
    known = (config.seed, config.select.gamma, of.clients, of.sampled)
    return reweighted(chosen, lambda: _inclusion(*known), fed, config)


@lru_cache(maxsize=8)
def log_chances(seed: int, gamma: float, clients: int) -> np.ndarray:
    """(K,) log p, p ~ Dirichlet(gamma, ..., gamma). Kept in memory, only to be read.

    p is a normalised vector of gamma variates; one of shape gamma is one of shape gamma + 1 times
    U^(1 / gamma), whose logarithm is finite however small gamma is.
    """
    rng = stream(seed, "chances")
    log_g = np.log(rng.standard_gamma(gamma + 1, clients)) + np.log1p(-rng.random(clients)) / gamma
    log_p: np.ndarray = log_g - np.logaddexp.reduce(log_g)
    return log_p


@lru_cache(maxsize=8)
def _inclusion(seed: int, gamma: float, clients: int, count: int) -> np.ndarray:
    return inclusion(log_chances(seed, gamma, clients), count)
