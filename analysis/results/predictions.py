"""What the confirmed models predicted on the test set: counts, pairs, accuracies of clients.

Reads `predictions.csv` of the confirmation runs that count (`outcome`), never of a search run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fl_analysis.reading.classes import Classes, classes_of
from fl_analysis.reading.connect import AnalysisError
from fl_analysis.reading.fetch import partitions, predictions
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.best import best_arm
from fl_analysis.results.outcome import Outcome


@dataclass(frozen=True)
class Predicted:
    """One arm's confirmation runs that logged predictions.

    `run_ids`: those of the seeds; `counts`: test examples by (seed, label, prediction); `frames`:
    the rows of each seed.
    """

    outcome: Outcome
    classes: Classes
    seeds: tuple[int, ...]
    run_ids: tuple[str, ...]
    counts: np.ndarray  # (seeds, classes, classes)
    frames: tuple[pd.DataFrame, ...]

    def shares(self) -> np.ndarray:
        """Share of the examples of each class (row) that went to each class, over all seeds."""
        return row_shares(self.counts.sum(axis=0))

    def class_accuracy(self) -> np.ndarray:
        """(seeds, classes): share of each class's examples that each seed got right."""
        return np.stack([np.diagonal(row_shares(counts)) for counts in self.counts])


def row_shares(counts: np.ndarray) -> np.ndarray:
    """Rows that sum to one; NaN for a class without examples."""
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def read_predictions(runs: StudyRuns, results: Sequence[Outcome]) -> list[Predicted]:
    """The arms whose confirmation runs logged predictions, in table order."""
    found = []
    for outcome in results:
        rows = outcome.confirmed
        logged = predictions(runs, rows["run_id"].tolist()) if len(rows) else {}
        if logged:
            seeds = [
                int(s) for s, r in zip(rows["seed"], rows["run_id"], strict=True) if r in logged
            ]
            found.append(_predicted(outcome, seeds, logged))
    return found


def _predicted(
    outcome: Outcome, seeds: Sequence[int], logged: Mapping[str, pd.DataFrame]
) -> Predicted:
    frames = tuple(logged.values())
    if any(not frame["label"].equals(frames[0]["label"]) for frame in frames):
        raise AnalysisError(
            f"{outcome.name}: its seeds' predictions.csv are of different test sets"
        )
    seen = 1 + max(int(frame[["label", "prediction"]].to_numpy().max()) for frame in frames)
    classes = classes_of(outcome.task, seen)
    counts = np.stack([confusion(frame, len(classes.names)) for frame in frames])
    return Predicted(outcome, classes, tuple(seeds), tuple(logged), counts, frames)


def confusion(frame: pd.DataFrame, classes: int) -> np.ndarray:
    """Examples by (label, prediction).

    >>> confusion(pd.DataFrame({"label": [0, 0, 1], "prediction": [0, 1, 1]}), 2).tolist()
    [[1, 1], [0, 1]]
    """
    flat = classes * frame["label"].to_numpy() + frame["prediction"].to_numpy()
    return np.bincount(flat, minlength=classes**2).reshape(classes, classes)


def chosen(found: Sequence[Predicted]) -> Predicted:
    """The arm to draw where there is room for one: the best by validation (`best`); where nothing
    tells, the first arm of the table.
    """
    best = best_arm([arm.outcome for arm in found])
    return found[0] if best is None else next(a for a in found if a.outcome is best.arm)


def confused_pairs(shares: np.ndarray, most: int) -> list[tuple[int, int, float]]:
    """The largest (class, predicted class, share of the class), largest first; of equals the first
    class. Pairs that never occurred are none.

    >>> confused_pairs(np.array([[0.8, 0.2, 0], [0.5, 0.5, 0], [0, 0, 1]]), 5)
    [(1, 0, 0.5), (0, 1, 0.2)]
    """
    pairs = [
        (label, other, float(shares[label, other]))
        for label, other in np.argwhere(shares > 0).tolist()
        if label != other
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:most]


def client_accuracies(counts: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Each client's accuracy: the class accuracies weighted by the classes it holds.

    `counts` (clients, classes), `accuracy` (classes,). Clients without examples, or all of whose
    classes have no test example, are NaN.

    >>> client_accuracies(np.array([[3, 1], [0, 2]]), np.array([1.0, 0.5])).tolist()
    [0.875, 0.5]
    """
    held = np.where(np.isfinite(accuracy), counts, 0)
    total = held.sum(axis=1)
    right = held @ np.nan_to_num(accuracy)
    return np.divide(right, total, out=np.full(len(held), np.nan), where=total > 0)


def read_clients(runs: StudyRuns, found: Sequence[Predicted]) -> dict[int, np.ndarray]:
    """Arm -> accuracy of the clients of all its seeds, each seed with the partition and the class
    accuracies of its own run; without the seeds that saved no partition.
    """
    clients = {}
    for arm in found:
        saved = partitions(runs, arm.run_ids)
        values = [
            client_accuracies(saved[run_id].to_numpy(), accuracy)
            for run_id, accuracy in zip(arm.run_ids, arm.class_accuracy(), strict=True)
            if run_id in saved and saved[run_id].shape[1] == len(arm.classes.names)
        ]
        if values:
            clients[arm.outcome.arm] = np.concatenate(values)
    return clients


def error_kinds(arm: Predicted) -> Mapping[str, np.ndarray]:
    """(seeds,) shares of the test examples: right, wrong but in the right superclass, wrong."""
    labels = np.arange(len(arm.classes.names))
    parents = np.asarray(arm.classes.parents) if arm.classes.groups else labels
    total = arm.counts.sum(axis=(1, 2))
    right = np.trace(arm.counts, axis1=1, axis2=2) / total
    near = (arm.counts * (parents[:, None] == parents)).sum(axis=(1, 2)) / total
    return {"right": right, "near": near - right, "far": 1 - near}


@dataclass(frozen=True)
class Calibration:
    """Predictions by confidence: in each bin their number, mean confidence and accuracy."""

    edges: np.ndarray  # (bins + 1,)
    number: np.ndarray
    confidence: np.ndarray  # NaN in an empty bin
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: |confidence - accuracy| averaged over the predictions."""
        gap = np.abs(self.confidence - self.accuracy)
        return float(np.nansum(self.number * gap) / self.number.sum())


def calibration(frames: Sequence[pd.DataFrame], bins: int = 15) -> Calibration:
    """All predictions of these runs in bins of equal width (Guo et al., 2017)."""
    rows = pd.concat(frames)
    confidence = rows["confidence"].to_numpy(dtype=float)
    right = (rows["label"] == rows["prediction"]).to_numpy(dtype=float)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    number = np.bincount(place, minlength=bins)
    empty = np.where(number, number, np.nan)
    return Calibration(
        np.linspace(0, 1, bins + 1),
        number,
        np.bincount(place, confidence, bins) / empty,
        np.bincount(place, right, bins) / empty,
    )
