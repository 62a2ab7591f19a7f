"""Who takes part in a round."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fl_core.base.rng import stream
from fl_core.config.fields import refuse
from fl_core.config.own import resolve
from fl_core.config.sections import FederationConfig
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.state import Federation, State

Select = Callable[[State, Federation, TrialConfig], np.ndarray]


def num_sampled(federation: FederationConfig) -> int:
    """Clients of a round: round(C * K), at least one."""
    return max(1, round(federation.participation * federation.clients))


def uniform(state: State, fed: Federation, config: TrialConfig) -> np.ndarray:
    """A uniform sample of distinct clients, in increasing order."""
    rng = stream(config.seed, "clients", state.round)
    count = num_sampled(config.federation)
    return np.sort(rng.choice(config.federation.clients, count, replace=False, shuffle=False))


#: Values of `select.rule`.
SELECTIONS: Mapping[str, Select] = {"uniform": uniform}


def select(state: State, fed: Federation, config: TrialConfig) -> np.ndarray:
    """The clients of the coming round."""
    takes = ("state", "fed", "config")
    chosen = resolve(SELECTIONS, config.select.rule, "select.rule", takes)(state, fed, config)
    last = config.federation.clients - 1
    if len(set(chosen.tolist())) < len(chosen) or not ((chosen >= 0) & (chosen <= last)).all():
        allowed = f"must give distinct clients, each in [0, {last}]"
        raise refuse("select.rule", config.select.rule, allowed)
    return chosen
