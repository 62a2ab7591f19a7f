"""The aggregates by name: many clients' parameters to one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from fl_core.config.fields import refuse
from fl_core.config.own import resolve
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.bulyan import bulyan
from fl_core.federated.aggregates.geometric_median import geometric_median
from fl_core.federated.aggregates.krum import krum, multi_krum
from fl_core.federated.aggregates.mean import mean
from fl_core.federated.aggregates.median import median
from fl_core.federated.aggregates.norm_bound import norm_bound
from fl_core.federated.aggregates.trimmed_mean import trimmed_mean
from fl_core.federated.update import Update

#: (updates, start (P,) float64, configuration) -> (P,) float64
Aggregate = Callable[[Iterable[Update], Tensor, TrialConfig], Tensor]

#: Values of `aggregate.rule`.
AGGREGATES: Mapping[str, Aggregate] = {
    "mean": mean,
    "median": median,
    "trimmed_mean": trimmed_mean,
    "norm_bound": norm_bound,
    "geometric_median": geometric_median,
    "krum": krum,
    "multi_krum": multi_krum,
    "bulyan": bulyan,
}


def aggregate(updates: Iterable[Update], start: Tensor, config: TrialConfig) -> Tensor:
    """The round's target (P,) float64."""
    takes = ("updates", "start", "config")
    chosen = resolve(AGGREGATES, config.aggregate.rule, "aggregate.rule", takes)
    target = chosen(updates, start, config)
    if target.shape != start.shape:
        allowed = f"must give numbers of shape {tuple(start.shape)}, not {tuple(target.shape)}"
        raise refuse("aggregate.rule", config.aggregate.rule, allowed)
    return target
