"""Which parameters stay trainable: scores -> boolean masks.

A mask is a flat (P,) vector in the order of a layout, True = trainable (active). Sparsity s is
the FROZEN fraction of the n maskable entries, and a LOW score stays active. `calibrate_mask`
prunes in R rounds as TaLoS does (Iurada et al., ICLR 2025): after round r = 1..R

    round(n (1 - s)^(r/R))

entries are active, the lowest-scored of those still active by that round's own scores; what was
dropped is never reconsidered. All counts are exact: between equal scores an order decides that is
drawn by the seed, once for all rounds. (By their places the first layers would always win: where
`mask.dropped_weight` is 0, nothing flows through a layer that was dropped, and all scores before
it are 0.) With `mask.threshold` those scored below it stay active in every round, however many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fl_core.base.params import Layout
from fl_core.config.fields import refuse
from fl_core.config.mask_section import MaskConfig
from fl_core.masks.lowest import Bools, Order, Scores, check_scores, lowest
from fl_core.masks.quotas import quotas


def active_counts(maskable: int, sparsity: float, rounds: int) -> list[int]:
    """Active entries after each of the R rounds; 0 where n (1 - s)^(r/R) rounds to it."""
    return [round(maskable * (1 - sparsity) ** (r / rounds)) for r in range(1, rounds + 1)]


@dataclass(frozen=True)
class Calibrated:
    """Masks of increasing size, each a part of the next, along one ranking."""

    #: (P,) uint8, or int16 of more than 255 masks: the smallest mask that an entry is active in.
    levels: Tensor
    guarded: tuple[int, ...]  # entries of each beyond the exact count, or not below the threshold

    @property
    def mask(self) -> Tensor:
        """(P,) bool: the smallest mask."""
        return self.levels == 0

    @property
    def added(self) -> int:
        """What the collapse guard had to add to it."""
        return self.guarded[0]


def calibrate_mask(
    score: Callable[[Tensor, int], Tensor],
    allowed: Tensor,
    layout: Layout,
    config: MaskConfig,
    order: Order,
    counts: Sequence[int] = (),
) -> Calibrated:
    """The mask after R rounds of `score(active, round)` -> (P,) scores, round = 0..R-1.

    `score` gets what is active so far; it applies the soft mask itself. `granularity=global` is
    one threshold for all active entries; `tensor` gives each tensor its share of the same total.
    `order` gives (P,) numbers that decide between equal scores.

    `counts`: active entries of the masks that are wanted (increasing, none below the last round's),
    if not that of the last round alone. A larger one has the lowest-scored entries of the round
    in which so many were dropped: all of them lie along one ranking.

    A tensor without an active entry is a layer that no longer learns (layer collapse, Tanaka et
    al., NeurIPS 2020). So in every round each keeps max(min_active, ceil(min_share * size)) of
    its best entries, or all if it has fewer, ON TOP of the exact count: `Calibrated.guarded`.
    """
    choose = _Choice.of(allowed, layout, config, order, counts)
    active: Bools = allowed.cpu().numpy()
    wanted = list(counts or choose.stops[-1:])
    kind = np.uint8 if len(wanted) < 256 else np.int16
    levels = np.full(active.shape, len(wanted), kind)
    guarded = [0] * len(wanted)
    for number, stop in enumerate(choose.stops):
        scores = score(torch.from_numpy(active).to(allowed.device), number).detach().cpu().numpy()
        last = number == len(choose.stops) - 1
        for level in reversed(range(len(wanted))):
            count = wanted[level]
            before = choose.stops[number - 1] if number else count
            if count <= before and (count > stop or last):
                chosen, exact = choose(scores, active, count)
                levels[chosen], guarded[level] = level, int(np.count_nonzero(chosen)) - exact
        if not last:
            active, _ = choose(scores, active, stop)
    return Calibrated(torch.from_numpy(levels).to(allowed.device), tuple(guarded))


@dataclass(frozen=True)
class _Choice:
    """How many of the active entries are chosen, and which."""

    config: MaskConfig
    order: Order
    spans: Sequence[slice]  # of each tensor
    least: Sequence[int]  # entries that each keeps
    stops: Sequence[int]  # active entries after each round of calibration
    quotas: Mapping[int, Sequence[int]]  # of each tensor, for every number of active entries

    @classmethod
    def of(
        cls,
        allowed: Tensor,
        layout: Layout,
        config: MaskConfig,
        order: Order,
        counts: Sequence[int],
    ) -> _Choice:
        ends = np.cumsum([shape.numel() for shape in layout.shapes]).tolist()
        spans = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        inside: Bools = allowed.cpu().numpy()
        sizes = [int(np.count_nonzero(inside[span])) for span in spans]
        stops = active_counts(sum(sizes), config.sparsity, config.rounds)
        least = [min(n, max(config.min_active, math.ceil(config.min_share * n))) for n in sizes]
        if stops[-1] == 0 and not any(least):
            why = f"freezes all of the {sum(sizes)} maskable parameters"
            raise refuse("mask.sparsity", config.sparsity, why)
        falling = sorted({*stops, *counts}, reverse=True)
        shares = dict(zip(falling, quotas(falling, sizes), strict=True))
        return cls(config, order, spans, least, stops, shares)

    def __call__(self, scores: Scores, active: Bools, count: int) -> tuple[Bools, int]:
        """The chosen of the active entries, and how many they were to be without the guard."""
        need = self.least
        if self.config.threshold is not None:
            chosen = _below(scores, active, self.config.threshold)
            count = int(np.count_nonzero(chosen))
        elif self.config.granularity == "global":
            chosen = _best(scores, active, count, self.order)
        else:
            chosen = np.zeros_like(active)
            need = [max(pair) for pair in zip(self.quotas[count], self.least, strict=True)]
        for span, enough in zip(self.spans, need, strict=True):
            if np.count_nonzero(chosen[span]) < enough:
                own = partial(_part, self.order, span)
                chosen[span] = _best(scores[span], active[span], enough, own)
        return chosen, count


def _best(scores: Scores, active: Bools, count: int, order: Order) -> Bools:
    """The `count` lowest-scored of the active entries."""
    best = np.zeros_like(active)
    best[active] = lowest(scores[active], count, partial(_part, order, active))
    return best


def _part(order: Order, part: slice | Bools) -> npt.NDArray[np.floating[Any]]:
    return order()[part]


def _below(scores: Scores, active: Bools, threshold: float) -> Bools:
    """The active entries with scores below the threshold: one at least."""
    check_scores(scores[active])
    below: Bools = active & (scores < threshold)
    if not below.any():
        low, middle, high = np.quantile(scores[active], [0, 0.5, 1])
        why = f"nothing is below it: scores reach from {low:.2g} to {high:.2g}, median {middle:.2g}"
        raise refuse("mask.threshold", threshold, why)
    return below


def soft_mask(params: Tensor, active: Tensor, allowed: Tensor, dropped_weight: float) -> Tensor:
    """A copy of `params` with the dropped maskable entries times `dropped_weight`."""
    return torch.where(allowed & ~active, params * dropped_weight, params)


def pack(mask: Tensor) -> Tensor:
    """(ceil(P/8),) uint8 on the CPU: one bit an entry, the first in the highest bit."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy()))


def unpack(packed: Tensor, size: int) -> Tensor:
    """(size,) bool on the CPU: the mask that `pack` was given."""
    if len(packed) != -(-size // 8):
        raise ValueError(f"{len(packed)} bytes cannot hold a mask of {size} entries")
    return torch.from_numpy(np.unpackbits(packed.numpy(), count=size).view(np.bool_))


def combine(packed: Iterable[Tensor], how: str) -> Tensor:
    """Packed union, intersection or majority (strictly more than half) of packed masks."""
    match how:
        case "union":
            return reduce(torch.bitwise_or, packed)
        case "intersection":
            return reduce(torch.bitwise_and, packed)
        case "majority":
            masks = list(packed)
            votes = np.zeros(8 * len(masks[0]), np.int32)
            for mask in masks:
                votes += np.unpackbits(mask.numpy())
            return torch.from_numpy(np.packbits(2 * votes > len(masks)))
        case _:
            raise ValueError(f"how={how!r}: must be union, intersection or majority")
