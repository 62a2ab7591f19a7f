"""A partition of the user's own: `federation.sharding=package.module:name`.

    def halves(labels, federation, rng, owners):
        return np.array_split(rng.permutation(len(labels) // 2), federation.clients)

Of the training examples it gets the labels (N,), of the section `federation` what `Asked` has, a
random generator of the trial's seed and, where the task knows them, the owners (N,). It gives each
client the indices
of its examples, in [0, N); an example may be nobody's. A partitioner of flwr-datasets is one, too:

    def pathological(labels, federation, rng, owners):
        each, seed = federation.classes_per_client, int(rng.integers(2**31))
        partitioner = PathologicalPartitioner(federation.clients, "label", each, seed=seed)
        columns = {"label": labels, "index": np.arange(len(labels))}
        partitioner.dataset = datasets.Dataset.from_dict(columns)
        return [partitioner.load_partition(k)["index"] for k in range(federation.clients)]
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fl_core.base.errors import ConfigError
from fl_core.config.fields import refuse
from fl_core.config.own import imported
from fl_core.config.sections import FederationConfig
from fl_core.data.balance import Ints

FIELD = "federation.sharding"


class Asked(NamedTuple):
    """What a partition may depend on. How many clients a round takes is none of it: who changes
    that goes on with the same partition, and with what is kept of it (`sharding.PARTITION_READS`).
    """

    clients: int
    classes_per_client: int | None
    alpha: float | None


def shard_own(
    labels: npt.NDArray[np.integer[Any]],
    config: FederationConfig,
    rng: np.random.Generator,
    owners: npt.NDArray[np.integer[Any]] | None,
) -> list[Ints]:
    """The sorted indices of every client, checked: K clients, each with examples of its own."""
    takes = ("labels", "federation", "rng", "owners")
    asked = Asked(config.clients, config.classes_per_client, config.alpha)
    found = imported(config.sharding, FIELD, takes)(labels, asked, rng, owners)
    if not isinstance(found, (list, tuple)) or len(found) != config.clients:
        what = f"{len(found)} parts" if isinstance(found, (list, tuple)) else type(found).__name__
        wanted = f"must give a list of {config.clients} index arrays, one a client"
        raise _wrong(config, f"{wanted}, not {what}")
    parts = [_part(config, client, part, len(labels)) for client, part in enumerate(found)]
    holders = np.bincount(np.concatenate(parts), minlength=len(labels))
    if holders.max() > 1:
        twice = f"gives example {holders.argmax()} {holders.max()} times"
        raise _wrong(config, f"{twice}: each may be one client's")
    return parts


def _part(config: FederationConfig, client: int, given: object, examples: int) -> Ints:
    part: npt.NDArray[Any] = np.asarray(given)
    if part.ndim != 1 or len(part) == 0 or part.dtype.kind not in "iu":
        found = f"{part.dtype} of shape {part.shape}"
        raise _wrong(config, f"client {client} needs whole numbers, at least one, not {found}")
    if part.min() < 0 or part.max() >= examples:
        found = f"not {part.min()} to {part.max()}"
        raise _wrong(config, f"client {client} needs indices in [0, {examples - 1}], {found}")
    return np.sort(part.astype(np.int64))


def _wrong(config: FederationConfig, why: str) -> ConfigError:
    return refuse(FIELD, config.sharding, why)
