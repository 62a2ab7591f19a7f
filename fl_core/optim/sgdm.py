"""SGD with momentum, dense or under a mask, in place.

The update of `torch.optim.SGD` (Sutskever et al., ICML 2013, with PyTorch's conventions), to
the bit, for one model (P,) or m stacked models (m, P), on the entries whose mask is True:

    g <- g + weight_decay * w
    v <- g                                       on the first step
    v <- momentum * v + (1 - dampening) * g      afterwards
    d <- g + momentum * v  if nesterov else v    (d = g without momentum)
    w <- w - lr * d

All other weights keep their bits. Masking the gradient that goes into a dense optimiser would
not do: weight decay moves frozen weights, and so does momentum gathered before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from fl_core.base.params import Layout

#: Active fraction below which gathering and scattering by index beats masking (measured with
#: tests/benchmarks/sparse_step.py: random masks, one thread; they cross between 0.3 and 0.4).
INDEX_BELOW = 0.3
#: Numbers a CPU updates at a time, so that the passes after the first find them in its cache.
#: Smaller pieces fit caches nearer the core but lose more to the calls than they gain.
CHUNK = 1 << 18
#: The same by index: these lie apart, so fewer of them fill the cache.
INDEX_CHUNK = 1 << 16
#: Integers as wide as a floating-point number of so many bytes.
BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, eq=False)
class Active:
    """Where a mask is True, in the form that is fastest to step over."""

    mask: Tensor  # bool, (P,) or (m, P)
    index: Tensor | None  # (k,) int64, increasing: the True entries of a (P,) mask; None = dense

    def __post_init__(self) -> None:
        if self.mask.dtype != torch.bool:
            raise ValueError(f"mask: its dtype is {self.mask.dtype}, must be torch.bool")

    @classmethod
    def of(cls, mask: Tensor) -> Active:
        """The faster form; `Active(mask, None)` is the dense form at any density."""
        sparse = mask.dim() == 1 and int(mask.count_nonzero()) < INDEX_BELOW * mask.numel()
        return cls(mask, mask.nonzero().squeeze(1) if sparse else None)

    def fitting(self, params: Tensor) -> Tensor:
        """The mask; ValueError where it is not for parameters of this shape."""
        shape, wanted = self.mask.shape, params.shape
        if shape != wanted and (self.index is not None or shape != wanted[-1:]):
            form = "" if self.index is None else ", by index,"
            message = f"its shape {tuple(shape)}{form} does not fit parameters {tuple(wanted)}"
            raise ValueError(f"mask: {message}")
        return self.mask


def trained(tensor: Tensor, active: Active | None) -> Tensor:
    """The tensor with zeros where nothing trains."""
    return tensor if active is None else torch.where(active.fitting(tensor), tensor, 0.0)


class Momentum(Protocol):
    """The options of SGD with momentum."""

    @property
    def momentum(self) -> float: ...
    @property
    def dampening(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def nesterov(self) -> bool: ...


@dataclass(frozen=True)
class SGDM:
    """SGD with momentum, weight decay and Nesterov's variant: an Optimiser."""

    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    @classmethod
    def of(cls, rule: Momentum) -> SGDM:
        """The optimiser that the section `local` (or whatever has its fields) describes."""
        return cls(rule.momentum, rule.dampening, rule.weight_decay, rule.nesterov)

    @property
    def plain(self) -> bool:
        return not self.momentum and not self.weight_decay

    def step(
        self,
        params: Tensor,
        grad: Tensor,
        state: dict[str, Tensor],
        lr: float,
        layout: Layout | None = None,
        active: Active | None = None,
    ) -> None:
        velocity = sgdm_step(params, grad, state.get("velocity"), self, lr, active)
        if velocity is not None:
            state["velocity"] = velocity


