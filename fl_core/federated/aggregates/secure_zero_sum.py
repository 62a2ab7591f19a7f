"""Zero-sum noise (Alcani et al. 2025): noise that each client adds cancels in the sum.

    client k sends w_k + z_k,    z_k ~ N(0, noise^2) in every entry
    the last one has z_m = -sum_{k<m} n_k z_k / n_m,    so  sum_k n_k z_k = 0

The authors average without weights, in which case the last one's noise is minus the sum of the
others'. To the server an update looks like noise around the model, but not more: it knows what a
client's parameters are but for a normal error. The mean is FedAvg's but for the rounding of the
noisy float32 numbers that are sent.

Its stated limit: the clients agree before they train. Who fails after that takes its noise along,
and the mean is off by what is missing: by n_k z_k / sum n, or, if it is the last one, by
sqrt(m - 1) times as much. Nothing repairs that.

In the authors' code a client's noise follows from its number, which the server knows as well. Here
every client sends the last one the seed of its noise and its weight, sealed (an X25519 key of its
own, an authentication tag), through the server: (m - 1) messages up, as many down to the last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.mean import mean
from fl_core.federated.aggregates.party import Joined, Party, hidden
from fl_core.federated.booking import Exchanged
from fl_core.federated.update import Update

KEY = 32  # bytes of a public key, and of a seed
SEALED = KEY + KEY + 8 + 16  # the sender's key, its seed, its weight, a tag


def secure_zero_sum(updates: Iterable[Update], start: Tensor, party: Party) -> Joined:
    """The round as the server sees it; without a target where one client would be alone."""
    config, agreed = party.run.config, party.beyond("download")
    if not config.aggregate.noise and party.beyond("sending"):
        return Joined(mean(hidden(updates, party), start, config))
    if len(agreed) < 2 or not party.beyond("sending"):
        deque(hidden(updates, party), maxlen=0)  # one alone has trained all the same
        return Joined(None, _exchanged(agreed))
    noisy = _noisy(hidden(updates, party), party, agreed)
    return Joined(mean(noisy, start, config), _exchanged(agreed))


def seeds(config: TrialConfig) -> Exchanged:
    """What every client but the last exchanges."""
    return Exchanged(up=SEALED, down=KEY) if config.aggregate.noise else Exchanged()


def _noisy(updates: Iterable[Update], party: Party, agreed: Sequence[int]) -> Iterator[Update]:
    """The updates as they are sent: in float32, with noise where clients train."""
    entries = party.entries
    for update in updates:
        params = update.sent["params"]
        noisy = (params.double() + _noise(update.client, party, agreed, params)).float()
        noisy = noisy if entries is None else torch.where(entries, noisy, params)
        yield update._replace(exact=noisy.double())


def _noise(client: int, party: Party, agreed: Sequence[int], like: Tensor) -> Tensor:
    """(P,) float64; the last client's from the seeds and weights of the others."""
    *others, last = agreed
    if client != last:
        return _drawn(client, party, like)
    total = torch.zeros_like(like, dtype=torch.float64)
    for other in others:
        total.add_(_drawn(other, party, like), alpha=party.weight(other))
    return total.div_(-party.weight(last))


def _drawn(client: int, party: Party, like: Tensor) -> Tensor:
    """(P,) float64: what its seed gives."""
    config = party.run.config
    rng = stream(config.seed, "zero-sum noise", party.round, client)
    drawn = torch.from_numpy(rng.standard_normal(len(like), np.float32))
    return drawn.to(like.device).double().mul_(config.aggregate.noise)


def _exchanged(agreed: Sequence[int]) -> dict[int, Exchanged]:
    """The last client's public key to the others; a sealed seed and weight of each to it."""
    if len(agreed) < 2:
        return {}
    *others, last = agreed
    found = {client: Exchanged(up=SEALED, down=KEY) for client in others}
    return {**found, last: Exchanged(up=KEY, down=SEALED * len(others))}
