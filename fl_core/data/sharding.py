"""Which client holds which training examples (contract 4).

Every partition is disjoint and uses every example once (a natural one with fewer clients than
owners: all that its owners have). Sizes are equal within one (by classes: as far as whole classes
allow; `by_classes` states the bound), but for the last two's:

- `shard_iid`: a random permutation cut into near-equal parts.
- `shard_by_classes`: each client holds exactly N_c classes (McMahan et al., AISTATS 2017, dealt
  two shards a client), but a class is divided by the number of ITS holders, not of all clients.
- `shard_dirichlet`: each client draws its mix of classes from Dir(alpha * prior) (Hsu et al.,
  arXiv:1909.06335).
- `shard_dirichlet_labels`: each class is split over the clients by Dir(alpha) (Yurochkin et al.,
  ICML 2019; Li et al., ICDE 2022): what most code calls Dirichlet. Unequal sizes.
- `shard_natural`: the owners of the examples are the clients.

A partition of the user's own: `own_sharding`.

The skewed ones share the second half: a real (clients, classes) table of counts is made whole
(fl_core.data.balance), and the shuffled examples are dealt out.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from fl_core.base.errors import ConfigError
from fl_core.config.own import is_own
from fl_core.config.sections import FederationConfig
from fl_core.data.balance import Ints
from fl_core.data.by_classes import classes_of_clients
from fl_core.data.dirichlet import DRAWS, FEWEST, mixes_of_clients, splits_of_classes
from fl_core.data.own_sharding import shard_own

Labels = npt.NDArray[np.integer[Any]]  # (examples,)

#: The fields that decide which training examples a client holds.
PARTITION_READS = ("seed", "data.name", "data.val_fraction", "data.split_seed", "data.train_on",
                   "federation.clients", "federation.sharding", "federation.classes_per_client",
                   "federation.alpha", "data.path", "data.stride")  # fmt: skip


def shard(
    labels: Labels,
    config: FederationConfig,
    rng: np.random.Generator,
    owners: Labels | None = None,
) -> list[Ints]:
    """The sorted example indices of every client, as `config.sharding` says."""
    match config.sharding:
        case own if is_own(own):
            return shard_own(labels, config, rng, owners)
        case "natural":
            return shard_natural(owners, config.clients, rng)
        case "iid":
            return shard_iid(labels, config.clients, rng)
        case "classes" if config.classes_per_client is not None:
            return shard_by_classes(labels, config.clients, config.classes_per_client, rng)
        case "dirichlet" if config.alpha is not None:
            return shard_dirichlet(labels, config.clients, config.alpha, rng)
        case "dirichlet_labels" if config.alpha is not None:
            return shard_dirichlet_labels(labels, config.clients, config.alpha, rng)
        case mode:
            allowed = "must be iid, classes (with classes_per_client), dirichlet or "
            allowed += "dirichlet_labels (with alpha)"
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

    Sizes: see `by_classes.classes_of_clients`.
    """
    _check_clients(labels, clients)
    codes = np.unique(labels, return_inverse=True)[1]
    counts = classes_of_clients(np.bincount(codes), clients, classes_per_client, rng)
    return deal(codes, counts, rng)


def shard_dirichlet(
    labels: Labels, clients: int, alpha: float, rng: np.random.Generator
) -> list[Ints]:
    """Hsu et al. 2019: mixes of classes from Dir(alpha * prior), sizes equal within one.

    alpha -> 0 gives each client as few classes as fill it, alpha -> infinity the prior, to the
    example: more even than `shard_iid`. See `dirichlet.mixes_of_clients`.
    """
    _check_clients(labels, clients)
    codes, totals = _counted(labels, alpha)
    return deal(codes, mixes_of_clients(totals, clients, alpha, rng), rng)


def shard_dirichlet_labels(
    labels: Labels, clients: int, alpha: float, rng: np.random.Generator
) -> list[Ints]:
    """Yurochkin et al. 2019, NIID-Bench: each class split over the clients by Dir(alpha).

    Sizes differ; every client has at least ten examples, or the request is refused. alpha ->
    infinity gives everyone the same, more evenly than `shard_iid`. See
    `dirichlet.splits_of_classes`.
    """
    codes, totals = _counted(labels, alpha)
    allowed = f"must be in [1, {len(labels) // FEWEST}]: dirichlet_labels needs {FEWEST} examples "
    allowed += f"a client, of {len(labels)}"
    _require(1 <= clients <= len(labels) // FEWEST, "clients", clients, allowed)
    counts = splits_of_classes(totals, clients, alpha, rng)
    allowed = f"in {DRAWS} draws dirichlet_labels left a client of {clients} with fewer than "
    allowed += f"{FEWEST} examples: must be larger, or federation.clients smaller"
    _require(counts is not None, "alpha", alpha, allowed)
    return deal(codes, cast("Ints", counts), rng)


def shard_natural(owners: Labels | None, clients: int, rng: np.random.Generator) -> list[Ints]:
    """Each client one owner with all its examples; of more owners than clients some at random."""
    if owners is None:
        allowed = "the task (data.name) does not say whose its examples are"
        raise ConfigError(f"federation.sharding='natural': {allowed}")
    there = np.unique(owners)
    allowed = f"must be in [1, {len(there)}], the number of owners with training examples"
    _require(1 <= clients <= len(there), "clients", clients, allowed)
    chosen = np.sort(rng.choice(there, clients, replace=False))
    return [np.flatnonzero(owners == owner) for owner in chosen]


def class_counts(labels: Labels, shards: list[Ints], num_classes: int) -> Ints:
    """The realised partition, (clients, num_classes): how many of each class a client holds."""
    counts = np.zeros((len(shards), num_classes), dtype=np.int64)
    owners = np.repeat(np.arange(len(shards)), [len(part) for part in shards])
    np.add.at(counts, (owners, labels[np.concatenate(shards)]), 1)
    return counts


def _counted(labels: Labels, alpha: float) -> tuple[Ints, Ints]:
    """(each example's class as an index, examples of each class present); alpha is checked."""
    _require(0 < alpha < np.inf, "alpha", alpha, "must be finite and above 0")
    codes = np.unique(labels, return_inverse=True)[1]
    return codes, np.bincount(codes)


def _require(ok: bool, name: str, value: object, allowed: str) -> None:
    if not ok:
        raise ConfigError(f"federation.{name}={value!r}: {allowed}")


def _check_clients(labels: Labels, clients: int) -> None:
    allowed = f"must be in [1, {len(labels)}], the number of examples"
    _require(1 <= clients <= len(labels), "clients", clients, allowed)


def deal(codes: Ints, counts: Ints, rng: np.random.Generator) -> list[Ints]:
    """Deal each class's shuffled examples out; a class that nobody holds is left aside."""
    owners = np.full(len(codes), -1)
    for c in np.flatnonzero(counts.sum(axis=0)):
        members = rng.permutation(np.flatnonzero(codes == c))
        owners[members] = np.repeat(np.arange(len(counts)), counts[:, c])
    order = np.argsort(owners, kind="stable")[np.count_nonzero(owners < 0) :]
    return np.split(order, np.cumsum(counts.sum(axis=1))[:-1])
