"""Norm bounding (Sun et al., 2019, "Can you really backdoor federated learning?", section 5).

    w + sum_k n_k D_k min(1, bound / ||D_k||) / sum_k n_k,        D_k = w_k - w

An attacker still pulls, but no further than anybody else may. Weights are examples. One update is
in memory at a time, as for the mean; one within the bound passes as it is, so that a bound above
all norms is FedAvg to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.held import alone
from fl_core.federated.aggregates.mean import mean
from fl_core.federated.update import Update


def norm_bound(updates: Iterable[Update], start: Tensor, config: TrialConfig) -> Tensor:
    """The round's target (P,) float64."""
    return mean(_bounded(alone(updates, config), start, config.aggregate.bound), start, config)


def _bounded(updates: Iterable[Update], start: Tensor, bound: float) -> Iterator[Update]:
    for update in updates:
        params = update.sent["params"].double() if update.exact is None else update.exact
        moved = params - start
        norm = float(moved.norm())
        if norm > bound:
            still = moved == 0  # keeps its bits
            yield update._replace(
                exact=torch.where(still, params, moved.mul_(bound / norm).add_(start))
            )
        else:
            yield update
