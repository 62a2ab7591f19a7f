"""Fisher-weighted blending (Pirilli et al., 2025, eq. 5): clients start near their old selves.

    start = beta * old + (1 - beta) * server,   beta = F_k / sum_j F_j over the round's clients j

for the entries that the client trains, F the diagonal Fisher information on its own examples. In
the form server + beta * (old - server): what has not changed stays bit-identical.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fl_core.federated.rule import LocalRule, Visit
from fl_core.federated.state import Federation, State


def blend() -> LocalRule:
    """The rule of `local.blend=fisher`."""

    def starts(clients: Sequence[int], state: State, fed: Federation) -> list[Tensor]:
        assert fed.fisher is not None
        scores = [fed.fisher(client) for client in clients]
        total = torch.stack(scores).sum(0)
        blended = []
        for client, score in zip(clients, scores, strict=True):
            old = state.clients.of(client).get("params", state.params)
            beta = torch.where(total > 0, score / total, 0.0)
            start = state.params + beta * (old - state.params)
            if fed.masks is not None:
                start = torch.where(fed.masks(client).mask, start, state.params)
            blended.append(start)
        return blended

    def finish(params: Tensor, visit: Visit) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        return {}, {"params": params}

    return LocalRule(starts=starts, finish=finish, needs_fisher=True)
