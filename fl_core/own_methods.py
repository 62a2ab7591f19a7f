"""A trial's methods of the user's own, looked at before any work."""

from __future__ import annotations

from fl_core.config.trial_config import TrialConfig
from fl_core.federated import server
from fl_core.federated.aggregates.table import aggregate_of
from fl_core.federated.personal.table import personal_of
from fl_core.federated.rules.table import rule_of
from fl_core.federated.selections.table import selection_of
from fl_core.masks import rules as masks


def check_own_methods(config: TrialConfig) -> None:
    """ConfigError for one that is not what its field expects, or cannot be imported. Data,
    partition and model are looked at where they are made, which takes longer.
    """
    if not config.own():
        return
    rule_of(config.local)
    if config.head.method == "fedavg":
        rule_of(config.head.local)
    server.optimiser_of(config, 0)
    aggregate_of(config)
    selection_of(config)
    personal_of(config.personal)
    if config.mask.in_force:
        masks.rule_of(config.mask)
