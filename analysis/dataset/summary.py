"""The numbers of the data exploration: everything measured once, its tables and captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.dataset.features import Features
from analysis.dataset.geometry import (
    LEVEL,
    Outliers,
    Pair,
    by_distance,
    centre_distances,
    nearest_across,
    nearest_pairs,
    outliers,
)
from analysis.dataset.pictures import EACH, PAIRS
from analysis.plots.class_dots import NAMED
from analysis.reading.classes import Classes, classes_of
from analysis.reading.fetch import partition
from analysis.reading.store import StudyRuns
from analysis.tables.render import Block, markdown
from fl_core.config.vocabulary import data_title

EXTREMES = 16  # images of outliers


@dataclass(frozen=True)
class Explored:
    """What was measured. Image numbers count within the training set unless said otherwise."""

    classes: Classes
    space: str  # the feature space, in words
    data: str
    labels: Mapping[str, np.ndarray]
    counts: Mapping[str, np.ndarray]  # part -> images of each class
    distances: np.ndarray  # of each training image to its class's centre
    outliers: Outliers
    pairs: Mapping[
        str, Sequence[Pair]
    ]  # same, different: of training images; across: (test, train)
    pixels: Mapping[str, np.ndarray]  # empty without images
    copies: Mapping[str, int]  # of pixels; empty without images

    @property
    def spread(self) -> np.ndarray:
        """(classes,) mean distance to the centre."""
        return self._by_class(self.distances)

    @property
    def outlier_share(self) -> np.ndarray:
        """(classes,) share of images beyond the threshold."""
        return self._by_class(self.outliers.beyond)

    def _by_class(self, values: np.ndarray) -> np.ndarray:
        labels = self.labels["train"]
        return np.array([values[labels == k].mean() for k in range(len(self.classes.names))])

    @property
    def samples(self) -> dict[int, list[int]]:
        """A few training images of each class, a fixed draw."""
        rng = np.random.default_rng(0)
        labels = self.labels["train"]
        return {
            k: np.sort(rng.permutation(np.flatnonzero(labels == k))[:EACH]).tolist()
            for k in range(len(self.classes.names))
        }

    @property
    def extremes(self) -> dict[int, list[int]]:
        """Of each class half a row of the most central images and half of the most remote."""
        found = {}
        for k in range(len(self.classes.names)):
            order = by_distance(self.distances, self.labels["train"], k).tolist()
            found[k] = [*order[: EACH // 2], *order[-(EACH // 2) :][::-1]]
        return found

    @property
    def most_extreme(self) -> list[int]:
        """The farthest outliers, the farthest first."""
        return np.argsort(-self.outliers.squares, kind="stable")[:EXTREMES].tolist()


def explore(
    features: Features, pixels: Mapping[str, np.ndarray], runs: StudyRuns | None
) -> Explored:
    """Measures everything; minutes on a laptop for CIFAR-100."""
    train, labels = features.values["train"], features.labels["train"]
    size = 1 + int(max(part.max() for part in features.labels.values()))
    counts = {p: np.bincount(found, minlength=size) for p, found in features.labels.items()}
    if runs is not None and (clients := _clients(runs, counts["train"])) is not None:
        split = {"train": clients, "validation": counts["train"] - clients}
        counts = {**split, "test": counts["test"]}
    return Explored(
        classes=classes_of(features.data, size),
        space=features.space,
        data=data_title(features.data),
        labels=features.labels,
        counts=counts,
        distances=centre_distances(train, labels),
        outliers=outliers(train, labels),
        pairs=_pairs(features) if pixels else {},
        pixels=pixels,
        copies=copies(pixels, features.labels) if pixels else {},
    )


def _pairs(features: Features) -> dict[str, list[Pair]]:
    train, labels = features.values["train"], features.labels["train"]
    return {
        "same": nearest_pairs(train, labels, PAIRS, same=True),
        "different": nearest_pairs(train, labels, PAIRS, same=False),
        "across": nearest_across(features.values["test"], train, PAIRS),
    }


def _clients(runs: StudyRuns, train: np.ndarray) -> np.ndarray | None:
    """Training images of each class on all clients of the first arm that saved its partition."""
    for arm in range(len(runs.settings)):
        if (found := partition(runs, arm)) is not None:
            held = found.to_numpy().sum(axis=0)
            return held if len(held) == len(train) and (held <= train).all() else None
    return None


def copies(pixels: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Images that are equal, pixel by pixel, to an earlier training image: how many in each part,
    and of these how many with a label that no such image has.
    """
    seen: dict[bytes, set[int]] = {}
    counts = {"train": 0, "train_relabelled": 0, "test": 0, "test_relabelled": 0}
    for part in ("train", "test"):
        for image, label in zip(pixels[part], labels[part].tolist(), strict=True):
            known = seen.get(image.tobytes())
            if known is not None:
                counts[part] += 1
                counts[f"{part}_relabelled"] += label not in known
            if part == "train":
                seen.setdefault(image.tobytes(), set()).add(label)
    return counts


