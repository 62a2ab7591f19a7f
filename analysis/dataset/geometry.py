"""Where examples lie in a feature space: class centres and nearest pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CHUNK = 500  # rows of a block of distances


def centroids(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(classes, D) float64 means."""
    return np.stack([features[labels == k].mean(axis=0, dtype=float) for k in classes_in(labels)])


def classes_in(labels: np.ndarray) -> range:
    """The classes, 0 up to the largest label."""
    return range(int(labels.max()) + 1)


def centre_distances(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) Euclidean distance of each example to its class's mean."""
    return np.linalg.norm(features - centroids(features, labels)[labels], axis=1)


def by_distance(distances: np.ndarray, labels: np.ndarray, label: int) -> np.ndarray:
    """The examples of a class, the most central first; of equals the first."""
    members = np.flatnonzero(labels == label)
    return members[np.argsort(distances[members], kind="stable")]


@dataclass(frozen=True)
class Pair:
    """Two examples and their Euclidean distance."""

    one: int
    other: int
    distance: float


def nearest_pairs(features: np.ndarray, labels: np.ndarray, count: int, same: bool) -> list[Pair]:
    """The `count` nearest pairs with the `same` label or with two labels, each example once."""
    if not same:
        found = _near(features, features, 40 * count, labels)
        return _once(_measured(features, features, found), alone=True)[:count]
    pairs = []
    for label in classes_in(labels):
        members = np.flatnonzero(labels == label)
        one, other = np.triu_indices(len(members), 1)
        square = _squares(features[members], features[members])[one, other]
        few = np.argsort(square, kind="stable")[: 40 * count]
        found = np.stack([members[one[few]], members[other[few]]], axis=1)
        pairs += _measured(features, features, found)
    return _once(sorted(pairs, key=_rank), alone=True)[:count]


def nearest_across(left: np.ndarray, right: np.ndarray, count: int) -> list[Pair]:
    """The `count` nearest pairs of an example of `left` and one of `right`, each example once."""
    return _once(_measured(left, right, _near(left, right, 40 * count)), alone=False)[:count]


def _near(
    left: np.ndarray, right: np.ndarray, count: int, labels: np.ndarray | None = None
) -> np.ndarray:
    """About the `count` nearest pairs (row of left, row of right), by distances in float32; given
    `labels`, left and right are one set and pairs those of two labels, the first example first.
    """
    found, rough = np.empty((0, 2), dtype=int), np.empty(0, dtype=np.float32)
    start = 0
    while start < len(left):
        first = 0 if labels is None else start
        bound = rough[-1] if len(rough) == count else np.inf
        rows = _CHUNK if np.isfinite(bound) else 10  # without a bound everything is a candidate
        square = _squares(left[start : start + rows], right[first:])
        places = np.argwhere(square < bound)
        near = square[tuple(places.T)]
        places += np.array([start, first])
        start += rows
        if labels is not None:
            kept = (places[:, 0] < places[:, 1]) & (labels[places[:, 0]] != labels[places[:, 1]])
            places, near = places[kept], near[kept]
        rough, found = np.concatenate([rough, near]), np.concatenate([found, places])
        best = np.argsort(rough, kind="stable")[:count]
        rough, found = rough[best], found[best]
    return found


def _squares(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Squared distances of all pairs by one product: |x|^2 - 2 x y + |y|^2, rounded."""
    one, other = (np.square(x).sum(axis=1, keepdims=True) for x in (left, right))
    wide = np.concatenate([left, one, np.ones_like(one)], axis=1)
    return wide @ np.concatenate([-2 * right, np.ones_like(other), other], axis=1).T


def _measured(left: np.ndarray, right: np.ndarray, found: np.ndarray) -> list[Pair]:
    """These pairs with their distances in float64, the nearest first."""
    apart = left[found[:, 0]].astype(float) - right[found[:, 1]]
    exact = np.linalg.norm(apart, axis=1)
    pairs = [Pair(i, j, float(d)) for (i, j), d in zip(found.tolist(), exact, strict=True)]
    return sorted(pairs, key=_rank)


def _rank(pair: Pair) -> tuple[float, int, int]:
    return pair.distance, pair.one, pair.other


def _once(pairs: list[Pair], alone: bool) -> list[Pair]:
    """Greedily from the nearest: no example twice (`alone`: both sides are of one set)."""
    kept: list[Pair] = []
    ones: set[int] = set()
    others: set[int] = ones if alone else set()
    for pair in pairs:
        if pair.one not in ones and pair.other not in others:
            ones.add(pair.one)
            others.add(pair.other)
            kept.append(pair)
    return kept
