"""The table of counts (clients, classes) where each client holds exactly N_c classes."""

from __future__ import annotations

import numpy as np

from fl_core.config.fields import refuse
from fl_core.data.balance import Bools, Floats, Ints, fitted, whole

FIELD = "federation.classes_per_client"


def classes_of_clients(
    totals: Ints, clients: int, per_client: int, rng: np.random.Generator
) -> Ints:
    """How many examples of each class (there are `totals`) every client gets.

    Of fewer places than classes as many distinct classes, chosen at random, are used with all their
    examples.

    Sizes differ by at most 1 + ceil(max n_c/d_c - min n_c/d_c), for n_c examples of class c with
    d_c holders: the layers of `_assign` telescope, and a real table can be rounded within one.
    No other counts for the same holders are more even. For N_c = 1 no other holders are either
    (least squares), so sizes are equal within one whenever the classes allow it.
    """
    places = clients * per_client
    _check(totals, clients, per_client)
    if places < len(totals):
        chosen = rng.choice(len(totals), places, replace=False)
        totals = np.where(np.isin(np.arange(len(totals)), chosen), totals, 0)
    degrees = _degrees(totals, places, clients, rng)
    held = _assign(totals, degrees, clients, per_client, rng)
    low = held.astype(np.int64)  # at least one example of each class held
    table = low + fitted(held, totals - degrees)
    return whole(table, totals, low, np.where(held, totals, 0))


def _check(totals: Ints, clients: int, per_client: int) -> None:
    allowed = f"must be in [1, {len(totals)}], the number of classes present"
    if not 1 <= per_client <= len(totals):
        raise refuse(FIELD, per_client, allowed)
    pairs = int(np.minimum(totals, clients).sum())  # (client, class) with an example each
    most = pairs // clients
    allowed = f"must be at most {most}: the {totals.sum()} examples give {clients} clients at most "
    allowed += f"{pairs} (client, class) pairs with an example each"
    if per_client > most and clients * per_client > len(totals):
        raise refuse(FIELD, per_client, allowed)


def _degrees(totals: Ints, places: int, clients: int, rng: np.random.Generator) -> Ints:
    """How many clients hold each class: 1 <= d_c <= min(clients, n_c), summing to `places`.

    Cutting class c into d near-equal parts has a sum of squares that is convex in d, so taking
    the `places` largest gains minimises the total (Huntington-Hill, exact for whole examples).
    """

    def squares(n: Ints, d: Ints) -> Ints:
        part, rest = n // d, n % d
        return d * part**2 + rest * (2 * part + 1)

    degrees = (totals > 0).astype(np.int64)
    more = np.minimum(totals, clients) - degrees  # further places class c can take
    which = np.repeat(np.arange(len(totals)), more)
    d = 1 + np.arange(len(which)) - np.repeat(np.cumsum(more) - more, more)
    gain = squares(totals[which], d) - squares(totals[which], d + 1)
    real_gain = totals[which] ** 2 / (d * (d + 1))  # among equals, for even shares
    best = np.lexsort((rng.random(len(gain)), -real_gain, -gain))[: places - degrees.sum()]
    return degrees + np.bincount(which[best], minlength=len(totals))


def _assign(
    totals: Ints, degrees: Ints, clients: int, per_client: int, rng: np.random.Generator
) -> Bools:
    """Who holds what, (clients, classes): `per_client` a row, `degrees[c]` a column.

    Classes come by falling share n_c/d_c and go to those with most free places: these stay equal
    within one, so they always suffice, and everyone gets one of each layer of similar shares.
    Otherwise by chance. (Preferring the least loaded would give groups of clients the same set.)
    """
    share = totals / np.maximum(degrees, 1)
    held = np.zeros((clients, len(totals)), dtype=np.bool_)
    free = np.full(clients, per_client)
    for c in np.lexsort((rng.random(len(totals)), -share)):
        takers = np.lexsort((rng.random(clients), -free))[: degrees[c]]
        held[takers, c] = True
        free[takers] -= 1
    _swap(held, share)
    return held


def _swap(held: Bools, share: Floats) -> None:
    """Local search for even loads: the largest or smallest client swaps a class with another.

    Only classes held by few clients need it; `levelled` does the rest. Loads stay in their range.
    """
    load = np.where(held, share, 0.0).sum(axis=1)  # not `@`: no BLAS, no influence of its threads
    for _ in range(2 * len(load)):
        order = np.argsort(load, kind="stable")
        pairs = [(order[-1], k) for k in order[:50]] + [(k, order[0]) for k in order[:-50:-1]]
        for rich, poor in pairs:
            excess = load[rich] - load[poor]
            given = np.flatnonzero(held[rich] & ~held[poor])
            taken = np.flatnonzero(held[poor] & ~held[rich])
            moved = share[given][:, None] - share[taken]
            useful = (moved > 0.5) & (moved < excess - 0.5)
            if useful.any():
                break
        else:
            return
        best = int(np.argmin(np.where(useful, np.abs(moved - excess / 2), np.inf)))
        i, j = divmod(best, len(taken))
        swap = [given[i], taken[j]]
        held[rich, swap], held[poor, swap] = [False, True], [True, False]
        load[rich] -= moved[i, j]
        load[poor] += moved[i, j]