def class_table(found: Explored) -> pd.DataFrame:
    """A row a class: its images in each part, spread, outliers, most central and remote image."""
    classes = found.classes
    columns: dict[str, Sequence[object]] = {"class": classes.names}
    if classes.groups:
        columns["superclass"] = [classes.groups[parent] for parent in classes.parents]
    columns |= {part: number.tolist() for part, number in found.counts.items()}
    columns |= {
        "mean_distance": [f"{value:.3f}" for value in found.spread],
        "outlier_share": [f"{value:.4f}" for value in found.outlier_share],
        "most_central": [images[0] for images in found.extremes.values()],
        "most_remote": [images[EACH // 2] for images in found.extremes.values()],
    }
    return pd.DataFrame(columns)


def summary(found: Explored) -> str:
    """The key numbers as a table with their conditions."""
    names, beyond = found.classes.names, found.outliers
    by_spread = np.argsort(found.spread, kind="stable")
    by_share = np.argsort(found.outlier_share, kind="stable")

    def ends(order: np.ndarray, values: np.ndarray, form: str) -> list[str]:
        few = [order[0], order[-1]]
        return [f"{names[k]} {values[k]:{form}}" for k in few]

    rows = [
        [f"images of each class, {part}", f"{number.min()} to {number.max()} ({number.sum()})"]
        for part, number in found.counts.items()
    ]
    narrow, wide = ends(by_spread, found.spread, ".1f")
    least, most = ends(by_share, found.outlier_share, ".1%")
    rows += [
        ["mean distance to the class's centre", f"{found.distances.mean():.1f}"],
        ["narrowest class", narrow],
        ["widest class", wide],
        [f"outliers beyond the {LEVEL:.1%} quantile", f"{beyond.share:.2%}"],
        ["expected of normal classes in the limit", f"{1 - LEVEL:.2%}"],
        ["the same procedure on normal classes", f"{beyond.reference:.2%}"],
        ["class with fewest outliers", least],
        ["class with most outliers", most],
    ]
    if found.copies:
        rows += [
            ["training images equal to an earlier one", f"{found.copies['train']}"],
            ["of these with another label", f"{found.copies['train_relabelled']}"],
            ["test images equal to a training image", f"{found.copies['test']}"],
            ["of these with another label", f"{found.copies['test_relabelled']}"],
        ]
    block = Block("", f"{found.data}: {_conditions(found)}", ["measure", "value"], rows, [], [])
    return markdown("The data", [block])


def _conditions(found: Explored) -> str:
    beyond = found.outliers
    return (
        f"distances are Euclidean between features of {found.space}. Outliers: squared Mahalanobis "
        f"distance to the class on {beyond.components} principal components "
        f"({beyond.kept:.0%} of the variance), covariance of each class shrunk by "
        f"{beyond.shrinkage:.0%} on average (Ledoit-Wolf) towards the one common to all classes; "
        f"threshold {beyond.threshold:.1f}, the chi-square quantile."
    )


def captions(found: Explored) -> dict[str, str]:
    """Figure -> caption."""
    beyond, half = found.outliers, EACH // 2
    space = f"feature space of {found.space}"
    return {
        "balance": f"{found.data}: images of each class in each part (in brackets: all).",
        "spread": f"Mean distance of a class's training images to their mean, {space}. Rows: "
        "superclasses by their mean (bar); named: the lowest and highest class of each, bold: if "
        f"among the {NAMED} lowest or {NAMED} highest of all.",
        "outliers": f"{found.data}: {_conditions(found)} Beyond it lie "
        f"{beyond.share:.1%} of the training images; {1 - LEVEL:.1%} would be expected of normal "
        "classes with known covariances, "
        f"{beyond.reference:.1%} when this procedure is run on normal examples with the estimated "
        "ones. The histogram ends at its 99.5th percentile.",
        "samples": f"{EACH} training images of each class, drawn at random once and for all.",
        "extremes": f"Of each class the {half} training images nearest to its mean (left) and the "
        f"{half} farthest from it (right), the extreme one first; {space}.",
        "nearest_pairs": f"Nearest pairs of images and their distance, {space}; each image in one "
        "pair. Of one class and of two within the training set; and of a test and a training "
        "image, whatever their classes. 0: equal images, up to the features' rounding.",
        "outlier_images": f"The {EXTREMES} training images farthest from their class, with the "
        "squared Mahalanobis distance (see outliers).",
        "partition": "Realised partition: training images of each class on each client "
        "(logarithmic colours, white: none).",
    }
