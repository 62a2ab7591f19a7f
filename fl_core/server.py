"""The server's side of a round: who takes part, and the weighted average (layer 2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fl_core.client import Update
from fl_core.sections import FederationConfig, ServerConfig


def num_sampled(federation: FederationConfig) -> int:
    """Clients of a round: round(C * K), at least one."""
    return max(1, round(federation.participation * federation.clients))


def select_clients(federation: FederationConfig, rng: np.random.Generator) -> np.ndarray:
    """Uniform sample of distinct clients, in increasing order."""
    count = num_sampled(federation)
    return np.sort(rng.choice(federation.clients, count, replace=False, shuffle=False))


@dataclass(frozen=True)
class RoundSummary:
    """What the server learns of one round besides the new parameters."""

    train_loss: float  # mean over the clients, weighted by their examples
    client_drift: float  # mean over the clients of ||w_k - w||_2, w the model they started from
    images: int  # training examples processed
    velocity: Tensor | None  # of the last client: only used when there is one (centralised)


def aggregate(
    server: Tensor, updates: Iterable[Update], config: ServerConfig
) -> tuple[Tensor, RoundSummary]:
    """FedAvg (McMahan et al. 2017, algorithm 1): w + lr * sum_k n_k (w_k - w) / sum_k n_k.

    n_k is the client's number of training examples. The clients' parameters, not their
    differences, are summed in float64 and rounded once: so with lr = 1 one client gives exactly
    its own parameters, whatever their magnitudes, entries no client changed stay bit-identical,
    and only one update is in memory at a time.
    """
    start = server.double()
    total = torch.full_like(start, -0.0)  # not +0.0: that would take the sign of a -0.0
    params = torch.empty_like(start)  # one buffer: fresh memory costs more than the arithmetic
    examples, loss, drift, images = 0, 0.0, 0.0, 0
    velocity, clients = None, 0
    for update in updates:
        total.add_(params.copy_(update.params), alpha=update.num_examples)
        drift += float(params.sub_(start).norm())
        loss += float(update.train_loss) * update.num_examples
        examples += update.num_examples
        images += update.images
        velocity, clients = update.velocity, clients + 1
    mean = total.div_(examples)
    new = mean if config.lr == 1 else start.sub_(start - mean, alpha=config.lr)
    return new.float(), RoundSummary(loss / examples, drift / clients, images, velocity)
