"""Adagrad, Adam and Yogi as Reddi et al. (ICLR 2021, algorithm 2) use them on a server.

With g the gradient to descend (on a server the negative mean update, -Delta):

    m <- beta1 * m + (1 - beta1) * g
    v <- v + g^2                                        Adagrad
    v <- beta2 * v + (1 - beta2) * g^2                  Adam
    v <- v - (1 - beta2) * g^2 * sign(v - g^2)          Yogi
    w <- w - lr * m / (sqrt(v) + tau)

m starts at 0 and v at tau^2, the least that the paper allows. It has no bias correction;
`bias_correction` divides m by 1 - beta1^t and (but for Adagrad, whose v is no mean) v by
1 - beta2^t, t = 1 in the first step (Kingma & Ba, ICLR 2015). The start of v is divided with it, so
that it equals Adam proper for a small tau only. An entry whose g has always been zero does not
change by a bit.

The default betas are those of the paper's experiments for Adam and Yogi. There Adagrad has no
momentum: for FedAdagrad as they ran it set beta1 = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_core.base.params import Layout
from fl_core.optim.sgdm import Active, trained


@dataclass(frozen=True)
class Adaptive:
    """An Optimiser; `second` is adagrad, adam or yogi: how v follows the squared gradient."""

    second: str
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3
    bias_correction: bool = False

    @property
    def plain(self) -> bool:
        return False

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
        if not state:
            state["m"] = torch.zeros_like(params)
            state["v"] = torch.full_like(params, self.tau**2)
            state["steps"] = torch.zeros((), dtype=torch.int64)
        state["steps"] = state["steps"] + 1
        m, v = state["m"], state["v"]
        m.mul_(self.beta1).add_(grad, alpha=1 - self.beta1)
        square = grad.square()
        if self.second == "adagrad":
            v.add_(square)
        elif self.second == "adam":
            v.mul_(self.beta2).add_(square, alpha=1 - self.beta2)
        else:
            v.sub_(square * torch.sign(v - square), alpha=1 - self.beta2)
        t = int(state["steps"]) if self.bias_correction else None
        first = 1.0 if t is None else 1 - self.beta1**t
        second = 1.0 if t is None or self.second == "adagrad" else 1 - self.beta2**t
        # a zero m gives a step of -0.0, the one number that changes nothing, not even -0.0
        params.add_((m / first).div_((v / second).sqrt_().add_(self.tau)), alpha=-lr)
