"""Active shares by the clients' sizes: who has more examples trains more entries, or fewer.

    a_k = min(1, c * n_k^p),   c such that the mean of a_k over all clients is 1 - sparsity

p is `mask.size_power`: at 1 a client trains in proportion to its examples n_k, at -1 in inverse
proportion, at 0 all train the same. The law is this suite's own. That clients of one federation
may train parts of different size is HeteroFL's idea (Diao et al., ICLR 2021), which fixes a few
levels by what a device can bear; FLASH (Babakniya et al., TMLR 2023) does so for sparse masks.
"""

from __future__ import annotations

from collections.abc import Sequence


def sparsity_of(sparsity: float, power: float, sizes: Sequence[int], client: int) -> float:
    """The sparsity of one client; `sparsity` itself, to the bit, for power 0."""
    if not power:
        return sparsity
    return 1 - active_shares(1 - sparsity, power, sizes)[client]


def active_shares(mean: float, power: float, sizes: Sequence[int]) -> list[float]:
    """a_k of every client, in [0, 1], with this mean."""
    weights = [float(size) ** power for size in sizes]
    largest = sorted(weights, reverse=True)
    left, rest = mean * len(sizes), sum(weights)  # of the clients below 1
    for weight in largest:
        if weight * left <= rest:  # nobody else is above 1
            break
        left, rest = left - 1, rest - weight
    factor = left / rest if rest > 0 else 1.0
    return [min(1.0, factor * weight) for weight in weights]
