"""The numbers of the data exploration: everything measured once, and its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fl_analysis.dataset.features import Features
from fl_analysis.dataset.geometry import (
    Pair,
    by_distance,
    centre_distances,
    nearest_across,
    nearest_pairs,
)
from fl_analysis.dataset.outliers import LEVEL, Outliers, colour_outliers, outliers
from fl_analysis.dataset.pictures import EACH, PAIRS
from fl_analysis.reading.classes import Classes, classes_of
from fl_analysis.reading.fetch import partition
from fl_analysis.reading.store import StudyRuns
from fl_analysis.reading.tasks import task_facts
from fl_analysis.tables.render import Block, markdown

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
    outliers: Outliers  # in the feature space
    colours: Outliers | None  # by mean colour; None without images
    pairs: Mapping[
        str, Sequence[Pair]
    ]  # same, different: of training images; across: (test, train)
    pixels: Mapping[str, np.ndarray]  # empty without images
    copies: Mapping[str, int]  # of pixels; empty without images

    @property
    def spread(self) -> np.ndarray:
        """(classes,) mean distance to the centre."""
        return self._by_class(self.distances)

    def share_beyond(self, outliers: Outliers) -> np.ndarray:
        """(classes,) share of images beyond the threshold."""
        return self._by_class(outliers.beyond)

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


def most_extreme(outliers: Outliers) -> list[int]:
    """The images farthest from their class, the farthest first."""
    return np.argsort(-outliers.squares, kind="stable")[:EXTREMES].tolist()


def explore(
    features: Features, pixels: Mapping[str, np.ndarray], runs: StudyRuns | None
) -> Explored:
    """Measures everything; minutes on a laptop for 50,000 training images."""
    train, labels = features.values["train"], features.labels["train"]
    task = task_facts({"data.name": features.data})
    size = 1 + int(max(part.max() for part in features.labels.values()))
    counts = {p: np.bincount(found, minlength=size) for p, found in features.labels.items()}
    if runs is not None and (clients := _clients(runs, counts["train"])) is not None:
        split = {"train": clients, "validation": counts["train"] - clients}
        counts = {**split, "test": counts["test"]}
    return Explored(
        classes=classes_of(task, size),
        space=features.space,
        data=task.title,
        labels=features.labels,
        counts=counts,
        distances=centre_distances(train, labels),
        outliers=outliers(train, labels),
        colours=colour_outliers(pixels["train"], labels) if pixels else None,
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
        "outlier_share": _shares(found, found.outliers),
        "most_central": [images[0] for images in found.extremes.values()],
        "most_remote": [images[EACH // 2] for images in found.extremes.values()],
    }
    if found.colours is not None:
        columns["colour_outlier_share"] = _shares(found, found.colours)
    return pd.DataFrame(columns)


def _shares(found: Explored, outliers: Outliers) -> list[str]:
    return [f"{value:.4f}" for value in found.share_beyond(outliers)]


def summary(found: Explored) -> str:
    """The key numbers as a table with their conditions."""
    names, beyond = found.classes.names, found.outliers
    shares = found.share_beyond(beyond)
    by_spread = np.argsort(found.spread, kind="stable")
    by_share = np.argsort(shares, kind="stable")

    def ends(order: np.ndarray, values: np.ndarray, form: str) -> list[str]:
        few = [order[0], order[-1]]
        return [f"{names[k]} {values[k]:{form}}" for k in few]

    rows = [
        [f"images of each class, {part}", f"{number.min()} to {number.max()} ({number.sum()})"]
        for part, number in found.counts.items()
    ]
    narrow, wide = ends(by_spread, found.spread, ".1f")
    least, most = ends(by_share, shares, ".1%")
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
    if (colours := found.colours) is not None:
        both = float((beyond.beyond & colours.beyond).mean())
        rows += [
            [f"outliers by mean colour, {LEVEL:.1%} quantile", f"{colours.share:.2%}"],
            ["the same procedure on normal classes", f"{colours.reference:.2%}"],
            ["outliers by both", f"{both:.2%}"],
        ]
    if found.copies:
        rows += [
            ["training images equal to an earlier one", f"{found.copies['train']}"],
            ["of these with another label", f"{found.copies['train_relabelled']}"],
            ["test images equal to a training image", f"{found.copies['test']}"],
            ["of these with another label", f"{found.copies['test_relabelled']}"],
        ]
    caption = f"{found.data}: {conditions(found)}"
    if found.colours is not None:
        caption += f" {colour_conditions(found.colours)}"
    block = Block("", caption, ["measure", "value"], rows, [], [])
    return markdown("The data", [block])


def conditions(found: Explored) -> str:
    """What distances and outliers are, for a table and a caption."""
    beyond = found.outliers
    return (
        f"distances are Euclidean between features of {found.space}. Outliers: squared Mahalanobis "
        f"distance to the class on {beyond.components} principal components "
        f"({beyond.kept:.0%} of the variance), covariance of each class shrunk by "
        f"{beyond.shrinkage:.0%} on average (Ledoit-Wolf) towards the one common to all classes; "
        f"threshold {beyond.threshold:.1f}, the chi-square quantile."
    )


def colour_conditions(colours: Outliers) -> str:
    """The same of outliers by colour, as Pirilli et al. (2025) look for them."""
    return (
        "Outliers by mean colour: squared Mahalanobis distance of an image's mean red, green and "
        "blue to its class, with the class's own mean and sample covariance; threshold "
        f"{colours.threshold:.2f}, the chi-square quantile with {colours.components} degrees of "
        "freedom."
    )
