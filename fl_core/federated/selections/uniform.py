"""McMahan et al. 2017, algorithm 1: S_t is a uniform sample of m clients."""

from __future__ import annotations

from collections.abc import Collection

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
    return some_of(config, round, config.federation.clients, config.federation.sampled)


def some_of(
    config: TrialConfig, draw: int, many: int, some: int, busy: Collection[int] = ()
) -> np.ndarray:
    """(some,) distinct ones of so many clients, or superclients, in increasing order: every set is
    as likely.

    draw: names it. busy: who is not to be drawn; where fewer others are left, all of them. The cost
    depends on how many are busy, not on how many there are.
    """
    rng = stream(config.seed, "clients", draw)
    if not busy:
        return np.sort(rng.choice(many, some, replace=False, shuffle=False))
    some = min(some, many - len(busy))
    found = rng.choice(many, some + len(busy), replace=False)  # in random order
    return np.sort(found[~np.isin(found, list(busy))][:some])
