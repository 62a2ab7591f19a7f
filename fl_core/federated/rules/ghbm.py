"""GHBM (Zaccone et al., TMLR 2025): momentum over as many rounds as it takes to meet all clients.

    m <- (w^(t-tau) - w^t) / tau                     at the server, w^t its model after t rounds
    g <- g + beta * m / (sum of the round's learning rates)   every local step

Over a round's steps m adds up to beta * m, whatever their number and rates. tau near 1/C, the
rounds in which uniform sampling sees everybody once, keeps m from following the last few clients;
tau = 1 is classical momentum. Before tau models exist m is zero: those rounds are FedAvg's, as is
beta = 0. The server holds tau models, which are in the checkpoint; it sends m: twice FedAvg's
bytes down. The models are the server's own, after `server.optimiser`.

m rests at zero when the rounds do, so that full batches end where FedAvg ends. Momentum of the
clients is refused: it would multiply m.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fl_core.config.method_sections import LocalConfig
from fl_core.federated.rule import PLAIN, Gathered, LocalRule, Visit, add_scaled


def ghbm(local: LocalConfig) -> LocalRule:
    """The rule at `local.beta` and `local.tau`."""
    tau = local.tau
    if not local.beta:
        return PLAIN

    def correct(grad: Tensor, params: Tensor, visit: Visit) -> None:
        add_scaled(grad, visit.server["momentum"], local.beta / visit.travel)

    def remember(gathered: Gathered, params: Tensor) -> Mapping[str, Tensor]:
        done, slot = gathered.round + 1, f"past/{gathered.round % tau}"  # a ring of models
        past = {**gathered.server, slot: gathered.start.float()}
        momentum = (past[f"past/{done % tau}"] - params) / tau
        return {
            slot: past[slot],
            "momentum": momentum if done >= tau else torch.zeros_like(momentum),
        }

    return LocalRule(
        correct=correct,
        remember=remember,
        broadcast=("momentum",),
        held=tuple(f"past/{slot}" for slot in range(tau)),
    )
