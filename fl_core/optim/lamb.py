"""LAMB (You et al., ICLR 2020, algorithm 2): Adam whose steps are as long as their tensors.

For each tensor w of the model, u being Adam's bias-corrected direction (`fl_core.optim.adamw`):

    d <- u + weight_decay * w
    w <- w - lr * r * d,    r = ||w|| / ||d||

r = 1 where ||w|| or ||d|| is 0. phi of the paper is the identity. It is `timm.optim.Lamb` with
always_adapt=True (timm otherwise leaves r out where there is no weight decay) and
max_grad_norm=None (`local.clip` is that): bias_correction and grad_averaging as they are there,
no trust_clip.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fl_core.base.params import Layout
from fl_core.optim.adamw import adam_direction
from fl_core.optim.layerwise import norm, ratio, tensors
from fl_core.optim.sgdm import Active, trained


@dataclass(frozen=True)
class LAMB:
    """An Optimiser. Its state is AdamW's."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-6
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
        for w, d in tensors(layout, trained(params, active), update):
            d.add_(w, alpha=self.weight_decay)
            long, steep = norm(w), norm(d)
            d.mul_(ratio(long, steep, long, steep))
        params.add_(update, alpha=-lr)
