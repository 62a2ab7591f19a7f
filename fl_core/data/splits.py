"""Examples that were not trained on, split over the clients as the training examples are."""

from __future__ import annotations

import numpy as np

from fl_core.data.balance import Ints, rounded
from fl_core.data.sharding import Labels, deal


def split_like(labels: Labels, counts: Ints, rng: np.random.Generator) -> list[Ints]:
    """The sorted indices of every client: disjoint, in the class shares of its own examples.

    counts: (clients, classes), the realised partition. Client k gets n_c counts[k, c] / sum_j
    counts[j, c] of the n_c examples of class c, in whole examples: each number rounded down or up,
    none of a class left over, a client's errors carried from class to class so that they do not
    add up. Examples of a class that nobody holds are nobody's.
    """
    totals = np.bincount(labels, minlength=counts.shape[1])
    held = counts.sum(axis=0)
    totals = np.where(held > 0, totals, 0)
    table = counts * (totals / np.maximum(held, 1))
    return deal(labels.astype(np.int64), rounded(table, totals), rng)
