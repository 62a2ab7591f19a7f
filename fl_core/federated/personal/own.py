"""What a client has of its own between rounds, in its memory, and the models that come of it."""

from __future__ import annotations

import torch
from torch import Tensor

from fl_core.federated.run import Run
from fl_core.federated.state import State

PART, MODEL = "personal/part", "personal/model"  # names in a client's memory


def with_own_part(run: Run, state: State, client: int, model: Tensor) -> Tensor:
    """The model (P,) with the client's own part; before its first round that is the server's."""
    if run.part is None:
        return model
    own = state.clients.of(client).get(PART)
    if own is None:
        return torch.where(run.part, state.params, model)
    return model.masked_scatter(run.part, own)


def shared_model(run: Run, state: State) -> Tensor:
    """(P,): what a client gets that never took part: the server's parameters, and for what clients
    keep to themselves the mean of theirs, by examples; the server's while nobody has any.

    The mean is formed to judge and is no part of the traffic: to hand it out, each client would
    have to send its part once.
    """
    if run.part is None or not len(state.clients):
        return state.params
    owners = state.clients.clients()
    total = torch.zeros(int(run.part.sum()), dtype=torch.float64, device=state.params.device)
    for client in owners:
        total.add_(state.clients.of(client)[PART], alpha=len(run.fed.shards[client]))
    mean = total / sum(len(run.fed.shards[client]) for client in owners)
    return state.params.masked_scatter(run.part, mean.float())
