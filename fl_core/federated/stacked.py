"""All sampled clients of a round at once, as stacked parameters (m, P).

They compute what `fl_core.federated.client.local_update` computes, to rounding; tests hold them
together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from fl_core.base.params import FlatModule, Layout
from fl_core.config.method_sections import LocalConfig
from fl_core.data.sources import Source
from fl_core.federated.client import Trained, Work
from fl_core.federated.gradients import stacked_gradient
from fl_core.federated.losses import CROSS_ENTROPY, Loss
from fl_core.federated.rule import PLAIN, LocalRule, Visit
from fl_core.optim.clip import clip_gradient
from fl_core.optim.optimiser import Optimiser
from fl_core.optim.sgdm import SGDM, Active


def stacked_updates(
    model: FlatModule,
    visit: Visit,
    source: Source,
    works: Sequence[Work],
    local: LocalConfig,
    rates: Sequence[list[float]],
    precision: str = "float32",
    *,
    rule: LocalRule = PLAIN,
    loss: Loss = CROSS_ENTROPY,
) -> Iterator[Trained]:
    """`local_update` of every client in `works`, step by step together.

    `visit`: start and mask for everyone (P,) or one each (m, P); what clients keep (m, P).
    """
    device = visit.start.device
    optimiser = SGDM.of(local)
    indices = _pad(works)  # (m, S, B)
    clients, steps, batch = indices.shape
    stacked = visit.start.expand(clients, -1).clone()
    active = None if visit.active is None else Active(visit.active.mask, None)
    grads = torch.empty_like(stacked)
    views, grad_views = model.layout.views(stacked), model.layout.views(grads)
    state: dict[str, Tensor] = {}
    losses = torch.zeros(clients, device=device)  # sums over examples
    counts = (indices >= 0).sum(2)  # (m, S)
    gradient = stacked_gradient(model, loss, precision)
    for step in range(steps):
        present = torch.from_numpy(indices[:, step] >= 0).to(device)  # (m, B)
        chosen = torch.from_numpy(indices[:, step].clip(0)).to(device)
        labels = source.labels[chosen]
        weights = present / present.sum(1, keepdim=True).clamp_min(1)  # (m, B), rows sum to 1
        inputs = source.batch(chosen.reshape(-1), _draws(works, step, batch))
        inputs = inputs.view(clients, batch, *inputs.shape[1:])
        means = gradient(views, grad_views, inputs, labels, weights)
        losses += means * torch.from_numpy(counts[:, step]).to(device)
        if rule.correct is not None:
            rule.correct(grads, stacked, visit)
        if local.clip:
            clip_gradient(grads, local.clip, active)
        now = [own[min(step, len(own) - 1)] for own in rates]
        _step(optimiser, stacked, grads, state, now, counts[:, step] > 0, model.layout, active)
    totals = counts.sum(1)
    for client in range(clients):
        own = {name: tensor[client] for name, tensor in state.items()}
        seen = int(totals[client])
        yield Trained(stacked[client], losses[client] / seen, seen, own)


def _pad(works: Sequence[Work]) -> np.ndarray:
    """All clients' batches as one array (m, S, B), padded with -1."""
    steps = max(work.indices.shape[0] for work in works)
    batch = max(work.indices.shape[1] for work in works)
    indices = np.full((len(works), steps, batch), -1, dtype=np.int64)
    for client, work in enumerate(works):
        rows, columns = work.indices.shape
        indices[client, :rows, :columns] = work.indices
    return indices


def _draws(works: Sequence[Work], step: int, batch: int) -> Tensor | None:
    """Augmentation draws of this step (m * B, 4), in the order of the flattened batch."""
    if works[0].draws is None:
        return None
    draws = np.zeros((len(works), batch, works[0].draws.shape[-1]), dtype=np.float32)
    for client, work in enumerate(works):
        assert work.draws is not None
        if step < len(work.draws):
            draws[client, : work.draws.shape[1]] = work.draws[step]
    return torch.from_numpy(draws).flatten(0, 1)


def _step(
    optimiser: Optimiser,
    stacked: Tensor,
    grads: Tensor,
    state: dict[str, Tensor],
    rates: list[float],
    present: np.ndarray,
    layout: Layout,
    active: Active | None,
) -> None:
    """One optimiser step of every client that still has a batch (all have one at first)."""
    if present.all() and len(set(rates)) == 1:
        optimiser.step(stacked, grads, state, rates[0], layout, active)
        return
    rows = []
    for client in np.flatnonzero(present):
        own = {name: tensor[client] for name, tensor in state.items()}
        mask = active
        if active is not None and active.mask.dim() == 2:
            mask = Active(active.mask[client], None)
        optimiser.step(stacked[client], grads[client], own, rates[client], layout, mask)
        rows.append(own)
    if not state:
        state |= {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
