"""Bulyan (El Mhamdi et al., ICML 2018): Krum chooses who votes, then every entry is voted on.

    1. Krum, again and again without the client that it chose last, chooses n - 2f clients
    2. of each entry the n - 4f values that are nearest to the chosen clients' median are averaged

Needs n >= 4f + 3. Clients count the same, as in Krum. The last of the selections have fewer
clients left than Krum's n - f - 2 nearest needs: there the nearest one counts.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.held import by_entry
from fl_core.federated.aggregates.krum import enough, scores_of, squared_distances
from fl_core.federated.aggregates.median import middle
from fl_core.federated.update import Update


def bulyan(updates: Iterable[Update], start: Tensor, config: TrialConfig) -> Tensor:
    """The round's target (P,) float64."""
    clients, byzantine = enough(updates, config), config.aggregate.byzantine
    distances = squared_distances(clients, config)
    left, chosen = list(range(len(clients))), []
    for _ in range(len(clients) - 2 * byzantine):
        scores = scores_of(distances[left][:, left], byzantine)
        chosen.append(left.pop(int(scores.argmin())))
    averaged = len(clients) - 4 * byzantine

    def nearest(ranked: Tensor, order: Tensor, count: Tensor) -> Tensor:
        apart = (ranked - middle(ranked, order, count)).abs_()
        places = apart.argsort(dim=0, stable=True)[:averaged]
        return ranked.gather(0, places).mean(0)

    return by_entry([clients[k] for k in sorted(chosen)], start, config, nearest)
