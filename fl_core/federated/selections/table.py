"""The selections by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fl_core.config.fields import refuse
from fl_core.config.own import resolve
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.selection import Select, Selection
from fl_core.federated.selections.availability import availability
from fl_core.federated.selections.cyclic import cyclic
from fl_core.federated.selections.dirichlet import dirichlet
from fl_core.federated.selections.power_of_choice import power_of_choice
from fl_core.federated.selections.uniform import uniform
from fl_core.federated.state import Federation, State

#: Values of `select.rule`.
SELECTIONS: Mapping[str, Select] = {
    "uniform": uniform,
    "dirichlet": dirichlet,
    "cyclic": cyclic,
    "power_of_choice": power_of_choice,
    "availability": availability,
}


def selection_of(config: TrialConfig) -> Callable[[State, Federation, TrialConfig], Any]:
    """The rule that the section `select` names, or the user's own."""
    return resolve(SELECTIONS, config.select.rule, "select.rule", ("state", "fed", "config"))


def select(state: State, fed: Federation, config: TrialConfig) -> Selection:
    """The clients of the coming round."""
    rule = config.select.rule
    found = selection_of(config)(state, fed, config)
    chosen = found if isinstance(found, Selection) else Selection(np.asarray(found))
    clients, last = chosen.clients, config.federation.clients - 1
    if len(set(clients.tolist())) < len(clients) or not ((clients >= 0) & (clients <= last)).all():
        raise refuse("select.rule", rule, f"must give distinct clients, each in [0, {last}]")
    return chosen
