"""Dirichlet tables of counts (clients, classes): two things that the literature gives one name.

`mixes_of_clients` draws one mix of classes for each CLIENT (Hsu, Qi & Brown, arXiv:1909.06335):
q ~ Dir(alpha * p), p the share of each class in the data, equal sizes. The concentrations sum to
alpha, so alpha = 0.3 gives a client about 3 of 100 classes.

`splits_of_classes` draws for each CLASS how it is split over the clients (Yurochkin et al., ICML
2019; Li et al., ICDE 2022, NIID-Bench): p_c ~ Dir(alpha, ..., alpha) over the K clients, unequal
sizes. What most code means by Dir(alpha), though much of it cites Hsu et al.: alpha = 0.3 gives
each of 100 clients about 62 of 100 classes.

In both alpha -> infinity gives every client the mix of the data itself, to the example: more even
than `shard_iid`, whose clients differ by chance.
"""

from __future__ import annotations

import numpy as np

from fl_core.data.balance import Floats, Ints, whole

#: Fewest examples of a client in `splits_of_classes`, as in NIID-Bench's code.
FEWEST = 10
DRAWS = 100  # of a whole split, before no split of that kind is found
SWEEPS = 20


def mixes_of_clients(totals: Ints, clients: int, alpha: float, rng: np.random.Generator) -> Ints:
    """Every client's mix q ~ Dir(alpha * p) times its size; sizes equal within one.

    Independent mixes ask for more of some classes than there is, and the paper does not say what
    happens then. Here the mixes are first scaled to what each class has (`_scaled`), so that no
    client's place matters; what they still ask too much of goes to one client after the other
    (`_filled`). Few classes a client become somewhat more by it: 3.9 for 2.9 at alpha = 0.3 (100
    clients, 100 classes).
    """
    concentration = np.clip(alpha * totals / totals.sum(), 1e-12, 1e12)
    logs = _scaled(log_draws(concentration, clients, rng), totals)
    low, high = np.zeros(logs.shape, np.int64), np.broadcast_to(totals, logs.shape)
    return whole(_filled(logs, totals), totals, low, high)


def splits_of_classes(
    totals: Ints, clients: int, alpha: float, rng: np.random.Generator
) -> Ints | None:
    """Every class split as p_c ~ Dir(alpha) over the clients says: each share rounded up or down.

    Drawn again until every client has `FEWEST` examples, as in NIID-Bench's code; None where
    `DRAWS` draws were not enough. That code also gives nothing more to a client that has its even
    share of all examples, which neither paper says: not done here.
    """
    concentration = np.full(clients, np.clip(alpha, 1e-12, 1e12))
    for _ in range(DRAWS):
        counts = _cut(np.exp(log_draws(concentration, len(totals), rng)), totals, rng)
        if counts.sum(axis=1).min() >= FEWEST:
            return counts
    return None


def _cut(shares: Floats, totals: Ints, rng: np.random.Generator) -> Ints:
    """Shares (classes, clients) in whole examples (clients, classes): each class cut at its
    cumulative shares, the clients in random order and from a random offset, so that nobody's
    place matters and every count is its share on average (systematic sampling).
    """
    order = rng.permuted(np.tile(np.arange(shares.shape[1]), (len(totals), 1)), axis=1)
    ends = np.cumsum(np.take_along_axis(shares, order, axis=1), axis=1) * totals[:, None]
    ends = np.floor(ends + rng.random((len(totals), 1))).astype(np.int64)
    ends = np.minimum(ends, totals[:, None])  # a sum of shares may be one and a bit
    ends[:, -1] = totals
    counts: Ints = np.empty_like(ends)
    np.put_along_axis(counts, order, np.diff(ends, axis=1, prepend=0), axis=1)
    return counts.T


def log_draws(concentration: Floats, rows: int, rng: np.random.Generator) -> Floats:
    """Logarithms of Dirichlet draws, one a row: (rows, len(concentration)).

    Gamma(a) = Gamma(a + 1) * U^(1/a), so a tiny `a` does not underflow to a mix of 0 / 0.
    """
    size = (rows, len(concentration))
    logs: Floats = np.log(rng.gamma(concentration + 1, size=size))
    logs -= rng.exponential(size=size) / concentration
    return logs - _log_sums(logs, axis=1)


def _log_sums(logs: Floats, axis: int) -> Floats:
    top = logs.max(axis=axis, keepdims=True)
    sums: Floats = top + np.log(np.exp(logs - top).sum(axis=axis, keepdims=True))
    return sums


def _scaled(logs: Floats, totals: Ints) -> Floats:
    """Mixes that together ask for what there is of each class, as far as `SWEEPS` sweeps get.

    Iterative proportional fitting as in `balance.fitted`, in logarithms: towards the mixes that
    are nearest to the drawn ones in relative entropy.
    """
    wanted = np.log(totals * (len(logs) / totals.sum()))
    for _ in range(SWEEPS):
        logs = logs + wanted - _log_sums(logs, axis=0)
        logs = logs - _log_sums(logs, axis=1)
    return logs


def _filled(logs: Floats, totals: Ints) -> Floats:
    """One client after the other takes its mix times its size: equal rows, exact columns.

    A used-up class leaves the mix, the rest of which is rescaled.
    """
    table = np.zeros_like(logs)
    left = totals.astype(np.float64)
    size = totals.sum() / len(logs)
    for client, mix in enumerate(logs):
        while (need := size - table[client].sum()) > 1e-9 * size:
            live = np.flatnonzero(left > 1e-9 * totals)
            if not live.size:  # the rest is rounding
                break
            share = np.exp(mix[live] - mix[live].max())
            taken = np.minimum(need * share / share.sum(), left[live])
            table[client, live] += taken
            left[live] -= taken
    table *= totals / table.sum(axis=0)
    return table
