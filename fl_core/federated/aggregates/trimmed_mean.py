"""The trimmed mean of every entry (Yin et al., ICML 2018, algorithm 1, option II).

Of an entry's n values the floor(trim * n) smallest and as many of the largest are cut off; the
rest is averaged. Who is cut off is a matter of counts, as in the paper, whose machines all hold
the same. What is left is averaged by examples: so trim = 0 is FedAvg to the bit. Where clients
send entries of their own masks, n counts those that sent the entry.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.held import by_entry, held
from fl_core.federated.aggregates.mean import mean
from fl_core.federated.update import Update


def trimmed_mean(updates: Iterable[Update], start: Tensor, config: TrialConfig) -> Tensor:
    """The round's target (P,) float64."""
    share = config.aggregate.trim
    if not share:
        return mean(updates, start, config)
    clients = held(updates, config)
    weights = torch.tensor([u.weight for u in clients], dtype=start.dtype, device=start.device)
    place = torch.arange(len(clients), device=start.device).unsqueeze(1)

    def trimmed(ranked: Tensor, order: Tensor, count: Tensor) -> Tensor:
        cut = (share * count + 1e-9).long()  # 0.29 * 100 is below 29
        kept = (place >= cut) & (place < count - cut)
        weight = torch.where(kept, weights[order], 0.0)
        return torch.where(kept, ranked, 0.0).mul_(weight).sum(0) / weight.sum(0)

    return by_entry(clients, start, config, trimmed)
