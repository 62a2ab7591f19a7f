"""Secure aggregation (Bonawitz et al., CCS 2017): the server learns the weighted sum alone.

    a client sends  n_k q_k, n_k  under masks modulo R,    q_k = its update on a grid (`quantise`)
    the server gets sum n_k q_k and sum n_k over the clients whose vectors arrived, and steps to
    w + mean of the updates on the grid

The protocol is that of `federated.secure`: what its server is handed are bytes. Only what travels
is sent, under a shared mask the entries that train. A round in which fewer than t clients get
through a step (`aggregate.threshold`) has no sum.

What a simulation tells beside it - losses, drift, the share of clipped entries - it measures at the
clients; a real server would be told means at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from fl_core.base.rng import stream
from fl_core.config.method_sections import AggregateConfig
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.party import Joined, Party, hidden
from fl_core.federated.booking import Exchanged
from fl_core.federated.secure.messages import (
    KEYS_BYTES,
    NUMBER_BYTES,
    SEALED_BYTES,
    vector_bytes,
)
from fl_core.federated.secure.protocol import SecureSum, TooFewSurvivors, secure_sum
from fl_core.federated.secure.quantise import Grid, moved_entries
from fl_core.federated.secure.shamir import SHARE_BYTES
from fl_core.federated.update import Update

CLIPPED = "clipped_share"


def secure(updates: Iterable[Update], start: Tensor, party: Party) -> Joined:
    """The round as the server sees it; without a target where too few clients were left."""
    vectors, told = _vectors(updates, start, party)
    if len(party.asked) < 2:  # one alone would not be hidden
        return Joined(None, told=told)
    try:
        found = _sum(vectors, party)
    except TooFewSurvivors as few:
        return Joined(None, _exchanged(few.up, few.down), told)
    mean, _ = Grid.of(party.run.config.aggregate).decoded(found.total)
    target, where = start.clone(), party.entries
    target[slice(None) if where is None else where] += torch.from_numpy(mean).to(start.device)
    target = torch.where(target == start, start, target)  # the bits of a -0.0
    return Joined(target, _exchanged(found.up, found.down), told)


def keys_and_shares(config: TrialConfig) -> Exchanged:
    """What a client exchanges in a round where nobody fails; lists are of all clients, itself or
    not.
    """
    clients, number = config.federation.sampled, NUMBER_BYTES
    shares = (clients - 1) * (number + SEALED_BYTES)
    return Exchanged(
        up=KEYS_BYTES + shares + clients * (number + SHARE_BYTES),
        down=clients * (number + KEYS_BYTES) + shares + clients * number,
    )


def masked_bytes(aggregate: AggregateConfig, entries: int) -> int:
    """Of a masked vector: an update of so many entries, and the weight."""
    return vector_bytes(entries + 1, aggregate.modulus_bits)


def _vectors(
    updates: Iterable[Update], start: Tensor, party: Party
) -> tuple[dict[int, np.ndarray], dict[str, float]]:
    """What each client hides, by client; and the share of their entries that was clipped."""
    grid, entries = Grid.of(party.run.config.aggregate), party.entries
    vectors, clipped, size = {}, 0, 0
    for update in hidden(updates, party):
        moved = moved_entries(update.sent["params"], start, entries)
        vectors[update.client], beyond = grid.encoded(moved, party.weight(update.client))
        clipped, size = clipped + beyond, size + moved.size
    return vectors, {CLIPPED: clipped / size} if size else {}


def _sum(vectors: Mapping[int, np.ndarray], party: Party) -> SecureSum:
    """The protocol with all who were asked; who did not send a vector has none to hide."""
    chosen = party.run.config.aggregate
    nothing = np.zeros_like(next(iter(vectors.values()), np.zeros(1, np.uint64)))
    return secure_sum(
        {client: vectors.get(client, nothing) for client in party.asked},
        bits=chosen.modulus_bits,
        threshold=chosen.needed(len(party.asked)),
        fates=party.failed,
        random=partial(_drawn, party),
    )


def _drawn(party: Party, purpose: str, client: int, size: int) -> bytes:
    """A client's secrets of this round; a deployment draws them from its operating system."""
    return stream(party.run.config.seed, f"secure {purpose}", party.round, client).bytes(size)


def _exchanged(
    up: Mapping[int, Mapping[str, int]], down: Mapping[int, Mapping[str, int]]
) -> dict[int, Exchanged]:
    """Bytes beside the vectors themselves, by client."""
    return {
        client: Exchanged(
            up=sum(size for kind, size in up.get(client, {}).items() if kind != "masked"),
            down=sum(down.get(client, {}).values()),
        )
        for client in sorted({*up, *down})
    }
