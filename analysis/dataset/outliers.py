"""Outliers of the classes by Mahalanobis distance, in a feature space and by colour alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri

from fl_analysis.dataset.geometry import centroids, classes_in

COMPONENTS = 30  # of the PCA: 17 examples of a class of 500 for each dimension
LEVEL = 0.975
#: Centred examples (n, p) -> their covariance, and how far it was shrunk.
Covariance = Callable[[np.ndarray], tuple[np.ndarray, float]]


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
    """Squared Mahalanobis distance of each example to its class, in some space.

    `reference`: share beyond the threshold when the same procedure is run on Gaussian examples
    with these covariances, which is not exactly 1 - level: few examples, a shrunk covariance.
    """

    squares: np.ndarray
    beyond: np.ndarray  # (N,) bool
    threshold: float
    components: int  # dimensions of the space
    kept: float  # share of the variance that the principal components hold
    shrinkage: float  # mean over the classes
    reference: float

    @property
    def share(self) -> float:
        """Share of all examples beyond the threshold."""
        return float(self.beyond.mean())


def outliers(features: np.ndarray, labels: np.ndarray, components: int = COMPONENTS) -> Outliers:
    """Each class against its own mean and covariance, the latter shrunk (Ledoit-Wolf) towards the
    one common to all classes; on the first principal components.
    """
    components = min(components, features.shape[1])
    reduced, kept = whitened(features, labels, components)
    return _against_own_class(reduced, labels, ledoit_wolf, kept)


def colour_outliers(pixels: np.ndarray, labels: np.ndarray) -> Outliers:
    """As Pirilli et al.: images (N, H, W, 3) by their mean red, green and blue, each class against
    its own mean and sample covariance.
    """
    colours = pixels.reshape(len(pixels), -1, pixels.shape[-1]).mean(axis=1, dtype=float)
    return _against_own_class(colours, labels, sample_covariance, 1.0)


def sample_covariance(centred: np.ndarray) -> tuple[np.ndarray, float]:
    """Of centred examples (n, p), not shrunk."""
    return centred.T @ centred / (len(centred) - 1), 0.0


def _against_own_class(
    points: np.ndarray, labels: np.ndarray, covariance_of: Covariance, kept: float
) -> Outliers:
    """The threshold is the chi-square quantile at `LEVEL`, a degree of freedom a dimension."""
    threshold = float(chdtri(points.shape[1], 1 - LEVEL))
    rng = np.random.default_rng(0)
    squares, reference, weights = np.empty(len(labels)), [], []
    for label in classes_in(labels):
        mine = labels == label
        squares[mine], covariance, weight = _one_class(points[mine], covariance_of)
        weights.append(weight)
        drawn = rng.standard_normal((int(mine.sum()), points.shape[1]))
        gaussian = drawn @ np.linalg.cholesky(covariance).T
        reference.append(float((_one_class(gaussian, covariance_of)[0] > threshold).mean()))
    return Outliers(
        squares,
        squares > threshold,
        threshold,
        points.shape[1],
        kept,
        float(np.mean(weights)),
        float(np.mean(reference)),
    )


def _one_class(
    examples: np.ndarray, covariance_of: Covariance
) -> tuple[np.ndarray, np.ndarray, float]:
    centred = examples - examples.mean(axis=0)
    covariance, weight = covariance_of(centred)
    return mahalanobis(centred, covariance), covariance, weight
