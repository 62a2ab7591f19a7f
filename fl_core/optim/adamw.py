"""AdamW (Loshchilov & Hutter, ICLR 2019), the update of `torch.optim.AdamW` to rounding.

    m <- beta1 * m + (1 - beta1) * g                    v <- beta2 * v + (1 - beta2) * g^2
    u = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)          t = 1 in the first step
    w <- w - lr * (u + weight_decay * w)

Under a mask all of it happens on the active entries; the others keep their bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_core.base.params import Layout
from fl_core.optim.sgdm import Active, trained


@dataclass(frozen=True)
class AdamW:
    """An Optimiser. Its state: m and v of the shape of the parameters, and the steps done."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

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
        update = adam_direction(trained(grad, active), state, self.beta1, self.beta2, self.eps)
        if self.weight_decay:
            update.add_(trained(params, active), alpha=self.weight_decay)
        params.add_(update, alpha=-lr)  # of a frozen entry -0.0, which changes nothing


def adam_direction(
    grad: Tensor, state: dict[str, Tensor], beta1: float, beta2: float, eps: float
) -> Tensor:
    """U of the module's equations, a new tensor like `grad` (P,) or (m, P); renews the state.

    Stacked clients have done equally many steps: `steps` is (m,) only to be cut like the rest.
    """
    if not state:
        state["m"], state["v"] = torch.zeros_like(grad), torch.zeros_like(grad)
        state["steps"] = torch.zeros(grad.shape[:-1], dtype=torch.int64)  # on the host: no waiting
    m, v = state["m"], state["v"]
    steps = int(state["steps"].add_(1).max())
    m.lerp_(grad, 1 - beta1)
    v.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    root = v.sqrt().div_((1 - beta2**steps) ** 0.5).add_(eps)
    return torch.div(m, root, out=root).div_(1 - beta1**steps)
