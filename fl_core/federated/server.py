"""The server's side of a round: who takes part, and the weighted average."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fl_core.config.sections import FederationConfig, ServerConfig
from fl_core.federated.client import Update


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
    client_drift: float  # mean over the clients of ||w_k - w||_2, w the server's parameters
    client_drift_active: float  # the same over the entries that each client sends
    images: int  # training examples processed
    velocity: Tensor | None  # of the last client: only used when there is one (centralised)


def aggregate(
    server: Tensor, updates: Iterable[Update], config: ServerConfig, average: str = "senders"
) -> tuple[Tensor, RoundSummary]:
    """FedAvg (McMahan et al. 2017, algorithm 1): w + lr * sum_k n_k (w_k - w) / sum_k n_k.

    n_k is the client's number of training examples. The clients' parameters, not their
    differences, are summed in float64 and rounded once: so with lr = 1 one client gives exactly
    its own parameters, whatever their magnitudes, entries no client changed stay bit-identical,
    and only one update is in memory at a time.

    Where clients send the entries of their own masks, each entry is averaged over the clients
    that sent it (`senders`; as it was if there are none), or over all of them, those that did
    not send it counting as unchanged (`all`).
    """
    start = server.double()
    total = torch.full_like(start, -0.0)  # not +0.0: that would take the sign of a -0.0
    params = torch.empty_like(start)  # one buffer: fresh memory costs more than the arithmetic
    missing: Tensor | None = None  # (P,) examples of the clients that did not send an entry
    examples, loss, drift, drift_active, images = 0, 0.0, 0.0, 0.0, 0
    velocity, clients = None, 0
    for update in updates:
        count, sent = update.num_examples, update.mask
        params.copy_(update.params)
        if sent is None:
            total.add_(params, alpha=count)
        else:
            drift += float((params - start).norm())
            others = start if average == "all" else start.new_tensor(-0.0)
            total.add_(torch.where(sent, params, others), alpha=count)
            torch.where(sent, params, start, out=params)
            if average == "senders":
                missing = torch.zeros_like(start) if missing is None else missing
                missing.add_(~sent, alpha=count)
        moved = float(params.sub_(start).norm())
        drift += moved if sent is None else 0.0
        drift_active += moved
        loss += float(update.train_loss) * count
        examples += count
        images += update.images
        velocity, clients = update.velocity, clients + 1
    if missing is None:
        mean = total.div_(examples)
    else:
        mean = torch.where(missing < examples, total / (examples - missing), start)
    new = mean if config.lr == 1 else start.sub_(start - mean, alpha=config.lr)
    summary = RoundSummary(loss / examples, drift / clients, drift_active / clients, images,
                           velocity)  # fmt: skip
    return new.float(), summary
