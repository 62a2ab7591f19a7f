"""FedHBM (Zaccone et al., TMLR 2025): GHBM's momentum from a client's own last model.

    g   <- g + beta * C * (a_k - w) / (sum of the round's learning rates)   every local step
    a_k <- w_k                                                              where it ended

w is where the client stands now, so the momentum is another at every step; C, the share of the
clients that take part in a round, stands for 1/tau: a client comes back after 1/C rounds on the
average. In its first round it has no a_k, and steps as in FedAvg. Nothing is sent beside the
parameters. beta = 0 is FedAvg; the authors' code takes 1.

Momentum of the clients is refused: it would multiply this one.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from fl_core.config.method_sections import LocalConfig
from fl_core.federated.rule import PLAIN, LocalRule, Visit, add_scaled


def hbm(local: LocalConfig) -> LocalRule:
    """The rule at `local.beta`."""
    if not local.beta:
        return PLAIN

    def correct(grad: Tensor, params: Tensor, visit: Visit) -> None:
        share = local.beta * visit.participation * visit.known / visit.travel
        add_scaled(grad, visit.memory["anchor"] - params, share)

    def finish(params: Tensor, visit: Visit) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        return {}, {"anchor": params}

    return LocalRule(correct=correct, finish=finish, memory=("anchor",))
