"""FedCM (Xu et al., 2021, algorithm 2): every step is mixed with the last round's direction.

    g <- alpha * g + (1 - alpha) * m                 every local step
    m <- (w - mean_S w_k) / (sum of the steps' learning rates)

m, a gradient, points up the loss as g does, and begins as zeros: the first round takes alpha of
FedAvg's steps. The server sends m with the parameters: twice FedAvg's bytes down. alpha = 1 is
FedAvg. The rates are those of the round that m is from; where clients' steps differ in number
(epochs) it is their mean, weighted as the average is: by examples, as elsewhere here.

m rests at zero when the rounds do, so that full batches end where FedAvg with alpha * lr ends:
nearer to the joint minimiser than FedAvg, not there. Momentum of the clients is refused: m is one.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from fl_core.config.method_sections import LocalConfig
from fl_core.federated.rule import PLAIN, Gathered, LocalRule, Visit


def cm(local: LocalConfig) -> LocalRule:
    """The rule at `local.alpha`."""
    if local.alpha == 1:
        return PLAIN

    def correct(grad: Tensor, params: Tensor, visit: Visit) -> None:
        grad.mul_(local.alpha).add_(visit.server["momentum"], alpha=1 - local.alpha)

    def serve(gathered: Gathered) -> tuple[Mapping[str, Tensor], Tensor]:
        momentum = (gathered.start - gathered.target) / gathered.travel
        return {"momentum": momentum.float()}, gathered.target

    return LocalRule(correct=correct, serve=serve, broadcast=("momentum",))
