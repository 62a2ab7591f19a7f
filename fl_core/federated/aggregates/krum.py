"""Krum and Multi-Krum (Blanchard et al., NeurIPS 2017).

    score(k) = sum of ||w_k - w_i||^2 over the n - f - 2 clients i nearest to k

Krum takes the parameters of the client with the least score; Multi-Krum averages the n - f of
least score, which all count the same (in the paper every client's batch is as large). Both need
n > 2f + 2. Distances are of pairs, in float64: from a Gram matrix in float32 small ones come out
negative. Ties go to the client of the lower number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fl_core.config.fields import refuse
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.held import chunks, held
from fl_core.federated.aggregates.mean import mean
from fl_core.federated.update import Update


def krum(updates: Iterable[Update], start: Tensor, config: TrialConfig) -> Tensor:
    """The round's target (P,) float64."""
    clients = enough(updates, config)
    scores = scores_of(squared_distances(clients, config), config.aggregate.byzantine)
    return clients[int(scores.argmin())].sent["params"].double()


def multi_krum(updates: Iterable[Update], start: Tensor, config: TrialConfig) -> Tensor:
    """The round's target (P,) float64."""
    clients, byzantine = enough(updates, config), config.aggregate.byzantine
    scores = scores_of(squared_distances(clients, config), byzantine)
    best = scores.argsort(stable=True)[: len(clients) - byzantine].sort().values
    return mean((clients[k]._replace(weight=1) for k in best.tolist()), start, config)


def enough(updates: Iterable[Update], config: TrialConfig) -> list[Update]:
    """All updates; ConfigError where fewer arrived than the rule needs."""
    clients, chosen = held(updates, config), config.aggregate
    if len(clients) < chosen.fewest:
        needs = f"{chosen.rule} needs {chosen.fewest} clients in a round, {len(clients)} took part"
        raise refuse("aggregate.byzantine", chosen.byzantine, needs)
    return clients


def squared_distances(clients: Sequence[Update], config: TrialConfig) -> Tensor:
    """(n, n) float64 on the CPU; infinite where one of the two is not finite."""
    number = len(clients)
    found = torch.zeros(number, number, dtype=torch.float64)
    for _, values, _ in chunks(clients, config):
        for one in range(number - 1):
            apart = (values[one + 1 :] - values[one]).square_().sum(1)
            found[one, one + 1 :] += apart.cpu()
    return (found + found.T).nan_to_num_(nan=torch.inf, posinf=torch.inf)


def scores_of(distances: Tensor, byzantine: int) -> Tensor:
    """(n,) Krum's scores from squared distances (n, n); of very few clients, as Bulyan's selection
    ends with, the distance to the nearest.
    """
    number = len(distances)
    nearest = max(1, number - byzantine - 2)
    others = distances.clone().fill_diagonal_(torch.inf)
    return others.sort(1).values[:, :nearest].sum(1)
