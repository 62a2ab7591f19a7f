"""The aggregates by name: many clients' parameters to one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from fl_core.config.fields import refuse
from fl_core.config.own import resolve
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.mean import mean
from fl_core.federated.update import Update

#: (updates, start (P,) float64, configuration) -> (P,) float64
Aggregate = Callable[[Iterable[Update], Tensor, TrialConfig], Tensor]

#: Values of `aggregate.rule`.
AGGREGATES: Mapping[str, Aggregate] = {"mean": mean}


def aggregate(updates: Iterable[Update], start: Tensor, config: TrialConfig) -> Tensor:
    """The round's target (P,) float64."""
    takes = ("updates", "start", "config")
    chosen = resolve(AGGREGATES, config.aggregate.rule, "aggregate.rule", takes)
    target = chosen(updates, start, config)
    if target.shape != start.shape:
        allowed = f"must give numbers of shape {tuple(start.shape)}, not {tuple(target.shape)}"
        raise refuse("aggregate.rule", config.aggregate.rule, allowed)
    return target
