"""Fisher-weighted blending (Pirilli et al., 2025, eq. 5): clients start near their old selves.

    start = beta * old + (1 - beta) * server,   beta = F_k / sum_j F_j

for the entries that the client trains, F the diagonal Fisher information on its own examples. In
the form server + beta * (old - server): what has not changed stays bit-identical.

The paper sums F over ALL clients (`local.blend=fisher_all`): with many of them beta is small, and
every client must have sent its F before the first round. `fisher` sums over the round's clients,
which needs nothing of those that never take part; beta then grows as fewer take part.

Clients' scores and old parameters are read one after the other: a round needs a few vectors of
the model's size, however many clients there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from fl_core.federated.rule import LocalRule, Visit
from fl_core.federated.state import Federation, State


def blend(choice: str) -> LocalRule:
    """The rule of `local.blend`: fisher or fisher_all."""
    over_all = choice == "fisher_all"

    def starts(clients: Sequence[int], state: State, fed: Federation) -> Iterator[Tensor]:
        assert fed.fisher is not None
        if over_all:
            assert fed.all_fisher is not None
            total = fed.all_fisher()
        else:
            total = _summed(map(fed.fisher, clients), state.params)
        for client in clients:
            old = state.clients.of(client).get("params", state.params)
            beta = torch.where(total > 0, fed.fisher(client) / total, 0.0)
            start = state.params + beta * (old - state.params)
            if fed.masks is not None:
                start = torch.where(fed.masks(client).mask, start, state.params)
            yield start

    def finish(params: Tensor, visit: Visit) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        return {}, {"params": params}

    return LocalRule(starts=starts, finish=finish, fisher="all" if over_all else "round")


def _summed(scores: Iterator[Tensor], like: Tensor) -> Tensor:
    total = torch.zeros_like(like, dtype=torch.float64)
    for score in scores:
        total.add_(score)
    return total.float()
