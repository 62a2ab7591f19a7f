"""A client's local work: which batches, which learning rates, the update itself.

`local_update` trains one client at a time: the obvious version, the oracle of the stacked one
in `fl_core.federated.stacked` and the faster one for vision transformers on a CPU.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fl_core.base.params import FlatModule
from fl_core.config.sections import LocalConfig, ScheduleConfig
from fl_core.data.sources import DRAWS_PER_IMAGE, Source
from fl_core.optim.sgdm import Active, sgdm_step


class Work(NamedTuple):
    """One client's batches in one round."""

    indices: np.ndarray  # (steps, batch) int64 into the training source; -1 = padding
    draws: np.ndarray | None  # (steps, batch, 4) float32 for augmentation
    num_examples: int  # size of the client's shard: its weight in the average


class Update(NamedTuple):
    """What a client sends back, and what is measured on the way."""

    params: Tensor  # (P,) after the local steps
    num_examples: int
    train_loss: Tensor  # () mean over the examples seen
    images: int  # examples processed
    velocity: Tensor | None  # momentum after the last step: (P,), or of the active entries alone
    mask: Tensor | None = None  # (P,) bool: the entries it sends; None = whatever trains


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


def lr_factor(schedule: ScheduleConfig, progress: float) -> float:
    """Factor of the learning rate at `progress` in (0, 1) of the whole run.

    Cosine: Loshchilov & Hutter, ICLR 2017; with linear warm-up: Goyal et al., 2017.
    """
    match schedule.name:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        case "step":
            return float(schedule.gamma ** math.floor(progress / schedule.step_size))
        case "warmup_cosine":
            if progress < schedule.warmup:
                return progress / schedule.warmup
            rest = (progress - schedule.warmup) / (1 - schedule.warmup)
            return 0.5 * (1 + math.cos(math.pi * rest))
        case _:
            return 1.0


def step_rates(
    local: LocalConfig, schedule: ScheduleConfig, round: int, rounds: int, steps: int
) -> list[float]:
    """Learning rate of each local step of `round`; a step's progress is taken at its middle."""
    return [
        local.lr * lr_factor(schedule, (round + (step + 0.5) / steps) / rounds)
        for step in range(steps)
    ]


def precision_context(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """bfloat16 autocast where asked for; parameters and updates stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def local_update(
    model: FlatModule,
    params: Tensor,
    source: Source,
    work: Work,
    local: LocalConfig,
    rates: list[float],
    precision: str = "float32",
    velocity: Tensor | None = None,
    active: Active | None = None,
) -> Update:
    """Train from `params` (P,) on the client's batches; `active`: its mask, None = dense.

    Returns new tensors; `params` is not changed, the contents of `model.flat` are.
    """
    device = params.device
    model.flat.copy_(params)
    model.train_only(None if active is None else active.mask)
    model.module.train()
    velocity = None if velocity is None else velocity.clone()
    loss_sum = torch.zeros((), device=device)
    images = 0
    for step, row in enumerate(work.indices):
        keep = row >= 0
        indices = torch.from_numpy(row[keep]).to(device)
        draws = None if work.draws is None else torch.from_numpy(work.draws[step][keep])
        model.grad.zero_()
        with precision_context(device, precision):
            logits = model.module(source.batch(indices, draws))
        loss = F.cross_entropy(logits.float(), source.labels[indices])
        loss.backward()  # type: ignore[no-untyped-call]
        velocity = sgdm_step(model.flat, model.grad, velocity, local, rates[step], active)
        loss_sum += loss.detach() * len(indices)
        images += len(indices)
    return Update(model.flat.clone(), work.num_examples, loss_sum / images, images, velocity)
