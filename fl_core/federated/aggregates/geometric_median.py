"""The geometric median, RFA (Pillutla, Kakade, Harchaoui, IEEE TSP 2022, algorithm 2).

    v minimises sum_k a_k ||v - w_k||,   a_k = n_k / sum n
    v <- sum_k b_k w_k / sum_k b_k,      b_k = a_k / max(SMOOTHING, ||v - w_k||)     (Weiszfeld)

from the weighted mean on. Weights are examples, as in the paper: attackers break it who hold half
of the round's examples. The paper stops after few iterations, which is too early where an attacker
is very far away: each divides its pull by about the ratio of honest weight to its own. Here they
go on until a step is below TOLERANCE of the median distance, at most ITERATIONS.

Where clients send entries of their own masks, each distance is over the entries that the client
sends, and each entry of v is over the clients that sent it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.held import chunks, held
from fl_core.federated.update import Update

SMOOTHING = 1e-6  # the paper's nu: a distance that counts as none
TOLERANCE = 1e-6
ITERATIONS = 100


def geometric_median(updates: Iterable[Update], start: Tensor, config: TrialConfig) -> Tensor:
    """The round's target (P,) float64."""
    clients = held(updates, config)
    weights = torch.tensor([u.weight for u in clients], dtype=start.dtype, device=start.device)
    point = start.clone()
    _, distances = _step(point, weights, clients, start, config)
    for _ in range(ITERATIONS):
        pull = weights / distances.clamp_min(SMOOTHING)
        moved, distances = _step(point, pull, clients, start, config)
        if moved <= TOLERANCE * float(distances.median()):
            break
    return point


def _step(
    point: Tensor, pull: Tensor, clients: Sequence[Update], start: Tensor, config: TrialConfig
) -> tuple[float, Tensor]:
    """Move the point (P,) to the clients' mean with weights `pull` (m,); how far it went, and how
    far the clients are from it now.
    """
    moved, distances = 0.0, torch.zeros_like(pull)
    for part, values, sent in chunks(clients, config):
        weight = sent * pull.unsqueeze(1)
        changed = (sent & (values != start[part])).any(0)
        mean = torch.where(sent, values, 0.0).mul_(weight).sum(0).div_(weight.sum(0))
        mean = torch.where(changed, mean, start[part])  # to the bit
        moved += float((mean - point[part]).square().sum())
        point[part] = mean
        distances += torch.where(sent, values - mean, 0.0).square_().sum(1)
    return moved**0.5, distances.sqrt_()
