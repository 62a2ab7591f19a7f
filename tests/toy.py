"""A small trial for tests: features of its own, made in a moment, and what may differ by run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from fl_core.base.cache import save_artefact
from fl_core.base.machine import Machine
from fl_core.base.rng import stream
from fl_core.config.record import Record
from fl_core.config.trial_config import TrialConfig
from fl_core.models.features import features_path, quantise

LABELS, WIDTH, TRAIN, TEST = 20, 16, 2000, 500
TIMES = ("seconds_train", "seconds_eval", "seconds_overhead", "images_per_second",
         "peak_memory_bytes")  # fmt: skip
BASE: dict[str, Any] = {
    "backbone.name": "toy", "backbone.tag": "of_this_test", "federation.clients": 10,
    "federation.participation": 0.3, "rounds": 12, "eval_every": 3, "local.lr": 0.5,
}  # fmt: skip


def config(**values: Any) -> TrialConfig:
    return TrialConfig().override({**BASE, **{k.replace("__", "."): v for k, v in values.items()}})


def write_features(cache_dir: Path) -> Path:
    """An artefact as the feature stage would store it; 20 of CIFAR-100's labels occur."""
    rng = stream(0, "toy")
    centres = rng.standard_normal((LABELS, WIDTH))
    tensors: dict[str, torch.Tensor] = {}
    for part, count in (("train", TRAIN), ("test", TEST)):
        labels = rng.integers(0, LABELS, count)
        values = torch.from_numpy(centres[labels] + 0.7 * rng.standard_normal((count, WIDTH)))
        scale = values.float().abs().amax(0) / 127
        tensors[f"{part}_features"] = quantise(values.float(), scale)
        tensors[f"{part}_labels"] = torch.from_numpy(labels).to(torch.uint8)
        tensors[f"{part}_scale"] = scale
    path = features_path(config(), cache_dir)
    save_artefact(path, tensors, {"weights_sha256": "none"})
    return path


def machine_of(root: Path) -> Machine:
    return Machine(data_dir=root / "no data", cache_dir=root / "cache", threads=1)


def plain(records: list[Record]) -> list[Record]:
    """The records without what may differ from run to run; NaN as text, to compare equal."""
    kept = [{name: v for name, v in one.items() if name not in TIMES} for one in records]
    return json.loads(json.dumps(kept).replace("NaN", '"NaN"'))  # type: ignore[no-any-return]
