"""Where examples lie in a feature space: class centres, nearest pairs, Mahalanobis outliers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri

COMPONENTS = 30  # of the PCA: 17 training images of a CIFAR-100 class for each dimension
LEVEL = 0.975
_CHUNK = 500  # rows of a block of distances


def centroids(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(classes, D) float64 means."""
    return np.stack([features[labels == k].mean(axis=0, dtype=float) for k in _classes(labels)])


def _classes(labels: np.ndarray) -> range:
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
    for label in _classes(labels):
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


def whitened(features: np.ndarray, labels: np.ndarray, components: int) -> tuple[np.ndarray, float]:
    """(N, components): each example less its class's mean on the main axes of all examples, scaled
    so that the covariance common to the classes is the identity; share of the variance kept.
    """
    centred = features - features.mean(axis=0, dtype=float)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    reduced = centred @ vectors[:, ::-1][:, :components]
    reduced -= centroids(reduced, labels)[labels]
    factor = np.linalg.cholesky(reduced.T @ reduced / len(reduced))
    kept = float(values[::-1][:components].sum() / values.sum())
    return np.linalg.solve(factor, reduced.T).T, kept


def ledoit_wolf(centred: np.ndarray) -> tuple[np.ndarray, float]:
    """Covariance of centred examples (n, p) shrunk towards a multiple of the identity, and how far.

    Ledoit and Wolf (2004), the closed form of the shrinkage with the least expected error.
    """
    n, p = centred.shape
    sample = centred.T @ centred / n
    level = np.trace(sample) / p
    spread = np.square(sample - level * np.eye(p)).sum()
    noise = (np.square(np.square(centred).sum(axis=1)).sum() / n - np.square(sample).sum()) / n
    weight = float(np.clip(noise / spread, 0, 1)) if spread > 0 else 0.0
    return (1 - weight) * sample + weight * level * np.eye(p), weight


def mahalanobis(centred: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """(n,) SQUARED Mahalanobis distances x^T C^-1 x of centred examples."""
    white = np.linalg.solve(np.linalg.cholesky(covariance), centred.T)
    return np.square(white).sum(axis=0)


@dataclass(frozen=True)
class Outliers:
    """Squared Mahalanobis distance of each example to its class, in the PCA's space.

    `reference`: share beyond the threshold when the same procedure is run on Gaussian examples
    with these covariances, which is not exactly 1 - level: few examples, a shrunk covariance.
    """

    squares: np.ndarray
    beyond: np.ndarray  # (N,) bool
    threshold: float
    components: int
    kept: float  # share of the variance that the components hold
    shrinkage: float  # mean over the classes
    reference: float

    @property
    def share(self) -> float:
        """Share of all examples beyond the threshold."""
        return float(self.beyond.mean())


def outliers(features: np.ndarray, labels: np.ndarray, components: int = COMPONENTS) -> Outliers:
    """Each class against its own mean and covariance, the latter shrunk (Ledoit-Wolf) towards the
    one common to all classes; the threshold is the chi-square quantile at `LEVEL` with as many
    degrees of freedom as components.
    """
    components = min(components, features.shape[1])
    reduced, kept = whitened(features, labels, components)
    threshold = float(chdtri(components, 1 - LEVEL))
    rng = np.random.default_rng(0)
    squares, reference, weights = np.empty(len(labels)), [], []
    for label in _classes(labels):
        mine = labels == label
        squares[mine], covariance, weight = _one_class(reduced[mine])
        weights.append(weight)
        drawn = rng.standard_normal((int(mine.sum()), components))
        gaussian = drawn @ np.linalg.cholesky(covariance).T
        reference.append(float((_one_class(gaussian)[0] > threshold).mean()))
    return Outliers(
        squares,
        squares > threshold,
        threshold,
        components,
        kept,
        float(np.mean(weights)),
        float(np.mean(reference)),
    )


def _one_class(examples: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    centred = examples - examples.mean(axis=0)
    covariance, weight = ledoit_wolf(centred)
    return mahalanobis(centred, covariance), covariance, weight
