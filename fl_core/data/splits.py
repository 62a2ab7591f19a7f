"""Examples that are not trained on: a test part for data without one, and each client's share."""

from __future__ import annotations

import numpy as np

from fl_core.base.rng import stream
from fl_core.data.balance import Ints, rounded
from fl_core.data.sharding import Labels, deal


def fifth(labels: Labels) -> tuple[Ints, Ints]:
    """Sorted indices of (train, test): of every class a fifth, rounded, is the test part.

    Always the same one: no field or seed of a trial moves an example from one to the other.
    """
    chosen = [np.arange(0)]
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        shuffled = stream(0, "test", int(label)).permutation(members)
        chosen.append(shuffled[: round(len(members) / 5)])
    test = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), test), test


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
