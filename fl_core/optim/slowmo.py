"""SlowMo (Wang et al., ICLR 2020, algorithm 1): a server's momentum in units of gradients.

    u <- momentum * u + g / gamma
    w <- w - lr * gamma * u

g: how far the clients' average moved, to be descended; gamma: the clients' learning rate in the
round. At a constant rate gamma cancels and this is FedAvgM. Under a schedule it is not: g shrinks
with gamma, and what u has gathered at large rates is walked at the present one. (Where gamma
changes within a round it is that of the round's middle; in the paper it is constant there.)

The paper takes lr = 1 and a momentum of 0.4 to 0.8. What its clients' own optimisers remember
starts anew in every round for SGD with Nesterov's momentum, as here by default, and survives for
Adam, as with `local.keep_momentum`; its third way, an average over the clients, is not offered.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_core.base.params import Layout
from fl_core.optim.sgdm import Active, trained


@dataclass(frozen=True)
class SlowMo:
    """An Optimiser; `rate` is gamma."""

    momentum: float
    rate: float

    @property
    def plain(self) -> bool:
        return not self.momentum

    def step(
        self,
        params: Tensor,
        grad: Tensor,
        state: dict[str, Tensor],
        lr: float,
        layout: Layout | None = None,
        active: Active | None = None,
    ) -> None:
        grad = trained(grad, active)
        slow = state.setdefault("slow", torch.zeros_like(params))
        slow.mul_(self.momentum).add_(grad, alpha=1 / self.rate)
        params.add_(slow, alpha=-lr * self.rate)
