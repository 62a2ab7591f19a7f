"""SparseSGDM: SGD with momentum under masks, as a torch optimiser.

The update itself is `fl_core.optim.sgdm.sgdm_step`, the one that the clients use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from fl_core.config.method_sections import LocalConfig
from fl_core.optim.sgdm import SGDM, Active, sgdm_step


class SparseSGDM(torch.optim.Optimizer):
    """`torch.optim.SGD` that leaves weights alone where their mask is False, to the bit.

    With m the mask, for every parameter (Sutskever et al., ICML 2013, in PyTorch's form):

        g <- m * (g + weight_decay * w)
        v <- momentum * v + (1 - dampening) * g      (v <- g on the first step)
        d <- g + momentum * v  if nesterov else v    (d = g without momentum)
        w <- w - lr * d

    `masks`: one boolean tensor of its shape for each of `params`, or None where it is dense; with
    parameter groups, each has its own "masks". They are kept, not copied: leave them unchanged. A
    parameter without an active entry gets requires_grad=False, no gradient and no state. Where
    few entries are active, momentum is stored for these alone. Parameters may change strides
    (`channels_last`), device and dtype later: masks and momentum follow.

    `state_dict` holds the masks too, since momentum means nothing without them;
    `load_state_dict` refuses a state of other masks than its own.

    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> optimiser = SparseSGDM([weight], [torch.tensor([True, False])], lr=0.5, weight_decay=1.0)
    >>> weight.sum().backward()
    >>> optimiser.step()
    >>> weight.tolist()
    [0.0, 1.0]
    """

    def __init__(
        self,
        params: Iterable[Any],
        masks: Sequence[Tensor | None] | None,
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        self._active: dict[Tensor, Active | None] = {}  # of each parameter that trains
        given = list(params)
        if isinstance(masks, Tensor):
            raise ValueError("masks: one tensor for each parameter in a list, not a tensor")
        if masks is not None:
            if given and isinstance(given[0], dict):
                raise ValueError('masks: give each parameter group its own "masks"')
            given = [{"params": given, "masks": masks}]
        defaults = {
            "masks": None,
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(given, defaults)
        if not any(group["params"] for group in self.param_groups):
            raise ValueError("params: there are none")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """A further group of parameters with its own "masks" (None = dense) and options."""
        super().add_param_group(param_group)
        try:
            _check(self.param_groups[-1])
        except Exception:
            self.param_groups.pop()
            raise
        self._prepare(self.param_groups[-1])

    def _prepare(self, group: dict[str, Any]) -> None:
        """Find the active entries; freeze the parameters that have none."""
        for parameter, mask in zip(group["params"], group["masks"], strict=True):
            if mask is None or bool(mask.all()):
                self._active[parameter] = None
            elif not bool(mask.any()):
                parameter.requires_grad_(False)
                parameter.grad = None
            else:
                self._active[parameter] = Active.of(mask.reshape(-1))

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._active = {}  # unpickled, copied or loaded: it follows from the masks
        for group in self.param_groups:
            self._follow(group)

    def _follow(self, group: dict[str, Any]) -> None:
        """Bring a group's masks to where its parameters are."""
        pairs = zip(group["params"], group["masks"], strict=True)
        group["masks"] = [m if m is None else m.to(p.device) for p, m in pairs]
        self._prepare(group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's; ValueError where the state belongs to other masks."""
        mine = [group["masks"] for group in self.param_groups]
        saved = [group.get("masks", []) for group in state_dict["param_groups"]]
        if list(map(len, mine)) != list(map(len, saved)) or not all(
            _same(a, b) for a, b in zip(chain(*mine), chain(*saved), strict=True)
        ):
            raise ValueError("masks: the state to load belongs to other masks")
        super().load_state_dict(state_dict)

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Update every parameter that has a gradient; returns the closure's loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            rule = _rule(group)
            pairs = zip(group["params"], group["masks"], strict=True)
            if any(mask is not None and mask.device != p.device for p, mask in pairs):
                self._follow(group)
            for parameter in group["params"]:
                if parameter.grad is not None and parameter in self._active:
                    self._step(parameter, rule, float(group["lr"]))
        return loss

    def _step(self, parameter: Tensor, rule: SGDM, lr: float) -> None:
        """In the order of the indices, whatever the strides are now."""
        assert parameter.grad is not None
        weight, grad = parameter.reshape(-1), parameter.grad
        grad = (grad if grad.layout == torch.strided else grad.to_dense()).reshape(-1)
        velocity = self.state.get(parameter, {}).get("momentum_buffer")
        if velocity is not None:
            velocity = velocity.to(parameter)
        active = self._active[parameter]
        velocity = sgdm_step(weight, grad, velocity, rule, lr, active, keep_grad=True)
        if not parameter.is_contiguous():
            parameter.copy_(weight.view(parameter.shape))  # those of a copy
        if velocity is not None:
            self.state[parameter]["momentum_buffer"] = velocity


def _rule(group: dict[str, Any]) -> SGDM:
    return SGDM(**{spec.name: group[spec.name] for spec in fields(SGDM)})


def _check(group: dict[str, Any]) -> None:
    """ValueError where masks or options of a parameter group don't fit."""
    params, masks = group["params"], group["masks"]
    group["masks"] = masks = [None] * len(params) if masks is None else list(masks)
    if len(masks) != len(params):
        raise ValueError(f"masks: {len(masks)} of them for {len(params)} parameters")
    if len(set(params)) != len(params):
        raise ValueError("params: one of them is there twice")
    for number, (parameter, mask) in enumerate(zip(params, masks, strict=True)):
        if not parameter.is_floating_point():
            raise ValueError(f"params[{number}]: its dtype is {parameter.dtype}, must be real")
        fitting = {"shape": parameter.shape, "dtype": torch.bool, "device": parameter.device,
                   "layout": torch.strided}  # fmt: skip
        for what, wanted in fitting.items() if mask is not None else ():
            found = getattr(mask, what, None)
            if found != wanted:
                raise ValueError(f"masks[{number}]: its {what} is {found}, must be {wanted}")
    if not 0 <= float(group["lr"]) < math.inf:
        raise ValueError(f"lr={group['lr']!r}: must be in [0, inf)")
    if group["nesterov"] and (not group["momentum"] or group["dampening"]):
        raise ValueError("nesterov=True: needs momentum, and dampening=0")
    LocalConfig(**asdict(_rule(group)))  # its ConfigError names the option


def _same(mask: Tensor | None, other: Tensor | None) -> bool:
    """Whether two masks agree, on whatever devices they lie."""
    if mask is None or other is None:
        return mask is other
    return torch.equal(mask.cpu(), other.cpu())
