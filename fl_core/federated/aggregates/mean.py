"""FedAvg's aggregate: the clients' parameters averaged by their examples."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.update import Update


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
    weights = 0.0
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
