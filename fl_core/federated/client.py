"""A client's local work: which batches, and the steps on them.

`local_update` trains one client at a time: the obvious version, the oracle of the stacked one
in `fl_core.federated.stacked` and the faster one for vision transformers on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fl_core.base.params import FlatModule, Layout
from fl_core.config.method_sections import LocalConfig
from fl_core.data.sources import DRAWS_PER_IMAGE, Source
from fl_core.federated.losses import CROSS_ENTROPY, Loss, compared
from fl_core.federated.rule import PLAIN, LocalRule, Visit
from fl_core.optim.clip import clip_gradient
from fl_core.optim.sgdm import Active
from fl_core.optim.table import LOCAL_OPTIMISERS


class Work(NamedTuple):
    """One client's batches in one round."""

    indices: np.ndarray  # (steps, batch) int64 into the training source; -1 = padding
    draws: np.ndarray | None  # (steps, batch, 4) float32 for augmentation
    num_examples: int  # size of the client's shard: its weight in the average


class Trained(NamedTuple):
    """A client after its local steps."""

    params: Tensor  # (P,)
    train_loss: Tensor  # () mean over the examples seen
    images: int  # examples processed
    state: dict[str, Tensor]  # the optimiser's, after the last step
    first_loss: Tensor  # () mean over the first batch, before any step

    def following(self, before: Trained) -> Trained:
        """Both trainings as one."""
        images = before.images + self.images
        loss = (before.train_loss * before.images + self.train_loss * self.images) / images
        return self._replace(train_loss=loss, images=images, first_loss=before.first_loss)


def plan_work(
    shard: np.ndarray,
    local: LocalConfig,
    rng: np.random.Generator,
    augment_rng: np.random.Generator | None = None,
) -> Work:
    """Batches of one client: its shard in shuffled passes, cut into batches.

    `unit=steps`: J batches of min(batch_size, shard) examples, going on into the next pass where
    one ends. `unit=epochs`: J whole passes, the last batch of each pass padded with -1.
    """
    size = len(shard)
    batch = min(local.batch_size, size)
    if local.unit == "steps":
        passes = math.ceil(local.steps * batch / size)
        order = np.concatenate([rng.permutation(shard) for _ in range(passes)])
        indices = order[: local.steps * batch].reshape(local.steps, batch)
    else:
        padding = np.full(-size % batch, -1, dtype=shard.dtype)
        rows = [np.concatenate([rng.permutation(shard), padding]) for _ in range(local.steps)]
        indices = np.concatenate(rows).reshape(-1, batch)
    draws = None
    if augment_rng is not None:
        draws = augment_rng.random((*indices.shape, DRAWS_PER_IMAGE), dtype=np.float32)
    return Work(indices, draws, size)


def planned_examples(size: int, local: LocalConfig) -> int:
    """Examples that `plan_work` of a shard of this size lets a client process."""
    return local.steps * (size if local.unit == "epochs" else min(local.batch_size, size))


def precision_context(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """bfloat16 autocast where asked for; parameters and updates stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def local_update(
    model: FlatModule,
    visit: Visit,
    source: Source,
    work: Work,
    local: LocalConfig,
    rates: list[float],
    precision: str = "float32",
    *,
    micro_batch: int = 0,
    rule: LocalRule = PLAIN,
    loss: Loss = CROSS_ENTROPY,
    state: Mapping[str, Tensor] | None = None,
) -> Trained:
    """Train from `visit.start` (P,) on the client's batches, as `rule` corrects the steps.

    state: the optimiser's, where it goes on from an earlier round. Gives new tensors; those of
    `visit` are not changed, the contents of `model.flat` are.
    """
    device, active = visit.start.device, visit.active
    advance = advancing(rule, local, model.layout)
    model.flat.copy_(visit.start)
    model.train_only(None if active is None else active.mask)
    model.module.train()
    memory = {name: tensor.clone() for name, tensor in (state or {}).items()}
    loss_sum = torch.zeros((), device=device)
    images, first = 0, loss_sum
    for step, row in enumerate(work.indices):
        keep = row >= 0
        indices = torch.from_numpy(row[keep]).to(device)
        draws = None if work.draws is None else torch.from_numpy(work.draws[step][keep])
        mean = _gradient(model, source, indices, draws, precision, loss, micro_batch)
        first = first if step else mean
        advance(model.flat, model.grad, visit, memory, rates[step], active)
        loss_sum += mean * len(indices)
        images += len(indices)
    return Trained(model.flat.clone(), loss_sum / images, images, memory, first)


#: (params, gradient, visit, the optimiser's state, learning rate, what trains): one client's (P,)
#: or stacked ones' (m, P); changes `params`, the state, and the gradient on the way.
Advance = Callable[[Tensor, Tensor, Visit, dict[str, Tensor], float, Active | None], None]


def advancing(rule: LocalRule, local: LocalConfig, layout: Layout) -> Advance:
    """A local step, given its gradient: corrected by the rule, clipped, taken by the optimiser."""
    optimiser = LOCAL_OPTIMISERS[local.optimiser](local)

    def advance(
        params: Tensor,
        grad: Tensor,
        visit: Visit,
        state: dict[str, Tensor],
        rate: float,
        active: Active | None,
    ) -> None:
        if rule.correct is not None:
            rule.correct(grad, params, visit)
        if local.clip:
            clip_gradient(grad, local.clip, active)
        optimiser.step(params, grad, state, rate, layout, active)

    return advance


def full_gradient(
    model: FlatModule,
    params: Tensor,
    source: Source,
    shard: np.ndarray,
    batch: int,
    precision: str,
    loss: Loss = CROSS_ENTROPY,
) -> Tensor:
    """(P,): the gradient of the mean loss over a client's examples, without augmentation."""
    model.flat.copy_(params)
    model.train_only(None)
    model.module.train()
    total = torch.zeros_like(model.grad)
    for indices in torch.split(torch.from_numpy(shard).to(params.device), batch):
        _gradient(model, source, indices, None, precision, loss)
        total.add_(model.grad, alpha=len(indices) / len(shard))
    return total


def _gradient(
    model: FlatModule,
    source: Source,
    indices: Tensor,
    draws: Tensor | None,
    precision: str,
    loss: Loss,
    micro_batch: int = 0,
) -> Tensor:
    """The batch's mean loss (); its gradient goes into `model.grad`.

    micro_batch: most examples of a forward and backward pass; the gradients of the parts' means
    are summed by their share of the batch. 0: all at once.
    """
    model.grad.zero_()
    size = len(indices)
    if not 0 < micro_batch < size:
        return _backward(model, source, indices, draws, precision, loss, 1.0)
    parts = torch.split(indices, micro_batch)
    drawn = [None] * len(parts) if draws is None else torch.split(draws, micro_batch)
    total = torch.zeros((), device=model.flat.device)
    for part, own in zip(parts, drawn, strict=True):
        total += _backward(model, source, part, own, precision, loss, len(part) / size)
    return total


def _backward(
    model: FlatModule,
    source: Source,
    indices: Tensor,
    draws: Tensor | None,
    precision: str,
    loss: Loss,
    share: float,
) -> Tensor:
    """So much of these examples' mean loss (); its gradient is added to `model.grad`."""
    with precision_context(model.flat.device, precision):
        logits = model.module(source.batch(indices, draws))
    mean = loss.of(*compared(logits.float(), source.targets(indices)), reduction="mean")
    mean = mean if share == 1 else mean * share
    mean.backward()  # type: ignore[no-untyped-call]
    return mean.detach()
