"""The median of every entry (Yin et al., ICML 2018, algorithm 1, option I).

Of an even number the mean of the two in the middle. Clients count the same, whatever they hold: a
vote that weighs its examples would let one attacker with many of them outvote the others. Where
clients send entries of their own masks, the median of an entry is over those that sent it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.held import by_entry, held
from fl_core.federated.update import Update


def median(updates: Iterable[Update], start: Tensor, config: TrialConfig) -> Tensor:
    """The round's target (P,) float64."""
    return by_entry(held(updates, config), start, config, middle)


def middle(ranked: Tensor, order: Tensor, count: Tensor) -> Tensor:
    """(m, c) in increasing order, of which the first `count` (c,) are values -> (c,)."""
    last = len(ranked) - 1
    places = torch.stack([(count - 1).clamp_min(0) // 2, (count // 2).clamp_max(last)])
    return ranked.gather(0, places).mean(0)
