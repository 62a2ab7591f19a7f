"""LARS (You et al., arXiv:1708.03888, algorithm 1): SGD whose steps are as long as their tensors.

For each tensor w of the model, with its gradient g:

    g <- r * (g + weight_decay * w),    r = trust * ||w|| / (||g|| + weight_decay * ||w|| + eps)

and then SGD with momentum (`fl_core.optim.sgdm`). r = 1 where ||w|| or ||g|| is 0, so that a head
of zeros can leave them. It is `timm.optim.Lars` with always_adapt=True (timm otherwise leaves r out
where there is no weight decay; the paper does not), trust_clip=False. Biases and norms are tensors
like others, as in the paper; many implementations leave them out.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fl_core.base.params import Layout
from fl_core.optim.layerwise import norm, ratio, tensors
from fl_core.optim.sgdm import SGDM, Active, trained

EPS = 1e-8  # as timm's


@dataclass(frozen=True)
class LARS:
    """An Optimiser; `sgdm` takes the steps and has no weight decay of its own."""

    sgdm: SGDM
    trust: float = 1e-3
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
        grad, decay = trained(grad, active), self.weight_decay
        for w, g in tensors(layout, trained(params, active), grad):
            long, steep = norm(w), norm(g)
            scale = ratio(self.trust * long, steep + decay * long + EPS, long, steep)
            g.add_(w, alpha=decay).mul_(scale)
        self.sgdm.step(params, grad, state, lr, layout, active)
