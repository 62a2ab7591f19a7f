"""One round's local work: who takes part, from where, on what, under which mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sources import ImageSource, Source
from fl_core.federated.client import Update, Work, local_update, plan_work, step_rates
from fl_core.federated.server import select_clients
from fl_core.federated.stacked import stacked_updates
from fl_core.optim.sgdm import Active


@dataclass
class Federation:
    """Who trains what on which examples: everything of a run that does not change."""

    model: FlatModule
    train: Source
    val: Source | None
    shards: Sequence[np.ndarray]
    class_counts: np.ndarray  # (clients, classes)
    masks: Callable[[int], Active] | None = None  # of each client; None = dense
    fisher: Callable[[int], Tensor] | None = None  # (P,) of each client, for local.blend=fisher


@dataclass(frozen=True)
class ServerState:
    """Everything a run carries from round to round: a checkpoint is exactly this."""

    params: Tensor  # (P,) float32
    round: int = 0  # rounds completed
    velocity: Tensor | None = None  # momentum, if it outlives the round
    best: Tensor | None = None  # parameters of the best evaluation, if they are kept
    best_accuracy: float = -1.0
    evaluations_since_best: int = 0
    locals: Mapping[int, Tensor] = field(default_factory=dict)  # clients' own, for local.blend
    totals: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(
            ("seconds_train", "seconds_eval", "seconds_overhead", "images"), 0.0
        )
    )


def selected(config: TrialConfig, round: int) -> np.ndarray:
    """The clients of a round."""
    return select_clients(config.federation, stream(config.seed, "clients", round))


def participants(config: TrialConfig, rounds: int) -> list[int]:
    """The clients that take part in the first rounds of a run, in increasing order."""
    return sorted({int(c) for r in range(rounds) for c in selected(config, r)})


def updates(
    config: TrialConfig, fed: Federation, state: ServerState, clients: np.ndarray
) -> Iterator[Update]:
    """The sampled clients' updates of the coming round, stacked where that is faster."""
    seed, round = config.seed, state.round
    augmented = isinstance(fed.train, ImageSource)
    works: list[Work] = []
    for client in clients:
        draws = stream(seed, "augment", round, client) if augmented else None
        batches = stream(seed, "batches", round, client)
        works.append(plan_work(fed.shards[client], config.local, batches, draws))
    rates = [
        step_rates(config.local, config.schedule, round, config.rounds, len(work.indices))
        for work in works
    ]
    starts = _starts(config, fed, state, clients)
    precision = config.compute.precision
    if len(works) > 1 and use_stacked(config, fed.model, state.params.device):
        start = state.params if starts is None else torch.stack(starts)
        mask = _stacked_mask(config, fed, clients)
        done = stacked_updates(
            fed.model, start, fed.train, works, config.local, rates, precision, mask
        )
        if mask is None or mask.dim() == 1:
            yield from done
        else:
            yield from (update._replace(mask=own) for update, own in zip(done, mask, strict=True))
        return
    for n, (client, work) in enumerate(zip(clients.tolist(), works, strict=True)):
        active = None if fed.masks is None else fed.masks(client)
        update = local_update(
            fed.model, state.params if starts is None else starts[n], fed.train, work,
            config.local, rates[n], precision, state.velocity, active,
        )  # fmt: skip
        if active is not None and config.mask.scope == "per_client":
            update = update._replace(mask=active.mask)
        yield update


def _stacked_mask(config: TrialConfig, fed: Federation, clients: np.ndarray) -> Tensor | None:
    """The shared mask (P,), or the clients' own (m, P)."""
    if fed.masks is None:
        return None
    if config.mask.scope == "shared":
        return fed.masks(int(clients[0])).mask
    return torch.stack([fed.masks(client).mask for client in clients.tolist()])


def _starts(
    config: TrialConfig, fed: Federation, state: ServerState, clients: np.ndarray
) -> list[Tensor] | None:
    """What each client starts from, where that is not the server's parameters.

    Fisher-weighted blending (Pirilli et al. 2025): beta * old + (1 - beta) * server with beta =
    F_i / sum_j F_j over the round's clients j, for the entries that the client trains. In the
    form server + beta * (old - server): what has not changed stays bit-identical.
    """
    if config.local.blend == "none" or not state.locals:
        return None
    assert fed.fisher is not None
    scores = [fed.fisher(int(client)) for client in clients]
    total = torch.stack(scores).sum(0)
    starts = []
    for client, score in zip(clients.tolist(), scores, strict=True):
        old = state.locals.get(client, state.params)
        beta = torch.where(total > 0, score / total, 0.0)
        blended = state.params + beta * (old - state.params)
        if fed.masks is not None:
            blended = torch.where(fed.masks(client).mask, blended, state.params)
        starts.append(blended)
    return starts


def kept(
    updates: Iterator[Update], clients: np.ndarray, locals: dict[int, Tensor]
) -> Iterator[Update]:
    """Pass the updates on, and keep each client's parameters for its next round."""
    for client, update in zip(clients.tolist(), updates, strict=True):
        locals[client] = update.params.clone()
        yield update


def use_stacked(config: TrialConfig, model: FlatModule, device: torch.device) -> bool:
    """Linear models always; others on a GPU. On a CPU vmap loses to the plain loop for ViTs."""
    if config.compute.execution == "auto":
        return isinstance(model.module, nn.Linear) or device.type == "cuda"
    return config.compute.execution == "stacked"
