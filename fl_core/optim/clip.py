"""Clipping a gradient's norm, as `torch.nn.utils.clip_grad_norm_` does (Pascanu et al. 2013).

It comes after the local rule's correction and before weight decay and momentum. In the code of
FedDyn's authors, who clip at 10 (Acar et al. 2021), the corrections of FedProx, SCAFFOLD and FedDyn
are terms of the loss, too, and so clipped; weight decay is their optimiser's, and is not. But of
FedDyn's pull alpha (v - w) they clip -alpha w alone and add alpha v with the weight decay; here the
whole pull is clipped.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fl_core.optim.sgdm import Active

EPS = 1e-6  # added to the norm, as in torch


def clip_gradient(grad: Tensor, limit: float, active: Active | None = None) -> None:
    """Scale gradients (P,) or (m, P) in place to an L2 norm of at most `limit`, each row its own.

    Of the norm, only the active entries count: the others do not move.
    """
    if active is None:
        counted = grad
    elif active.index is None:
        counted = torch.where(active.fitting(grad), grad, 0.0)
    else:
        counted = grad.index_select(0, active.index)
    norm = torch.linalg.vector_norm(counted, dim=-1, keepdim=True)
    grad.mul_((limit / (norm + EPS)).clamp_(max=1.0))
