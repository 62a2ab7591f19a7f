"""Updates as whole numbers, so that masks added modulo R cancel to the bit.

    q_k = round(clip(x_k, +-c) L / 2c) + L / 2,        x_k = w_k - w,  L = 2^bits
    a client sends n_k q_k and, as one more number, n_k;  the server gets their sums Q and n
    mean of the x_k = (Q - n L / 2) (2c / L) / n

which is Bonawitz et al. (CCS 2017) with the weights of FedAvg. L is even, so 0 is one of the steps:
an entry that no client changed comes back as 0 exactly. To the nearest step, ties to even: a
rounding that is drawn would be unbiased, at twice the error. The mean of unclipped entries is off
by at most c / L, half a step, whatever the number of clients. A sum over n examples is at most n L,
which must be below R (`config.combinations.check_modulus`).

What is not a number is sent as 0 and counts as clipped; that the run has diverged the losses say.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from fl_core.config.method_sections import AggregateConfig


class Grid(NamedTuple):
    """The steps that server and clients have agreed on.

    >>> grid = Grid(clip=1.0, bits=2)
    >>> grid.encoded(np.array([0.0, 0.3, -7.0]), weight=10)
    (array([20, 30,  0, 10], dtype=uint64), 1)
    >>> grid.decoded(np.array([20, 30, 0, 10], dtype=np.uint64))
    (array([ 0. ,  0.5, -1. ]), 10)
    """

    clip: float
    bits: int

    @classmethod
    def of(cls, aggregate: AggregateConfig) -> Grid:
        """As the section says."""
        return cls(aggregate.clip, aggregate.bits)

    @property
    def step(self) -> float:
        """Between two neighbours of the grid."""
        return self.clip / 2.0 ** (self.bits - 1)

    def encoded(self, moved: np.ndarray, weight: int) -> tuple[np.ndarray, int]:
        """A client's entries (N,) float64 and its weight as (N + 1,) uint64; and how many of the
        entries were beyond the grid.
        """
        inside = np.abs(moved) <= self.clip  # not of a NaN
        bounded = np.clip(np.nan_to_num(moved, nan=0.0), -self.clip, self.clip)
        steps = np.rint(bounded / self.step).astype(np.int64) + 2 ** (self.bits - 1)
        sent = np.append(steps * weight, weight).astype(np.uint64)
        return sent, moved.size - int(np.count_nonzero(inside))

    def decoded(self, total: np.ndarray) -> tuple[np.ndarray, int]:
        """Of a sum of such vectors (N + 1,) the weighted mean (N,) float64, and the weight."""
        sums, weight = total[:-1].astype(np.int64), int(total[-1])
        return (sums - weight * 2 ** (self.bits - 1)) * (self.step / weight), weight


def moved_entries(params: Tensor, start: Tensor, entries: Tensor | None) -> np.ndarray:
    """What a client's parameters (P,) differ by from the start, of the entries (P,) that travel."""
    moved = params.double() - start
    return (moved if entries is None else moved[entries]).cpu().numpy()
