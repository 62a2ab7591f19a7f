"""Many clients' parameters to one: the aggregate of a round.

An aggregate is a function of the round's updates, which come one by one, and of the parameters
that the round began with; what it gives is what the server then steps towards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from fl_core.config.fields import refuse
from fl_core.config.own import resolve
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.update import Update

#: (updates, start (P,) float64, configuration) -> (P,) float64
Aggregate = Callable[[Iterable[Update], Tensor, TrialConfig], Tensor]


def mean(updates: Iterable[Update], start: Tensor, config: TrialConfig) -> Tensor:
    """FedAvg (McMahan et al. 2017, algorithm 1): w + sum_k n_k (w_k - w) / sum_k n_k.

    n_k is the client's weight: its number of training examples, unless its rule says otherwise.
    The clients' parameters, not their differences, are summed in float64: so one client gives
    exactly its own parameters, whatever their magnitudes, entries no client changed stay
    bit-identical, and only one update is in memory at a time.

    Where clients send the entries of their own masks, each entry is averaged over the clients
    that sent it (`mask.average=senders`; as it was if there are none), or over all of them, those
    that did not send it counting as unchanged (`all`).
    """
    total = torch.full_like(start, -0.0)  # not +0.0: that would take the sign of a -0.0
    missing: Tensor | None = None  # (P,) weight of the clients that did not send an entry
    senders = config.mask.average == "senders"
    weights = 0
    for update in updates:
        params = update.sent["params"].double() if update.exact is None else update.exact
        if update.mask is not None:
            params = torch.where(update.mask, params, -0.0 if senders else start)
            if senders:
                missing = torch.zeros_like(start) if missing is None else missing
                missing.add_(~update.mask, alpha=update.weight)
        total.add_(params, alpha=update.weight)
        weights += update.weight
    if missing is None:
        return total.div_(weights)
    return torch.where(missing < weights, total / (weights - missing), start)


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
