"""What a run's superclients are like: for its metrics, and as a table."""

from __future__ import annotations

import numpy as np

from fl_core.federated.state import Federation, State
from fl_core.federated.timing.grouping import distance_to_uniform
from fl_core.federated.timing.superclients import MEMBERS, members_of


def described(fed: Federation, state: State) -> dict[str, float]:
    """Of a run's superclients: how many, their clients, how far from uniform their classes are.
    Nothing where each is one client.
    """
    if MEMBERS not in state.server or len(mixes := superclient_counts(fed, state)) == len(
        fed.shards
    ):
        return {}
    return {
        "superclients": len(mixes),
        "superclient_clients": len(fed.shards) / len(mixes),
        "superclient_distance": float(_distances(mixes).mean()),
    }


def superclient_rows(fed: Federation, state: State) -> list[tuple[object, ...]]:
    """Of each superclient: number, examples, distance of its classes to uniform, its clients."""
    if MEMBERS not in state.server:
        return []
    members, counts = members_of(state), superclient_counts(fed, state)
    return [
        (number, int(row.sum()), f"{distance:.4f}", " ".join(map(str, np.flatnonzero(own))))
        for number, (row, distance) in enumerate(zip(counts, _distances(counts), strict=True))
        for own in [members == number]
    ]


def superclient_counts(fed: Federation, state: State) -> np.ndarray:
    """(S, classes) examples of each class in each superclient."""
    members = members_of(state)
    total = np.zeros((int(members.max()) + 1, fed.class_counts.shape[1]), dtype=np.int64)
    np.add.at(total, members, fed.class_counts)
    return total


def _distances(counts: np.ndarray) -> np.ndarray:
    return distance_to_uniform(counts / counts.sum(1, keepdims=True))
