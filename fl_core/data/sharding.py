"""Which client holds which training examples (contract 4).

Every partition is disjoint, uses every example once, and gives the clients sizes equal within one
(by classes: as far as whole classes allow; its docstring states the bound):

- `shard_iid`: a random permutation cut into near-equal parts.
- `shard_by_classes`: each client holds exactly N_c classes (McMahan et al., AISTATS 2017, dealt
  two shards a client), but a class is divided by the number of ITS holders, not of all clients.
- `shard_dirichlet`: each client draws its mix of classes from Dir(alpha * prior) and fills up from
  what is left of them (Hsu et al., arXiv:1909.06335).

The two skewed ones share the second half: a real (clients, classes) table of counts is
made whole with even sizes (fl_core.data.balance), and the shuffled examples are dealt out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fl_core.base.errors import ConfigError
from fl_core.config.sections import FederationConfig
from fl_core.data.balance import Bools, Floats, Ints, fitted, whole

Labels = npt.NDArray[np.integer[Any]]  # (examples,)

#: The fields that decide which training examples a client holds.
PARTITION_READS = ("seed", "data.name", "data.val_fraction", "data.split_seed", "data.train_on",
                   "federation.clients", "federation.sharding", "federation.classes_per_client",
                   "federation.alpha")  # fmt: skip


def shard(labels: Labels, config: FederationConfig, rng: np.random.Generator) -> list[Ints]:
    """The sorted example indices of every client, as `config.sharding` says."""
    match config.sharding:
        case "iid":
            return shard_iid(labels, config.clients, rng)
        case "classes" if config.classes_per_client is not None:
            return shard_by_classes(labels, config.clients, config.classes_per_client, rng)
        case "dirichlet" if config.alpha is not None:
            return shard_dirichlet(labels, config.clients, config.alpha, rng)
        case mode:
            allowed = "must be iid, classes (with classes_per_client) or dirichlet (with alpha)"
            raise ConfigError(f"federation.sharding={mode!r}: {allowed}")


def shard_iid(labels: Labels, clients: int, rng: np.random.Generator) -> list[Ints]:
    """A random permutation of the examples, cut into parts equal within one."""
    _check_clients(labels, clients)
    parts = np.array_split(rng.permutation(len(labels)), clients)
    return [np.sort(part) for part in parts]


def shard_by_classes(
    labels: Labels, clients: int, classes_per_client: int, rng: np.random.Generator
) -> list[Ints]:
    """Exactly `classes_per_client` classes a client; no class without a client.

    Only when clients * classes_per_client is below the number of classes can some not be held:
    then that many distinct classes, chosen at random, are used with all their examples.

    Sizes differ by at most 1 + ceil(max n_c/d_c - min n_c/d_c), for n_c examples of class c with
    d_c holders: the layers of `_assign` telescope, and a real table can be rounded within one.
    No other counts for the same holders are more even. For N_c = 1 no other holders are either
    (least squares), so sizes are equal within one whenever the classes allow it.
    """
    _check_clients(labels, clients)
    classes, codes = np.unique(labels, return_inverse=True)
    totals = np.bincount(codes)
    places = clients * classes_per_client
    _check_places(totals, clients, classes_per_client)
    if places < len(classes):
        chosen = rng.choice(len(classes), places, replace=False)
        totals = np.where(np.isin(np.arange(len(classes)), chosen), totals, 0)
    degrees = _degrees(totals, places, clients, rng)
    held = _assign(totals, degrees, clients, classes_per_client, rng)
    low = held.astype(np.int64)  # at least one example of each class held
    table = low + fitted(held, totals - degrees)
    return _deal(codes, whole(table, totals, low, np.where(held, totals, 0)), rng)


def shard_dirichlet(
    labels: Labels, clients: int, alpha: float, rng: np.random.Generator
) -> list[Ints]:
    """Mixes of classes from Dir(alpha * prior * classes), sizes equal within one.

    alpha -> 0 tends to one class after the other, alpha -> infinity to the prior for everyone.
    """
    _check_clients(labels, clients)
    _require(0 < alpha < np.inf, "alpha", alpha, "must be finite and above 0")
    classes, codes = np.unique(labels, return_inverse=True)
    totals = np.bincount(codes)
    concentration = np.clip(alpha * (totals / len(codes)) * len(classes), 1e-12, 1e12)
    table = _drawn_in_lockstep(_log_mixes(concentration, clients, rng), totals)
    low, high = np.zeros(table.shape, np.int64), np.broadcast_to(totals, table.shape)
    return _deal(codes, whole(table, totals, low, high), rng)


def class_counts(labels: Labels, shards: list[Ints], num_classes: int) -> Ints:
    """The realised partition, (clients, num_classes): how many of each class a client holds."""
    counts = np.zeros((len(shards), num_classes), dtype=np.int64)
    owners = np.repeat(np.arange(len(shards)), [len(part) for part in shards])
    np.add.at(counts, (owners, labels[np.concatenate(shards)]), 1)
    return counts


def _require(ok: bool, name: str, value: object, allowed: str) -> None:
    if not ok:
        raise ConfigError(f"federation.{name}={value!r}: {allowed}")


def _check_clients(labels: Labels, clients: int) -> None:
    allowed = f"must be in [1, {len(labels)}], the number of examples"
    _require(1 <= clients <= len(labels), "clients", clients, allowed)


def _check_places(totals: Ints, clients: int, per_client: int) -> None:
    allowed = f"must be in [1, {len(totals)}], the number of classes present"
    _require(1 <= per_client <= len(totals), "classes_per_client", per_client, allowed)
    pairs = int(np.minimum(totals, clients).sum())  # (client, class) with an example each
    most = pairs // clients
    allowed = f"must be at most {most}: the {totals.sum()} examples give {clients} clients at most "
    allowed += f"{pairs} (client, class) pairs with an example each"
    ok = per_client <= most or clients * per_client <= len(totals)
    _require(ok, "classes_per_client", per_client, allowed)


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


def _log_mixes(concentration: Floats, clients: int, rng: np.random.Generator) -> Floats:
    """Each client's Dirichlet draw in logarithms, up to a constant: (clients, classes).

    Gamma(a) = Gamma(a + 1) * U^(1/a), so a tiny `a` does not underflow to a mix of 0 / 0.
    """
    size = (clients, len(concentration))
    logs: Floats = np.log(rng.gamma(concentration + 1, size=size))
    return logs - rng.exponential(size=size) / concentration


def _drawn_in_lockstep(log_mix: Floats, totals: Ints) -> Floats:
    """Hsu et al.'s draw as a flow: every client draws one unit of examples per unit of time.

    A used-up class leaves every client's mix, the rest of which is rescaled. All clients draw
    equally fast, so all are full when the last class is empty: equal rows, exact columns.
    """
    table = np.zeros_like(log_mix)
    left = totals.astype(np.float64)
    live = np.arange(len(totals))
    while live.size:
        logs = log_mix[:, live]
        rate = np.exp(logs - logs.max(axis=1, keepdims=True))
        rate /= rate.sum(axis=1, keepdims=True)
        flow = rate.sum(axis=0)
        time = np.min(left[live] / np.maximum(flow, 1e-300))
        table[:, live] += time * rate
        left[live] -= time * flow
        live = live[left[live] > 1e-9 * totals[live]]
    table *= totals / table.sum(axis=0)
    return table


def _deal(codes: Ints, counts: Ints, rng: np.random.Generator) -> list[Ints]:
    """Deal each class's shuffled examples out; a class that nobody holds is left aside."""
    owners = np.full(len(codes), -1)
    for c in np.flatnonzero(counts.sum(axis=0)):
        members = rng.permutation(np.flatnonzero(codes == c))
        owners[members] = np.repeat(np.arange(len(counts)), counts[:, c])
    order = np.argsort(owners, kind="stable")[np.count_nonzero(owners < 0) :]
    return np.split(order, np.cumsum(counts.sum(axis=1))[:-1])
