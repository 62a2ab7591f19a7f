"""SGD with momentum on flat vectors, in place (layer 2).

The update of `torch.optim.SGD` (Sutskever et al., ICML 2013, with PyTorch's conventions), to
the bit, for one model (P,) or m stacked models (m, P):

    g <- g + weight_decay * w
    v <- g                                       on the first step
    v <- momentum * v + (1 - dampening) * g      afterwards
    d <- g + momentum * v  if nesterov else v    (d = g without momentum)
    w <- w - lr * d
"""

from __future__ import annotations

from torch import Tensor

from fl_core.sections import LocalConfig


def sgdm_step(
    params: Tensor, grad: Tensor, velocity: Tensor | None, rule: LocalConfig, lr: float
) -> Tensor | None:
    """One step: changes `params` and `velocity` in place, returns the velocity.

    `velocity` is None before the first step. `grad` is overwritten.
    """
    if rule.weight_decay:
        grad.add_(params, alpha=rule.weight_decay)
    step = grad
    if rule.momentum:
        if velocity is None:
            velocity = grad.clone()
        else:
            velocity.mul_(rule.momentum).add_(grad, alpha=1 - rule.dampening)
        step = grad.add_(velocity, alpha=rule.momentum) if rule.nesterov else velocity
    params.add_(step, alpha=-lr)
    return velocity