def sgdm_step(
    params: Tensor,
    grad: Tensor,
    velocity: Tensor | None,
    rule: Momentum,
    lr: float,
    active: Active | None = None,
    *,
    keep_grad: bool = False,
) -> Tensor | None:
    """One step: changes `params` and `velocity` in place, returns the velocity.

    `velocity` is None before the first step, later what the step before returned for the same
    mask: of the shape of `params`, or (k,) where the active entries are known by index (then (P,)
    is taken, too, and a new one returned). A dense mask may be (P,) for `params` (m, P). `grad` may
    be overwritten, unless `keep_grad`.
    """
    first = velocity is None
    if active is None or active.index is None:
        mask = None if active is None else active.fitting(params)
        if rule.momentum and velocity is None:
            velocity = torch.empty_like(params)
        if keep_grad or not _whole(params, CHUNK):
            _dense_pieces(partial(_update, rule, lr, first), params, grad, velocity, mask)
        else:
            _update(rule, lr, first, params, grad, velocity, mask, scratch=grad)
        return velocity
    active.fitting(params)
    if rule.momentum and velocity is None:
        velocity = params.new_empty(len(active.index))
    elif velocity is not None and len(velocity) > len(active.index):
        velocity = velocity[active.index]  # kept by a step that was not by index
    _index_pieces(partial(_update, rule, lr, first), params, grad, velocity, active.index)
    return velocity


def _index_pieces(
    update: Callable[..., None],
    params: Tensor,  # (P,)
    grad: Tensor,  # (P,)
    velocity: Tensor | None,  # (k,)
    index: Tensor,  # (k,)
) -> None:
    """Gather the active entries, update them, scatter them back."""
    for at in _pieces(index, INDEX_CHUNK):
        rows = _cut(index, at)
        w, g = params.index_select(0, rows), grad.index_select(0, rows)
        update(w, g, None if velocity is None else _cut(velocity, at), None, scratch=g)
        params.scatter_(0, rows, w)  # a third of the time of index_copy_ or put_


def _dense_pieces(
    update: Callable[..., None],
    params: Tensor,
    grad: Tensor,
    velocity: Tensor | None,
    mask: Tensor | None,
) -> None:
    """Update everything without writing to `grad`: its pieces would go back to memory."""
    scratch: Tensor | None = None
    for at in _pieces(params, CHUNK):
        w, g = _cut(params, at), _cut(grad, at)
        scratch = torch.empty_like(g) if scratch is None else scratch[..., : g.shape[-1]]
        v = None if velocity is None else _cut(velocity, at)
        update(w, g, v, None if mask is None else _cut(mask, at), scratch=scratch)


def _whole(work: Tensor, chunk: int) -> bool:
    """Whether to work on all of it at once: off the CPU each further call costs a launch."""
    return work.numel() <= chunk or work.device.type != "cpu"


def _pieces(work: Tensor, chunk: int) -> Iterator[slice | None]:
    """Cuts of the last dimension into pieces of `chunk` numbers; None = all of it."""
    if _whole(work, chunk):
        yield None
        return
    columns = max(1, chunk * work.shape[-1] // work.numel())
    for start in range(0, work.shape[-1], columns):
        yield slice(start, start + columns)


def _cut(tensor: Tensor, at: slice | None) -> Tensor:
    return tensor if at is None else tensor[..., at]


def _update(
    rule: Momentum,
    lr: float,
    first: bool,
    params: Tensor,
    grad: Tensor,
    velocity: Tensor | None,
    mask: Tensor | None,
    *,
    scratch: Tensor,
) -> None:
    """The equations of the module's docstring; `scratch` (may be `grad`) is overwritten."""
    if rule.weight_decay:
        grad = torch.add(grad, params, alpha=rule.weight_decay, out=scratch)
    if mask is not None:
        # Bits times 0 or 1: NaN and infinity go too, and it vectorises; torch.where, masked_fill
        # take three times as long. What is left is +0.0 here and in the velocity, and the step
        # then adds -lr * 0.0 = -0.0, the one number that changes nothing, not even -0.0.
        bits = BITS[grad.element_size()]
        torch.mul(grad.view(bits), mask, out=scratch.view(bits))
        grad = scratch
    step = grad
    if rule.momentum and velocity is not None:
        if first:
            velocity.copy_(grad)
        else:
            velocity.mul_(rule.momentum).add_(grad, alpha=1 - rule.dampening)
        step = velocity
        if rule.nesterov:
            step = torch.add(grad, velocity, alpha=rule.momentum, out=scratch)
    params.add_(step, alpha=-float(lr))
