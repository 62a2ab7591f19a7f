"""FedDyn (Acar et al., ICLR 2021, algorithm 1): a client's loss is bent towards everybody's.

    g   <- g + alpha * (w - w_start) - h_k        every local step
    h_k <- h_k - alpha * (w_k - w_start)
    h   <- h - alpha / N * sum_S (w_k - w_start)  N: ALL clients
    w   <- mean_S w_k - h / alpha                 clients weigh the same

h_k, h begin as zeros. Both parts of the step count: the linear one alone has no minimum. Where a
client minimises exactly, h_k is its gradient at w_k and h the mean of all h_k, so that w can only
rest where the mean of the clients' losses has its minimum, however many steps they do. The authors'
code keeps -h_k / alpha instead, and adds the mean of these to mean_S w_k: the same numbers. It also
divides alpha by a client's share of the examples; the paper does not, nor does this.

The model that is evaluated is w, which starts the next round; the authors also report means of the
clients' models. The paper leaves open how a client minimises: momentum gathers the whole gradient
above, as it does FedProx's. alpha -> 0 is no FedAvg (h / alpha does not vanish), and 0 is refused.

Under clients' own masks an entry that none of the round's clients trains stays as it is: nothing
there would balance the step of -h / alpha. A client that fails sends nothing and counts in N only.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fl_core.config.method_sections import LocalConfig
from fl_core.federated.rule import Gathered, LocalRule, Visit


def dyn(local: LocalConfig) -> LocalRule:
    """The rule at `local.alpha`."""

    def correct(grad: Tensor, params: Tensor, visit: Visit) -> None:
        grad.add_(params - visit.start, alpha=local.alpha).sub_(visit.memory["linear"])

    def finish(params: Tensor, visit: Visit) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        moved = params - visit.start
        return {}, {"linear": visit.memory["linear"].sub(moved, alpha=local.alpha)}

    def serve(gathered: Gathered) -> tuple[Mapping[str, Tensor], Tensor]:
        assert gathered.moved is not None
        h = gathered.server["linear"].double()
        h = h.sub(gathered.moved, alpha=local.alpha / gathered.clients)
        target = gathered.target.sub(h, alpha=1 / local.alpha)
        if gathered.trained is not None:
            target = torch.where(gathered.trained, target, gathered.target)
        return {"linear": h}, target

    return LocalRule(
        correct=correct,
        finish=finish,
        serve=serve,
        memory=("linear",),
        held=("linear",),
        moves=True,
        uniform=True,
    )
