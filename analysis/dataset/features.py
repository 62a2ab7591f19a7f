"""The cached features of a frozen backbone, without torch: what `fl_core.models.features` stored.

A safetensors file of int8 features with one scale per feature and uint8 labels, for the training
and the test images. One such file ships with the package.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fl_analysis.reading.connect import AnalysisError

EMBEDDED = Path(__file__).parents[2] / "fl_core" / "models" / "embedded"
_PARTS = ("train", "test")


@dataclass(frozen=True)
class Features:
    """Features (N, D) float32 and labels (N,) of the parts "train" and "test"."""

    values: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    meta: dict[str, Any]

    @property
    def data(self) -> str:
        """The data set's name in the suite."""
        return str(self.meta.get("source", "")).split(" ", maxsplit=1)[0]

    @property
    def space(self) -> str:
        """What the features are, in words."""
        meta = self.meta
        return f"{meta.get('backbone')} at {meta.get('resolution')} px, {meta.get('storage')}"


def embedded() -> Path:
    """The file that ships with the package."""
    files = sorted(EMBEDDED.glob("features-*.safetensors"))
    if not files:
        raise AnalysisError(f"{EMBEDDED}: holds no features; name a file with --features")
    return files[0]


def read_features(path: Path) -> Features:
    """A whole file, its digests checked; AnalysisError otherwise."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise AnalysisError(f"{path}: no such file")
    try:
        with safe_open(path, framework="np") as file:
            text = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        meta, digests = json.loads(text["meta"]), json.loads(text["sha256"])
        for name, tensor in tensors.items():
            if hashlib.sha256(tensor.tobytes()).hexdigest() != digests[name].split()[0]:
                raise ValueError(f"wrong digest of {name}")
        values = {
            part: tensors[f"{part}_features"].astype(np.float32) * tensors[f"{part}_scale"]
            for part in _PARTS
        }
        labels = {part: tensors[f"{part}_labels"].astype(int) for part in _PARTS}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise AnalysisError(f"{path}: no features of this suite ({error})") from None
    return Features(values, labels, meta)
