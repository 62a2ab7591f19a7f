"""Values of `local.optimiser`: what takes a client's steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fl_core.config.method_sections import LocalConfig
from fl_core.optim.adamw import AdamW
from fl_core.optim.lamb import LAMB
from fl_core.optim.lars import LARS
from fl_core.optim.optimiser import Optimiser
from fl_core.optim.sgdm import SGDM


def _lars(local: LocalConfig) -> LARS:
    sgdm = SGDM(local.momentum, local.dampening, nesterov=local.nesterov)
    return LARS(sgdm, local.trust, local.weight_decay)


def _lamb(local: LocalConfig) -> LAMB:
    eps = 1e-6 if local.eps is None else local.eps
    return LAMB(local.beta1, local.beta2, eps, local.weight_decay)


def _adamw(local: LocalConfig) -> AdamW:
    eps = 1e-8 if local.eps is None else local.eps
    return AdamW(local.beta1, local.beta2, eps, local.weight_decay)


#: By name, from the section `local`.
LOCAL_OPTIMISERS: Mapping[str, Callable[[LocalConfig], Optimiser]] = {
    "sgdm": SGDM.of,
    "lars": _lars,
    "lamb": _lamb,
    "adamw": _adamw,
}
