"""All sampled clients of a round at once, as stacked parameters (m, P).

They compute what `fl_core.federated.client.local_update` computes, to rounding; tests hold them
together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fl_core.base.params import FlatModule
from fl_core.config.method_sections import LocalConfig
from fl_core.data.sources import Source
from fl_core.federated.client import Advance, Trained, Work, advancing
from fl_core.federated.gradients import stacked_gradient
from fl_core.federated.losses import CROSS_ENTROPY, Loss
from fl_core.federated.rule import PLAIN, LocalRule, Visit
from fl_core.optim.sgdm import Active


def stacked_updates(
    model: FlatModule,
    visit: Visit,
    each: Sequence[Visit],
    source: Source,
    works: Sequence[Work],
    local: LocalConfig,
    rates: Sequence[list[float]],
    precision: str = "float32",
    *,
    rule: LocalRule = PLAIN,
    loss: Loss = CROSS_ENTROPY,
    states: Sequence[Mapping[str, Tensor]] = (),
) -> Iterator[Trained]:
    """`local_update` of every client in `works`, step by step together.

    `visit`: start and mask for everyone (P,) or one each (m, P); what clients keep (m, P). each:
    the same of every client alone. states: each one's optimiser's, where they go on from an earlier
    round; of all clients or of none.
    """
    device = visit.start.device
    advance = advancing(rule, local, model.layout)
    # on a CPU what a rule corrects is better still in the cache when it steps: client by client;
    # elsewhere each call costs a launch
    together = rule.correct is None or device.type != "cpu"
    indices = _pad(works)  # (m, S, B)
    clients, steps, batch = indices.shape
    stacked = visit.start.expand(clients, -1).clone()
    active = None if visit.active is None else Active(visit.active.mask, None)
    grads = torch.empty_like(stacked)
    views, grad_views = model.layout.views(stacked), model.layout.views(grads)
    names = states[0] if states else ()
    state = {name: torch.stack([own[name] for own in states]) for name in names}
    losses = torch.zeros(clients, device=device)  # sums over examples
    first = losses  # (m,) means over the first batch
    counts = (indices >= 0).sum(2)  # (m, S)
    gradient = stacked_gradient(model, loss, precision)
    for step in range(steps):
        present = torch.from_numpy(indices[:, step] >= 0).to(device)  # (m, B)
        chosen = torch.from_numpy(indices[:, step].clip(0)).to(device)
        targets = source.targets(chosen)
        weights = present / present.sum(1, keepdim=True).clamp_min(1)  # (m, B), rows sum to 1
        inputs = source.batch(chosen.reshape(-1), _draws(works, step, batch))
        inputs = inputs.view(clients, batch, *inputs.shape[1:])
        means = gradient(views, grad_views, inputs, targets, weights)
        first = first if step else means
        losses += means * torch.from_numpy(counts[:, step]).to(device)
        now = [own[min(step, len(own) - 1)] for own in rates]
        here = np.flatnonzero(counts[:, step]).tolist()  # all have a batch at first
        if together and len(here) == clients and len(set(now)) == 1:
            advance(stacked, grads, visit, state, now[0], active)
        else:
            _one_by_one(advance, stacked, grads, each, state, now, here, active)
    totals = counts.sum(1)
    for client in range(clients):
        own = {name: tensor[client] for name, tensor in state.items()}
        seen = int(totals[client])
        yield Trained(stacked[client], losses[client] / seen, seen, own, first[client])


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


def _one_by_one(
    advance: Advance,
    stacked: Tensor,
    grads: Tensor,
    each: Sequence[Visit],
    state: dict[str, Tensor],
    rates: Sequence[float],
    clients: Sequence[int],
    active: Active | None,
) -> None:
    """One local step of these clients."""
    rows = []
    for client in clients:
        own = {name: tensor[client] for name, tensor in state.items()}
        mask = active
        if active is not None and active.mask.dim() == 2:
            mask = Active(active.mask[client], None)
        advance(stacked[client], grads[client], each[client], own, rates[client], mask)
        rows.append(own)
    if not state:
        state |= {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
