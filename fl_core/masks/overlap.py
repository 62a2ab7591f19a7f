"""How far the masks of several clients agree, and how far chance alone would make them.

The Jaccard index of two masks is |A and B| / |A or B|. It says little by itself: two masks of a
and b of n entries that are drawn independently overlap, too, on average by

    expected = E[I / (a + b - I)],        I = |A and B| hypergeometric,

which for many entries is near ab/n / (a + b - ab/n), 0.333 for two masks of one half; in a small
tensor it is not (two masks of a tensor's only entry agree entirely). So the excess over it is
reported. Overall, masks may also agree on WHICH LAYERS stay active and on nothing else.
`expected_given_layers` is the overlap of masks that are independent within every tensor t but
keep their own numbers of entries there (near its mean, as it is a sum over all tensors); what
exceeds it is agreement on entries:

    I = sum_t |A_t| |B_t| / n_t,        expected_given_layers = I / (|A| + |B| - I).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fl_core.base.params import Layout
from fl_core.masks.select import pack

Floats = npt.NDArray[np.floating[Any]]
Row = dict[str, float | str | int]

#: Terms of the exact expectation, at most: with more, the ratio of means is off by less than 5e-4.
EXACT = 512
#: Bytes of each packed mask that are unpacked at once: 26 MB as float32 for 100 masks.
CHUNK = 1 << 13


def overlap_table(masks: Sequence[Tensor], layout: Layout, allowed: Tensor) -> list[Row]:
    """One row a maskable tensor, then one "overall", for masks PACKED by `select.pack`.

    jaccard, expected and excess are means over the pairs of masks, without those that are both
    empty there: NaN if no pair is left, or a single mask. active_share is the mean density.
    """
    scope = pack(allowed)
    first, second = np.triu_indices(len(masks), 1)
    in_all = np.zeros((len(masks), len(masks)))  # (masks, masks): |A and B|, on the diagonal |A|
    by_chance = np.zeros_like(in_all)
    rows: list[Row] = []
    start = size_in_all = 0
    for name, shape in zip(layout.names, layout.shapes, strict=True):
        end = start + shape.numel()
        size = int(allowed[start:end].count_nonzero())
        if size:
            shared = _intersections(masks, scope, start, end)
            rows.append(_row(name, size, shared))
            in_all += shared
            by_chance += np.outer(shared.diagonal(), shared.diagonal()) / size
            size_in_all += size
        start = end
    active = in_all.diagonal()
    given_layers = _mean_ratio(by_chance[first, second], active[first] + active[second])
    return [*rows, {**_row("overall", size_in_all, in_all), "expected_given_layers": given_layers}]


def _intersections(masks: Sequence[Tensor], scope: Tensor, start: int, end: int) -> Floats:
    """(masks, masks): how many of the entries start..end in scope are active in both."""
    shared = np.zeros((len(masks), len(masks)))
    for byte in range(start // 8, -(-end // 8), CHUNK):
        part = slice(byte, min(byte + CHUNK, -(-end // 8)))
        packed = np.stack([(mask[part] & scope[part]).numpy() for mask in masks])
        inside = slice(max(start - 8 * byte, 0), end - 8 * byte)  # a tensor may start mid-byte
        bits = torch.from_numpy(np.unpackbits(packed, axis=1)[:, inside]).float()
        shared += (bits @ bits.T).numpy()  # exact: whole numbers below 2^24
    return shared


def _row(name: str, size: int, shared: Floats) -> Row:
    """The figures of one tensor, or of all, from the sizes of the intersections."""
    first, second = np.triu_indices(len(shared), 1)
    active = shared.diagonal()
    total = active[first] + active[second]
    jaccard = _mean_ratio(shared[first, second], total)
    expected = _mean_expected(size, active[first], active[second])
    return {
        "layer": name,
        "size": size,
        "active_share": float(active.mean()) / size,
        "jaccard": jaccard,
        "expected": expected,
        "excess": jaccard - expected,
    }


def _mean_expected(size: int, first: Floats, second: Floats) -> float:
    """Mean over the pairs that have an entry at all."""
    used = first + second > 0
    if not used.any():
        return math.nan
    return float(expected_jaccard(size, first[used], second[used]).mean())


def expected_jaccard(size: int, a: Floats, b: Floats) -> Floats:
    """Mean Jaccard index of a and b of `size` entries, drawn independently; of each pair (a, b),
    whole numbers, not both 0.
    """
    mean = a * b / size
    expected = mean / (a + b - mean)
    few = np.minimum(a, b) - np.maximum(0, a + b - size) <= EXACT
    pairs = np.sort(np.stack([a[few], b[few]], axis=1), axis=1)
    different, which = np.unique(pairs, axis=0, return_inverse=True)
    exact = np.array([_hypergeometric_mean(size, *pair) for pair in different.tolist()])
    expected[few] = exact[which.reshape(-1)]
    return np.asarray(expected)


def _hypergeometric_mean(size: int, a: float, b: float) -> float:
    both = np.arange(max(0, a + b - size), min(a, b) + 1)
    i = both[:-1]  # P(i + 1) / P(i), in logarithms: neither overflows
    ratios = np.log((a - i) * (b - i)) - np.log((i + 1) * (size - a - b + i + 1))
    logs = np.concatenate([[0.0], ratios.cumsum()])
    weights = np.exp(logs - logs.max())
    return float((both / (a + b - both)) @ weights / weights.sum())


def _mean_ratio(both: Floats, total: Floats) -> float:
    """Mean over pairs of both / (|A| + |B| - both), where A or B has an entry at all."""
    used = total > 0
    if not used.any():
        return math.nan
    return float((both[used] / (total[used] - both[used])).mean())
