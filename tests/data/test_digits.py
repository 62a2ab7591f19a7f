"""data.name=digits: what scikit-learn has, with a fixed test part, never mirrored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits as sklearns_digits

from fl_core.base.machine import Machine
from fl_core.config.sections import DataConfig
from fl_core.config.trial_config import TrialConfig
from fl_core.data.catalogue import DATA_SETS
from fl_core.data.sets import digits
from fl_core.data.sources import augment
from fl_core.data.splits import fifth
from fl_core.data.tasks import load_examples
from fl_core.trial import Trial

DIGITS = DataConfig(name="digits")


def test_they_are_scikit_learns() -> None:
    theirs = sklearns_digits()
    with np.load(digits.FILE) as file:
        assert (file["images"] == theirs.images).all()
        assert (file["labels"] == theirs.target).all()


def test_parts_and_pixels() -> None:
    theirs, known = sklearns_digits(), DATA_SETS["digits"]
    indices = fifth(theirs.target)
    assert sorted(np.concatenate(indices)) == list(range(1_797))
    for train, chosen, count in zip((True, False), indices, (known.train, known.test), strict=True):
        found = load_examples(DIGITS, Machine(data_dir=Path("no")), train=train)
        assert found.inputs.shape == (count, 3, 8, 8)
        assert (found.labels.numpy() == theirs.target[chosen]).all()
        assert (found.inputs[:, 0] == found.inputs[:, 2]).all()
        off = found.inputs[:, 1].numpy() - theirs.images[chosen] * 255 / 16
        assert np.abs(off).max() <= 0.5
    each = np.bincount(theirs.target[indices[1]]) / np.bincount(theirs.target)
    assert np.abs(each - 0.2).max() < 0.005


def test_they_are_never_mirrored() -> None:
    pixels = load_examples(DIGITS, Machine(), train=True).inputs[:50]
    draws = torch.zeros(50, 4)  # all would be
    assert torch.equal(augment(pixels, draws, DIGITS), pixels)
    assert torch.equal(augment(pixels, draws, DataConfig()), pixels.flip(-1))


def test_they_are_learnt_offline(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "data.name": "digits", "backbone.name": "cnn", "backbone.weights": "random",
        "backbone.image_size": 8, "fine_tune.strategy": "full", "federation.clients": 5,
        "federation.participation": 1.0, "local.batch_size": 32, "local.steps": 12,
        "local.lr": 0.1, "local.momentum": 0.9, "rounds": 4,
        "eval_every": 4,
    }  # fmt: skip
    machine = Machine(data_dir=tmp_path / "none", cache_dir=tmp_path / "cache")
    trial = Trial(TrialConfig().override(settings), machine, tmp_path / "trials")
    assert list(trial.records())[-1]["val_accuracy"] > 0.7
    metrics, files = trial.test_metrics()
    assert metrics["test_accuracy"] > 0.7
    assert len(files["predictions.csv"].splitlines()) == 1 + 359
