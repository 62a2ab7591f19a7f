"""All sampled clients of a round at once, as stacked parameters (m, P).

For the linear model the gradient of softmax regression is written out in batched matrix
products; any other module goes through `torch.func` (vmap over clients of grad). Both compute
what `fl_core.federated.client.local_update` computes, to rounding; tests hold them together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from fl_core.base.params import FlatModule, Layout
from fl_core.config.method_sections import LocalConfig
from fl_core.data.sources import Source
from fl_core.federated.client import Trained, Work, precision_context
from fl_core.federated.rule import PLAIN, LocalRule, Visit
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
    linear = isinstance(model.module, nn.Linear)
    for step in range(steps):
        present = torch.from_numpy(indices[:, step] >= 0).to(device)  # (m, B)
        chosen = torch.from_numpy(indices[:, step].clip(0)).to(device)
        labels = source.labels[chosen]
        weights = present / present.sum(1, keepdim=True).clamp_min(1)  # (m, B), rows sum to 1
        inputs = source.batch(chosen.reshape(-1), _draws(works, step, batch))
        inputs = inputs.view(clients, batch, *inputs.shape[1:])
        if linear:
            loss = _linear_gradient(views, grad_views, inputs, labels, weights)
        else:
            loss = _module_gradient(model, views, grad_views, inputs, labels, weights, precision)
        losses += loss * torch.from_numpy(counts[:, step]).to(device)
        if rule.correct is not None:
            rule.correct(grads, stacked, visit)
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


def _linear_gradient(
    views: dict[str, Tensor],
    grads: dict[str, Tensor],
    inputs: Tensor,  # (m, B, D)
    labels: Tensor,  # (m, B)
    weights: Tensor,  # (m, B)
) -> Tensor:
    """Softmax regression: d loss / d logits = (softmax - onehot) * weight. Returns losses (m,)."""
    logits = torch.baddbmm(views["bias"].unsqueeze(1), inputs, views["weight"].transpose(1, 2))
    log_probs = F.log_softmax(logits, dim=-1)  # (m, B, classes)
    loss = -(log_probs.gather(2, labels.unsqueeze(2)).squeeze(2) * weights).sum(1)
    residual = log_probs.exp_()
    residual.scatter_add_(2, labels.unsqueeze(2), residual.new_full((*labels.shape, 1), -1.0))
    residual *= weights.unsqueeze(2)
    torch.bmm(residual.transpose(1, 2), inputs, out=grads["weight"])
    torch.sum(residual, dim=1, out=grads["bias"])
    return loss


def _module_gradient(
    model: FlatModule,
    views: dict[str, Tensor],
    grads: dict[str, Tensor],
    inputs: Tensor,
    labels: Tensor,
    weights: Tensor,
    precision: str,
) -> Tensor:
    """Any module: vmap over clients of the gradient of the weighted mean loss."""
    fixed = {n: t for n, t in model.module.state_dict().items() if n not in views}

    def loss_of(params: dict[str, Tensor], x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        with precision_context(x.device, precision):
            logits = functional_call(model.module, {**params, **fixed}, (x,))
        return (F.cross_entropy(logits.float(), y, reduction="none") * w).sum()

    model.module.train()
    gradients, losses = vmap(grad_and_value(loss_of))(views, inputs, labels, weights)
    for name, gradient in gradients.items():
        grads[name].copy_(gradient)
    return torch.as_tensor(losses)


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
