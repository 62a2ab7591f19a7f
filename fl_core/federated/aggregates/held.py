"""What robust aggregates share: all of a round's updates at once, read in chunks of parameters.

In memory are the m updates as they were sent (float32) and one chunk of all of them in float64,
of at most CHUNK numbers; what a rule makes of a chunk is of the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from fl_core.config.fields import refuse
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.update import Update

CHUNK = 2**18  # numbers: 2 MiB in float64

#: A chunk: its place, (m, c) values in float64, (m, c) which of them were sent.
Chunk = tuple[slice, Tensor, Tensor]


def alone(updates: Iterable[Update], config: TrialConfig) -> Iterator[Update]:
    """The same updates; ConfigError where clients send vectors beside their parameters: these are
    summed plainly, so an attacker could move the server through them.
    """
    for update in updates:
        if len(update.sent) > 1:
            needs = "what clients send beside their parameters is summed, attackers' too"
            raise refuse("aggregate.rule", config.aggregate.rule, needs)
        yield update


def held(updates: Iterable[Update], config: TrialConfig) -> list[Update]:
    """All of them, by client, so that not even rounding, or a tie, depends on who came first."""
    # without what is kept, and without `exact`, whose memory the next update takes
    found = [update._replace(kept={}, exact=None) for update in alone(updates, config)]
    return sorted(found, key=lambda update: update.client)


def chunks(updates: Sequence[Update], config: TrialConfig) -> Iterator[Chunk]:
    """One after the other. With `mask.average=all` a client that has no entry sends it unchanged:
    that is what its parameters say.
    """
    size, width = len(updates[0].sent["params"]), max(1, CHUNK // len(updates))
    for begin in range(0, size, width):
        part = slice(begin, begin + width)
        values = torch.stack([update.sent["params"][part] for update in updates]).double()
        sent = torch.ones_like(values, dtype=torch.bool)
        if config.mask.average == "senders":
            for row, update in zip(sent, updates, strict=True):
                if update.mask is not None:
                    row.copy_(update.mask[part])
        yield part, values, sent


def by_entry(
    updates: Sequence[Update],
    start: Tensor,
    config: TrialConfig,
    rule: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """The target (P,) float64 of a rule that takes every entry by itself.

    rule: (m, c) values in increasing order, infinities for those that were not sent; (m, c) whose
    each is; (c,) how many were sent -> (c,). Entries that nobody changed, or sent, keep their bits.
    """
    target = start.clone()
    for part, values, sent in chunks(updates, config):
        before = target[part]
        moved = (sent & (values != before)).any(0)
        ranked, order = values.masked_fill_(~sent, torch.inf).sort(dim=0, stable=True)
        count = sent.sum(0)
        target[part] = torch.where(moved, rule(ranked, order, count), before)
    return target
